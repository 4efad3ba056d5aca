"""Figures 2 and 3 of Tan & Wang."""

from __future__ import annotations

import pytest
from p2_runs import pruning_runs

from audioprune.errors import DataError
from audioprune.report.paper import write_paper
from audioprune.report.papers.p2.figures import figure_2, figure_3
from audioprune.report.papers.p2.paper import PAPER
from audioprune.report.papers.p2.rows import P2Evidence
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.runs.job import load_jobs


def _both(folder, jobs, reported):
    evidence = P2Evidence(jobs, reported)
    return figure_2(folder, evidence), figure_3(folder, evidence)


@pytest.fixture(scope="module")
def reported():
    return read_reported(None, "p2")


def test_figures_2_and_3(make_run, tmp_path, reported) -> None:
    jobs = pruning_runs(make_run)
    second, third = _both(tmp_path, jobs, reported)
    text = second.csv.read_text()
    assert (
        "(a) without sparse regularisation,FDNN,0,100" in text
        and '(b) with sparse regularisation,FDNN,2,40,0,2,"desk' in text
    )
    text = third.csv.read_text()
    assert (
        '"(a) STOI, without regularisation",FDNN,0,70' in text
        and '"(d) PESQ (raw NB), with regularisation",Unprocessed,,1.4' in text
    )
    assert "from 70.00 to 58.00" in third.alt


def test_figures_need_iterations(make_run, tmp_path) -> None:
    jobs = load_jobs(make_run("a").scores("compressed", 0.6, 1.5).folder)
    with pytest.raises(DataError, match="expected runs with pruning iterations"):
        write_paper(PAPER, Request(jobs, tmp_path, only=("figures",)))


@pytest.mark.usefixtures("undrawn")
def test_panels_keep_the_letters_of_the_paper(make_run, tmp_path, reported) -> None:
    run = (
        make_run("a", pipeline_config={"lambda_1": 2.0})
        .scores("uncompressed", 0.7, 2.0)
        .iterations(0.8)
    )
    jobs = load_jobs(run.scores("pruned", 0.68, 1.9, step="compress/0/score").folder)
    second, third = _both(tmp_path, jobs, reported)
    assert "(b) with sparse" in second.csv.read_text() and "(a)" not in second.csv.read_text()
    text = third.csv.read_text()
    assert (
        "(b) STOI, with" in text
        and "(d) PESQ (raw NB), with" in text
        and "(a)" not in text
        and "(c)" not in text
    )

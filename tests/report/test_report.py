"""The entry point: kinds, unknown kinds, what a printed table is, and that nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from audioprune.commands import experiments
from audioprune.errors import ConfigError
from audioprune.report import closing_line, kinds, summary_table, write_report


def test_kinds_of_all_modules_are_known() -> None:
    assert {"summary", "curves", "p1", "p2", "p3", "p4"} <= set(kinds())


def test_an_unknown_kind_names_the_closest(make_run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="unknown kind of report 'sumary'; closest: summary"):
        write_report(make_run("a").folder, tmp_path / "out", "sumary")
    assert not (tmp_path / "out").exists()


def test_an_unknown_part_or_paper_names_the_closest(make_run, tmp_path) -> None:
    run, out = make_run("a").folder, tmp_path / "out"
    with pytest.raises(ConfigError, match="report.only: unknown part of p2 'tabel1'; closest: ta"):
        write_report(run, out, "p2", only="tabel1")
    with pytest.raises(ConfigError, match="report.claims: unknown paper 'p22'; closest: p2"):
        write_report(run, out, claims=["p22"])
    assert not out.exists()


@pytest.mark.parametrize("part", ["table1", "table2", "claims"])
def test_parts_of_the_paper_are_written_alone(make_run, tmp_path, part: str) -> None:
    files = write_report([make_run("a").folder], tmp_path / "out", "p2", only=[part])
    assert [file.name for file in files] == [
        f"p2_{part}.{ending}" for ending in ("md", "csv", "tex", "json")
    ]


def test_parts_keep_the_order_of_the_page(make_run, tmp_path) -> None:
    run = make_run("a").iterations(0.5)
    files = write_report(run.folder, tmp_path / "out", "p2", only=["figures", "claims", "table1"])
    assert [file.name for file in files if file.suffix in (".md", ".png")] == [
        "p2_table1.md",
        "p2_claims.md",
        "p2_figure2.png",
    ]
    assert not (tmp_path / "out" / "figures").exists()


def test_a_summary_judges_claims_where_it_is_asked_to(make_run, tmp_path) -> None:
    run = make_run("a").scores("uncompressed", 0.7, 2.0).scores("compressed", 0.69, 1.9)
    plain, asked = tmp_path / "plain", tmp_path / "asked"
    files = write_report(run.folder, plain)
    assert [file.name for file in write_report(run.folder, asked, claims=["p2"])] == [
        file.name for file in files
    ]
    words = "Claims of Ke Tan and DeLiang Wang"
    assert words not in (plain / "report.html").read_text(encoding="utf-8")
    assert words in (asked / "report.html").read_text(encoding="utf-8")


def test_everything_of_the_paper(make_run, tmp_path) -> None:
    run = (
        make_run("a").scores("mixture", 0.5, 1.4).scores("uncompressed", 0.7, 2.0).iterations(0.5)
    )
    names = {file.name for file in write_report(run.folder, tmp_path / "out", "p2")}
    assert {
        "p2_table1.md",
        "p2_table2.tex",
        "p2_claims.csv",
        "p2_figure2.png",
        "p2_figure2.csv",
        "report.html",
    } <= names


def test_published_numbers_can_be_given(make_run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="published numbers"):
        write_report(make_run("a").folder, tmp_path / "out", "p2", reported=tmp_path / "none.yaml")


def test_a_table_to_print(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4)
    assert summary_table(run.folder).startswith("**Scores, sizes and costs**\n\n| Model")


def test_a_run_that_only_failed_still_gives_a_table(make_run) -> None:
    text = summary_table(make_run("a").status("failed", "no space").folder)
    assert "FDNN FAILED" in text and "no space" in text


def test_reports_import_neither_torch_nor_matplotlib() -> None:
    heavy = ("torch", "matplotlib", "omegaconf", "jinja2", "soundfile")
    code = (
        f"import sys, audioprune.report as report; report.kinds(); print([name for name in "
        f"{heavy} if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def _dead_end(make_run):
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("uncompressed", 0.7, 1.9)
    return run.scores("compressed", 0.5, 1.4).size("compressed", nonzero=0, paper=1)


def test_the_closing_line_names_models_that_are_no_better_than_their_input(make_run) -> None:
    assert closing_line(_dead_end(make_run).folder) == "FDNN compressed: no better than mixture"
    assert (
        closing_line(
            make_run("b").scores("mixture", 0.5, 1.4).scores("compressed", 0.6, 1.6).folder
        )
        == ""
    )


def test_an_experiment_that_ends_there_says_so_in_its_last_line(
    make_run, monkeypatch, capsys
) -> None:
    folder = _dead_end(make_run).folder
    monkeypatch.setattr(
        experiments, "run_job", lambda config, folder, overrides, differs: "finished"
    )
    config = SimpleNamespace(verb="prune", checkpoint=None)
    assert experiments.run(config, folder, [], []) == "finished"
    assert capsys.readouterr().out.splitlines()[-1] == "FDNN compressed: no better than mixture"

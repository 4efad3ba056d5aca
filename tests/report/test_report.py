"""The entry point: kinds of report, printed tables, and that nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from audioprune.commands import experiments
from audioprune.errors import ConfigError
from audioprune.report import closing_line, kinds, short_table, write_report
from audioprune.report.tables import to_csv


def test_kinds_of_all_modules_are_known() -> None:
    assert {"summary", "curves", "p1", "p2", "p3", "p4"} <= set(kinds())


def test_an_unknown_kind_names_the_closest(make_run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="unknown kind of report 'sumary'; closest: summary"):
        write_report(make_run("a").folder, tmp_path / "out", "sumary")
    assert not (tmp_path / "out").exists()


def test_a_table_to_print(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4)
    text = to_csv(short_table(run.folder))
    assert text.startswith("Model,Params,File (bytes),Ratio,MACs/s,STOI (%)") and "Mixture" in text


def test_a_run_that_only_failed_still_gives_a_table(make_run) -> None:
    text = to_csv(short_table(make_run("a").status("failed", "no space").folder))
    assert "FDNN FAILED" in text and "no space" in text


def test_reports_import_neither_torch_nor_what_draws() -> None:
    heavy = ("torch", "vl_convert", "omegaconf", "jinja2", "soundfile")
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
    config = OmegaConf.create({"verb": "prune", "checkpoint": None})
    assert experiments.run(config, folder, [], []) == "finished"
    assert capsys.readouterr().out.splitlines()[-1] == "FDNN compressed: no better than mixture"

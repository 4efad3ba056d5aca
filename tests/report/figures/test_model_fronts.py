"""The fronts of what models cost to run: which costs, which models, which rows a click chooses."""

from __future__ import annotations

import csv

import pytest
from fake_runs import drawn_rows

from audioprune.report.figures.model_fronts import cost_figures
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs

pytestmark = pytest.mark.usefixtures("undrawn")


def _models(make_run, macs):
    for place, (speed, stoi) in enumerate(zip(macs, (0.4, 0.7, 0.75), strict=True)):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("mixture", 0.5, 1.2)
        run.scores("compressed", stoi, 0.8 + stoi).size(
            "compressed", paper=100, macs_per_second=speed
        )
    return final(entries(load_jobs(run.folder.parent)))


def test_each_dot_is_a_row_of_the_page_and_of_the_csv(make_run, tmp_path) -> None:
    found = _models(make_run, (1e6, 2e6, 4e6))
    (figure,) = cost_figures(tmp_path / "out", "cost", found)
    dots = drawn_rows(figure, "point")
    able = [entry for entry in found if entry.variant != "mixture"]
    assert {row["row"] for row in dots} == {entry.identity for entry in able}
    assert [row["hollow"] for row in sorted(dots, key=lambda row: row["x"])] == [
        True,
        False,
        False,
    ]
    assert [row["x"] for row in drawn_rows(figure, "line")] == [2.0, 4.0]
    assert [row for row in drawn_rows(figure, "rule") if "level" in row] == [
        {"y": 60.0, "level": "unprocessed"}
    ]
    with open(figure.csv, newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = {(float(row["MACs per second of audio (M)"]), float(row["STOI (%)"])) for row in rows}
    assert told == {(row["x"], row["y"]) for row in dots}
    assert "Hollow" in figure.caption and len(figure.chart.spec["concat"]) == 2


def test_equal_costs_make_no_figure(make_run, tmp_path) -> None:
    assert cost_figures(tmp_path, "cost", _models(make_run, (1e6, 1e6, 1e6))) == []
    assert cost_figures(tmp_path, "cost", []) == []

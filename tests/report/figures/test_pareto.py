"""The Pareto front of size and quality: what is on it, and what is left out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from fake_runs import drawn_rows

from audioprune.report.figures.pareto import front, pareto_figure, pareto_figures, points_of
from audioprune.report.runs.entries import entries
from audioprune.report.runs.job import load_jobs


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def _sweep(make_run):
    for place, (size, stoi) in enumerate([(1000, 0.5), (2000, 0.7), (3000, 0.6), (4000, 0.8)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place}).scores(
            "mixture", 0.4, 1.2
        )
        run.scores("compressed", stoi, 1.5 + stoi).size("compressed", paper=size)
    return entries(load_jobs(run.folder.parent))


def test_the_front_holds_what_no_smaller_model_beats(make_run, tmp_path) -> None:
    kind, points = points_of(_sweep(make_run))
    assert kind == "bytes_file" and [point.number for point in points] == [1, 2, 3, 4]
    assert [point.number for point in front(points, "stoi")] == [1, 2, 4]
    assert points[1].name == "FDNN compressed (pipeline.sparsity=1)"
    drawn = pareto_figure(tmp_path, "pareto", entries(load_jobs(tmp_path / "runs")))
    row = _read(drawn.csv)[1]
    assert row["STOI (%)"] == "80" and float(row["bytes_file (MB)"]) == pytest.approx(
        2100 / 2**20, rel=1e-5
    )
    assert "4: FDNN compressed" in drawn.caption
    dots = drawn_rows(drawn, "point")
    assert [[row["text"], f"{row['x']:.6g}", f"{row['y']:.6g}"] for row in dots] == [
        [each["number"], f"{float(each['bytes_file (MB)']):.6g}", each["STOI (%)"]]
        for each in _read(drawn.csv)
    ]
    joined = [row["x"] for row in drawn_rows(drawn, "line")]
    assert joined == [row["x"] for row in dots if row["text"] != "3"]


def test_one_size_is_no_sweep(make_run, tmp_path) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5).size("compressed")
    assert pareto_figure(tmp_path, "pareto", entries(load_jobs(run.folder))) is None


@pytest.mark.usefixtures("undrawn")
def test_models_no_better_than_their_input_stand_on_no_front(make_run, tmp_path) -> None:
    for place, (size, stoi) in enumerate([(10, 0.4), (2000, 0.7), (3000, 0.6)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place}).scores(
            "mixture", 0.4, 1.2
        )
        run.scores("compressed", stoi, 0.8 + stoi).size("compressed", paper=size)
    found = entries(load_jobs(run.folder.parent))
    _, points = points_of(found)
    assert [point.mark for point in points] == ["no better than mixture", "", ""]
    assert [point.number for point in front(points, "stoi")] == [2]
    drawn = pareto_figure(tmp_path, "pareto", found)
    assert [row["remark"] for row in _read(drawn.csv)] == ["no better than mixture", "", ""]
    assert "Hollow: no better" in drawn.caption
    assert {row["text"]: row["hollow"] for row in drawn_rows(drawn, "point")} == {
        "1": True,
        "2": False,
        "3": False,
    }


@pytest.mark.usefixtures("undrawn")
def test_models_of_two_corpora_share_no_front(make_run, tmp_path) -> None:
    for place, size in enumerate((1000, 2000, 3000, 4000)):
        stamp = {"corpus": "speech", "corpus_fingerprint": "ab"[place % 2] * 20}
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5 + 0.1 * place, 1.5, **stamp).size("compressed", paper=size)
    drawn = pareto_figures(tmp_path, "pareto", entries(load_jobs(run.folder.parent)))
    assert [figure.csv.name for figure in drawn] == ["pareto-1-speech.csv", "pareto-2-speech.csv"]
    assert [[row["STOI (%)"] for row in _read(figure.csv)] for figure in drawn] == [
        ["60", "80"],
        ["70", "90"],
    ]
    assert ["a" * 12 in figure.caption for figure in drawn] == [True, False]


@pytest.mark.usefixtures("undrawn")
def test_means_over_other_conditions_are_not_compared(make_run, tmp_path) -> None:
    for place, (size, snrs) in enumerate(
        [(1000, (-5.0, 0.0)), (500, (0.0,)), (2000, (-5.0, 0.0))]
    ):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5 + 0.1 * place, 1.5, snrs=snrs).size("compressed", paper=size)
    found = entries(load_jobs(run.folder.parent))
    assert [point.entry.config["pipeline.sparsity"] for point in points_of(found)[1]] == ["0", "2"]
    assert (
        "not scored under all conditions: 1." in pareto_figure(tmp_path, "pareto", found).caption
    )


def test_a_smaller_distance_is_on_the_front(make_run) -> None:
    for place, (size, distance) in enumerate([(1000, 0.5), (2000, 0.3), (3000, 0.4)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5, 1.5, metrics={"lsd": distance}).size(
            "compressed", paper=size
        )
    _, points = points_of(entries(load_jobs(run.folder.parent)))
    assert [point.number for point in front(points, "lsd")] == [1, 2]

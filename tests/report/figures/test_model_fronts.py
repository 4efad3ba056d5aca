"""The fronts of a page: every cost that models differ in, rows that a click chooses."""

from __future__ import annotations

from audioprune.report.figures.model_fronts import model_fronts
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs


def _models(make_run):
    for place, (size, stoi) in enumerate([(10, 0.4), (2000, 0.7), (3000, 0.75)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("mixture", 0.5, 1.2)
        run.scores("compressed", stoi, 0.8 + stoi).size("compressed", paper=size)
    found = final(entries(load_jobs(run.folder.parent)))
    return [(f"model-{place}", entry) for place, entry in enumerate(found)]


def test_rows_are_those_of_the_page_and_input_is_a_level(make_run) -> None:
    models = _models(make_run)
    chart = model_fronts(models)
    views = chart.spec["concat"]
    assert len(views) == 2, "STOI and PESQ against the one cost that differs"
    dots = [
        row
        for layer in views[0]["layer"]
        if layer["mark"]["type"] == "point"
        for row in layer["data"]["values"]
    ]
    able = {row: entry for row, entry in models if entry.variant != "mixture"}
    assert {row["row"] for row in dots} == set(able)
    assert all(row["hollow"] == ("no better" in row["told"]) for row in dots)
    (line,) = (layer for layer in views[0]["layer"] if layer["mark"]["type"] == "line")
    assert [row["y"] for row in line["data"]["values"]] == [70.0, 75.0]
    levels = [
        layer["data"]["values"][0]["y"]
        for layer in views[0]["layer"]
        if layer["mark"]["type"] == "rule" and "level" in layer["data"]["values"][0]
    ]
    assert levels == [50.0] and chart.alt.startswith("3 models: STOI (%)")


def test_equal_costs_make_no_front(make_run) -> None:
    models = _models(make_run)
    assert model_fronts(models[:2]) is None and model_fronts([]) is None

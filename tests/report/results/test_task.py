"""Whether a model does its task: gains by hand, and a model that is no better is named."""

from __future__ import annotations

import pytest

from audioprune.report.results.task import all_gains, task_table
from audioprune.report.results.task_figure import task_figures
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs


def _found(make_run, stoi):
    for seed, value in enumerate(stoi):
        run = make_run(f"run{seed}", seed=seed)
        run.scores("mixture", 0.5, 1.4).scores("uncompressed", value, 1.6)
        run.scores("compressed", 0.45, 1.3)
    return final(entries(load_jobs(run.folder.parent)))


def test_gains_are_means_over_conditions_and_seeds(make_run) -> None:
    gains = all_gains(_found(make_run, (0.6, 0.61, 0.62)))
    dense = gains[0]
    assert (dense.metric, dense.name) == ("stoi", "FDNN uncompressed")
    assert dense.values == pytest.approx({0: 0.1, 1: 0.11, 2: 0.12})
    assert dense.mean == pytest.approx(0.11) and dense.trivial == pytest.approx(0.6)
    assert dense.interval.low == pytest.approx(0.11 - 4.302653 * 0.01 / 3**0.5, rel=1e-5)


def test_a_model_that_is_no_better_than_its_input_is_named(make_run) -> None:
    table = task_table("t", _found(make_run, (0.6, 0.61, 0.62)))
    told = {(row["model"], row["metric"]): row for row in table.rows}
    dense, small = told["FDNN uncompressed", "STOI (%)"], told["FDNN compressed", "STOI (%)"]
    assert dense["verdict"] == "yes" and small["verdict"] == "no better than mixture"
    assert dense["value"] == "71.00" and dense["trivial"] == "60.00"
    assert small["gain"].startswith("-5.00 [-5.00") and small["worst"].startswith("-5.00 (")
    assert "over seeds" in table.notes[0] and "seeds alone" in table.notes[1]
    assert "not a reproduction" in str(dense["scale"])


def test_one_seed_is_not_judged(make_run) -> None:
    rows = task_table("t", _found(make_run, (0.6,))).rows
    assert rows[0]["verdict"] == "one seed: not judged" and rows[0]["gain"] == "+10.00"


def test_classifiers_are_compared_with_chance(make_run) -> None:
    for seed in (0, 1, 2):
        run = make_run(f"v{seed}", model="vgg", seed=seed)
        run.row(
            key="trimmed/test", kind="score", label="VGG", variant="trimmed", condition="test",
            metrics={"accuracy": 0.5 + 0.1 * seed}, n=100, chance=0.1, scale="desk", seed=seed,
        )  # fmt: skip
    (gain,) = all_gains(final(entries(load_jobs(run.folder.parent))))
    assert gain.against == "chance" and gain.mean == pytest.approx(0.5)


def test_the_figure_has_a_point_for_every_model(make_run, tmp_path) -> None:
    stoi, pesq = task_figures(_found(make_run, (0.6, 0.61, 0.62)), tmp_path / "f")
    lines = stoi.csv.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["FDNN uncompressed", "FDNN compressed"]
    assert lines[1].split(",")[3] == "11" and pesq.png.name == "gain-pesq_raw_nb.png"
    assert "gain of every model over its input" in stoi.caption

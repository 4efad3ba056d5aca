"""Which rows of several jobs are one row."""

from __future__ import annotations

import pytest
from fake_runs import one_entry

from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import load_jobs


def _entries(run) -> list[Entry]:
    return entries(load_jobs(run.folder.parent))


def test_the_mixture_is_one_row_for_all_models_on_the_same_data(make_run) -> None:
    make_run(
        "a", "fdnn", scale="desk; 20 mixtures; width 64", data={"name": "x", "seed": 0}
    ).scores("mixture", 0.5, 1.4)
    run = make_run(
        "b", "lstm", scale="desk; 20 mixtures; width 96", data={"name": "x", "seed": 0}
    ).scores("mixture", 0.5, 1.4)
    entry = one_entry(_entries(run), "Mixture")
    assert entry.scale == "desk; 20 mixtures"
    run = make_run("c", "lstm", data={"name": "x", "seed": 0}).scores("mixture", 0.9, 2.4)
    assert [
        entry.score("stoi", 0.0).mean for entry in _entries(run) if entry.variant == "mixture"
    ] == pytest.approx([0.6, 1.0])


def test_how_training_data_are_cut_makes_no_other_mixture(make_run) -> None:
    make_run("a", "fdnn", data={"name": "x", "segment_s": 3.0, "train_mixtures": 1200}).scores(
        "mixture", 0.5, 1.4
    )
    run = make_run(
        "b", "lstm", data={"name": "x", "segment_s": 2.0, "train_mixtures": 800}
    ).scores("mixture", 0.5, 1.4)
    one_entry(_entries(run), "Mixture")
    run = make_run("c", "lstm", data={"name": "x", "max_test_s": 2.0}).scores("mixture", 0.5, 1.4)
    assert len([entry for entry in _entries(run) if entry.variant == "mixture"]) == 2


def test_mixtures_of_partial_evaluations_are_completed(make_run) -> None:
    make_run("a").scores("mixture", 0.5, 1.4, noises=("babble",))
    run = make_run("b", pipeline_config={"k": 1}).scores(
        "mixture", 0.6, 1.4, noises=("cafeteria",)
    )
    assert one_entry(_entries(run), "Mixture").score("stoi", -5.0).mean == pytest.approx(0.55)


def test_equal_uncompressed_rows_of_a_sweep_are_one(make_run) -> None:
    for strength in (0.1, 0.2, 0.3):
        run = make_run(f"s{strength}", pipeline_config={"lambda_1": strength})
        run.scores("uncompressed", 0.7 if strength < 0.25 else 0.8, 2.0).scores(
            "compressed", 0.6, 1.9
        )
    found = _entries(run)
    whole = [entry for entry in found if entry.variant == "uncompressed"]
    assert [entry.config for entry in whole] == [
        {"pipeline.lambda_1": ""},
        {"pipeline.lambda_1": "0.3"},
    ]
    assert len(whole[0].jobs) == 2
    assert [
        entry.config["pipeline.lambda_1"] for entry in found if entry.variant == "compressed"
    ] == ["0.1", "0.2", "0.3"]

"""Which rows of a job belong to one state of its model."""

from __future__ import annotations

import pytest
from fake_runs import one_entry

from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import load_jobs


def _entries(run) -> list[Entry]:
    return entries(load_jobs(run.folder.parent))


def test_the_rate_of_a_job_without_uncompressed_goes_by_the_trained_parameters(make_run) -> None:
    run = make_run("a").size("compressed", params=900, paper=400, params_trained=2000)
    assert one_entry(_entries(run), "FDNN compressed").size("rate_paper").mean == pytest.approx(
        8000 / 400
    )


def test_iterations_are_told_by_the_repetition_in_the_key(make_run) -> None:
    run = make_run("a")
    for place in range(3):
        run.scores("pruned", 0.7 - 0.1 * place, 2.0, step=f"compress/{place}/score")
    found = _entries(run)
    assert [entry.iteration for entry in found] == [None, 1, 2, 3]
    assert [entry.title for entry in final(found)] == ["FDNN pruned"]
    assert final(found)[0].score("stoi", -5.0).mean == pytest.approx(0.5)


def test_a_final_state_is_not_replaced_by_an_iteration(make_run) -> None:
    run = (
        make_run("a")
        .scores("pruned", 0.5, 2.0, step="compress/0/score")
        .scores("pruned", 0.6, 2.0)
    )
    assert final(_entries(run))[0].score("stoi", -5.0).mean == pytest.approx(0.6)


def test_two_evaluations_of_one_variant_are_named_by_their_step(make_run) -> None:
    run = (
        make_run("a")
        .scores("pruned", 0.5, 2.0, step="before")
        .scores("pruned", 0.6, 2.0, step="after")
    )
    assert {entry.title for entry in _entries(run)} == {
        "FDNN pruned (before)",
        "FDNN pruned (after)",
    }


def test_validation_scores_stay_out(make_run) -> None:
    run = (
        make_run("a")
        .scores("compressed", 0.6, 1.5)
        .scores("compressed", 0.9, 3.0, step="valid", split="valid")
    )
    assert one_entry(_entries(run), "FDNN compressed").score("stoi", -5.0).mean == pytest.approx(
        0.6
    )


def test_a_model_that_came_pruned_is_not_called_uncompressed(make_run) -> None:
    run = (
        make_run("a", checkpoint="pruned.safetensors")
        .scores("uncompressed", 0.6, 1.5)
        .size("uncompressed", nonzero=233)
    )
    run.size("compressed", nonzero=100, paper=400)
    assert [entry.title for entry in _entries(run)] == ["FDNN as given", "FDNN compressed"]
    assert one_entry(_entries(run), "FDNN compressed").size("rate_paper").mean is None

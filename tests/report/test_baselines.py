"""What is no better than its input, than chance, or than silence."""

from __future__ import annotations

import pytest

from audioprune.report.baselines import no_better, no_better_error, no_better_row
from audioprune.report.entries import entries
from audioprune.report.results import load_jobs


def _entry(run, title: str):
    (entry,) = [entry for entry in entries(load_jobs(run.folder.parent)) if entry.title == title]
    return entry


@pytest.mark.parametrize(
    ("stoi", "pesq", "marked"),
    [
        (0.5, 1.4, True),
        (0.5 + 1e-7, 1.4, True),
        (0.3, 1.2, True),
        (0.51, 1.3, False),
        (0.49, 1.6, False),
    ],
)
def test_an_enhancer_is_compared_with_its_own_input(make_run, stoi: float, pesq: float, marked: bool) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("compressed", stoi, pesq)
    assert no_better(_entry(run, "FDNN compressed")) == ("no better than mixture" if marked else "")
    assert no_better(_entry(run, "Mixture")) == ""


def test_only_common_conditions_are_compared(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4, snrs=(5.0,)).scores("compressed", 0.45, 1.3)
    # At 5 dB, the only common condition, the model has 0.65 and 1.9.
    assert no_better(_entry(run, "FDNN compressed")) == ""


def test_some_seeds_are_told(make_run) -> None:
    for seed, stoi in ((0, 0.6), (1, 0.5), (2, 0.6)):
        run = make_run(f"s{seed}", seed=seed).scores("mixture", 0.5, 1.4).scores("compressed", stoi, 1.4)
    assert no_better(_entry(run, "FDNN compressed")) == "no better than mixture (1 of 3 seeds)"


def test_a_network_without_weights_is_marked_however_well_it_scores(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("compressed", 0.52, 1.5).scores("pruned", 0.52, 1.5)
    run.size("compressed", sparsity=1.0).size("pruned", sparsity=0.99)
    assert no_better(_entry(run, "FDNN compressed")) == "no better than a constant answer"
    assert no_better(_entry(run, "FDNN pruned")) == ""


def test_without_an_input_nothing_is_said(make_run) -> None:
    assert no_better(_entry(make_run("a").scores("compressed", 0.1, 1.0), "FDNN compressed")) == ""


@pytest.mark.parametrize(
    ("accuracy", "macro", "n", "marked"),
    [
        (0.1, 0.1, 1000, True),
        (0.12, 0.1, 100000, True),  # one class is named for all clips, and that class is frequent
        (0.2, 0.2, 20, True),  # 4 of 20: chance gives that or more with 13 %
        (0.2, 0.2, 1000, False),
        (0.9, 0.9, 20, False),
        (0.05, 0.05, 1000, True),
    ],
)
def test_classes_are_compared_with_chance(accuracy: float, macro: float, n: int, marked: bool) -> None:
    row = {"kind": "score", "chance": 0.1, "metrics": {"accuracy": accuracy, "accuracy_macro": macro}, "n": n}
    assert no_better_row(row) == ("no better than chance" if marked else "")


def test_a_note_is_compared_with_silence() -> None:
    assert no_better_error(1.0, 1.0) == "no better than silence or a constant"
    assert no_better_error(0.99, 1.0) and not no_better_error(0.9, 1.0)
    assert no_better_error(None, 1.0) and not no_better_error(1.0, None)
    assert no_better_row({"test": 2.0, "trivial": 1.0, "trivial_name": "silence"}) == "no better than silence"
    assert no_better_row({"metrics": {"error": 0.5}, "trivial": 1.0}) == ""
    assert no_better_row({"metrics": {"error": 1.5}, "trivial": 1.0}) == "no better than silence or a constant"

"""What is no better than its input, than chance, or than silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.experiment.rows import QualityRow
from audioprune.report.baselines import no_better, no_better_error, no_better_row
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job, load_jobs


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
def test_an_enhancer_is_compared_with_its_own_input(
    make_run, stoi: float, pesq: float, marked: bool
) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("compressed", stoi, pesq)
    assert no_better(_entry(run, "FDNN compressed")) == (
        "no better than mixture" if marked else ""
    )
    assert no_better(_entry(run, "Mixture")) == ""


def test_only_common_conditions_are_compared(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4, snrs=(5.0,)).scores("compressed", 0.45, 1.3)
    # At 5 dB, the only common condition, the model has 0.65 and 1.9.
    assert no_better(_entry(run, "FDNN compressed")) == ""


def test_some_seeds_are_told(make_run) -> None:
    for seed, stoi in ((0, 0.6), (1, 0.5), (2, 0.6)):
        run = (
            make_run(f"s{seed}", seed=seed)
            .scores("mixture", 0.5, 1.4)
            .scores("compressed", stoi, 1.4)
        )
    assert no_better(_entry(run, "FDNN compressed")) == "no better than mixture (1 of 3 seeds)"


def test_a_network_without_weights_is_marked_however_well_it_scores(make_run) -> None:
    run = (
        make_run("a")
        .scores("mixture", 0.5, 1.4)
        .scores("compressed", 0.52, 1.5)
        .scores("pruned", 0.52, 1.5)
    )
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
def test_classes_are_compared_with_chance(
    accuracy: float, macro: float, n: int, marked: bool
) -> None:
    row = {
        "kind": "score",
        "chance": 0.1,
        "metrics": {"accuracy": accuracy, "accuracy_macro": macro},
        "n": n,
    }
    assert no_better_row(QualityRow.read(row)) == ("no better than chance" if marked else "")


def test_a_note_is_compared_with_silence() -> None:
    assert no_better_error(1.0, 1.0) == "no better than silence or a constant"
    assert no_better_error(0.99, 1.0) and not no_better_error(0.9, 1.0)
    assert no_better_error(None, 1.0) and not no_better_error(1.0, None)
    assert no_better_error(2.0, 1.0, {"trivial_name": "silence"}) == "no better than silence"
    assert no_better_row(QualityRow.read({"metrics": {"error": 0.5}, "trivial": 1.0})) == ""
    assert (
        no_better_row(QualityRow.read({"metrics": {"error": 1.5}, "trivial": 1.0}))
        == "no better than silence or a constant"
    )


def _classes(accuracy, macro=None, chance=0.1, **counts):
    return {
        "kind": "score",
        "chance": chance,
        "metrics": {"accuracy": accuracy, "accuracy_macro": macro},
        **counts,
    }


@pytest.mark.parametrize(
    ("row", "marked"),
    [
        (_classes(0.25, n=20), False),  # 5 of 20: chance gives that or more with 4.3 %
        (_classes(0.2, n=20), True),
        (_classes(0.2, n=1000, n_valid=20), True),  # clips with a number count
        (_classes(0.2, n=1000, n_valid={"accuracy": 20}), True),
        (_classes(0.2, n=20, n_valid={"accuracy": 1000}), False),
        (_classes(0.2, n=20, n_valid={"other": 20}), False),
        (_classes(0.11), False),  # how many clips is not known
        (_classes(0.1), True),
        (_classes(0.9, 0.1 + 5e-10, n=1000), True),
        (_classes(0.9, 0.1 + 2e-9, n=1000), False),
        (_classes(None, n=1000), True),
        (_classes(float("nan"), n=1000), True),
        (_classes(0.05, chance=float("nan"), n=1000), False),
        ({"chance": 0.1}, True),
    ],
)
def test_chance_is_told_by_the_number_of_clips(row, marked: bool) -> None:
    assert no_better_row(QualityRow.read(row)) == ("no better than chance" if marked else "")


def _joined(*seeds, mixture=(), variant="compressed", status="") -> Entry:
    """Return an entry of one seed for each sequence of score rows."""
    rows = tuple({"kind": "score", "variant": "mixture", **row} for row in mixture)
    jobs = tuple(Job(Path(str(seed)), str(seed), rows=rows) for seed in range(len(seeds)))
    scores = tuple(
        {(row.get("noise"), row.get("snr_db")): QualityRow.read(row) for row in found}
        for found in seeds
    )
    return Entry(
        "X", variant, jobs=jobs, scores=scores, status=status, seeds=tuple(range(len(seeds)))
    )


def test_one_condition_above_chance_is_enough() -> None:
    low, high = {**_classes(0.1), "noise": "a"}, {**_classes(0.9, n=100), "noise": "b"}
    assert (
        no_better(_joined([low, high])) == ""
        and no_better(_joined([low])) == "no better than chance"
    )


def test_what_failed_and_the_mixture_are_compared_with_nothing() -> None:
    low = _classes(0.05)
    assert (
        no_better(_joined([low], status="failed"))
        == no_better(_joined([low], variant="mixture"))
        == ""
    )


def test_seeds_with_different_baselines_are_all_told() -> None:
    silent = {"metrics": {"error": 2.0}, "trivial": 1.0, "trivial_name": "silence"}
    other = {**silent, "trivial_name": "a constant"}
    assert (
        no_better(_joined([silent], [other]))
        == "no better than silence and no better than a constant"
    )
    assert no_better(_joined([silent], [silent])) == "no better than silence"
    good = {"metrics": {"error": 0.1}, "trivial": 1.0}
    assert (
        no_better(_joined([silent], [good], [silent])) == "no better than silence (2 of 3 seeds)"
    )


def test_errors_are_means_over_the_conditions() -> None:
    def row(noise, error, trivial=1.0):
        return {
            "noise": noise,
            "metrics": {"error": error},
            "trivial": trivial,
            "trivial_name": noise,
        }

    assert no_better(_joined([row("a", 0.5), row("b", 1.2)])) == ""
    assert no_better(_joined([row("a", 0.9), row("b", 1.2)])) == "no better than a"
    assert no_better(_joined([row("a", 0.5, 2.0), row("b", 1.2, 0.1)])) == ""
    assert no_better(_joined([row("a", 0.5), row("b", None)])) == "no better than a"
    assert no_better(_joined([row("a", 0.5, float("nan"))])) == ""
    assert no_better(_joined([{"trivial": 1.0}])) == "no better than silence or a constant"


def test_a_trivial_error_of_a_lottery_is_compared_within_two_percent() -> None:
    assert (
        no_better_error(0.979, 1.0) == ""
        and no_better_error(0.98, 1.0) == "no better than silence or a constant"
    )
    assert no_better_error(1.0, 1.0, {"trivial_name": "noise"}) == "no better than noise"
    assert no_better_error(0.5, 1.0) == "" and no_better_error(2.0, None) == ""


@pytest.mark.parametrize(
    ("metrics", "gains", "marked"),
    [
        (("stoi",), (4e-4,), True),
        (("stoi",), (6e-4,), False),
        (("estoi",), (4e-4,), True),
        (("estoi",), (6e-4,), False),
        (("pesq_raw_nb",), (4e-3,), True),
        (("pesq_raw_nb",), (6e-3,), False),
        (("pesq_raw_nb",), (-1.0,), True),
        (("sisdr",), (9e-4,), True),
        (("sisdr",), (1.1e-3,), False),
        (("lsd",), (-0.5,), False),  # a distance: smaller is better
        (("lsd",), (0.5,), True),
        (("lsd",), (-6e-4,), True),
        (("lsd",), (-1.1e-3,), False),
        (("mr_stft",), (-0.5,), False),
        (("stoi", "sisdr"), (0.0, 5.0), True),  # STOI decides where it was measured
        (("stoi", "pesq_raw_nb"), (0.0, 0.1), False),
        (tuple("abcdefg"), (0, 0, 0, 0, 0, 1, 0), False),
        (tuple("abcdefg"), (0, 0, 0, 0, 0, 0, 1), True),  # the first six are looked at
        (("stoi",), (None,), False),
    ],
)
def test_how_much_is_a_gain_over_the_input(metrics, gains, marked: bool) -> None:
    given = {"metrics": dict.fromkeys(metrics, 1.0)}
    own = {
        "metrics": {
            name: None if gain is None else 1.0 + gain
            for name, gain in zip(metrics, gains, strict=True)
        }
    }
    found = no_better_row(QualityRow.read(own), QualityRow.read(given))
    assert found == ("no better than mixture" if marked else "")


def test_the_gain_is_a_mean_over_the_conditions_of_the_test_split() -> None:
    def row(noise, stoi, **more):
        return {"noise": noise, "snr_db": 0.0, "metrics": {"stoi": stoi}, **more}

    mixture = [row("a", 0.5, label="Coded input"), row("b", 0.5)]
    assert no_better(_joined([row("a", 0.4), row("b", 0.7)], mixture=mixture)) == ""
    assert (
        no_better(_joined([row("a", 0.3), row("b", 0.7)], mixture=mixture))
        == "no better than coded input"
    )
    for split in ("train", "valid", "validation"):
        more = [*mixture, row("a", 0.9, split=split), row("b", 0.9, split=split)]
        assert no_better(_joined([row("a", 0.6), row("b", 0.6)], mixture=more)) == ""
    assert (
        no_better(_joined([row("a", 0.6)], mixture=[*mixture, row("a", 0.9, split="test")]))
        == "no better than mixture"
    )

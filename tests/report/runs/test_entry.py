"""One row of a report: means, deviations, what is missing, sizes and rates."""

from __future__ import annotations

import math

import pytest
from fake_runs import one_entry

from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Entry, condition_text, mean_of
from audioprune.report.runs.job import load_jobs


def _entries(run) -> list[Entry]:
    return entries(load_jobs(run.folder.parent))


def test_mean_and_sample_deviation_by_hand() -> None:
    value = mean_of([0.6, 0.7, 0.8, None, math.nan])
    assert (
        value.mean == pytest.approx(0.7) and value.std == pytest.approx(0.1) and value.seeds == 3
    )
    assert mean_of([0.5]).std is None
    assert mean_of([None], reason="silence") == mean_of([], reason="silence")
    assert mean_of([None]).reason == "not measured"


def test_scores_are_means_over_noises_then_seeds(make_run) -> None:
    for seed, stoi in ((0, 0.60), (1, 0.64)):
        run = make_run(f"s{seed}", seed=seed)
        run.scores("compressed", stoi, 1.5, noises=("babble",)).scores(
            "compressed", stoi + 0.1, 1.7, noises=("cafeteria",)
        )
    entry = one_entry(_entries(run), "FDNN compressed")
    value = entry.score("stoi", -5.0)
    # Seed means 0.65 and 0.69; deviation 0.04 / sqrt(2).
    assert (
        value.mean == pytest.approx(0.67)
        and value.std == pytest.approx(0.04 / math.sqrt(2))
        and value.seeds == 2
    )
    assert value.n == value.n_valid == 40
    assert entry.score("stoi", -5.0, "babble").mean == pytest.approx(0.62)
    assert entry.score("pesq_raw_nb").mean == pytest.approx(1.6 + 0.3)
    assert entry.snrs() == [-5.0, 0.0, 5.0] and entry.seeds == (0, 1)


def test_a_missing_noise_is_told_and_never_a_zero(make_run) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5, noises=("babble",))
    metrics = {"stoi": 0.7, "pesq_raw_nb": None}
    counts = {"n": 10, "n_valid": {"stoi": 10, "pesq_raw_nb": 0}}
    run.scores(
        "compressed",
        0,
        0,
        noises=("cafeteria",),
        snrs=(-5.0,),
        metrics=metrics,
        reason="no utterance found",
        **counts,
    )
    entry = one_entry(_entries(run), "FDNN compressed")
    value = entry.score("pesq_raw_nb", -5.0)
    assert value.mean == pytest.approx(1.5) and (value.n, value.n_valid) == (20, 10)
    assert value.reason == "mean without cafeteria, -5 dB: no utterance found"
    assert (
        entry.score("si_sdr", -5.0).mean is None
        and entry.score("si_sdr", -5.0).reason == "no utterance found"
    )
    assert entry.score("stoi", -5.0, "cafeteria").mean == pytest.approx(0.7)


def test_a_condition_that_one_seed_lacks_is_told(make_run) -> None:
    make_run("a", seed=0).scores("compressed", 0.6, 1.5)
    run = make_run("b", seed=1).scores("compressed", 0.6, 1.5, noises=("babble",))
    value = one_entry(_entries(run), "FDNN compressed").score("stoi", 0.0)
    assert value.seeds == 2 and value.reason == "mean without cafeteria, 0 dB: not evaluated"


def test_sizes_and_rates_by_hand(make_run) -> None:
    for seed, nonzero, paper in ((0, 200, 400), (1, 300, 500)):
        run = make_run(f"s{seed}", seed=seed)
        run.size("uncompressed").size("compressed", params=900, nonzero=nonzero, paper=paper)
    entry = one_entry(_entries(run), "FDNN compressed")
    assert entry.size("nonzero").mean == 250 and entry.size("nonzero").std == pytest.approx(
        100 / math.sqrt(2)
    )
    # The uncompressed model of the job has 4000 bytes, although the trimmed one would have 3600.
    assert entry.size("rate_paper").mean == pytest.approx((4000 / 400 + 4000 / 500) / 2)
    assert entry.size("rate_file").mean == pytest.approx((4000 / 500 + 4000 / 600) / 2)
    assert entry.size("bits_per_weight").mean == pytest.approx((8 * 400 / 200 + 8 * 500 / 300) / 2)
    assert entry.size("nothing").mean is None


def test_conditions_in_words() -> None:
    assert condition_text(("babble", -5.0)) == "babble, -5 dB"
    assert condition_text(("", None)) == "all"


def test_without_an_uncompressed_row_there_is_no_rate(make_run) -> None:
    run = (
        make_run("a")
        .scores("compressed", 0.6, 1.5)
        .size("compressed", params=1000, nonzero=10, paper=40)
    )
    entry = one_entry(_entries(run), "FDNN compressed")
    for name in ("rate_paper", "rate_file"):
        assert (
            entry.size(name).mean is None
            and entry.size(name).reason == "no uncompressed model was measured in this run"
        )

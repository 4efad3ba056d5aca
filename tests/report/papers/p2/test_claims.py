"""The claims of Tan & Wang: every status, and every condition missed once."""

from __future__ import annotations

import pytest
from p2_runs import CLAIMS, REPORTED, SEEDS, judged

from audioprune.report.claims import (
    HELD,
    NOT_COMPARABLE,
    NOT_HELD,
    NOT_MEASURED,
    NOT_SHOWN,
    ONE_SEED,
    TWO_SEEDS,
    Claim,
    any_measured,
)
from audioprune.report.papers.p2.rows import P2Evidence
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import to_markdown


def _pair(make_run, pruned: float, baseline: float, baseline_size: int = 420, seeds=SEEDS, **more):
    for seed in seeds:
        run = (
            make_run(f"p{seed}", seed=seed)
            .scores("mixture", 0.5, 1.4)
            .scores("pruned", pruned + 0.001 * seed, 1.7)
        )
        run.size("pruned", nonzero=400)
        run = make_run(
            f"b{seed}", "fdnn_b", "train", seed=seed, scale="desk; 20 mixtures; width 40", **more
        )
        run.scores("mixture", 0.5, 1.4).scores("uncompressed", baseline + 0.0015 * seed, 1.6)
        run.size("uncompressed", params=baseline_size, nonzero=baseline_size)
    return run


@pytest.mark.parametrize(
    ("pruned", "baseline", "seeds", "status"),
    [
        (0.63, 0.62, SEEDS, HELD),
        (0.61, 0.62, SEEDS, NOT_HELD),
        (0.6201, 0.62, SEEDS, NOT_SHOWN),
        (0.63, 0.62, (0,), ONE_SEED),
        (0.63, 0.62, (0, 1), TWO_SEEDS),
    ],
)
def test_pruned_against_same_size(
    make_run, pruned: float, baseline: float, seeds, status: str
) -> None:
    claim = judged(_pair(make_run, pruned, baseline, seeds=seeds), "beats", "FDNN_P")
    assert claim.status == status and claim.seeds == len(seeds)
    assert "STOI" in claim.numbers and "at -5 / 0 / 5 dB" in claim.numbers
    assert "1.05 times the parameters" in claim.numbers
    assert claim.published.startswith("STOI +0.83 / +1.38 / +1.05 points")


def test_a_baseline_of_another_size_measures_nothing(make_run) -> None:
    claim = judged(_pair(make_run, 0.63, 0.62, baseline_size=200), "beats", "FDNN_P")
    assert (
        claim.status == NOT_COMPARABLE
        and "0.50 times" in claim.numbers
        and "not of the same size" in claim.reason
    )


def test_the_size_is_compared_in_every_seed(make_run) -> None:
    for seed, size in zip(SEEDS, (320, 320, 760), strict=True):  # the mean ratio is 1.17
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7).size("pruned", nonzero=400)
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores("uncompressed", 0.6, 1.6)
        run.size("uncompressed", params=size, nonzero=size)
    claim = judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "1.90 times in seed 2" in claim.reason


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"training": {"epochs": 130}}, "the settings differ (training.epochs none | 130)"),
        ({"data": {"name": "other"}}, "the corpora differ"),
    ],
)
def test_other_settings_or_data_are_not_compared(make_run, more, words: str) -> None:
    claim = judged(_pair(make_run, 0.63, 0.62, **more), "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and words in claim.reason


def test_runs_of_another_scale_are_not_compared(make_run) -> None:
    make_run("p").scores("pruned", 0.7, 1.7)
    run = make_run("b", "fdnn_b", "train", scale="desk; 900 mixtures; width 40").scores(
        "uncompressed", 0.6, 1.6
    )
    claim = judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "different scales" in claim.reason


def test_other_fingerprints_are_not_compared(make_run) -> None:
    for seed in SEEDS:
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7, corpus_fingerprint="aa").size(
            "pruned", nonzero=400
        )
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores(
            "uncompressed", 0.6, 1.6, corpus_fingerprint="bb"
        )
        run.size("uncompressed", params=420, nonzero=420)
    claim = judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "the corpora differ" in claim.reason


def _compressed(
    make_run,
    compressed,
    name="a",
    model="fdnn",
    pipeline="p2_unstructured",
    nonzero=100,
    seeds=SEEDS,
    **more,
):
    for seed in seeds:
        run = make_run(f"{name}{seed}", model, pipeline, seed=seed, **more).scores(
            "mixture", 0.45, 1.4
        )
        run.scores("uncompressed", 0.60, 1.7).size("uncompressed")
        run.scores("compressed", compressed + 1e-5 * (seed - 1), 1.65).size(
            "compressed", nonzero=nonzero, paper=50
        )
    return run


@pytest.mark.parametrize(
    ("compressed", "status"), [(0.5801, HELD), (0.5798, NOT_HELD), (0.58, NOT_SHOWN), (0.65, HELD)]
)
def test_compressed_within_two_points(make_run, compressed: float, status: str) -> None:
    assert judged(_compressed(make_run, compressed), "at most about 2", "FDNN_C").status == status


def test_one_seed_is_not_judged_and_its_numbers_are_shown(make_run) -> None:
    claim = judged(_compressed(make_run, 0.59, seeds=(1,)), "at most about 2", "FDNN_C")
    assert claim.status == ONE_SEED and "STOI -1.00 / -1.00 / -1.00 points" in claim.numbers


def test_nothing_removed_shows_nothing(make_run) -> None:
    claim = judged(_compressed(make_run, 0.60, nonzero=1000), "at most about 2", "FDNN_C")
    assert claim.status == NOT_COMPARABLE and "nothing was removed from FDNN_C" in claim.reason


def test_a_trimmed_model_had_something_removed(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed)
            .scores("mixture", 0.45, 1.4)
            .scores("uncompressed", 0.60, 1.7)
            .size("uncompressed")
        )
        run.scores("compressed", 0.59, 1.65).size("compressed", params=500, nonzero=500, paper=50)
    assert judged(run, "at most about 2", "FDNN_C").status == HELD


def test_a_compressed_model_no_better_than_the_mixture_shows_nothing(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed)
            .scores("mixture", 0.59, 1.66)
            .scores("uncompressed", 0.60, 1.7)
            .size("uncompressed")
        )
        run.scores("compressed", 0.59, 1.66).size("compressed", nonzero=0, paper=1)
    claim = judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_SHOWN and claim.reason == "FDNN_C is no better than mixture"


def test_the_worst_snr_decides(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed)
            .scores("uncompressed", 0.60, 1.7)
            .size("uncompressed")
            .size("compressed", nonzero=9)
        )
        run.scores("compressed", 0.60, 1.7, snrs=(-5.0,)).scores(
            "compressed", 0.60, 1.7, snrs=(0.0,)
        )
        run.scores("compressed", 0.80, 1.7, snrs=(5.0,))
    claim = judged(run, "at most about 2", "FDNN_C")
    assert (
        claim.status == NOT_HELD
        and "+0.00 / -10.00" in claim.numbers
        and claim.reason.startswith("0 dB")
    )


def test_an_snr_that_is_missing_measures_nothing(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed)
            .scores("uncompressed", 0.60, 1.7)
            .size("uncompressed")
            .size("compressed", nonzero=9)
        )
        run.scores("compressed", 0.60, 1.7, snrs=(-5.0, 0.0))
    claim = judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_MEASURED and "5 dB" in claim.reason


def test_a_wide_interval_compares_nothing(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.60, 1.7).size("uncompressed")
        )
        run.scores("compressed", 0.60 + 0.1 * (seed - 1), 1.7).size("compressed", nonzero=9)
    claim = judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_COMPARABLE and "wide, more than 0.04" in claim.reason


@pytest.mark.parametrize(("compressed", "status"), [(0.595, HELD), (0.58, NOT_HELD)])
def test_structured_costs_little(make_run, compressed: float, status: str) -> None:
    run = _compressed(make_run, compressed, model="gcrn", pipeline="p2_structured")
    assert judged(run, "Structured", "GCRN_C-SP").status == status


def test_the_deviation_over_seeds_is_told(make_run) -> None:
    for seed in (0, 1, 2):
        run = (
            make_run(f"a{seed}", seed=seed)
            .scores("uncompressed", 0.6 + 0.05 * seed, 1.7)
            .scores("compressed", 0.599 + 0.05 * seed, 1.7)
        )
    claim = judged(run, "at most about 2", "FDNN_C")
    assert claim.seeds == 3 and "within the deviation over seeds" in claim.numbers


def test_nothing_run_is_nothing_measured(make_run) -> None:
    table = CLAIMS.table(P2Evidence(load_jobs(make_run("a", "dcae").folder), REPORTED))
    assert not any_measured(table) and {row["status"] for row in table.rows} == {NOT_MEASURED}
    assert "GCRN_C-SP and GCRN_U not run" in to_markdown(table)


BEATS = "A pruned model beats an unpruned one of about its size (mean STOI and PESQ higher)"


COMPRESSED = "Compression costs at most about 2 STOI points at any SNR"


STRUCTURED = "Structured compression costs at most 1 STOI point at any SNR"


FURTHER = (
    "Sparse regularisation lets pruning go further (fewer parameters left after the last "
    "iteration)"
)


SCALE = "desk; 20 mixtures; width 64"


def test_without_a_run_every_claim_says_what_is_missing(make_run) -> None:
    told = {
        "FDNN_P": "STOI +0.83 / +1.38 / +1.05 points; PESQ +0.05 / +0.08 / +0.09",
        "LSTM_P": "STOI +3.51 / +2.64 / +1.94 points; PESQ +0.13 / +0.15 / +0.17",
        "FDNN_C": "STOI -1.29 / -1.13 / -0.75 points; PESQ -0.01 / -0.03 / -0.03",
        "LSTM_C": "STOI +0.09 / +0.15 / +0.21 points; PESQ -0.02 / -0.01 / +0.00",
        "TCNN_C": "STOI -1.99 / -1.26 / -0.70 points; PESQ -0.09 / -0.08 / -0.07",
        "GCRN_C": "STOI -0.37 / -0.28 / -0.17 points; PESQ +0.01 / +0.00 / +0.01",
        "GCRN_C-SP": "STOI +0.02 / -0.11 / -0.08 points; PESQ +0.01 / +0.01 / +0.02",
    }
    names = [("FDNN_P", "FDNN_B", BEATS), ("LSTM_P", "LSTM_B", BEATS)]
    names += [
        (f"{model}_C", f"{model}_U", COMPRESSED) for model in ("FDNN", "LSTM", "TCNN", "GCRN")
    ]
    names += [("GCRN_C-SP", "GCRN_U", STRUCTURED)]
    expected = [
        Claim(claim, f"{a} against {b}", NOT_MEASURED, f"{a} and {b} not run", told[a])
        for a, b, claim in names
    ]
    further = "no pruning without or with sparse regularisation was finished"
    expected.insert(
        2, Claim(FURTHER, "all models", NOT_MEASURED, further, "Figure 2, curves without numbers")
    )
    assert CLAIMS.judge(P2Evidence(load_jobs(make_run("a", "dcae").folder), REPORTED)) == expected


def test_one_side_that_was_not_run_is_named(make_run) -> None:
    run = make_run("a").scores("pruned", 0.6, 1.7)
    assert judged(run, "beats", "FDNN_P").numbers == "FDNN_B not run"
    run = make_run("b", "fdnn_b", "train").scores("uncompressed", 0.6, 1.6)
    assert judged(run, "beats", "FDNN_P").status == NOT_COMPARABLE


def test_a_pair_that_the_paper_lacks_is_judged_where_it_was_run(make_run) -> None:
    make_run("p", "tcnn").scores("pruned", 0.6, 1.7)
    run = make_run("b", "tcnn_b", "train").scores("uncompressed", 0.6, 1.6)
    claim = judged(run, "beats", "TCNN_P")
    assert (
        claim.published == "-"
        and claim.reason
        == "how much was removed from TCNN_P is not recorded; the sizes are not recorded"
    )
    assert "sizes not recorded" in claim.numbers


def test_a_pruned_model_against_one_of_its_size_in_words(make_run) -> None:
    for seed in SEEDS:
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7).size("pruned", nonzero=400)
        run = make_run(
            f"b{seed}", "fdnn_b", "train", seed=seed, scale="desk; 20 mixtures; width 40"
        ).scores("uncompressed", 0.62, 1.6)
        run.size("uncompressed", params=400 + 10 * seed, nonzero=400 + 10 * seed)
    numbers = (
        "STOI +1.00 / +1.00 / +1.00 points at -5 / 0 / 5 dB; PESQ (raw NB) +0.10 / +0.10 / "
        "+0.10 at -5 / 0 / 5 dB; "
        "the baseline has 1.00 to 1.05 times the parameters; mean change with its 95 % interval "
        "over seeds: "
        "STOI +1.00 [+1.00, +1.00] points, PESQ (raw NB) +0.10 [+0.10, +0.10]"
    )
    published = "STOI +0.83 / +1.38 / +1.05 points; PESQ +0.05 / +0.08 / +0.09"
    reason = "as claimed in all of STOI, PESQ (raw NB)"
    expected = Claim(BEATS, "FDNN_P against FDNN_B", HELD, numbers, published, 3, SCALE, reason)
    assert judged(run, "beats", "FDNN_P") == expected


@pytest.mark.parametrize(
    ("stoi", "pesq", "reason"), [(0.0, 0.1, "STOI"), (0.01, 0.0, "PESQ (raw NB)")]
)
def test_both_metrics_must_be_higher(make_run, stoi: float, pesq: float, reason: str) -> None:
    for seed in SEEDS:
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.625 + stoi, 1.5 + pesq).size(
            "pruned", nonzero=400
        )
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores("uncompressed", 0.625, 1.5)
        run.size("uncompressed", params=400, nonzero=400)
    claim = judged(run, "beats", "FDNN_P")
    assert (claim.status, claim.reason) == (
        NOT_HELD,
        f"{reason}: no part of the interval over seeds is as claimed",
    )
    assert "the baseline has 1.00 times the parameters" in claim.numbers


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (320, ""),
        (600, ""),
        (
            316,
            "not of the same size in every seed: 0.79 times in seed 0, 0.79 times in seed 1, "
            "0.79 times in seed 2",
        ),
        (
            604,
            "not of the same size in every seed: 1.51 times in seed 0, 1.51 times in seed 1, "
            "1.51 times in seed 2",
        ),
    ],
)
def test_sizes_that_count_as_the_same(make_run, size: int, reason: str) -> None:
    for seed in SEEDS:
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7).size("pruned", nonzero=400)
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores("uncompressed", 0.62, 1.6)
        run.size("uncompressed", params=size, nonzero=size)
    claim = judged(run, "beats", "FDNN_P")
    assert (claim.status, claim.reason) == (
        (NOT_COMPARABLE, reason) if reason else (HELD, "as claimed in all of STOI, PESQ (raw NB)")
    )


def test_the_cost_of_compression_in_words(make_run) -> None:
    for seed in SEEDS:
        run = (
            make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.60, 1.7).size("uncompressed")
        )
        run.scores("compressed", 0.59, 1.65).size("compressed", nonzero=100, paper=50)
    numbers = (
        "STOI -1.00 / -1.00 / -1.00 points at -5 / 0 / 5 dB; PESQ (raw NB) -0.05 / -0.05 / "
        "-0.05 at -5 / 0 / 5 dB; "
        "mean change with its 95 % interval over seeds: STOI -1.00 [-1.00, -1.00] points"
    )
    published = "STOI -1.29 / -1.13 / -0.75 points; PESQ -0.01 / -0.03 / -0.03"
    reason = "as claimed in all of -5 dB, 0 dB, 5 dB"
    assert judged(run, "at most about 2", "FDNN_C") == Claim(
        COMPRESSED, "FDNN_C against FDNN_U", HELD, numbers, published, 3, SCALE, reason
    )


def test_what_sets_two_entries_apart_is_in_the_subject(make_run) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        run = (
            make_run(name, pipeline_config={"rate": rate})
            .scores("uncompressed", 0.60, 1.7)
            .scores("compressed", 0.59, 1.65)
        )
    found = [
        claim.model
        for claim in CLAIMS.judge(P2Evidence(load_jobs(run.folder.parent), REPORTED))
        if claim.claim == COMPRESSED
    ]
    assert found[:2] == [f"FDNN_C against FDNN_U (pipeline.rate={rate})" for rate in (0.1, 0.2)]


def test_scores_without_stoi_say_so(make_run) -> None:
    run = (
        make_run("a")
        .scores("uncompressed", 0.60, 1.7, metrics={})
        .scores("compressed", 0.59, 1.65, metrics={})
    )
    claim = judged(run, "at most about 2", "FDNN_C")
    assert (claim.status, claim.numbers) == (NOT_MEASURED, "STOI was not measured for both")


def test_the_table_of_claims_says_how_to_read_it(make_run) -> None:
    table = CLAIMS.table(P2Evidence(load_jobs(make_run("a", "dcae").folder), REPORTED))
    assert table.name == "p2_claims" and table.caption == (
        "Claims of Ke Tan and DeLiang Wang (ICASSP 2021, presentation slides) and what our runs "
        "say"
    )
    titles = [column.title for column in table.columns]
    assert titles == [
        "Claim",
        "Model",
        "Status",
        "Our numbers",
        "Published",
        "Why",
        "Seeds",
        "Scale",
    ]
    assert table.notes == (
        "A status speaks of our runs at their scale, not of the paper.",
        "Judged by the 95 % interval of paired differences over at least 3 seeds at all SNRs of "
        "the paper, by a bootstrap over items and seeds where runs told the scores of every item, "
        "else over seeds alone; both sides must share corpus, settings, seeds and (but for the "
        "baseline) width, something must have been removed, "
        "and each model must beat the mixture.",
        "Wider intervals than 4 points of STOI, 0.4 of PESQ and 25 points of the parameters "
        "left compare nothing.",
    )

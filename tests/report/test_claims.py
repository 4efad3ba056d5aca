"""The claims of Tan & Wang: every status provoked, and every condition of a comparison missed once."""

from __future__ import annotations

import json

import pytest

from audioprune.report.claims import Claim, claims_table, judge, measured
from audioprune.report.results import load_jobs, read_reported
from audioprune.report.tables import to_markdown
from audioprune.report.verdicts import HELD, NOT_COMPARABLE, NOT_HELD, NOT_MEASURED, NOT_SHOWN, ONE_SEED, TWO_SEEDS

REPORTED = read_reported(None, "p2")
SEEDS = (0, 1, 2)


def _judged(run, words: str, model: str) -> Claim:
    found = [claim for claim in judge(load_jobs(run.folder.parent), REPORTED) if words in claim.claim and claim.model.startswith(model)]
    assert len(found) == 1
    return found[0]


def _pair(make_run, pruned: float, baseline: float, baseline_size: int = 420, seeds=SEEDS, **more):
    for seed in seeds:
        run = make_run(f"p{seed}", seed=seed).scores("mixture", 0.5, 1.4).scores("pruned", pruned + 0.001 * seed, 1.7)
        run.size("pruned", nonzero=400)
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed, scale="desk; 20 mixtures; width 40", **more)
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
def test_pruned_against_same_size(make_run, pruned: float, baseline: float, seeds, status: str) -> None:
    claim = _judged(_pair(make_run, pruned, baseline, seeds=seeds), "beats", "FDNN_P")
    assert claim.status == status and claim.seeds == len(seeds)
    assert "STOI" in claim.numbers and "at -5 / 0 / 5 dB" in claim.numbers
    assert "1.05 times the parameters" in claim.numbers
    assert claim.published.startswith("STOI +0.83 / +1.38 / +1.05 points")


def test_a_baseline_of_another_size_measures_nothing(make_run) -> None:
    claim = _judged(_pair(make_run, 0.63, 0.62, baseline_size=200), "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "0.50 times" in claim.numbers and "not of the same size" in claim.reason


def test_the_size_is_compared_in_every_seed(make_run) -> None:
    for seed, size in zip(SEEDS, (320, 320, 760), strict=True):  # the mean ratio is 1.17
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7).size("pruned", nonzero=400)
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores("uncompressed", 0.6, 1.6)
        run.size("uncompressed", params=size, nonzero=size)
    claim = _judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "1.90 times in seed 2" in claim.reason


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"training": {"epochs": 130}}, "the settings differ (training.epochs none | 130)"),
        ({"data": {"name": "other"}}, "the corpora differ"),
    ],
)
def test_other_settings_or_data_are_not_compared(make_run, more, words: str) -> None:
    claim = _judged(_pair(make_run, 0.63, 0.62, **more), "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and words in claim.reason


def test_runs_of_another_scale_are_not_compared(make_run) -> None:
    make_run("p").scores("pruned", 0.7, 1.7)
    run = make_run("b", "fdnn_b", "train", scale="desk; 900 mixtures; width 40").scores("uncompressed", 0.6, 1.6)
    claim = _judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "different scales" in claim.reason


def test_other_fingerprints_are_not_compared(make_run) -> None:
    for seed in SEEDS:
        make_run(f"p{seed}", seed=seed).scores("pruned", 0.63, 1.7, corpus_fingerprint="aa").size("pruned", nonzero=400)
        run = make_run(f"b{seed}", "fdnn_b", "train", seed=seed).scores("uncompressed", 0.6, 1.6, corpus_fingerprint="bb")
        run.size("uncompressed", params=420, nonzero=420)
    claim = _judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_COMPARABLE and "the corpora differ" in claim.reason


def _compressed(make_run, compressed, name="a", model="fdnn", pipeline="p2_unstructured", nonzero=100, seeds=SEEDS, **more):
    for seed in seeds:
        run = make_run(f"{name}{seed}", model, pipeline, seed=seed, **more).scores("mixture", 0.45, 1.4)
        run.scores("uncompressed", 0.60, 1.7).size("uncompressed")
        run.scores("compressed", compressed + 1e-5 * (seed - 1), 1.65).size("compressed", nonzero=nonzero, paper=50)
    return run


@pytest.mark.parametrize(("compressed", "status"), [(0.5801, HELD), (0.5798, NOT_HELD), (0.58, NOT_SHOWN), (0.65, HELD)])
def test_compressed_within_two_points(make_run, compressed: float, status: str) -> None:
    assert _judged(_compressed(make_run, compressed), "at most about 2", "FDNN_C").status == status


def test_one_seed_is_not_judged_and_its_numbers_are_shown(make_run) -> None:
    claim = _judged(_compressed(make_run, 0.59, seeds=(1,)), "at most about 2", "FDNN_C")
    assert claim.status == ONE_SEED and "STOI -1.00 / -1.00 / -1.00 points" in claim.numbers


def test_nothing_removed_shows_nothing(make_run) -> None:
    claim = _judged(_compressed(make_run, 0.60, nonzero=1000), "at most about 2", "FDNN_C")
    assert claim.status == NOT_COMPARABLE and "nothing was removed from FDNN_C" in claim.reason


def test_a_trimmed_model_had_something_removed(make_run) -> None:
    for seed in SEEDS:
        run = make_run(f"a{seed}", seed=seed).scores("mixture", 0.45, 1.4).scores("uncompressed", 0.60, 1.7).size("uncompressed")
        run.scores("compressed", 0.59, 1.65).size("compressed", params=500, nonzero=500, paper=50)
    assert _judged(run, "at most about 2", "FDNN_C").status == HELD


def test_a_compressed_model_no_better_than_the_mixture_shows_nothing(make_run) -> None:
    for seed in SEEDS:
        run = make_run(f"a{seed}", seed=seed).scores("mixture", 0.59, 1.66).scores("uncompressed", 0.60, 1.7).size("uncompressed")
        run.scores("compressed", 0.59, 1.66).size("compressed", nonzero=0, paper=1)
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_SHOWN and claim.reason == "FDNN_C is no better than mixture"


def test_the_worst_snr_decides(make_run) -> None:
    for seed in SEEDS:
        run = make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.60, 1.7).size("uncompressed").size("compressed", nonzero=9)
        run.scores("compressed", 0.60, 1.7, snrs=(-5.0,)).scores("compressed", 0.60, 1.7, snrs=(0.0,))
        run.scores("compressed", 0.80, 1.7, snrs=(5.0,))
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_HELD and "+0.00 / -10.00" in claim.numbers and claim.reason.startswith("0 dB")


def test_an_snr_that_is_missing_measures_nothing(make_run) -> None:
    for seed in SEEDS:
        run = make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.60, 1.7).size("uncompressed").size("compressed", nonzero=9)
        run.scores("compressed", 0.60, 1.7, snrs=(-5.0, 0.0))
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_MEASURED and "5 dB" in claim.reason


def test_a_wide_interval_compares_nothing(make_run) -> None:
    for seed in SEEDS:
        run = make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.60, 1.7).size("uncompressed")
        run.scores("compressed", 0.60 + 0.1 * (seed - 1), 1.7).size("compressed", nonzero=9)
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_COMPARABLE and "wide, more than 0.04" in claim.reason


@pytest.mark.parametrize(("compressed", "status"), [(0.595, HELD), (0.58, NOT_HELD)])
def test_structured_costs_little(make_run, compressed: float, status: str) -> None:
    run = _compressed(make_run, compressed, model="gcrn", pipeline="p2_structured")
    assert _judged(run, "Structured", "GCRN_C-SP").status == status


def _further(make_run, with_: float, seeds=SEEDS, without=0.45, pipeline="p2_unstructured", **more):
    for seed in seeds:
        one = {"lambda_1": 0.0, **more.get("other", {})}
        make_run(f"a{seed}", pipeline=pipeline, seed=seed, pipeline_config=one).iterations(0.7, without + 0.001 * seed)
        run = make_run(f"b{seed}", seed=seed, pipeline_config={"lambda_1": 1.0}, **more.get("config", {})).iterations(0.6, with_)
    return run


@pytest.mark.parametrize(
    ("with_", "seeds", "status"),
    [(0.3, SEEDS, HELD), (0.5, SEEDS, NOT_HELD), (0.451, SEEDS, NOT_SHOWN), (0.3, (0,), ONE_SEED)],
)
def test_regularisation_prunes_further(make_run, with_: float, seeds, status: str) -> None:
    claim = _judged(_further(make_run, with_, seeds), "Sparse regularisation", "FDNN")
    assert claim.status == status
    assert f"{100 * with_:.1f}" in claim.numbers and "% left after 2 iterations" in claim.numbers


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"pipeline": "magnitude"}, "the pipelines differ"),
        ({"other": {"finetune_epochs": 3}}, "pipeline.finetune_epochs"),
        ({"config": {"training": {"epochs": 3}}}, "training.epochs"),
        ({"config": {"data": {"name": "other"}}}, "the corpora differ"),
        ({"config": {"model_config": {"name": "fdnn", "width": 8}}}, "model.width"),
    ],
)
def test_regularisation_is_the_only_difference(make_run, more, words: str) -> None:
    claim = _judged(_further(make_run, 0.3, **more), "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and words in claim.reason


def test_two_runs_that_removed_nothing_show_nothing(make_run) -> None:
    for seed in SEEDS:
        make_run(f"a{seed}", seed=seed, pipeline_config={"lambda_1": 0.0}).iterations(1.0, 1.0)
        run = make_run(f"b{seed}", seed=seed, pipeline_config={"lambda_1": 1.0}).iterations(1.0, 1.0)
    claim = _judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and "nothing was removed" in claim.reason


def test_a_sparsity_that_was_set_by_hand_shows_nothing(make_run) -> None:
    run = _further(make_run, 0.2)
    for seed in SEEDS:
        folder = run.folder.parent / f"a{seed}" / "results.jsonl"
        rows = [json.loads(line) | {"sparsity": 0.8} for line in folder.read_text().splitlines()]
        folder.write_text("".join(json.dumps(row) + "\n" for row in rows))
    claim = _judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and "was set by hand (0.8)" in claim.reason


def test_every_strength_is_judged_and_none_is_chosen(make_run) -> None:
    run = _further(make_run, 0.3)
    for seed in SEEDS:
        make_run(f"c{seed}", seed=seed, pipeline_config={"lambda_1": 9.0}).iterations(0.6, 0.9)
    found = [claim for claim in judge(load_jobs(run.folder.parent), REPORTED) if "Sparse" in claim.claim]
    assert [(claim.model, claim.status) for claim in found] == [("FDNN (lambda_1=1.0)", HELD), ("FDNN (lambda_1=9.0)", NOT_HELD)]


def test_one_side_alone_measures_nothing(make_run) -> None:
    run = make_run("a", pipeline_config={"lambda_1": 1.0}).iterations(0.7)
    claim = _judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_MEASURED and "without sparse regularisation" in claim.numbers


def test_an_interrupted_pruning_says_nothing_about_its_end(make_run) -> None:
    make_run("a", pipeline_config={"lambda_1": 0.0}).iterations(0.7, 0.45).status("interrupted")
    run = make_run("b", pipeline_config={"lambda_1": 1.0}).iterations(0.6, 0.3)
    assert _judged(run, "Sparse regularisation", "FDNN").status == NOT_MEASURED


def test_the_deviation_over_seeds_is_told(make_run) -> None:
    for seed in (0, 1, 2):
        run = make_run(f"a{seed}", seed=seed).scores("uncompressed", 0.6 + 0.05 * seed, 1.7).scores("compressed", 0.599 + 0.05 * seed, 1.7)
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.seeds == 3 and "within the deviation over seeds" in claim.numbers


def test_nothing_run_is_nothing_measured(make_run) -> None:
    table = claims_table(load_jobs(make_run("a", "dcae").folder), REPORTED)
    assert not measured(table) and {row["status"] for row in table.rows} == {NOT_MEASURED}
    assert "GCRN_C-SP and GCRN_U not run" in to_markdown(table)

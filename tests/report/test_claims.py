"""Claims: held, did not hold and not measured, each provoked."""

from __future__ import annotations

import pytest

from audioprune.report.claims import HELD, NOT_HELD, NOT_MEASURED, Claim, claims_table, judge, measured
from audioprune.report.results import load_jobs, read_reported
from audioprune.report.tables import to_markdown

REPORTED = read_reported(None, "p2")


def _judged(run, words: str, model: str) -> Claim:
    found = [claim for claim in judge(load_jobs(run.folder.parent), REPORTED) if words in claim.claim and claim.model.startswith(model)]
    assert len(found) == 1
    return found[0]


def _pair(make_run, pruned: float, baseline: float, baseline_size: int = 420):
    make_run("p").scores("pruned", pruned, 1.7).size("pruned", nonzero=400)
    return make_run("b", "fdnn_b", "train", scale="desk; 20 mixtures; width 40").scores("uncompressed", baseline, 1.6).size(
        "uncompressed", params=baseline_size, nonzero=baseline_size
    )


@pytest.mark.parametrize(("pruned", "baseline", "status"), [(0.63, 0.62, HELD), (0.61, 0.62, NOT_HELD)])
def test_pruned_against_same_size(make_run, pruned: float, baseline: float, status: str) -> None:
    claim = _judged(_pair(make_run, pruned, baseline), "beats", "FDNN_P")
    assert claim.status == status and claim.seeds == 1
    assert f"STOI {100 * (pruned - baseline):+.2f}" in claim.numbers and "at -5 / 0 / 5 dB" in claim.numbers
    assert "1.05 times the parameters" in claim.numbers
    assert claim.published.startswith("STOI +0.83 / +1.38 / +1.05 points")


def test_a_baseline_of_another_size_measures_nothing(make_run) -> None:
    claim = _judged(_pair(make_run, 0.63, 0.62, baseline_size=200), "beats", "FDNN_P")
    assert claim.status == NOT_MEASURED and "0.50 times" in claim.numbers


def test_runs_of_another_scale_are_not_compared(make_run) -> None:
    make_run("p").scores("pruned", 0.7, 1.7)
    run = make_run("b", "fdnn_b", "train", scale="desk; 900 mixtures; width 40").scores("uncompressed", 0.6, 1.6)
    claim = _judged(run, "beats", "FDNN_P")
    assert claim.status == NOT_MEASURED and "different scales" in claim.numbers


@pytest.mark.parametrize(("compressed", "status"), [(0.58, HELD), (0.5799, NOT_HELD), (0.65, HELD)])
def test_compressed_within_two_points(make_run, compressed: float, status: str) -> None:
    run = make_run("a").scores("uncompressed", 0.60, 1.7).scores("compressed", compressed, 1.65)
    assert _judged(run, "at most about 2", "FDNN_C").status == status


def test_the_worst_snr_decides(make_run) -> None:
    run = make_run("a").scores("uncompressed", 0.60, 1.7).scores("compressed", 0.60, 1.7, snrs=(-5.0,))
    run.scores("compressed", 0.60, 1.7, snrs=(0.0,))
    claim = _judged(run, "at most about 2", "FDNN_C")
    assert claim.status == NOT_HELD and "+0.00 / -10.00" in claim.numbers


@pytest.mark.parametrize(("compressed", "status"), [(0.595, HELD), (0.58, NOT_HELD)])
def test_structured_costs_little(make_run, compressed: float, status: str) -> None:
    run = make_run("a", "gcrn", "p2_structured").scores("uncompressed", 0.60, 1.7).scores("compressed", compressed, 1.65)
    assert _judged(run, "Structured", "GCRN_C-SP").status == status


@pytest.mark.parametrize(("with_", "status"), [(0.3, HELD), (0.5, NOT_HELD)])
def test_regularisation_prunes_further(make_run, with_: float, status: str) -> None:
    make_run("a", pipeline_config={"lambda_1": 0.0}).iterations(0.7, 0.45)
    run = make_run("b", pipeline_config={"lambda_1": 1.0}).iterations(0.6, with_)
    claim = _judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == status and "45.0 % left after 2 iterations without" in claim.numbers


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

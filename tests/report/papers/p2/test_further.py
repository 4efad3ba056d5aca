"""Whether regularisation lets pruning go further: every status, and what a comparison lacks."""

from __future__ import annotations

import json

import pytest
from fake_runs import SCALE
from p2_runs import CLAIMS, REPORTED, SEEDS, given_job, judged

from audioprune.report.claims import (
    HELD,
    NOT_COMPARABLE,
    NOT_HELD,
    NOT_MEASURED,
    NOT_SHOWN,
    ONE_SEED,
    Claim,
    Side,
)
from audioprune.report.papers.p2.further import lacks
from audioprune.report.papers.p2.rows import P2Evidence
from audioprune.report.runs.job import load_jobs


def _further(
    make_run, with_: float, seeds=SEEDS, without=0.45, pipeline="p2_unstructured", **more
):
    for seed in seeds:
        one = {"lambda_1": 0.0, **more.get("other", {})}
        make_run(f"a{seed}", pipeline=pipeline, seed=seed, pipeline_config=one).iterations(
            0.7, without + 0.001 * seed
        )
        run = make_run(
            f"b{seed}", seed=seed, pipeline_config={"lambda_1": 1.0}, **more.get("config", {})
        ).iterations(0.6, with_)
    return run


@pytest.mark.parametrize(
    ("with_", "seeds", "status"),
    [(0.3, SEEDS, HELD), (0.5, SEEDS, NOT_HELD), (0.451, SEEDS, NOT_SHOWN), (0.3, (0,), ONE_SEED)],
)
def test_regularisation_prunes_further(make_run, with_: float, seeds, status: str) -> None:
    claim = judged(_further(make_run, with_, seeds), "Sparse regularisation", "FDNN")
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
    claim = judged(_further(make_run, 0.3, **more), "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and words in claim.reason


def test_two_runs_that_removed_nothing_show_nothing(make_run) -> None:
    for seed in SEEDS:
        make_run(f"a{seed}", seed=seed, pipeline_config={"lambda_1": 0.0}).iterations(1.0, 1.0)
        run = make_run(f"b{seed}", seed=seed, pipeline_config={"lambda_1": 1.0}).iterations(
            1.0, 1.0
        )
    claim = judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and "nothing was removed" in claim.reason


def test_a_sparsity_that_was_set_by_hand_shows_nothing(make_run) -> None:
    run = _further(make_run, 0.2)
    for seed in SEEDS:
        folder = run.folder.parent / f"a{seed}" / "results.jsonl"
        rows = [json.loads(line) | {"sparsity": 0.8} for line in folder.read_text().splitlines()]
        folder.write_text("".join(json.dumps(row) + "\n" for row in rows))
    claim = judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_COMPARABLE and "was set by hand (0.8)" in claim.reason


def test_every_strength_is_judged_and_none_is_chosen(make_run) -> None:
    run = _further(make_run, 0.3)
    for seed in SEEDS:
        make_run(f"c{seed}", seed=seed, pipeline_config={"lambda_1": 9.0}).iterations(0.6, 0.9)
    found = [
        claim
        for claim in CLAIMS.judge(P2Evidence(load_jobs(run.folder.parent), REPORTED))
        if "Sparse" in claim.claim
    ]
    assert [(claim.model, claim.status) for claim in found] == [
        ("FDNN (lambda_1=1.0)", HELD),
        ("FDNN (lambda_1=9.0)", NOT_HELD),
    ]


def test_one_side_alone_measures_nothing(make_run) -> None:
    run = make_run("a", pipeline_config={"lambda_1": 1.0}).iterations(0.7)
    claim = judged(run, "Sparse regularisation", "FDNN")
    assert claim.status == NOT_MEASURED and "without sparse regularisation" in claim.numbers


def test_an_interrupted_pruning_says_nothing_about_its_end(make_run) -> None:
    make_run("a", pipeline_config={"lambda_1": 0.0}).iterations(0.7, 0.45).status("interrupted")
    run = make_run("b", pipeline_config={"lambda_1": 1.0}).iterations(0.6, 0.3)
    assert judged(run, "Sparse regularisation", "FDNN").status == NOT_MEASURED


FURTHER = (
    "Sparse regularisation lets pruning go further (fewer parameters left after the last "
    "iteration)"
)


AS_CLAIMED = "the whole interval over seeds is as claimed"


def test_everything_that_a_comparison_of_prunings_lacks_is_told() -> None:
    one = Side(
        "one",
        (given_job("a", {"sparsity": 0.5}, **{"pipeline.lambda_1": 1, "pipeline.lambda_2": 2}),),
        0.5,
    )
    alike = Side(
        "other", (given_job("b", **{"pipeline.lambda_1": 0, "pipeline.lambda_2": 0}),), 0.4
    )
    assert lacks(one, alike) == ("the sparsity of one was set by hand (0.5)",)
    config = {"training.epochs": 1, "task.loss": "l1", "pipeline.alpha": 0.1}
    other = Side(
        "other",
        (
            given_job(
                "b", {"sparsity": 0.25}, scale="demo; width 64", seed=1, pipeline="p3", **config
            ),
        ),
        0.0,
    )
    assert lacks(one, other) == (
        "the pipelines differ (p2 | p3)",
        "the runs with and without were made at different scales",
        "the sparsity of one was set by hand (0.5)",
        "the sparsity of other was set by hand (0.25)",
        "the settings differ (pipeline.alpha none | 0.1, task.loss none | l1, training.epochs "
        "none | 1)",
        "the seeds differ (one: 0 | other: 1)",
        "nothing was removed from other",
    )


def test_pruning_further_in_words(make_run) -> None:
    for seed in SEEDS:
        make_run(f"a{seed}", seed=seed, pipeline_config={"lambda_1": 0.0}).iterations(
            0.7, 0.45, 0.4 + 0.02 * seed
        )
        run = make_run(f"b{seed}", seed=seed, pipeline_config={"lambda_1": 1.0}).iterations(
            0.6, 0.3
        )
    numbers = (
        "FDNN with: 30.0 ± 0.0 % left after 2 iterations; FDNN without: 42.0 ± 2.0 % left after "
        "3 iterations"
    )
    assert judged(run, "Sparse regularisation", "FDNN") == Claim(
        FURTHER, "FDNN", HELD, numbers, "Figure 2, curves without numbers", 3, SCALE, AS_CLAIMED
    )


def test_different_lengths_of_pruning_are_told(make_run) -> None:
    make_run("a", pipeline_config={"lambda_1": 0.0}).iterations(0.7, 0.45)
    make_run("b", pipeline_config={"lambda_1": 1.0}).iterations(0.6, 0.3)
    run = make_run("c", pipeline_config={"lambda_1": 1.0}, seed=1).iterations(0.6)
    claim = judged(run, "Sparse regularisation", "FDNN")
    assert (
        claim.numbers
        == "FDNN with: 45.0 ± 21.2 % left after 1 or 2 iterations; FDNN without: 45.0 % left "
        "after 2 iterations"
    )
    assert (
        claim.reason == "the seeds differ (FDNN with: 0, 1 | FDNN without: 0)" and claim.seeds == 1
    )


def test_structured_pruning_is_no_evidence_of_pruning_further(make_run) -> None:
    make_run("a", pipeline="p2_structured", pipeline_config={"lambda_1": 0.0}).iterations(0.7)
    run = make_run("b", pipeline_config={"lambda_1": 1.0}).iterations(0.6)
    claim = judged(run, "Sparse regularisation", "FDNN")
    assert (
        claim.numbers == "no pruning without sparse regularisation was finished"
        and claim.published.startswith("Figure 2")
    )
    run = make_run("c", "lstm", pipeline_config={"lambda_1": 0.0}).iterations(0.6)
    assert (
        judged(run, "Sparse", "LSTM").numbers
        == "no pruning with sparse regularisation was finished"
    )

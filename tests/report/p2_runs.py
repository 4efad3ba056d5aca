"""Runs and judgements of Tan & Wang's claims, for the tests of their report."""

from __future__ import annotations

from pathlib import Path

from fake_runs import SCALE

from audioprune.report.claims import Claim
from audioprune.report.papers.p2.paper import PAPER
from audioprune.report.papers.p2.rows import P2Evidence
from audioprune.report.published import read_reported
from audioprune.report.runs.job import Job, load_jobs

REPORTED = read_reported(None, "p2")
CLAIMS = PAPER.claims
SEEDS = (0, 1, 2)


def judged(run, words: str, model: str) -> Claim:
    found = [
        claim
        for claim in CLAIMS.judge(P2Evidence(load_jobs(run.folder.parent), REPORTED))
        if words in claim.claim and claim.model.startswith(model)
    ]
    assert len(found) == 1
    return found[0]


def given_job(
    name: str, *rows, scale: str = SCALE, seed: int = 0, pipeline: str = "p2", **config
) -> Job:
    found = tuple(
        {"kind": "iteration", "iteration": number, **row} for number, row in enumerate(rows)
    )
    return Job(
        Path(name), name, seed=seed, scale=scale, rows=found, config=config, pipeline=pipeline
    )


def pruning_runs(make_run):
    for strength in (0.0, 2.0):
        for seed in (0, 1):
            run = make_run(
                f"l{strength}-{seed}", seed=seed, pipeline_config={"lambda_1": strength}
            ).scores("mixture", 0.5, 1.4)
            run.scores("uncompressed", 0.7, 2.0).iterations(
                0.8 - 0.02 * seed, 0.6 - 0.1 * strength
            )
            for place in range(2):
                run.scores("pruned", 0.68 - 0.1 * place, 1.9, step=f"compress/{place}/score")
    make_run("broken", seed=9, pipeline_config={"lambda_1": 2.0}).status("failed", "x")
    return load_jobs(run.folder.parent)

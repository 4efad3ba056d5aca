"""Parameters left per pruning iteration: lines, means and names."""

from __future__ import annotations

import pytest

from audioprune.report.figures.remaining import remaining_lines
from audioprune.report.papers.p2.rows import is_regularised
from audioprune.report.runs.entry import Value
from audioprune.report.runs.job import load_jobs


def _pruning_runs(make_run):
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


def test_parameters_left_per_iteration(make_run) -> None:
    jobs = _pruning_runs(make_run)
    assert [is_regularised(job) for job in jobs if job.seed == 0] == [False, True]
    (line,) = remaining_lines([job for job in jobs if not is_regularised(job)])
    assert line.name == "FDNN" and [x for x, _ in line.points] == [0, 1, 2]
    assert line.points[0][1] == Value(1.0, None, 2)
    assert line.points[1][1].mean == pytest.approx(0.79) and line.points[1][
        1
    ].std == pytest.approx(0.02 / 2**0.5)
    assert [line.name for line in remaining_lines(jobs)] == [
        "FDNN (lambda_1=0.0)",
        "FDNN (lambda_1=2.0)",
    ]

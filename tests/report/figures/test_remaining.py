"""Parameters left per pruning iteration: lines, means and names."""

from __future__ import annotations

import pytest
from p2_runs import pruning_runs

from audioprune.report.figures.remaining import remaining_lines
from audioprune.report.papers.p2.rows import is_regularised
from audioprune.report.runs.entry import Value


def test_parameters_left_per_iteration(make_run) -> None:
    jobs = pruning_runs(make_run)
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

"""Means with their intervals against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from audioprune.errors import ConfigError
from audioprune.metrics.estimate import Estimate, estimate


def test_interval_by_hand() -> None:
    # 2, 4, 6: mean 4, sd sqrt((4 + 0 + 4) / 2) = 2; t(0.975, 2) = 4.302653; half = 4.302653 * 2 /
    # sqrt(3) = 4.968275.
    found = estimate([2, 4, 6])
    assert (found.n, found.mean, found.sd) == (3, 4.0, 2.0)
    assert found.low == pytest.approx(4 - 4.968275, abs=1e-5) and found.high == pytest.approx(
        4 + 4.968275, abs=1e-5
    )


def test_small_samples_have_no_interval() -> None:
    assert estimate([]) == Estimate(0)
    assert estimate([42.0]) == Estimate(1, 42.0)
    same = estimate([5.0, 5.0])
    assert (same.low, same.high, same.sd) == (5.0, 5.0, 0.0)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_level_is_checked(level: float) -> None:
    with pytest.raises(ConfigError) as caught:
        estimate([1.0, 2.0], level)
    assert (
        str(caught.value)
        == f"expected an interval level above 0 and below 1, got {level}; use for instance 0.95"
    )

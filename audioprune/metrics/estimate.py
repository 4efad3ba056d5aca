"""How sure a mean is: ``estimate`` gives mean, standard deviation and confidence interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from audioprune.errors import ConfigError


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty; what a sample is too small for is None.

    Attributes:
        n: Size of the sample.
        mean: Mean; None of an empty sample.
        sd: Standard deviation with n - 1 in the denominator; None below two values, as are both
            bounds.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def estimate(values: Iterable[float], level: float = 0.95) -> Estimate:
    """Return mean, standard deviation and confidence interval of a sample.

    The interval is mean +- t * sd / sqrt(n), with Student's t of n - 1 degrees of freedom.

    Args:
        values: Independent values.
        level: Coverage of the interval, above 0 and below 1.

    Raises:
        ConfigError: ``level`` is out of its range.
    """
    if not 0 < level < 1:
        raise ConfigError(
            f"expected an interval level above 0 and below 1, got {level}; use for instance 0.95"
        )
    sample = np.asarray(list(values), np.float64)
    n = len(sample)
    if n == 0:
        return Estimate(0)
    mean = float(sample.mean())
    if n == 1:
        return Estimate(1, mean)
    sd = float(sample.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)

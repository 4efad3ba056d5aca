"""Which scores exist and how one is asked for.

``METRICS`` names them, ``measure`` scores one pair of signals, ``scorer.Scorer`` many. A new one
is added as ``contract.Metric`` says. Nothing here imports torch, so that scoring processes start
fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from audioprune.errors import ConfigError, unknown_name
from audioprune.metrics.contract import Metric, MetricError
from audioprune.metrics.spectral import SPECTRAL_METRICS
from audioprune.metrics.speech import SPEECH_METRICS, rate_refusal

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "Metric",
    "MetricError",
    "Score",
    "check_metrics",
    "measure",
    "rate_refusal",
]

METRICS: dict[str, Metric] = {**SPEECH_METRICS, **SPECTRAL_METRICS}
LOWER_IS_BETTER = frozenset({"lsd", "lsd_below_4khz", "lsd_above_4khz", "mr_stft", "l1"})
"""Metrics that are distances; of all others a larger value is better."""


@dataclass(frozen=True)
class Score:
    """One score of one pair of signals.

    Attributes:
        value: The score, always finite; None if there is none.
        reason: Why there is none; empty if there is one.
    """

    value: float | None
    reason: str = ""


def check_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Return metric names as a tuple.

    Raises:
        ConfigError: There is none, one is unknown, or one is named twice.
    """
    names = tuple(names)
    for name in names:
        if name not in METRICS:
            raise ConfigError(unknown_name("metric", name, METRICS))
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"expected one or more different metrics, got {list(names)}; known: "
            f"{', '.join(METRICS)}"
        )
    return names


def measure(name: str, reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> Score:
    """Score one pair of signals by one metric; without a value there is a reason.

    Args:
        name: A key of METRICS.
        reference: Clean samples, shape (T,).
        estimate: Samples to score, shape (T,).
        sample_rate: Sample rate of both in Hz.

    Raises:
        ConfigError: The name is unknown.
    """
    check_metrics([name])
    try:
        return Score(METRICS[name](reference, estimate, sample_rate))
    except MetricError as error:
        return Score(None, str(error))

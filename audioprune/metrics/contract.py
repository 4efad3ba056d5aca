"""What a metric is, and the checks that every metric makes before it scores.

``Metric`` is the contract, ``MetricError`` the refusal, ``checked_pair`` the checks that all
share. Nothing here imports torch.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np

from audioprune.errors import DataError

SILENCE_RMS = 1e-6


class MetricError(DataError):
    """One pair of signals cannot be scored by one metric; the message is the reason."""


@runtime_checkable
class Metric(Protocol):
    """A score of one recording against its clean reference.

    A metric is a function with this signature, named in ``audioprune.metrics.METRICS``. To add
    one:

    1. Write the function in speech.py, spectral.py or a module of your own, and begin it with
       ``checked_pair``. What it cannot score it refuses by ``MetricError``, whose message becomes
       the reason in tables; it never returns NaN or infinity.
    2. Give it a name in SPEECH_METRICS or SPECTRAL_METRICS; then every configuration that takes
       metrics takes it too.
    3. Where a smaller value is better, name it in LOWER_IS_BETTER.
    4. Where it takes longer than a few milliseconds, name it with its library in
       ``scorer.SLOW_METRICS``: then it runs in processes of its own and its scores are cached.
    """

    def __call__(self, reference: np.ndarray, estimate: np.ndarray, sample_rate: int, /) -> float:
        """Score one pair of signals.

        Args:
            reference: Clean samples, shape (T,).
            estimate: Samples to score, shape (T,).
            sample_rate: Sample rate of both in Hz.

        Returns:
            A finite score.

        Raises:
            MetricError: The pair cannot be scored.
        """
        ...


def checked_pair(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    shortest_s: float = 0.0,
    silent_estimate: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return both signals as float64 after the checks that every metric needs.

    Args:
        reference: Clean samples, shape (T,).
        estimate: Samples to score, shape (T,).
        sample_rate: Sample rate of both in Hz.
        shortest_s: Least duration in seconds.
        silent_estimate: Whether the metric is defined on a silent estimate.

    Raises:
        MetricError: The shapes differ or are not (T,), a sample is NaN or infinite, a signal is
            shorter than ``shortest_s``, or silent: a root mean square of at most 1e-6, which
            level-aligning metrics would amplify into a score.
    """
    reference, estimate = (
        np.asarray(reference, dtype=np.float64),
        np.asarray(estimate, dtype=np.float64),
    )
    if reference.ndim != 1 or estimate.ndim != 1:
        raise MetricError(
            f"expected two signals (T,), got shapes {reference.shape} and {estimate.shape}; "
            f"score one channel at a time"
        )
    if len(reference) != len(estimate):
        raise MetricError(
            f"expected equal lengths, got {len(reference)} and {len(estimate)} samples; cut or "
            f"pad one of them"
        )
    if sample_rate <= 0:
        raise MetricError(f"expected a positive sample rate, got {sample_rate}; give it in Hz")
    if len(reference) < max(1, shortest_s * sample_rate):
        raise MetricError(
            f"expected at least {shortest_s:g} s, got {len(reference) / sample_rate:.3g} s"
        )
    for name, signal, may_be_silent in (
        ("reference", reference, False),
        ("estimate", estimate, silent_estimate),
    ):
        power = float(np.mean(signal * signal))  # finite of finite samples, but of huge ones
        if not math.isfinite(power) and not np.isfinite(signal).all():
            raise MetricError(f"the {name} holds NaN or infinite samples")
        if not may_be_silent and math.sqrt(power) <= SILENCE_RMS:
            raise MetricError(f"the {name} is silent")
    return reference, estimate

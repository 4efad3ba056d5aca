"""How late one recording is against another of the same sound: ``measure_lag``.

It takes samples (T,) and finds the lag by cross-correlation. Whether a delay is an error, or is
cut off, is decided by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate

from audioprune.errors import DataError

_MOST_S = 30
"""Of longer recordings only this much of the begin is compared, in seconds."""
_ALIGNED_S = 1e-4


@dataclass(frozen=True)
class Lag:
    """Where two recordings fit best.

    Attributes:
        samples: How many samples the second one is late; negative when it is early.
        correlation: Normalised correlation there, -1..1; near 0 the recordings have nothing in
            common.
    """

    samples: int
    correlation: float


def aligned_within(sample_rate: int) -> int:
    """Return the largest lag in samples, 0.1 ms, of recordings that count as aligned.

    The high-pass filters of speech codecs such as Opus turn the phase of low notes, which moves
    the best fit by 0.05 ms although nothing is late.
    """
    return round(_ALIGNED_S * sample_rate)


def measure_lag(reference: np.ndarray, other: np.ndarray, sample_rate: int) -> Lag:
    """Return how late a recording is against a reference.

    Args:
        reference: Samples, shape (T,).
        other: Samples of the same sound, shape (U,), U need not be T.
        sample_rate: Of both, in Hz.

    Raises:
        DataError: One of them is empty or silent.
    """
    most = _MOST_S * sample_rate
    first, second = reference[:most].astype(np.float64), other[:most].astype(np.float64)
    power = np.sqrt(np.square(first).sum() * np.square(second).sum())
    if not power > 0:
        raise DataError(
            f"expected sound in both recordings to align them, got {len(first)} and "
            f"{len(second)} silent samples; take others"
        )
    # The products for all lags from 1 - T to U - 1.
    products = correlate(second, first, mode="full", method="fft")
    best = int(np.argmax(products))
    return Lag(best - (len(first) - 1), float(products[best] / power))

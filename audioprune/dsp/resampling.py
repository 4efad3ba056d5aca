"""How a recording gets a wished sample rate, and one channel, in numpy and without a gradient."""

from __future__ import annotations

import numpy as np
import soxr

from audioprune.errors import ConfigError, DataError


def resample(signal: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Change the sample rate with soxr at its "VHQ" quality.

    The filter has linear phase and no delay; aliasing stays below 16-bit noise.

    Args:
        signal: Samples, shape (T,) or (C, T), float32 or float64.
        from_rate: Sample rate of the signal in Hz.
        to_rate: Wanted sample rate in Hz; the signal itself is returned if it is the same.

    Returns:
        Samples of the same dtype, T * to_rate / from_rate of them, rounded to the nearest whole
        number.

    Raises:
        ConfigError: A rate is not positive.
        DataError: The signal has more than two axes.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ConfigError(
            f"expected positive sample rates, got {from_rate} and {to_rate} Hz; give both in Hz"
        )
    if signal.ndim not in (1, 2):
        raise DataError(
            f"expected a signal (T,) or (C, T), got {signal.shape}; take one recording at a time"
        )
    if from_rate == to_rate:
        return signal
    return np.ascontiguousarray(soxr.resample(signal.T, from_rate, to_rate, quality="VHQ").T)


def mixdown(channels: np.ndarray) -> np.ndarray:
    """Average channels (C, T) to one (T,); a mono signal (T,) is returned as it is.

    Channels in antiphase cancel.

    Raises:
        DataError: The signal has more than two axes.
    """
    if channels.ndim not in (1, 2):
        raise DataError(f"expected channels (C, T), got {channels.shape}; channels come first")
    return channels if channels.ndim == 1 else channels.mean(axis=0)

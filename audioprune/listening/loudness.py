"""How loud a signal is to a listener: ``loudness_lufs``, gated and K-weighted.

It takes samples (T,) at 48 kHz. The conditions of a listening test are aligned by it. The
unweighted level of frames, a feature of models, is dsp.loudness_db.
"""

from __future__ import annotations

import math

import numpy as np

from audioprune.errors import ConfigError, DataError

SAMPLE_RATE = 48000
"""The only rate for which the recommendation lists the filters."""
_SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
_BLOCK_S, _HOP_S = 0.4, 0.1
_ABSOLUTE_LUFS, _RELATIVE_LU = -70.0, -10.0
_OFFSET = -0.691


def loudness_lufs(signal: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the integrated loudness of a mono signal in LUFS.

    It is minus infinity where every block is below the absolute gate. A full-scale sine of 997 Hz
    has -3.01 LUFS. Signals shorter than one block of 0.4 s count as one block.

    Args:
        signal: Samples, shape (T,), full scale 1.0.
        sample_rate: 48000 Hz.

    Raises:
        ConfigError: The rate is another.
        DataError: The signal is empty, not mono or not finite.

    Source: ITU-R BS.1770-5, annex 1: K-weighting, blocks of 0.4 s every 0.1 s, gates at -70 LUFS
    and 10 LU below the mean.
    """
    if sample_rate != SAMPLE_RATE:
        raise ConfigError(
            f"expected {SAMPLE_RATE} Hz, for which the filters are defined, got {sample_rate} "
            f"Hz; resample the signal first"
        )
    if signal.ndim != 1 or len(signal) == 0 or not np.isfinite(signal).all():
        raise DataError(
            f"expected finite mono samples (T,) with T >= 1, got shape {signal.shape}; check "
            f"the recording"
        )
    power = _block_powers(k_weighted(signal))
    # The first gate is absolute, the second one relative to what passes the first.
    loud = power[_lufs(power) > _ABSOLUTE_LUFS]
    if len(loud) == 0:
        return -math.inf
    kept = loud[_lufs(loud) > float(_lufs(loud.mean())) + _RELATIVE_LU]
    return float(_lufs(kept.mean()))


def k_weighted(signal: np.ndarray) -> np.ndarray:
    """Return a signal of 48 kHz after the K-weighting: the shelf of the head, then a high-pass."""
    from scipy.signal import lfilter  # slow to import, and reports without clips do without

    return lfilter(*_HIGH_PASS, lfilter(*_SHELF, signal.astype(np.float64)))


def _block_powers(weighted: np.ndarray) -> np.ndarray:
    """Return the mean squares of overlapping blocks of 0.4 s, by differences of running sums."""
    block, hop = round(_BLOCK_S * SAMPLE_RATE), round(_HOP_S * SAMPLE_RATE)
    if len(weighted) < block:
        return np.array([np.square(weighted).mean()])
    sums = np.concatenate([[0.0], np.cumsum(np.square(weighted))])
    starts = np.arange(0, len(weighted) - block + 1, hop)
    return (sums[starts + block] - sums[starts]) / block


def _lufs(power: np.ndarray) -> np.ndarray:
    return _OFFSET + 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny))

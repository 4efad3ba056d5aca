"""Which pitch a note has: ``pitch_hz``, from the autocorrelation of its loudest half second.

It takes samples (T,) and answers None for noise and silence. It is shown beside clips of notes,
and is no metric.
"""

from __future__ import annotations

import numpy as np

_LOWEST_HZ, _HIGHEST_HZ = 40.0, 2000.0
_SECONDS = 0.5
_LEAST = 0.5  # of the correlation with itself; speech and noise have less
_NEAR = 0.9  # of the best peak: the first that is so high is the period, not a multiple of it


def pitch_hz(signal: np.ndarray, sample_rate: int) -> float | None:
    """Return the pitch of a signal in Hz, or None where it has none.

    Args:
        signal: Samples, shape (T,).
        sample_rate: In Hz.
    """
    part = _loudest(signal, round(_SECONDS * sample_rate))
    shortest, longest = int(sample_rate / _HIGHEST_HZ), int(sample_rate / _LOWEST_HZ)
    if len(part) < 3 * shortest or not np.any(part):
        return None
    longest = min(longest, len(part) // 2)
    correlation = _normalised(part, longest + 2)
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner >= correlation[:-2]) & (inner > correlation[2:])) + 1
    peaks = peaks[peaks >= shortest]
    if len(peaks) == 0 or correlation[peaks].max() < _LEAST:
        return None
    lag = peaks[correlation[peaks] >= _NEAR * correlation[peaks].max()][0]
    return sample_rate / (lag + _vertex(*correlation[lag - 1 : lag + 2]))


def _loudest(signal: np.ndarray, count: int) -> np.ndarray:
    """Return the loudest part of a length, without its mean."""
    if len(signal) > count:
        sums = np.concatenate([[0.0], np.cumsum(np.square(signal))])
        start = int(np.argmax(sums[count:] - sums[:-count]))
        signal = signal[start : start + count]
    return signal - signal.mean() if len(signal) else signal


def _normalised(part: np.ndarray, lags: int) -> np.ndarray:
    """Return the correlation of a signal with itself at lags from 0, (lags,), 1 for equal ones."""
    size = 2 ** int(np.ceil(np.log2(len(part) + lags)))
    found = np.fft.irfft(np.abs(np.fft.rfft(part, size)) ** 2)[:lags]
    sums = np.concatenate([[0.0], np.cumsum(np.square(part))])
    ends = len(part) - np.arange(lags)
    energies = np.sqrt(sums[ends] * (sums[-1] - sums[np.arange(lags)]))
    return found / np.maximum(energies, 1e-12)


def _vertex(before: float, at: float, after: float) -> float:
    """Return where the parabola through three neighbours has its vertex, from the middle one."""
    bend = before - 2 * at + after
    return 0.0 if bend == 0 else 0.5 * (before - after) / bend

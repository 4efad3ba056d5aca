"""The compiled loops of intelligibility scores: resampling, frames, bands, and their correlations.

Signals are float64 (T,), bands have the shape (bands, N) of N frames. intelligibility.py, the only
caller, says what the results mean. Importing this file imports numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audioprune.compiled import compiled

Values = NDArray[np.float64]
Spectra = NDArray[np.complex128]
Places = NDArray[np.int64]
EPS = np.finfo(np.float64).eps
TINY = np.finfo(np.float64).tiny
_SUMS = {"reassoc", "contract"}  # sums in any order


@compiled(fastmath=_SUMS)
def resampled(padded: Values, taps: Values, up: int, down: int, count: int) -> Values:
    """Return ``count`` samples of a signal at up / down times its rate.

    Args:
        padded: Samples with zeros around them; output 0 reads them from the first one on.
        taps: The filter of each phase, shape (up, width), for ascending samples.
        up: Factor of the rate.
        down: Divisor of the rate.
        count: Samples to return.
    """
    width = taps.shape[1]
    made = np.empty(count, np.float64)
    first = phase = 0  # output m reads from sample m * down // up on; phase is the remainder
    for place in range(count):
        part, row = padded[first : first + width], taps[phase]
        total = 0.0
        for i in range(width):
            total += row[i] * part[i]
        made[place] = total
        first, phase = first + down // up, phase + down % up
        if phase >= up:
            first, phase = first + 1, phase - up
    return made


@compiled(fastmath=_SUMS)
def frame_powers(signal: Values, window: Values, hop: int) -> Values:
    """Return the power of each windowed frame; one that ends with the signal is left out."""
    size = window.size
    count = max(0, (signal.size - size + hop - 1) // hop)
    powers = np.empty(count, np.float64)
    for place in range(count):
        part = signal[place * hop : place * hop + size]
        total = 0.0
        for i in range(size):
            total += (window[i] * part[i]) ** 2
        powers[place] = total
    return powers


@compiled(fastmath=_SUMS)
def joined_frames(signal: Values, window: Values, starts: Places) -> Values:
    """Return windowed frames (K - 1, 2 L) of what the K frames at these places are joined to.

    The frames are windowed and overlap by half, L samples, once they are joined; the last one
    begins no other.
    """
    half = window.size // 2
    made = np.empty((starts.size - 1, 2 * half), np.float64)
    for place in range(starts.size - 1):
        before, now = starts[max(0, place - 1)], starts[place]
        behind, own = signal[before + half : before + 2 * half], signal[now : now + 2 * half]
        after = signal[starts[place + 1] : starts[place + 1] + half]
        ending = 1.0 if place else 0.0
        for i in range(half):
            joined = ending * (window[half + i] * behind[i]) + window[i] * own[i]
            made[place, i] = window[i] * joined
            joined = window[half + i] * own[half + i] + window[i] * after[i]
            made[place, half + i] = window[half + i] * joined
    return made


@compiled(fastmath=_SUMS)
def band_magnitudes(spectra: Spectra, edges: Places) -> Values:
    """Return the root of the power between each two edges, shape (edges - 1, N).

    Args:
        spectra: Spectra of N frames, shape (N, F).
        edges: First bin of each band, and the bin behind the last band.
    """
    made = np.empty((edges.size - 1, spectra.shape[0]), np.float64)
    parts, lowest = spectra.view(np.float64), edges[0]  # real and imaginary parts take turns
    power = np.empty(edges[-1] - lowest, np.float64)
    for place in range(spectra.shape[0]):
        spectrum = parts[place]
        for i in range(power.size):
            real, imaginary = spectrum[2 * (lowest + i)], spectrum[2 * (lowest + i) + 1]
            power[i] = real * real + imaginary * imaginary
        for band in range(edges.size - 1):
            total = 0.0
            for i in range(edges[band] - lowest, edges[band + 1] - lowest):
                total += power[i]
            made[band, place] = np.sqrt(total)
    return made


@compiled(fastmath=_SUMS)
def clipped_correlations(clean: Values, other: Values, length: int, most: float) -> float:
    """Return the sum of the correlations of all segments of ``length`` frames of two band arrays.

    Each segment of ``other`` is brought to the norm of the clean one, and cut off at ``most``
    times the clean value.
    """
    bands, frames = clean.shape
    cut = np.empty(length, np.float64)
    total = 0.0
    for band in range(bands):
        for first in range(frames - length + 1):
            clean_power = other_power = clean_sum = 0.0
            for i in range(length):
                clean_power += clean[band, first + i] * clean[band, first + i]
                other_power += other[band, first + i] * other[band, first + i]
                clean_sum += clean[band, first + i]
            factor = np.sqrt(clean_power) / (np.sqrt(other_power) + EPS)
            cut_sum = 0.0
            for i in range(length):
                cut[i] = min(other[band, first + i] * factor, clean[band, first + i] * most)
                cut_sum += cut[i]
            clean_mean, cut_mean = clean_sum / length, cut_sum / length
            both = clean_power = cut_power = 0.0
            for i in range(length):
                one, two = clean[band, first + i] - clean_mean, cut[i] - cut_mean
                both += one * two
                clean_power += one * one
                cut_power += two * two
            total += both / ((np.sqrt(clean_power) + EPS) * (np.sqrt(cut_power) + EPS))
    return total


@compiled(fastmath=_SUMS)
def unit_correlations(clean: Values, other: Values, length: int) -> float:
    """Return the sum of the correlations of all segments of which rows, then columns are units.

    A row or column is a unit when it has zero mean and unit norm. The inner loops run over frames
    and become vector instructions.
    """
    bands, frames = clean.shape
    one, two = np.empty((bands, length)), np.empty((bands, length))
    one_mean, two_mean = np.empty(length), np.empty(length)
    one_whole, two_whole = np.empty(length), np.empty(length)
    one_power, two_power, both = np.empty(length), np.empty(length), np.empty(length)
    total = 0.0
    for first in range(frames - length + 1):
        _unit_rows(clean, first, one, one_mean, one_whole)
        _unit_rows(other, first, two, two_mean, two_whole)
        for i in range(length):
            one_power[i] = two_power[i] = both[i] = 0.0
        for band in range(bands):
            for i in range(length):
                left, right = one[band, i] - one_mean[i], two[band, i] - two_mean[i]
                one_power[i] += left * left
                two_power[i] += right * right
                both[i] += left * right
        for i in range(length):
            total += both[i] / (
                _norm(one_power[i], one_whole[i]) * _norm(two_power[i], two_whole[i])
            )
    return total


@compiled(fastmath=_SUMS)
def _unit_rows(values: Values, first: int, unit: Values, mean: Values, whole: Values) -> None:
    """Write the segment that begins at a frame with rows as units.

    Written too are the mean of each column and the sum of its squares.
    """
    bands, length = unit.shape
    for i in range(length):
        mean[i] = whole[i] = 0.0
    for band in range(bands):
        total = squares = power = 0.0
        for i in range(length):
            value = values[band, first + i]
            total += value
            squares += value * value
        middle = total / length
        for i in range(length):
            value = values[band, first + i] - middle
            unit[band, i] = value
            power += value * value
        scale = 1 / _norm(power, squares)
        for i in range(length):
            value = unit[band, i] * scale
            unit[band, i] = value
            mean[i] += value
            whole[i] += value * value
    for i in range(length):
        mean[i] /= bands


@compiled(fastmath=_SUMS)
def _norm(power: float, whole: float) -> float:
    """Return the norm of what has this power without its mean, and ``whole`` with it."""
    # What is constant up to rounding becomes almost zero, not amplified rounding.
    return float(np.sqrt(power) + 1e3 * EPS * np.sqrt(whole) + TINY)

"""The compiled search for the scale of a uniform grid that has the least squared error.

``best_scale`` is exact: it looks at every way in which a scale can round the values, but for
ranges of scales that a bound excludes. uniform.py, the only caller, says what a grid is. Importing
this file imports numba.

With integer codes k the error of scale s is |w - s k|^2, and of the best scale for these codes,
with A = sum k w and B = sum k^2, it is |w|^2 - A^2 / B. Codes change only where a value lies
half-way between two grid points, so that the best of all A^2 / B over these finitely many events
is the best over all scales.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audioprune.compiled import compiled

Floats = NDArray[np.float64]
_LEAF = 2048  # events of a range of scales that are sorted at once
_FIRST = 48  # scales that are tried first, so that bounds exclude much


@compiled()
def _side(values: Floats, sums: Floats, most: int, scale: float) -> tuple[float, float]:
    """Return sum k w and sum k^2 of one sign's sorted magnitudes with codes of 0..most."""
    first, second = 0.0, 0.0
    for m in range(1, most + 1):
        place = np.searchsorted(values, (m - 0.5) * scale, side="left")
        if place == values.size:
            break
        first += sums[values.size] - sums[place]
        second += (2 * m - 1) * (values.size - place)
    return first, second


@compiled()
def _events(values: Floats, most: int, low: float, high: float) -> int:
    """Count the scales from ``low`` to below ``high`` at which a code changes."""
    count = 0
    for m in range(1, most + 1):
        begin = np.searchsorted(values, (m - 0.5) * low, side="left")
        if begin == values.size:
            break
        count += int(np.searchsorted(values, (m - 0.5) * high, side="left") - begin)
    return count


@compiled()
def _fill(
    values: Floats,
    most: int,
    low: float,
    high: float,
    at: int,
    scales: Floats,
    firsts: Floats,
    seconds: Floats,
) -> int:
    """Write the events of one side from place ``at`` on; return the place behind them."""
    for m in range(1, most + 1):
        begin = np.searchsorted(values, (m - 0.5) * low, side="left")
        if begin == values.size:
            break
        end = np.searchsorted(values, (m - 0.5) * high, side="left")
        for i in range(begin, end):
            scales[at], firsts[at], seconds[at] = values[i] / (m - 0.5), values[i], 2 * m - 1
            at += 1
    return at


@compiled()
def _sweep(
    up: Floats,
    down: Floats,
    most_up: int,
    most_down: int,
    low: float,
    high: float,
    first: float,
    second: float,
    count: int,
) -> tuple[float, float]:
    """Return the best A^2 / B and its scale A / B of a range, from A and B at its upper end."""
    scales, firsts, seconds = np.empty(count), np.empty(count), np.empty(count)
    at = _fill(up, most_up, low, high, 0, scales, firsts, seconds)
    _fill(down, most_down, low, high, at, scales, firsts, seconds)
    gain, scale = 0.0, 0.0
    if second > 0.0:
        gain, scale = first * first / second, first / second
    for i in np.argsort(-scales, kind="mergesort"):
        first += firsts[i]
        second += seconds[i]
        if first * first > gain * second:
            gain, scale = first * first / second, first / second
    return gain, scale


@compiled()
def _clipped(values: Floats, most: int, scale: float) -> float:
    """Return the squared error of what lies above the last grid point."""
    total = 0.0
    for i in range(np.searchsorted(values, most * scale, side="right"), values.size):
        total += (values[i] - most * scale) ** 2
    return total


@compiled()
def best_scale(up: Floats, down: Floats, most_up: int, most_down: int) -> tuple[float, float]:
    """Return the scale of least squared error, and this error.

    Args:
        up: Sorted values above zero, float64.
        down: Sorted magnitudes of the values below zero, float64.
        most_up: Largest code of a value above zero, from 0 on.
        most_down: Largest magnitude of the code of a value below zero, from 0 on.

    Returns:
        Scale and error; a scale of 0 where every value is zero or has no code but 0.
    """
    up_sums, down_sums = np.zeros(up.size + 1), np.zeros(down.size + 1)
    up_sums[1:], down_sums[1:] = np.cumsum(up), np.cumsum(down)
    square = (up * up).sum() + (down * down).sum()
    low, high = math.inf, 0.0
    if most_up > 0 and up.size:
        low, high = min(low, up[0] / (most_up - 0.5)), max(high, 2.0 * up[-1])
    if most_down > 0 and down.size:
        low, high = min(low, down[0] / (most_down - 0.5)), max(high, 2.0 * down[-1])
    if high == 0.0:
        return 0.0, square
    low, high = low * (1 - 1e-12), high * (1 + 1e-12)
    gain, scale = 0.0, 0.0
    for i in range(_FIRST):
        tried = 0.5 * high * 0.85**i
        first, second = _side(up, up_sums, most_up, tried)
        others = _side(down, down_sums, most_down, tried)
        first, second = first + others[0], second + others[1]
        if second > 0.0 and first * first > gain * second:
            gain, scale = first * first / second, first / second
    stack = np.empty((256, 2))
    stack[0, 0], stack[0, 1] = low, high
    depth = 1
    while depth:
        depth -= 1
        low, high = stack[depth]
        count = _events(up, most_up, low, high) + _events(down, most_down, low, high)
        middle = math.sqrt(low * high)
        if count <= _LEAF or not low < middle < high:
            first, second = _side(up, up_sums, most_up, high)
            others = _side(down, down_sums, most_down, high)
            found = _sweep(
                up,
                down,
                most_up,
                most_down,
                low,
                high,
                first + others[0],
                second + others[1],
                count,
            )
            if found[0] > gain:
                gain, scale = found
            continue
        # What no scale of the range can undercut: the clipped part at its upper end, and the
        # distance at its middle less what moving all grid points can gain.
        least = square - gain
        if _clipped(up, most_up, high) + _clipped(down, most_down, high) >= least:
            continue
        first, second = _side(up, up_sums, most_up, middle)
        others = _side(down, down_sums, most_down, middle)
        first, second = first + others[0], second + others[1]
        away = math.sqrt(max(0.0, square - 2 * middle * first + middle * middle * second))
        codes = math.sqrt(
            _side(up, up_sums, most_up, low)[1] + _side(down, down_sums, most_down, low)[1]
        )
        bound = away - (high - middle) * codes
        if bound > 0.0 and bound * bound >= least:
            continue
        stack[depth, 0], stack[depth, 1] = low, middle
        stack[depth + 1, 0], stack[depth + 1, 1] = middle, high
        depth += 2
    return scale, max(0.0, square - gain)

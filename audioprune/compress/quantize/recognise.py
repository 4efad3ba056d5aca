"""Whether a tensor already lies on a uniform grid, seen in its values alone: ``grid_of``.

What was rounded in memory has no record of its scales; they are found again exactly, because the
values of a channel are whole multiples of one number. Nothing is rounded here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.compress.quantize.contract import Channels
from audioprune.compress.quantize.uniform import LEAST_BITS, MOST_BITS, Grid, channel_rows

_MANTISSA = 24  # bits of a float32
_APART = 16  # octaves that a value of 8 bits and its step may lie apart, with room


def grid_of(weight: Tensor, channels: Channels, keep: Tensor) -> Grid | None:
    """Return the grid of 2 to 8 bits that holds exactly these weights, or None.

    Scales are the largest possible ones, so that a channel may use fewer codes than the grid that
    it was rounded to.

    Args:
        weight: float32 tensor; its zeros lie on every grid.
        channels: Which weights share a scale.
        keep: Which weights are coded; the others are zero.
    """
    if weight.dtype != torch.float32 or 2 * channels.count > int(keep.sum()):
        return None  # with so many scales every tensor is a grid
    scales, reach = [], []
    for row in channel_rows(weight.detach().cpu(), channels):
        scale = _scale_of(row[row != 0])
        if scale is None:
            return None
        scales.append(scale)
        reach.append((round(-min(row.min(), 0) / scale), round(max(row.max(), 0) / scale)))
    steps, zeros = _codes(reach)
    if steps > 2**MOST_BITS:
        return None
    grid = Grid(
        scales=torch.tensor(scales, dtype=torch.float32),
        zeros=torch.tensor(zeros, dtype=torch.uint8),
        steps=steps,
        axis=channels.axis,
        codes=torch.empty(0, dtype=torch.uint8),
    ).recoded(weight.cpu(), keep.cpu())
    return grid if torch.equal(grid.restore(keep.cpu()), weight.detach().cpu()) else None


def _scale_of(values: NDArray[np.float32]) -> float | None:
    """Return the greatest number that all values are whole multiples of, at most 255, or None."""
    sizes = np.unique(np.abs(values))
    if not sizes.size:
        return 1.0
    if not np.isfinite(sizes).all() or sizes.size >= 2**MOST_BITS:
        return None
    mantissas, exponents = np.frexp(sizes.astype(np.float64))
    least = int(exponents.min())
    if int(exponents.max()) - least > _APART:
        return None
    whole = [
        int(mantissa * 2**_MANTISSA) << (int(exponent) - least)
        for mantissa, exponent in zip(mantissas, exponents, strict=True)
    ]
    common = math.gcd(*whole)
    if whole[-1] // common >= 2**MOST_BITS:
        return None
    return math.ldexp(common, least - _MANTISSA)


def _codes(reach: list[tuple[int, int]]) -> tuple[int, list[int]]:
    """Return how many codes reach so far below and above zero, and each channel's zero point."""
    most = max((max(pair) for pair in reach), default=0)
    span = max((sum(pair) for pair in reach), default=0)
    even = max(LEAST_BITS, 1 + most.bit_length())
    shifted = max(LEAST_BITS, span.bit_length())
    if even <= shifted:
        steps = 2**even - 1
        return steps, [steps // 2] * len(reach)
    return 2**shifted, [below for below, _ in reach]

"""How a uniform grid becomes symbols: ``write_grid`` and ``read_grid``.

Axis and number of the scales come first, then the scales byte by byte, zero points where the grid
is not symmetric, and the codes. Codes are written as steps from zero, so that channels with other
zero points have the same statistics. Where the coded weights lie is written in positions.py.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from audioprune.compress.quantize.uniform import LEAST_BITS, MOST_BITS, Grid, beside
from audioprune.packing.codes import read_codes, write_codes
from audioprune.packing.entropy import BadStream, Reader, Writer, read_symbols, write_symbols

STEPS = frozenset(
    count - symmetric
    for count in (2**bits for bits in range(LEAST_BITS, MOST_BITS + 1))
    for symmetric in (0, 1)
)
"""Numbers of codes that a grid may have; odd ones are symmetric."""
_MOST_SCALES = 1 << 24
_BYTES = 4

Bools = NDArray[np.bool_]


def write_grid(writer: Writer, grid: Grid, keep: Bools) -> None:
    """Append a grid.

    The reader knows the number of codes and which weights are coded.

    Args:
        writer: The stream.
        grid: Codes of the coded weights, scales and zero points.
        keep: Mask with as many true positions as there are codes.
    """
    scales, zeros = grid.scales.cpu().numpy(), grid.zeros.cpu().numpy()
    writer.uniform(np.array([grid.axis]), max(1, keep.ndim))
    writer.uniform(np.array([scales.size - 1]), _most_scales(keep.shape, grid.axis))
    planes = np.ascontiguousarray(scales, "<f4").view(np.uint8).reshape(scales.size, _BYTES)
    for plane in planes.T:
        write_symbols(writer, plane, 256)
    if not grid.symmetric:
        write_symbols(writer, zeros, grid.steps)
    middle = grid.steps // 2
    zero = _spread(zeros, keep.shape, grid.axis)[keep]
    steps = (grid.codes.cpu().numpy().astype(np.int64) - zero + middle) % grid.steps
    magnitudes = np.arange(grid.steps, dtype=np.float32) - np.float32(middle)
    write_codes(writer, steps.astype(np.uint8), keep, magnitudes)


def read_grid(reader: Reader, steps: int, keep: Bools) -> Grid:
    """Return the grid that ``write_grid`` appended.

    Args:
        reader: The stream.
        steps: Number of codes, one of ``STEPS``.
        keep: Which weights are coded.

    Raises:
        BadStream: Its fields are none that ``write_grid`` writes.
    """
    axis = int(reader.uniform(1, max(1, keep.ndim))[0])
    count = 1 + int(reader.uniform(1, _most_scales(keep.shape, axis))[0])
    if _length(keep.shape, axis) % count:
        raise BadStream(f"{count} scales for an axis of {_length(keep.shape, axis)}")
    planes = np.stack([read_symbols(reader, count, 256) for _ in range(_BYTES)], axis=1)
    scales = np.ascontiguousarray(planes.astype(np.uint8)).view("<f4").reshape(count)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise BadStream("a scale is not above zero")
    middle = steps // 2
    zeros = np.full(count, middle, np.uint8)
    if steps % 2 == 0:
        zeros = read_symbols(reader, count, steps).astype(np.uint8)
    zero = _spread(zeros, keep.shape, axis)[keep]
    codes = (read_codes(reader, keep, steps).astype(np.int64) - middle + zero) % steps
    return Grid(
        scales=torch.from_numpy(scales.astype(np.float32)),
        zeros=torch.from_numpy(zeros),
        steps=steps,
        axis=axis,
        codes=torch.from_numpy(codes.astype(np.uint8)),
    )


def _length(shape: tuple[int, ...], axis: int) -> int:
    return shape[axis] if shape else 1


def _most_scales(shape: tuple[int, ...], axis: int) -> int:
    return min(max(1, _length(shape, axis)), _MOST_SCALES - 1)


def _spread(zeros: NDArray[np.uint8], shape: tuple[int, ...], axis: int) -> NDArray[np.int64]:
    """Return the zero point of every weight, in the shape of the tensor."""
    wide = beside(torch.from_numpy(zeros.astype(np.int64)), shape, axis)
    return np.broadcast_to(wide.numpy(), shape)

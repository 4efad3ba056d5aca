"""Which shared value each kept weight has, in few bytes: ``write_codes`` and ``read_codes``.

Training gives the rows and columns of a tensor different scales. They are sorted into classes of
similar mean magnitude, and each pair of classes has its own frequency table. Where the kept
weights lie is written in positions.py.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from audioprune.packing.classes import (
    Classes,
    Labels,
    as_matrix,
    cluster_labels,
    flat,
    read_classes,
    write_classes,
)
from audioprune.packing.entropy import Reader, Writer, estimated_bits, read_symbols, write_symbols

_FINEST = 8
_MIN_CODES = 1024

Bools = NDArray[np.bool_]
Codes = NDArray[np.unsignedinteger]


def write_codes(writer: Writer, codes: Codes, keep: Bools, centroids: NDArray[np.float32]) -> None:
    """Append the codes of the kept weights in row-major order.

    The reader knows the mask and the number of centroids.

    Args:
        writer: The stream.
        codes: Integers of 0..K-1, shape (S,).
        keep: Mask with S true positions.
        centroids: The K values that the codes stand for; their magnitudes serve to find the
            classes.
    """
    if codes.size == 0 or centroids.size == 1:
        return
    classes = _best(codes, keep, centroids)
    write_classes(writer, classes, keep.ndim)
    if not classes.split:
        write_symbols(writer, codes, centroids.size)
        return
    spread = np.zeros(keep.shape, codes.dtype)
    spread[keep] = codes
    for (_, _, block), (_, _, kept) in zip(classes.take(spread), classes.take(keep), strict=True):
        write_symbols(writer, block[kept], centroids.size)


def read_codes(reader: Reader, keep: Bools, levels: int) -> Codes:
    """Return the codes that ``write_codes`` appended: uint8 (uint16 for K > 256), shape (S,)."""
    count = int(np.count_nonzero(keep))
    dtype = np.uint8 if levels <= 256 else np.uint16
    if count == 0 or levels <= 1:
        return np.zeros(count, dtype)
    classes = read_classes(reader, keep.shape)
    if not classes.split:
        return read_symbols(reader, count, levels).astype(dtype)
    kept_blocks = classes.take(keep)
    spread = np.zeros(keep.shape, dtype)

    def block_of(_row: int, _column: int, shape: tuple[int, int]) -> Codes:
        kept = next(kept_blocks)[2]
        block = np.zeros(shape, dtype)
        block[kept] = read_symbols(reader, int(np.count_nonzero(kept)), levels)
        return block

    classes.put(spread, block_of)
    return spread[keep]


def _best(codes: Codes, keep: Bools, centroids: NDArray[np.float32]) -> Classes:
    """Return the classes of least estimated bits."""
    choices = [(_bits(codes, centroids.size), flat(keep.size))]
    if codes.size >= _MIN_CODES and keep.ndim > 1:
        magnitude = np.zeros(keep.shape, np.float32)
        magnitude[keep] = np.abs(centroids)[codes]
        for split in range(1, keep.ndim):
            matrices = as_matrix(keep, split), as_matrix(magnitude, split)
            choices += _by_classes(codes, *matrices, split, centroids.size)
    return min(choices, key=lambda choice: choice[0])[1]


def _by_classes(
    codes: Codes, keep: Bools, magnitude: NDArray[np.float32], split: int, alphabet: int
) -> list[tuple[float, Classes]]:
    """Return estimated bits and classes of one matrix view, for all pairs of class counts.

    Coarser classes join neighbouring finer ones, so that one count of the finest serves all.
    """
    if min(keep.shape) < 2:
        return []
    rows, columns = (cluster_labels(_scale(magnitude, keep, axis), _FINEST) for axis in (1, 0))
    row, column = rows[1].astype(np.uint8), columns[1].astype(np.uint8)
    cell = (row[:, None] * np.uint8(_FINEST) + column[None, :])[keep]
    cells = _FINEST * _FINEST
    counts = np.bincount(cell.astype(np.int64) * alphabet + codes, minlength=cells * alphabet)
    choices = []
    for row_labels, column_labels in product(_coarser(rows), _coarser(columns)):
        n, m = row_labels[0], column_labels[0]
        if n * m == 1:
            continue
        # Axes: row class, finest rows in it, column class, finest columns in it, code.
        split_counts = counts.reshape(n, _FINEST // n, m, _FINEST // m, alphabet)
        merged = split_counts.sum(axis=(1, 3)).reshape(-1, alphabet)
        side = _bits(row_labels[1], n) + _bits(column_labels[1], m)
        bits = side + float(estimated_bits(merged).sum())
        choices.append((bits, Classes(split, row_labels, column_labels)))
    return choices


def _bits(symbols: NDArray[np.integer], alphabet: int) -> float:
    """Return about how many bits one sequence of symbols takes."""
    return float(estimated_bits(np.bincount(symbols, minlength=alphabet)[None])[0])


def _coarser(labels: Labels) -> list[Labels]:
    """Return the labels with 1, 2, 4, ... classes."""
    return [(count, labels[1] // (_FINEST // count)) for count in (1, 2, 4, 8)]


def _scale(magnitude: NDArray[np.float32], keep: Bools, axis: int) -> NDArray[np.float64]:
    """Return the logarithm of the mean kept magnitude of each row (axis 1) or column (axis 0)."""
    kept = np.maximum(np.count_nonzero(keep, axis=axis), 1)
    mean = magnitude.sum(axis=axis, dtype=np.float64) / kept
    scale: NDArray[np.float64] = np.log(mean + 1e-6 * mean.max() + np.finfo(np.float32).tiny)
    return scale

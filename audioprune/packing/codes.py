"""Which shared value each kept weight has, in few bytes: frequencies of the codes by classes of rows and columns.

Training gives the rows and columns of a tensor different scales. They are sorted into classes of
equal mean magnitude, and each pair of classes has its own frequency table. Where the kept weights
lie stands in positions.py.
"""

from __future__ import annotations

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
    """Append the codes of the kept weights in row-major order; the reader knows the mask and the centroids.

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
    choices = [
        (
            float(estimated_bits(np.bincount(codes, minlength=centroids.size)[None])[0]),
            flat(keep.size),
        )
    ]
    if codes.size >= _MIN_CODES and keep.ndim > 1:
        magnitude = np.zeros(keep.shape, np.float32)
        magnitude[keep] = np.abs(centroids)[codes]
        for split in range(1, keep.ndim):
            choices += _by_classes(
                codes, as_matrix(keep, split), as_matrix(magnitude, split), split, centroids.size
            )
    return min(choices, key=lambda choice: choice[0])[1]


def _by_classes(
    codes: Codes, keep: Bools, magnitude: NDArray[np.float32], split: int, alphabet: int
) -> list[tuple[float, Classes]]:
    """Return estimated bits and classes of one matrix view; coarser classes join neighbouring finer ones."""
    if min(keep.shape) < 2:
        return []
    rows, columns = (cluster_labels(_scale(magnitude, keep, axis), _FINEST) for axis in (1, 0))
    cell = (rows[1][:, None] * _FINEST + columns[1][None, :]).astype(np.uint8)[keep]
    counts = np.bincount(
        cell.astype(np.int64) * alphabet + codes, minlength=_FINEST * _FINEST * alphabet
    )
    counts = counts.reshape(_FINEST, _FINEST, alphabet)
    choices = []
    for row_labels in _coarser(rows):
        for column_labels in _coarser(columns):
            if row_labels[0] * column_labels[0] > 1:
                shape = (
                    row_labels[0],
                    _FINEST // row_labels[0],
                    column_labels[0],
                    _FINEST // column_labels[0],
                    alphabet,
                )
                merged = counts.reshape(shape).sum(axis=(1, 3)).reshape(-1, alphabet)
                side = sum(
                    float(estimated_bits(np.bincount(n[1], minlength=n[0])[None])[0])
                    for n in (row_labels, column_labels)
                )
                choices.append(
                    (
                        side + float(estimated_bits(merged).sum()),
                        Classes(split, row_labels, column_labels),
                    )
                )
    return choices


def _coarser(labels: Labels) -> list[Labels]:
    """Return the labels with 1, 2, 4, ... classes."""
    return [(count, labels[1] // (_FINEST // count)) for count in (1, 2, 4, 8)]


def _scale(magnitude: NDArray[np.float32], keep: Bools, axis: int) -> NDArray[np.float64]:
    """Return the logarithm of the mean magnitude of the kept weights of each row (axis 1) or column (axis 0)."""
    mean = magnitude.sum(axis=axis, dtype=np.float64) / np.maximum(
        np.count_nonzero(keep, axis=axis), 1
    )
    return np.log(mean + 1e-6 * mean.max() + np.finfo(np.float32).tiny)

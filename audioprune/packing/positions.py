"""Where the kept weights of a tensor lie, in few bytes: ``write_positions``, ``read_positions``.

Pruning empties some rows and columns of a tensor more than others. They are sorted into classes of
similar density, and each pair of classes has its own probability. The values of the kept weights
are written in codes.py and tensors.py.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from audioprune.packing.classes import (
    COUNTS,
    Classes,
    Labels,
    as_matrix,
    cluster_labels,
    flat,
    read_classes,
    write_classes,
)
from audioprune.packing.entropy import Reader, Writer, estimated_bits, read_symbols, write_symbols

_LEVELS = 256
_MIN_WEIGHTS = 256

Bools = NDArray[np.bool_]
Numbers = NDArray[np.integer] | NDArray[np.floating]


def write_positions(writer: Writer, keep: Bools) -> None:
    """Append a mask of any shape; the reader knows the shape.

    The classes (which axes form the rows, how many classes) are those of least bits, side
    information included.
    """
    if keep.size == 0:
        return
    classes, levels = _best(keep)
    write_classes(writer, classes, keep.ndim)
    write_symbols(writer, levels.reshape(-1), _LEVELS)
    for row_class, column_class, block in classes.take(keep):
        writer.table(np.packbits(block), _byte_weights(int(levels[row_class, column_class])))


def read_positions(reader: Reader, shape: tuple[int, ...]) -> Bools:
    """Return the mask that ``write_positions`` appended; the caller has bounded the size."""
    keep = np.zeros(shape, bool)
    if keep.size == 0:
        return keep
    classes = read_classes(reader, shape)
    levels = read_symbols(reader, classes.rows[0] * classes.columns[0], _LEVELS)
    levels = levels.reshape(classes.cells)

    def block_of(row_class: int, column_class: int, shape: tuple[int, int]) -> Bools:
        count = shape[0] * shape[1]
        weights = _byte_weights(int(levels[row_class, column_class]))
        packed = reader.table((count + 7) // 8, weights).astype(np.uint8)
        return np.unpackbits(packed, count=count).view(bool).reshape(shape)

    classes.put(keep, block_of)
    return keep


def _best(keep: Bools) -> tuple[Classes, NDArray[np.int64]]:
    """Return the classes of least bits and the density level of each pair of classes."""
    kept, size = np.array([[np.count_nonzero(keep)]]), np.array([[keep.size]])
    level = _level(kept, size)
    choices = [(float(_cost(level, kept, size).sum()) + 8, flat(keep.size), level)]
    if keep.size >= _MIN_WEIGHTS and 0 < kept < keep.size:
        for split in range(1, keep.ndim):
            choices += _by_classes(as_matrix(keep, split), split)
    return min(choices, key=lambda choice: choice[0])[1:]


def _by_classes(matrix: Bools, split: int) -> list[tuple[float, Classes, NDArray[np.int64]]]:
    """Return estimated bits, classes and levels of one matrix view, for all class counts."""
    if min(matrix.shape) < 2:
        return []
    # Counts by products, which are exact in float32 below 2^24.
    whole, (height, width) = matrix.astype(np.float32), matrix.shape
    kept = (whole @ np.ones(width, np.float32), np.ones(height, np.float32) @ whole)
    rows = _class_choices(kept[0].astype(np.float64) / width)
    columns = _class_choices(kept[1].astype(np.float64) / height)
    # Kept weights of each row by column class: one product for all class counts.
    indicators = np.concatenate([_indicator(labels) for labels, _ in columns], axis=1)
    ones = (whole @ indicators).astype(np.float64)
    choices = []
    for row_labels, row_bits in rows:
        by_row = _indicator(row_labels).astype(np.float64)
        table, start = by_row.T @ ones, 0
        for column_labels, column_bits in columns:
            counts = table[:, start : start + column_labels[0]]
            start += column_labels[0]
            members = np.bincount(column_labels[1], minlength=column_labels[0])
            sizes = np.outer(by_row.sum(axis=0), members)
            levels = _level(counts, sizes)
            side = row_bits + column_bits + 8 * levels.size
            bits = side + float(_cost(levels, counts, sizes).sum())
            choices.append((bits, Classes(split, row_labels, column_labels), levels))
    return choices


def _class_choices(densities: NDArray[np.floating]) -> list[tuple[Labels, float]]:
    """Return labels and their estimated bits for each number of classes.

    The arcsin of the square root makes equal errors of the density cost alike.
    """
    angles = np.arcsin(np.sqrt(densities))
    choices = []
    for count in COUNTS:
        labels = cluster_labels(angles, count)
        counts = np.bincount(labels[1], minlength=count)
        choices.append((labels, float(estimated_bits(counts[None])[0])))
        if labels[1].max() < count - 1:
            break
    return choices


def _indicator(labels: Labels) -> NDArray[np.float32]:
    return np.eye(labels[0], dtype=np.float32)[labels[1]]


def _level(ones: Numbers, sizes: Numbers) -> NDArray[np.int64]:
    """Return the level of 0..255 whose probability is nearest to ones / sizes.

    Levels are even in the square root of the rarer share.
    """
    share = ones / np.maximum(sizes, 1)
    x = np.where(share < 0.5, 512 * np.sqrt(share / 2), 512 - 512 * np.sqrt((1 - share) / 2))
    levels: NDArray[np.int64] = np.clip(np.rint((x - 1) / 2), 0, _LEVELS - 1).astype(np.int64)
    return levels


def _numerator(level: int) -> int:
    """Return the probability of a kept weight at a level, as a numerator over 2^17."""
    odd = 2 * level + 1
    return odd * odd if level < _LEVELS // 2 else (1 << 17) - (512 - odd) ** 2


@cache
def _numerators() -> NDArray[np.int64]:
    return np.array([_numerator(level) for level in range(_LEVELS)])


def _cost(levels: NDArray[np.int64], ones: Numbers, sizes: Numbers) -> NDArray[np.float64]:
    """Return the bits that each block costs at its level."""
    share = _numerators()[levels] / (1 << 17)
    removed = sizes - ones
    return np.asarray(-ones * np.log2(share) - removed * np.log2(1 - share), np.float64)


@lru_cache(maxsize=_LEVELS)
def _byte_weights(level: int) -> NDArray[np.int64]:
    """Return the integer weight of each byte of eight independent positions."""
    kept = _numerator(level)
    removed = (1 << 17) - kept
    by_count = [(kept**count * removed ** (8 - count)) >> 98 for count in range(9)]
    return np.array([by_count[byte.bit_count()] for byte in range(256)], dtype=np.int64)

"""Where the kept weights of a tensor lie, in few bytes: a static model of the mask by classes of rows and columns.

Pruning empties some rows and columns of a tensor more than others. Rows and columns are sorted into a few density classes, which
are sent, and each pair of classes has its own probability. What the kept weights are worth stands in tensors.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from audioprune.compress.kmeans import kmeans_1d
from audioprune.packing.entropy import Reader, Writer, read_symbols, write_symbols

CLASSES = (1, 2, 4, 8, 16, 32)
_LEVELS = 256
_MIN_WEIGHTS = 256

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Layout:
    """A tensor seen as a matrix, with a class for each row and column.

    Attributes:
        split: Number of leading axes that form the rows; 0 is one single row.
        rows: Number of row classes and the class of each row.
        columns: The same for the columns.
        levels: Density level of each pair of classes, (row classes, column classes).
        bits: Estimated length of everything.
    """

    split: int
    rows: tuple[int, NDArray[np.integer]]
    columns: tuple[int, NDArray[np.integer]]
    levels: NDArray[np.integer]
    bits: float


def write_positions(writer: Writer, keep: Bools) -> None:
    """Append a mask of any shape; the reader knows the shape.

    The layout (which axes form the rows, how many classes) is the one of least bits, side information included.
    """
    if keep.size == 0:
        return
    layout = min(_layouts(keep), key=lambda layout: layout.bits)
    writer.uniform(np.array([layout.split]), max(1, keep.ndim))
    if layout.split:
        writer.uniform(np.array([CLASSES.index(layout.rows[0]), CLASSES.index(layout.columns[0])]), len(CLASSES))
        write_symbols(writer, layout.rows[1], layout.rows[0])
        write_symbols(writer, layout.columns[1], layout.columns[0])
    write_symbols(writer, layout.levels.reshape(-1), _LEVELS)
    matrix = _matrix(keep, layout.split)
    groups = _members(*layout.columns)
    for row_class, members in enumerate(_members(*layout.rows)):
        band = matrix[members]
        for column_class, columns in enumerate(groups):
            block = band[:, columns] if len(groups) > 1 else band
            writer.table(np.packbits(block), _byte_weights(int(layout.levels[row_class, column_class])))


def read_positions(reader: Reader, shape: tuple[int, ...]) -> Bools:
    """Return the mask that ``write_positions`` appended.

    Args:
        reader: The stream.
        shape: Shape of the mask; the caller has bounded its size.
    """
    keep = np.zeros(shape, bool)
    if keep.size == 0:
        return keep
    split = int(reader.uniform(1, max(1, keep.ndim))[0])
    matrix = _matrix(keep, split)
    rows, columns = (1, np.zeros(matrix.shape[0], np.int32)), (1, np.zeros(matrix.shape[1], np.int32))
    if split:
        row_classes, column_classes = (CLASSES[index] for index in reader.uniform(2, len(CLASSES)))
        rows = (row_classes, read_symbols(reader, matrix.shape[0], row_classes))
        columns = (column_classes, read_symbols(reader, matrix.shape[1], column_classes))
    levels = read_symbols(reader, rows[0] * columns[0], _LEVELS).reshape(rows[0], columns[0])
    groups = _members(*columns)
    for row_class, members in enumerate(_members(*rows)):
        band = np.empty((members.size, matrix.shape[1]), bool) if len(groups) > 1 else None
        for column_class, picked in enumerate(groups):
            count = members.size * picked.size
            symbols = reader.table((count + 7) // 8, _byte_weights(int(levels[row_class, column_class])))
            block = np.unpackbits(symbols.astype(np.uint8), count=count).view(bool).reshape(members.size, picked.size)
            if band is None:
                matrix[members] = block
            else:
                band[:, picked] = block
        if band is not None:
            matrix[members] = band
    return keep


def _matrix(keep: Bools, split: int) -> Bools:
    """View a contiguous mask as (product of the first axes, product of the others)."""
    return keep.reshape(int(np.prod(keep.shape[:split], dtype=np.int64)), -1)


def _members(classes: int, labels: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Return the positions of each class."""
    if classes == 1:
        return [np.arange(labels.size)]
    return [np.flatnonzero(labels == label) for label in range(classes)]


def _layouts(keep: Bools) -> list[_Layout]:
    """Return the candidate layouts, the plain one (a single probability) first."""
    kept = int(keep.sum())
    level = _level(np.array([[kept]]), np.array([[keep.size]]))
    plain = float(_cost(level, np.array([[kept]]), np.array([[keep.size]])).sum()) + 8
    layouts = [_Layout(0, (1, np.zeros(1, np.int64)), (1, np.zeros(keep.size, np.int64)), level, plain)]
    if keep.size >= _MIN_WEIGHTS and 0 < kept < keep.size:
        for split in range(1, keep.ndim):
            layouts += _by_classes(_matrix(keep, split), split)
    return layouts


def _by_classes(matrix: Bools, split: int) -> list[_Layout]:
    """Return the layouts of one matrix view for all pairs of class counts; all counts come from one product."""
    if min(matrix.shape) < 2:
        return []
    rows = _class_choices(matrix.mean(axis=1))
    columns = _class_choices(matrix.mean(axis=0))
    indicator = np.concatenate([np.eye(count, dtype=np.float32)[labels] for count, labels, _ in columns], axis=1)
    ones = (matrix.astype(np.float32) @ indicator).astype(np.float64)  # exact: counts stay below 2^24 in one row
    layouts = []
    for row_count, row_labels, row_bits in rows:
        row_indicator = np.eye(row_count)[row_labels]
        table, start = row_indicator.T @ ones, 0
        for column_count, column_labels, column_bits in columns:
            counts = table[:, start : start + column_count]
            sizes = np.outer(row_indicator.sum(axis=0), np.bincount(column_labels, minlength=column_count))
            start += column_count
            levels = _level(counts, sizes)
            side = Writer()
            write_symbols(side, levels.reshape(-1), _LEVELS)
            bits = row_bits + column_bits + side.bits + float(_cost(levels, counts, sizes).sum())
            layouts.append(_Layout(split, (row_count, row_labels), (column_count, column_labels), levels, bits))
    return layouts


def _class_choices(densities: NDArray[np.floating]) -> list[tuple[int, NDArray[np.int64], float]]:
    """Return for each number of classes the labels and their cost in bits; classes are clusters of arcsin sqrt density."""
    angles = np.arcsin(np.sqrt(densities)).astype(np.float32)
    choices = []
    for count in CLASSES:
        labels = kmeans_1d(angles, count)[1].astype(np.int64)
        side = Writer()
        write_symbols(side, labels, count)
        choices.append((count, labels, side.bits))
        if labels.max() < count - 1:
            break
    return choices


def _level(ones: NDArray[np.integer], sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the level of 0..255 whose probability is nearest to ones / sizes, evenly spaced in its variance."""
    share = ones / np.maximum(sizes, 1)
    x = np.where(share < 0.5, 512 * np.sqrt(share / 2), 512 - 512 * np.sqrt((1 - share) / 2))
    return np.clip(np.rint((x - 1) / 2), 0, _LEVELS - 1).astype(np.int64)


def _numerator(level: int) -> int:
    """Return the probability of a kept weight at a level, as a numerator over 2^17."""
    odd = 2 * level + 1
    return odd * odd if level < _LEVELS // 2 else (1 << 17) - (512 - odd) ** 2


def _cost(levels: NDArray[np.integer], ones: NDArray[np.integer], sizes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the bits that each block costs at its level."""
    share = np.array([_numerator(level) for level in range(_LEVELS)])[levels] / (1 << 17)
    return -ones * np.log2(share) - (sizes - ones) * np.log2(1 - share)


@lru_cache(maxsize=_LEVELS)
def _byte_weights(level: int) -> NDArray[np.int64]:
    """Return the integer weight of each byte of eight independent positions."""
    kept = _numerator(level)
    removed = (1 << 17) - kept
    by_count = [(kept**count * removed ** (8 - count)) >> 98 for count in range(9)]
    return np.array([by_count[byte.bit_count()] for byte in range(256)], dtype=np.int64)

"""How the rows and columns of a tensor fall into a few classes: ``Classes``, written and read.

They are side information, so that each pair of classes has statistics of its own. What is
predicted from them is decided in positions.py and codes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioprune.compress.quantize.kmeans import kmeans_1d
from audioprune.packing.entropy import Reader, Writer, read_symbols, write_symbols

COUNTS = (1, 2, 4, 8, 16, 32)

Labels = tuple[int, NDArray[np.integer]]


@dataclass(frozen=True)
class Classes:
    """A tensor seen as a matrix, with a class for each row and each column.

    Attributes:
        split: Number of leading axes that form the rows; 0 is one single row and no classes.
        rows: Number of row classes, one of ``COUNTS``, and the class of each row.
        columns: The same for the columns.
    """

    split: int
    rows: Labels
    columns: Labels

    @property
    def cells(self) -> tuple[int, int]:
        """Number of row classes and of column classes."""
        return self.rows[0], self.columns[0]

    def matrix(self, array: NDArray[Any]) -> NDArray[Any]:
        """View a contiguous tensor as (product of the first axes, product of the others)."""
        return as_matrix(array, self.split)

    def take(self, array: NDArray[Any]) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield row class, column class and the block of a contiguous tensor that is theirs."""
        matrix = self.matrix(array)
        columns = _members(self.columns)
        for row_class, members in enumerate(_members(self.rows)):
            band = matrix if self.rows[0] == 1 else matrix[members]
            for column_class, picked in enumerate(columns):
                yield row_class, column_class, band if self.columns[0] == 1 else band[:, picked]

    def put(
        self, array: NDArray[Any], block_of: Callable[[int, int, tuple[int, int]], NDArray[Any]]
    ) -> None:
        """Fill a contiguous tensor block by block, in the order of ``take``.

        Args:
            array: The tensor, changed in place.
            block_of: Gets row class, column class and the shape of a block, and returns the block.
        """
        matrix = self.matrix(array)
        columns = _members(self.columns)
        for row_class, members in enumerate(_members(self.rows)):
            band = np.empty((members.size, matrix.shape[1]), matrix.dtype)
            for column_class, picked in enumerate(columns):
                block = block_of(row_class, column_class, (members.size, picked.size))
                if self.columns[0] == 1:
                    band = block
                else:
                    band[:, picked] = block
            matrix[slice(None) if self.rows[0] == 1 else members] = band


def flat(size: int) -> Classes:
    """Return the classes of a tensor that has none."""
    return Classes(0, (1, np.zeros(1, np.int32)), (1, np.zeros(size, np.int32)))


def as_matrix(array: NDArray[Any], split: int) -> NDArray[Any]:
    """View a contiguous tensor with its first ``split`` axes as rows."""
    rows = int(np.prod(array.shape[:split], dtype=np.int64))
    return array.reshape(rows, array.size // max(1, rows))


def cluster_labels(feature: NDArray[np.floating], count: int) -> Labels:
    """Sort rows or columns into ``count`` classes of similar feature, ascending."""
    return count, kmeans_1d(feature.astype(np.float32), count)[1].astype(np.int64)


def write_classes(writer: Writer, classes: Classes, axes: int) -> None:
    """Append the classes of a tensor with so many axes."""
    writer.uniform(np.array([classes.split]), max(1, axes))
    if classes.split:
        writer.uniform(np.array([COUNTS.index(count) for count in classes.cells]), len(COUNTS))
        write_symbols(writer, classes.rows[1], classes.rows[0])
        write_symbols(writer, classes.columns[1], classes.columns[0])


def read_classes(reader: Reader, shape: tuple[int, ...]) -> Classes:
    """Return the classes that ``write_classes`` appended for a tensor of this shape, not empty."""
    split = int(reader.uniform(1, max(1, len(shape)))[0])
    rows = int(np.prod(shape[:split], dtype=np.int64))
    columns = int(np.prod(shape[split:], dtype=np.int64))
    if not split:
        return flat(columns)
    row_count, column_count = (COUNTS[index] for index in reader.uniform(2, len(COUNTS)))
    row_labels = read_symbols(reader, rows, row_count)
    column_labels = read_symbols(reader, columns, column_count)
    return Classes(split, (row_count, row_labels), (column_count, column_labels))


def _members(labels: Labels) -> list[NDArray[np.int64]]:
    """Return the positions of each class; of one class alone only their number is right."""
    if labels[0] == 1:
        return [np.broadcast_to(np.int64(0), labels[1].size)]
    return [np.flatnonzero(labels[1] == label) for label in range(labels[0])]

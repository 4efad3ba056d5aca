"""Which positions of which tensors belong together: ``Atoms``, an equivalence relation.

An atom is one position on one axis of one tensor. Operations say which atoms are one unit
(``unite``), which can never leave (``pin``), and which lie as rows and columns in one longer axis
(``split``, ``merge``). It knows numbers only, no torch; solve.py makes unit sets of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
FIXED = 0  # the atom of all positions that belong to no unit


@dataclass(frozen=True)
class Product:
    """An axis of R * C positions, seen as R rows and C columns.

    A unit is either a row or a column of it; which of the two is chosen in solve.py.

    Attributes:
        rows: Atoms of the rows, shape (R,).
        columns: Atoms of the columns, shape (C,).
        whole: Atoms of the long axis, shape (R, C).
        where: What looks at it so, for a reason.
    """

    rows: Ids
    columns: Ids
    whole: Ids
    where: str


@dataclass(frozen=True)
class Mark:
    """Something that is said of atoms, with its reason and the number of the operation."""

    ids: Ids
    why: str
    at: int = 0


class Atoms:
    """A growing set of atoms and what operations say of them."""

    def __init__(self) -> None:
        self.count = 1
        self.now = 0  # number of the operation that runs
        self.starts: list[int] = []
        self.axes: list[tuple[str, int]] = []
        self.own: dict[tuple[str, int], Ids] = {}
        self.edges: list[tuple[Ids, Ids]] = []
        self.joined_by: list[str] = []  # what made each edge
        self.pins: list[Mark] = []
        self.crossed: list[Mark] = []
        self.summed: list[Mark] = []
        self.products: list[Product] = []
        self.roles: dict[tuple[str, int], set[str]] = {}
        self._seen: set[int] = set()
        self._copies: dict[int, Ids] = {}
        self._split: dict[int, Product] = {}
        self._merged: dict[int, tuple[Product, bool]] = {}

    def fresh(self, length: int) -> Ids:
        """Return new atoms."""
        self.count += length
        return np.arange(self.count - length, self.count, dtype=np.int64)

    def of_tensor(self, name: str, dim: int, length: int) -> Ids:
        """Return new atoms of one axis of a parameter or buffer."""
        self.starts.append(self.count)
        self.axes.append((name, dim))
        self.own[name, dim] = self.fresh(length)
        return self.own[name, dim]

    def unite(self, one: Ids, other: Ids, where: str) -> None:
        """Say that positions of two axes belong to the same units, one by one."""
        if one is other or self._is_known("unite", one, other):
            return
        both = (one != FIXED) & (other != FIXED)
        if both.any():
            self.edges.append((one[both], other[both]))
            self.joined_by.append(where)
        alone = np.concatenate((one[~both], other[~both]))
        if alone.any():
            self.pin(alone, f"{where} joins it with what has no units")

    def pin(self, ids: Ids, why: str) -> None:
        """Say that the units of some atoms can never leave."""
        ids = ids[ids != FIXED]
        if len(ids) and not self._is_known("pin", ids):
            self.pins.append(Mark(ids, why))

    def cross(self, ids: Ids, why: str) -> None:
        """Say that without the units of some atoms the output is not that with zero units."""
        ids = ids[ids != FIXED]
        if len(ids):
            self.crossed.append(Mark(ids, why, self.now))

    def sum(self, ids: Ids) -> None:
        """Say that the units of some atoms are summed without weights."""
        ids = ids[ids != FIXED]
        if len(ids) and not self._is_known("sum", ids):
            self.summed.append(Mark(ids, ""))

    def role(self, ids: Ids, role: str) -> None:
        """Say what the tensors that own some atoms do: write, read or norm."""
        if self._is_known(role, ids):
            return
        numbers = np.searchsorted(self.starts, ids[ids != FIXED], side="right") - 1
        for number in np.unique(numbers):
            self.roles.setdefault(self.axes[number], set()).add(role)

    def copy_of(self, ids: Ids) -> Ids:
        """Return atoms of a tensor that was computed, which belong to the units of ``ids``."""
        key = hash(ids.tobytes())
        if key not in self._copies:
            new = self.fresh(len(ids))
            new[ids == FIXED] = FIXED
            self._copies[key] = new
            self.unite(ids, new, "")
        return self._copies[key]

    def tied_by(self, ids: Ids) -> str:
        """Return what made one unit of all of some atoms; nothing where a choice of rows did."""
        low, high = 0, len(self.edges)
        if not self._is_one(ids, high):
            return ""
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_one(ids, middle) else (middle + 1, high)
        return self.joined_by[low - 1] if low else ""

    def _is_one(self, ids: Ids, count: int) -> bool:
        found = classes(self.count, self.edges[:count])[ids]
        return bool((found == found[0]).all())

    def split(self, ids: Ids, count: int, where: str) -> tuple[Ids | None, Ids | None]:
        """See one axis as rows and columns.

        Args:
            ids: Atoms of the axis.
            count: Number of rows.
            where: What looks at it so.

        Returns:
            Atoms of the rows and of the columns; None where they belong to no unit.
        """
        whole = ids.reshape(count, -1)
        if not whole.any():
            return None, None
        if (whole == whole[:, :1]).all():
            return whole[:, 0].copy(), None
        if (whole == whole[:1]).all():
            return None, whole[0].copy()
        key = hash(ids.tobytes())
        if key not in self._split:
            rows, columns = self.fresh(whole.shape[0]), self.fresh(whole.shape[1])
            self._add(Product(rows, columns, whole.copy(), where), key)
        product = self._split[key]
        known = len(product.rows)
        if known == count:
            return product.rows, product.columns
        # the axis is known as other rows and columns, which are split in turn
        if known % count == 0:
            first, rest = self.split(product.rows, count, where)
            lengths = known // count, len(product.columns)
            return first, self.merge(rest, product.columns, lengths, where)
        if count % known == 0:
            rest, last = self.split(product.columns, count // known, where)
            return self.merge(product.rows, rest, (known, count // known), where), last
        self.pin(ids, f"{where} lays its units out in rows and columns of several lengths")
        return None, None

    def merge(
        self, rows: Ids | None, columns: Ids | None, shape: tuple[int, int], where: str
    ) -> Ids | None:
        """See rows and columns as one axis, row by row."""
        if rows is None and columns is None:
            return None
        if columns is None and rows is not None:
            return np.repeat(rows, shape[1])
        if rows is None and columns is not None:
            return np.tile(columns, shape[0])
        assert rows is not None and columns is not None
        key = hash((rows.tobytes(), columns.tobytes()))
        if key not in self._merged:
            whole = self.fresh(shape[0] * shape[1]).reshape(shape)
            self._add(Product(rows, columns, whole, where), hash(whole.tobytes()))
        product, turned = self._merged[key]
        return (product.whole.T if turned else product.whole).flatten()

    def _add(self, product: Product, key: int) -> None:
        self.products.append(product)
        self._split[key] = product
        rows, columns = product.rows.tobytes(), product.columns.tobytes()
        self._merged[hash((rows, columns))] = (product, False)
        self._merged[hash((columns, rows))] = (product, True)

    def _is_known(self, what: str, *ids: Ids) -> bool:
        key = hash((what, *(each.tobytes() for each in ids)))
        known = key in self._seen
        self._seen.add(key)
        return known


def classes(count: int, edges: Sequence[tuple[Ids, Ids]], start: Ids | None = None) -> Ids:
    """Return for every atom the smallest atom of its unit.

    Args:
        count: Number of atoms.
        edges: Pairs of arrays of atoms that belong together, one by one.
        start: A result with fewer edges, to go on from.
    """
    found = np.arange(count, dtype=np.int64) if start is None else start.copy()
    if not edges:
        return found
    one = np.concatenate([edge[0] for edge in edges])
    other = np.concatenate([edge[1] for edge in edges])
    while True:
        names = found[one], found[other]
        if np.array_equal(*names):
            return found
        # the classes' own atoms sink, and all others with them
        low = np.minimum(*names)
        for each in names:
            np.minimum.at(found, each, low)
        while not np.array_equal(found, found[found]):
            found = found[found]


def reasons_of(found: Ids, marks: Sequence[Mark]) -> Mapping[int, str]:
    """Return the first reason that is given for each class."""
    told: dict[int, str] = {}
    for mark in marks:
        for number in np.unique(found[mark.ids]).tolist():
            told.setdefault(number, mark.why)
    return told

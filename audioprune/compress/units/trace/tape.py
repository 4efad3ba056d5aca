"""What the rules of operations work on: ``Tape``, the labels of all tensors of one traced pass.

record.py fills it, one file of rules per kind of operation changes it, solve.py reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.units.trace.atoms import FIXED, Atoms, Ids, Mark
from audioprune.compress.units.trace.labels import Axis, Flags, Labels

FAILS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a model's own code raises, or a rule, at what it was not written for."""


class Tape:
    """Labels of tensors, and where in the model the pass is.

    Attributes:
        atoms: What is known of the units so far.
        path: Names of the modules that run now, the outermost first.
        operation: Name of the operation that runs now.
        names: ``id`` of a parameter or buffer -> its name.
        used: Names of the parameters and buffers that were read, in order.
        counted: Names of the scales of normalisations that keep counting units that left.
        branches: Why one pass does not show all that the model may do.
        training: Whether the pass is one in training mode, whose outputs prove nothing.
        read: Of every operation the ids of what it read and made, and whether it changed any.
    """

    def __init__(self, names: dict[int, str], counted: frozenset[str]) -> None:
        self.atoms = Atoms()
        self.path: list[str] = []
        self.operation = ""
        self.names = names
        self.counted = counted
        self.used: dict[str, None] = {}
        self.branches: list[str] = []
        self.training = False
        self.kept: list[Any] = []  # what must not be freed while ids count
        self.read: list[tuple[set[int], set[int], bool]] = []
        # the tensors are kept, so that no id is given twice
        self._labels: dict[int, tuple[Tensor, Labels]] = {}

    @property
    def where(self) -> str:
        """The operation that runs now and its module, for a reason."""
        path = self.path[-1] if self.path else ""
        return f"'{self.operation}' in '{path}'" if path else f"'{self.operation}'"

    def get(self, tensor: Tensor) -> Labels:
        """Return the labels of a tensor; none for an input of the model."""
        if id(tensor) in self._labels:
            return self._labels[id(tensor)][1]
        labels = Labels([None] * tensor.dim())
        if id(tensor) in self.names:
            labels = self._of_parameter(tensor, self.names[id(tensor)])
        self._labels[id(tensor)] = (tensor, labels)
        return labels

    def put(self, tensor: Tensor, labels: Labels) -> None:
        """Give a tensor its labels; axes of one position carry none."""
        shape = tensor.shape
        for dim, axis in enumerate(labels.axes):
            if shape[dim] == 1 and axis is not None:
                self.atoms.pin(axis.ids, f"{self.where} leaves one position of it")
                labels.axes[dim] = None
        self._labels[id(tensor)] = (tensor, labels)

    def keep(self, tensor: Tensor) -> None:
        """Hold a tensor without labels."""
        self._labels[id(tensor)] = (tensor, Labels([None] * tensor.dim()))

    def knows(self, tensor: Tensor) -> bool:
        """Tell whether a tensor was labelled or is a parameter or buffer."""
        return id(tensor) in self._labels or id(tensor) in self.names

    def pin_all(self, value: Any, why: str) -> None:
        """Say that no unit on any axis of some tensors can leave."""
        for tensor in held_in(value):
            for axis in self.get(tensor).axes:
                if axis is not None:
                    self.atoms.pin(axis.ids, why)

    def begin(self, name: str) -> None:
        """Count an operation."""
        self.operation = name
        self.atoms.now = len(self.read)

    def end(self, given: Sequence[Tensor], made: Sequence[Tensor], changes: bool) -> None:
        """Note what an operation read and made."""
        self.read.append(({id(each) for each in given}, {id(each) for each in made}, changes))

    def forget_unused(self, outputs: Any) -> None:
        """Forget what was averaged or counted for nothing, such as weights that nobody takes."""
        wanted = {id(tensor) for tensor in held_in(outputs)}
        used = set()
        for number in range(len(self.read) - 1, -1, -1):
            read, made, changes = self.read[number]
            if changes or made & wanted:
                used.add(number)
                wanted |= read
        self.atoms.crossed = [mark for mark in self.atoms.crossed if mark.at in used]

    def pin_everything(self, why: str) -> None:
        """Say that no unit of the model can leave, for a reason before all others."""
        first = [Mark(ids, why) for ids in self.atoms.own.values()]
        self.atoms.pins = first + self.atoms.pins

    def unite(self, one: Axis | None, other: Axis | None) -> Axis | None:
        """Say that two axes hold the same units; an axis without units pins the other one."""
        if one is None or other is None:
            left = one or other
            if left is not None:
                self.atoms.pin(left.ids, f"{self.where} joins it with what has no units")
            return left
        self.atoms.unite(one.ids, other.ids, self.where)
        return one

    def unite_positions(self, ids: Ids, others: Ids) -> None:
        """Say that positions belong to the same units."""
        self.atoms.unite(ids, others, self.where)

    def cross_norm(self, axis: Axis, scale: Tensor | None) -> None:
        """Say that a normalisation averages over units."""
        self.atoms.sum(axis.ids)
        if scale is None or self.names.get(id(scale), "") not in self.counted:
            self.atoms.cross(axis.ids, f"{self.where} counts its units")
        else:
            self.atoms.cross(axis.ids[~axis.zero], f"{self.where} averages constants of its units")

    def write(self, labels: Labels) -> None:
        """Say that parameters become values of the model as they are."""
        for axis in labels.axes if labels.own else ():
            if axis is not None:
                self.atoms.role(axis.ids, "write")

    def counts(self) -> bool:
        """Tell whether a normalisation runs now that keeps counting units that left."""
        path = self.path[-1] if self.path else ""
        return (f"{path}.weight" if path else "weight") in self.counted

    def copy(self, axis: Axis | None) -> Axis | None:
        """Return an axis of a computed tensor with the units of a weight."""
        return None if axis is None else Axis(self.atoms.copy_of(axis.ids), axis.zero)

    def _of_parameter(self, tensor: Tensor, name: str) -> Labels:
        self.used[name] = None
        axes: list[Axis | None] = []
        for dim, length in enumerate(tensor.shape):
            if length < 2:
                axes.append(None)
                continue
            known = self.atoms.own.get((name, dim))
            ids = self.atoms.of_tensor(name, dim, length) if known is None else known
            axes.append(Axis(ids, np.ones(length, dtype=np.bool_)))
        return Labels(axes, own=True)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments or results."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf


def held_in(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """Yield the tensors that a model returns, those in objects of any class too."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and not isinstance(leaf, type | nn.Module):
            yield from held_in(list(getattr(leaf, "__dict__", {}).values()), depth - 1)


def fixed(ids: Ids) -> bool:
    """Tell whether no position of an axis belongs to a unit."""
    return not bool((ids != FIXED).any())


def merge_axes(
    tape: Tape, rows: Axis | None, columns: Axis | None, shape: tuple[int, int]
) -> Axis | None:
    """See two neighbouring axes as one."""
    ids = tape.atoms.merge(
        None if rows is None else rows.ids,
        None if columns is None else columns.ids,
        shape,
        tape.where,
    )
    if ids is None:
        return None
    zero = np.ones(shape, dtype=np.bool_)
    if rows is not None:
        zero &= rows.zero[:, None]
    if columns is not None:
        zero &= columns.zero[None]
    return Axis(ids, zero.flatten())


def split_axis(
    tape: Tape, axis: Axis | None, rows: int, columns: int
) -> tuple[Axis | None, Axis | None]:
    """See one axis as two neighbouring ones."""
    if axis is None:
        return None, None
    first, second = tape.atoms.split(axis.ids, rows, tape.where)
    zero: Flags = axis.zero.reshape(rows, columns)
    return (
        None if first is None else Axis(first, np.all(zero, axis=1)),
        None if second is None else Axis(second, np.all(zero, axis=0)),
    )


def reshape(
    tape: Tape, axes: list[Axis | None], before: torch.Size, after: torch.Size
) -> list[Axis | None]:
    """Return the axes of a tensor that is viewed in another shape."""
    result: list[Axis | None] = [None] * len(after)
    if before.numel() == 0:
        return result
    old = [dim for dim, length in enumerate(before) if length > 1]
    new = [dim for dim, length in enumerate(after) if length > 1]
    while old:
        # the shortest runs of axes that hold equally many positions
        left, right = [old.pop(0)], [new.pop(0)]
        have, want = before[left[0]], after[right[0]]
        while have != want:
            if have < want:
                left.append(old.pop(0))
                have *= before[left[-1]]
            else:
                right.append(new.pop(0))
                want *= after[right[-1]]
        for dim, axis in zip(
            right,
            _regroup(
                tape,
                [axes[dim] for dim in left],
                [before[dim] for dim in left],
                [after[dim] for dim in right],
            ),
            strict=True,
        ):
            result[dim] = axis
    return result


def _regroup(
    tape: Tape, axes: list[Axis | None], before: list[int], after: list[int]
) -> list[Axis | None]:
    """Return the axes of equally many positions in other lengths."""
    borders = sorted({*accumulate(before, mul), *accumulate(after, mul)})
    parts = [right // left for left, right in zip([1, *borders], borders, strict=False)]
    nested = all(right % left == 0 for left, right in zip(borders, borders[1:], strict=False))
    if nested:  # all lengths are made of the parts between two borders
        return _merged(tape, _parted(tape, axes, before, parts), parts, after)
    whole = _merged(tape, axes, before, [prod(before)])
    return _parted(tape, whole, [prod(before)], after)


def _parted(
    tape: Tape, axes: list[Axis | None], lengths: list[int], parts: list[int]
) -> list[Axis | None]:
    """Split each axis into the parts of which its length is made."""
    result: list[Axis | None] = []
    todo = list(parts)
    for axis, length in zip(axes, lengths, strict=True):
        while todo[0] < length:
            part = todo.pop(0)
            length //= part
            first, axis = split_axis(tape, axis, part, length)
            result.append(first)
        todo.pop(0)
        result.append(axis)
    return result


def _merged(
    tape: Tape, axes: list[Axis | None], parts: list[int], lengths: list[int]
) -> list[Axis | None]:
    """Merge neighbouring axes until they have the given lengths."""
    result: list[Axis | None] = []
    todo = list(zip(axes, parts, strict=True))
    for length in lengths:
        axis, have = todo.pop(0)
        while have < length:
            other, part = todo.pop(0)
            axis = merge_axes(tape, axis, other, (have, part))
            have *= part
        result.append(axis)
    return result

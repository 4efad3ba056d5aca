"""What stands for the values of a graph while it becomes C: ``Lowering``; rules call its methods.

A value is an array of floats, a constant tensor or a number. Views are made on empty tensors whose
strides say how to copy. What each operator becomes is in `operators` and `layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from audioprune.export.c.program import Array, Place, Program, refuse
from audioprune.export.c.weights import Layout, stored

Values = dict[fx.Node, Any]
_AXES = 5


@dataclass
class Fold:
    """A normalisation that goes into the layer before it: scale and shift of each output."""

    scale: Tensor
    shift: Tensor


@dataclass
class Lowering:
    """The lowering of one graph.

    Attributes:
        program: What was said so far.
        tensors: What each node holds on the example.
        values: What stands for each node: an array, a constant tensor or a number.
        folds: Normalisations by the layer that they go into.
    """

    program: Program
    tensors: Values
    values: Values
    folds: dict[fx.Node, Fold] = field(default_factory=dict)

    def array(self, node: Any) -> Array:
        """Return the array of a node; a constant is put into ROM."""
        value = self.values[node]
        if isinstance(value, Array):
            return value
        if isinstance(value, Tensor):
            name = self.program.constant(value, _name(node))
            return Array(Place(name, value.numel()), tuple(value.shape))
        return refuse(node, "as a number")

    def weight(
        self,
        node: Any,
        layout: Layout | None = None,
        fold: Fold | None = None,
        transposed: bool = False,
    ) -> str:
        """Return a pointer to a weight that is read through ``ap_weight``.

        Args:
            node: The weight.
            layout: Where its outputs lie.
            fold: What each output is multiplied by.
            transposed: Whether it is a matrix (in, out) instead of (out, in).
        """
        value = self.values[node]
        if not isinstance(value, Tensor):
            return refuse(node, "as a weight that depends on the signal")
        value = value.t() if transposed else value
        made = stored(value, layout or Layout(), None if fold is None else fold.scale)
        return self.program.weight(made, _name(node))

    def plain(self, node: Any, fold: Fold | None = None) -> str:
        """Return the name of a constant, or NULL for none."""
        if node is None:
            return "NULL" if fold is None else self.program.constant(fold.shift, "shift")
        value = self.values[node]
        if not isinstance(value, Tensor):
            return refuse(node, "with a bias that depends on the signal")
        if fold is not None:
            value = value.double() * fold.scale + fold.shift
        return self.program.constant(value, _name(node))

    def shape(self, node: Any) -> tuple[int, ...]:
        """Return the shape of a node."""
        return tuple(self.tensors[node].shape)

    def out(self, node: Any) -> Array:
        """Return a new array for a node."""
        return self.program.new(self.shape(node))

    def copy(self, to: Array, to_view: Tensor, source: Array, view: Tensor) -> None:
        """Say a strided copy; the views tell strides and offsets within both arrays."""
        lists = []
        for tensor in (to_view, view):
            strides = [0] * (_AXES - tensor.dim()) + list(tensor.stride())
            lists.append("(const ptrdiff_t[]){" + ", ".join(map(str, strides)) + "}")
        sizes = [1] * (_AXES - view.dim()) + list(view.shape)
        count = "(const size_t[]){" + ", ".join(map(str, sizes)) + "}"
        begin, first = int(to_view.storage_offset()), int(view.storage_offset())
        pieces = ["ap_copy(", to, f" + {begin}, {lists[0]}, ", source, f" + {first}, {lists[1]}, "]
        self.program.say(*pieces, f"{count});")

    def viewed(self, source: Array, view: Tensor, node: Any = None) -> Array:
        """Return a view of an array: itself where it is contiguous, else a copy."""
        if view.is_contiguous():
            offset = source.offset + int(view.storage_offset())
            return Array(source.place, tuple(view.shape), offset)
        if view.dim() > _AXES:
            return refuse(node, f"over {view.dim()} axes")
        to = self.program.new(view.shape)
        self.copy(to, empty(view.shape), source, view)
        return to

    def turned(self, source: Array, order: list[int], node: Any = None) -> Array:
        """Return an array with its axes in another order."""
        return self.viewed(source, empty(source.shape).permute(order), node)


def two_axes(values: Any, rank: int, alone: int = 1) -> list[int]:
    """Return one number for each of the two axes of a kernel in C.

    Args:
        values: One for all axes, or one each.
        rank: Axes of the operator.
        alone: That of the first axis where the operator has one axis alone.
    """
    each = list(values) if isinstance(values, Sequence) else [values]
    each = each * rank if len(each) == 1 else each
    return [alone, *each] if rank == 1 else each


def sizes_of(numbers: Sequence[int]) -> str:
    """Return the sizes of a convolution or a pooling, in the order of ``ap_conv``."""
    return "&(const ap_conv){" + ", ".join(map(str, numbers)) + "}"


def empty(shape: Any) -> Tensor:
    """Return a tensor without values, whose strides tell how a contiguous array lies."""
    return torch.empty(tuple(shape), device="meta")


def _name(node: Any) -> str:
    return str(node.target if node.op == "get_attr" else node)

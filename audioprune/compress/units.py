"""Which slices of which tensors live or die together: the vocabulary of units.

A unit is a hidden unit, a channel, a filter, a weight group: everything that a criterion scores as one and that a mask,
a trim or a proximal step treats as one. What is done to units stands in masks.py, trim.py and audioprune.optim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Role = Literal["out", "norm", "in"]


@dataclass(frozen=True)
class Slice:
    """The part of one tensor that belongs to the units of a set.

    Attributes:
        tensor: Name of a parameter or buffer of the model, as in ``named_parameters()`` / ``named_buffers()``.
        dim: Axis of that tensor along which the units lie.
        index: Positions on that axis, shape (U, width): row u holds the positions of unit u. All rows are disjoint.
        role: ``"out"`` for what writes the unit (filter rows, gate rows, biases), ``"norm"`` for scale, shift and running
            statistics of the normalisation on the unit, ``"in"`` for what reads it (next layer's columns, a recurrent
            column).
        leading: Number of leading axes that are viewed as one before ``dim`` applies; 1 is the tensor as it is, 2 views a
            convolution weight (O, I, k) as (O*I, k), which expresses kernel groups.
    """

    tensor: str
    dim: int
    index: Tensor
    role: Role = "out"
    leading: int = 1


@dataclass(frozen=True)
class UnitSet:
    """Units of one kind in one place of a model.

    Attributes:
        name: Readable name, unique within a model, such as ``"lstm.0"`` or ``"stage2.stream"``.
        slices: Every slice of every tensor that the units own. A unit is removable only if all of them are listed.
        min_units: Number of units that trimming always keeps.
        exact: False where a normalisation crosses the units, so that masking and trimming differ.
        removable: False for weight groups, which may be zeroed but not trimmed.
    """

    name: str
    slices: tuple[Slice, ...]
    min_units: int = 1
    exact: bool = True
    removable: bool = True

    @property
    def size(self) -> int:
        """Number of units U."""
        return self.slices[0].index.shape[0]


def rows(start: int, count: int, repeat: int = 1, stride: int = 0) -> Tensor:
    """Index of ``count`` units that own ``repeat`` positions each: ``start + u + r * stride``, shape (count, repeat).

    The four gate rows of an LSTM unit are ``rows(0, H, repeat=4, stride=H)``.
    """
    return start + torch.arange(count)[:, None] + torch.arange(repeat)[None, :] * stride


def blocks(start: int, count: int, width: int) -> Tensor:
    """Index of ``count`` units that own ``width`` neighbouring positions each, shape (count, width).

    A convolution channel flattened into a linear layer owns ``blocks(0, C, positions per channel)``.
    """
    return start + torch.arange(count * width).reshape(count, width)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a model by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}

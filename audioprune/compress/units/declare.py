"""Which slices of which tensors live or die together: the vocabulary of units.

A unit is a hidden unit, a channel, a filter, a weight group: everything that a criterion scores as
one and that a mask, a trim or a proximal step treats as one. What is done to units stands in
masks.py, trim.py and audioprune.optim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError, unknown_name

Role = Literal["out", "norm", "in"]


@dataclass(frozen=True)
class Slice:
    """The part of one tensor that belongs to the units of a set.

    Attributes:
        tensor: Name of a parameter or buffer of the model, as in ``named_parameters()`` /
            ``named_buffers()``.
        dim: Axis of that tensor along which the units lie.
        index: Positions on that axis, shape (U, width): row u holds the positions of unit u. All
            rows are disjoint.
        role: ``"out"`` for what writes the unit (filter rows, gate rows, biases), ``"norm"`` for
            scale, shift and running statistics of the normalisation on the unit, ``"in"`` for what
            reads it (next layer's columns, a recurrent column).
        leading: Number of leading axes that are viewed as one before ``dim`` applies; 1 is the
            tensor as it is, 2 views a convolution weight (O, I, k) as (O*I, k), which expresses
            kernel groups.
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
        slices: Every slice of every tensor that the units own. A unit is removable only if all of
            them are listed.
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

    A convolution channel flattened into a linear layer owns ``blocks(0, C, positions per
    channel)``.
    """
    return start + torch.arange(count * width).reshape(count, width)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a model by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def check_unit_sets(model: nn.Module, unit_sets: Sequence[UnitSet]) -> None:
    """Refuse unit sets that do not fit a model.

    Args:
        model: The model that the sets describe.
        unit_sets: Unit sets; those that are not removable may overlap.

    Raises:
        ConfigError: Two sets share a name, a tensor is unknown, an axis or position does not
            exist, the slices of a set differ in their number of units, or two units claim one
            position of a tensor.
    """
    tensors = tensors_of(model)
    names = [each.name for each in unit_sets]
    for each in unit_sets:
        if names.count(each.name) > 1:
            raise ConfigError(
                f"unit sets: expected every name once, got '{each.name}' "
                f"{names.count(each.name)} times; rename one"
            )
        if not each.slices:
            raise ConfigError(
                f"unit set '{each.name}': expected at least one slice, got none; list the "
                f"tensors that the units own"
            )
        for part in each.slices:
            _check_slice(each, part, tensors)
    _check_disjoint([each for each in unit_sets if each.removable], tensors)


def _check_slice(each: UnitSet, part: Slice, tensors: Mapping[str, Tensor]) -> None:
    what = f"unit set '{each.name}', slice '{part.tensor}'"
    if part.tensor not in tensors:
        raise ConfigError(unknown_name(f"tensor of unit set '{each.name}'", part.tensor, tensors))
    shape = tensors[part.tensor].shape
    if (
        not 1 <= part.leading <= max(1, len(shape))
        or not 0 <= part.dim <= len(shape) - part.leading
    ):
        raise ConfigError(
            f"{what}: expected an axis of shape {tuple(shape)}, got dim {part.dim}, leading "
            f"{part.leading}; correct it"
        )
    length = shape[: part.leading].numel() if part.dim == 0 else shape[part.dim + part.leading - 1]
    if part.index.dtype != torch.long or part.index.dim() != 2 or part.index.shape[0] != each.size:
        got = f"{part.index.dtype} {tuple(part.index.shape)}"
        raise ConfigError(
            f"{what}: expected an int64 index of shape ({each.size}, width), got {got}; list "
            f"all units in every slice"
        )
    if part.index.numel() and (int(part.index.min()) < 0 or int(part.index.max()) >= length):
        raise ConfigError(
            f"{what}: expected positions from 0 to {length - 1} on dim {part.dim}, got "
            f"{int(part.index.min())} to {int(part.index.max())}; "
            "build the unit sets anew after every trim"
        )


def _check_disjoint(unit_sets: Sequence[UnitSet], tensors: Mapping[str, Tensor]) -> None:
    owners: dict[tuple[str, int], Tensor] = {}
    for number, each in enumerate(unit_sets):
        for part in each.slices:
            if part.leading != 1:
                continue
            positions = part.index.flatten().cpu()
            owner = owners.setdefault(
                (part.tensor, part.dim), torch.full((tensors[part.tensor].shape[part.dim],), -1)
            )
            taken = positions[owner[positions] >= 0]
            if taken.numel():
                other = unit_sets[int(owner[taken[0]])].name
                raise ConfigError(
                    f"unit sets '{other}' and '{each.name}' both claim position {int(taken[0])} "
                    f"on dim {part.dim} of '{part.tensor}'; "
                    "a position belongs to one unit, so join the sets or correct an offset"
                )
            owner[positions] = number
            if positions.unique().numel() != positions.numel():
                where = f"dim {part.dim} of '{part.tensor}'"
                raise ConfigError(
                    f"unit set '{each.name}': expected every position of {where} once, got one "
                    f"twice; correct its index"
                )

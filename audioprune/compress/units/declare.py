"""Which slices of which tensors live or die together: ``UnitSet`` and ``Slice``.

A unit is a hidden unit, a channel, a filter or a weight group: what a criterion scores as one and
what a mask, a trim or a proximal step treats as one. A model declares its units by ``unit_sets()``
(``Prunable``). Nothing is done to units here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

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
        summed: True where units are summed without weights, as by a norm over them: a unit that no
            weight reads still counts then, and only a zero one can leave.
    """

    name: str
    slices: tuple[Slice, ...]
    min_units: int = 1
    exact: bool = True
    removable: bool = True
    summed: bool = False

    @property
    def size(self) -> int:
        """Number of units U."""
        return self.slices[0].index.shape[0]


@runtime_checkable
class Prunable(Protocol):
    """A model that declares its units.

    A model without this is traced: ``units.find`` derives units and proves them, with a reason for
    every layer left out.
    """

    def unit_sets(self) -> Sequence[UnitSet]:
        """Return the sets of units: which slices of which tensors leave together."""
        ...


def rows(start: int, count: int, repeat: int = 1, stride: int = 0) -> Tensor:
    """Return the index of ``count`` units that own ``repeat`` positions each.

    Position r of unit u is ``start + u + r * stride``; shape (count, repeat). The four gate rows
    of an LSTM unit are ``rows(0, H, repeat=4, stride=H)``.
    """
    return start + torch.arange(count)[:, None] + torch.arange(repeat)[None, :] * stride


def blocks(start: int, count: int, width: int) -> Tensor:
    """Return the index of ``count`` units that own ``width`` neighbouring positions each.

    The shape is (count, width). The channels of a convolution that are flattened into a linear
    layer own ``blocks(0, C, positions per channel)``.
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


def sets_to_cut(unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]) -> list[UnitSet]:
    """Return the sets that a choice of units names, after a check of names, types and shapes.

    Args:
        unit_sets: All unit sets of a model.
        keep: Set name -> kept units, bool, shape (U,).

    Raises:
        ConfigError: A set is unknown, or a choice is not a bool tensor of shape (U,).
    """
    by_name = {each.name: each for each in unit_sets}
    for name, kept in keep.items():
        if name not in by_name:
            raise ConfigError(unknown_name("unit set", name, by_name))
        size = by_name[name].size
        is_tensor = isinstance(kept, Tensor)
        if not is_tensor or kept.dtype != torch.bool or kept.shape != (size,):
            got = f"{kept.dtype} {tuple(kept.shape)}" if is_tensor else type(kept).__name__
            raise ConfigError(
                f"units of '{name}' to keep: expected a bool tensor of shape ({size},), got "
                f"{got}; correct it"
            )
    return [each for each in unit_sets if each.name in keep]


def _check_slice(each: UnitSet, part: Slice, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a slice whose tensor, axis or positions do not exist."""
    what = f"unit set '{each.name}', slice '{part.tensor}'"
    if part.tensor not in tensors:
        raise ConfigError(unknown_name(f"tensor of unit set '{each.name}'", part.tensor, tensors))
    shape = tensors[part.tensor].shape
    fits = 1 <= part.leading <= max(1, len(shape))
    if not fits or not 0 <= part.dim <= len(shape) - part.leading:
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
    if not part.index.numel():
        return
    first, last = int(part.index.min()), int(part.index.max())
    if first < 0 or last >= length:
        raise ConfigError(
            f"{what}: expected positions from 0 to {length - 1} on dim {part.dim}, got "
            f"{first} to {last}; "
            "build the unit sets anew after every trim"
        )


def _check_disjoint(unit_sets: Sequence[UnitSet], tensors: Mapping[str, Tensor]) -> None:
    """Refuse two units that claim one position of a tensor."""
    # tensor and axis -> number of the set that owns each position, or -1
    owners: dict[tuple[str, int], Tensor] = {}
    for number, each in enumerate(unit_sets):
        for part in each.slices:
            if part.leading != 1:
                continue
            positions = part.index.flatten().cpu()
            nobody = torch.full((tensors[part.tensor].shape[part.dim],), -1)
            owner = owners.setdefault((part.tensor, part.dim), nobody)
            taken = positions[owner[positions] >= 0]
            if taken.numel():
                other = unit_sets[int(owner[taken[0]])].name
                raise ConfigError(
                    f"unit sets '{other}' and '{each.name}' both claim position {int(taken[0])} "
                    f"on dim {part.dim} of '{part.tensor}'; "
                    "a position belongs to one unit, so join the sets or correct an offset"
                )
            owner[positions] = number
            if int(torch.bincount(positions, minlength=1).max()) > 1:
                where = f"dim {part.dim} of '{part.tensor}'"
                raise ConfigError(
                    f"unit set '{each.name}': expected every position of {where} once, got one "
                    f"twice; correct its index"
                )

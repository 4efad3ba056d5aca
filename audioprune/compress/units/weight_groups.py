"""Which weights form a group that is pruned as one, as unit sets that may be zeroed, not trimmed.

``weight_groups`` makes rows, columns, filters, channels or kernels of single tensors;
``unit_groups`` takes all weights of a unit together. The arithmetic of groups is here too:
``group_norms``, ``expand`` (groups -> positions) and ``any_kept`` (positions -> groups).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from math import inf, prod
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from audioprune.compress.masks import prunable
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import OneOf

Kind = Literal["row", "column", "filter", "channel", "kernel"]
_MATRIX_KINDS = ("row", "column")
_CONV_KINDS = ("row", "column", "filter", "channel", "kernel")


@dataclass(frozen=True)
class GroupKinds:
    """The kind of group per kind of layer.

    A row or filter is all weights that write one output, a column or channel all that read one
    input, a kernel the weights between one input and one output of a convolution. Of a recurrent
    layer a row is one gate row.

    Attributes:
        linear: Linear layers and other weights of two axes: row or column.
        lstm: Recurrent layers of every cell type: row or column.
        conv1d: 1-D convolutions, transposed ones too: row, column, filter, channel or kernel.
        conv2d: 2-D convolutions, likewise.
        pointwise: Convolutions with a kernel of size 1, whose kernel groups would be single
            weights.

    Raises:
        ConfigError: A kind is unknown or does not exist for that layer.

    Source: Tan & Wang, ICASSP 2021, structured pruning; the paper does not define its groups, the
    defaults are our choice.
    """

    linear: Annotated[Kind, OneOf(*_MATRIX_KINDS)] = "column"
    lstm: Annotated[Kind, OneOf(*_MATRIX_KINDS)] = "column"
    conv1d: Annotated[Kind, OneOf("filter", "channel", "kernel")] = "kernel"
    conv2d: Annotated[Kind, OneOf("filter", "channel", "kernel")] = "kernel"
    pointwise: Annotated[Kind, OneOf("row", "column", "filter", "channel")] = "column"

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed = _MATRIX_KINDS if field.name in ("linear", "lstm") else _CONV_KINDS
            if getattr(self, field.name) not in allowed:
                raise ConfigError(
                    unknown_name(
                        f"group kind of {field.name} layers",
                        str(getattr(self, field.name)),
                        allowed,
                    )
                )


OUTPUTS = GroupKinds(
    linear="row", lstm="row", conv1d="filter", conv2d="filter", pointwise="filter"
)
"""Groups of all weights that write one output."""
INPUTS = GroupKinds(
    linear="column", lstm="column", conv1d="channel", conv2d="channel", pointwise="channel"
)
"""Groups of all weights that read one input."""
KERNELS = GroupKinds(conv1d="kernel", conv2d="kernel", pointwise="kernel")
"""Groups of all weights between one input and one output of a convolution."""


@dataclass(frozen=True)
class Layout:
    """How the axes of a weight are meant.

    Attributes:
        layer: Field of ``GroupKinds`` that applies.
        output_axis: 0, or 1 for transposed convolutions.
        groups: Number of groups of a grouped convolution, else 1.
    """

    layer: str
    output_axis: int = 0
    groups: int = 1


def owner_of(model: nn.Module, name: str) -> nn.Module:
    """Return the module that computes with a parameter, seen through any parametrization."""
    path, parametrized, _ = name.partition(".parametrizations.")
    return model.get_submodule(path if parametrized else name.rpartition(".")[0])


def layout_of(model: nn.Module, name: str, shape: Sequence[int]) -> Layout:
    """Tell how the axes of a weight are meant.

    A weight of an unknown module is read as (output, input, kernel ...).

    Args:
        model: The model.
        name: Parameter name.
        shape: Shape of the parameter, at least two axes.
    """
    owner = owner_of(model, name)
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        return Layout("lstm")
    if len(shape) == 2:
        return Layout("linear")
    layer = "conv1d" if len(shape) == 3 else "conv2d"
    if prod(shape[2:]) == 1:
        layer = "pointwise"
    if isinstance(owner, nn.modules.conv._ConvNd):
        return Layout(layer, int(owner.transposed), owner.groups)
    return Layout(layer)


def weight_groups(
    model: nn.Module, kinds: GroupKinds | None = None, names: Iterable[str] | None = None
) -> list[UnitSet]:
    """Derive the weight groups of a model: one unit set per weight tensor, named as the tensor.

    Args:
        model: Any module.
        kinds: Kind of group per kind of layer.
        names: Weight tensors, by default all prunable ones.

    Returns:
        Sets of one slice each whose groups cover their tensor without overlap; none is removable.

    Raises:
        ConfigError: A name is not a parameter of the model.
    """
    kinds = kinds or GroupKinds()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    sets = []
    for name in prunable(model) if names is None else names:
        if name not in parameters:
            raise ConfigError(unknown_name("parameter", name, parameters))
        layout = layout_of(model, name, parameters[name].shape)
        part = _slice(name, tuple(parameters[name].shape), layout, getattr(kinds, layout.layer))
        sets.append(UnitSet(name, (part,), min_units=0, removable=False))
    return sets


def unit_groups(
    model: nn.Module, unit_sets: Sequence[UnitSet], kinds: GroupKinds | None = None
) -> list[UnitSet]:
    """List the units of a model as groups of weights, so that a pruned unit can leave the model.

    A group holds all weights that write or read its unit, whatever their tensor; biases and
    normalisations belong to none. Units that a normalisation crosses are left out, because they
    cannot be removed without a change of the output. Tensors that no unit touches get weight
    groups.

    Args:
        model: The model.
        unit_sets: Its unit sets.
        kinds: Kind of weight group per kind of layer, for the remaining tensors.

    Source: Tan & Wang, ICASSP 2021, structured pruning; the paper does not define its groups, this
    reading makes pruned models smaller.
    """
    weights = prunable(model)
    chosen = []
    for each in unit_sets:
        slices = tuple(part for part in each.slices if part.tensor in weights)
        if each.exact and each.removable and slices:
            chosen.append(replace(each, slices=slices, removable=False))
    touched = {part.tensor for each in chosen for part in each.slices}
    return chosen + weight_groups(model, kinds, [name for name in weights if name not in touched])


def group_count(sets: Iterable[UnitSet]) -> int:
    """Count the groups n(G) of all sets."""
    return sum(each.size for each in sets)


def group_sizes(part: Slice, shape: Sequence[int]) -> int:
    """Count the weights p_g of each group of a slice; all groups of a slice are of one size."""
    return prod(shape) // _view_shape(part, shape)[part.dim] * part.index.shape[1]


def group_norms(tensor: Tensor, part: Slice, p: float) -> Tensor:
    """Compute the l1, l2 or largest-magnitude norm of every group of a tensor at once.

    A group of zeros has the gradient 0.

    Args:
        tensor: The tensor that the slice names.
        part: The groups, U of them.
        p: 1, 2 or infinity.

    Returns:
        Norms, shape (U,), differentiable.

    Raises:
        ConfigError: ``p`` is none of the three.
    """
    if p not in (1, 2, inf):
        raise ConfigError(
            f"group norm: expected p = 1, 2 or infinity, got {p}; choose one of the three"
        )
    view = tensor.reshape(_view_shape(part, tensor.shape))
    others = [axis for axis in range(view.dim()) if axis != part.dim]
    # first one norm per position of the axis, then one per group of positions
    positions: Tensor = torch.linalg.vector_norm(view, p, dim=others) if others else view.abs()
    if _is_whole(part.index, positions.shape[0]):
        return positions
    norms: Tensor = torch.linalg.vector_norm(positions[part.index.to(tensor.device)], p, dim=1)
    return norms


def expand(part: Slice, keep: Tensor, shape: Sequence[int]) -> Tensor:
    """Turn kept groups into kept positions of their tensor.

    Args:
        part: The groups, U of them.
        keep: Kept groups, bool, shape (U,).
        shape: Shape of the tensor.

    Returns:
        Bool tensor of that shape on the device of ``keep``; positions of no group are True.
    """
    view_shape = _view_shape(part, shape)
    axis = torch.ones(view_shape[part.dim], dtype=torch.bool, device=keep.device)
    axis[part.index.to(keep.device)[~keep].flatten()] = False
    broadcast = [-1 if dim == part.dim else 1 for dim in range(len(view_shape))]
    return axis.view(broadcast).expand(view_shape).reshape(tuple(shape)).clone()


def any_kept(part: Slice, keep: Tensor) -> Tensor:
    """Tell which groups have at least one kept weight.

    Args:
        part: The groups, U of them.
        keep: Kept positions of the tensor, bool, of the tensor's shape.

    Returns:
        Bool tensor, shape (U,).
    """
    view = keep.reshape(_view_shape(part, keep.shape))
    positions = view.movedim(part.dim, 0).flatten(1).any(1) if view.dim() > 1 else view
    return positions[part.index.to(keep.device)].any(1)


def _view_shape(part: Slice, shape: Sequence[int]) -> tuple[int, ...]:
    return (prod(shape[: part.leading]), *shape[part.leading :])


def _is_whole(index: Tensor, length: int) -> bool:
    """Tell whether unit u is just position u.

    Then no gather is needed, which is the slow part of the backward pass.
    """
    if tuple(index.shape) != (length, 1):
        return False
    return torch.equal(index[:, 0], torch.arange(length, device=index.device))


def _slice(name: str, shape: tuple[int, ...], layout: Layout, kind: Kind) -> Slice:
    if kind == "kernel":
        return Slice(name, 0, rows(0, shape[0] * shape[1]), leading=2)
    axis = layout.output_axis if kind in ("row", "filter") else 1 - layout.output_axis
    if layout.groups == 1 or axis == 0:
        return Slice(name, axis, rows(0, shape[axis]))
    return Slice(name, 0, _grouped_second_axis(shape, layout.groups), leading=2)


def _grouped_second_axis(shape: tuple[int, ...], groups: int) -> Tensor:
    """Return the positions of the channels on the second axis of a grouped convolution.

    They are positions on the first two axes, flattened. Position j of the second axis is another
    channel in every group, so channel q * J + j owns only the rows of group q.
    """
    per_group, second = shape[0] // groups, shape[1]
    positions = torch.arange(shape[0] * second).view(groups, per_group, second)
    return positions.transpose(1, 2).reshape(groups * second, per_group)

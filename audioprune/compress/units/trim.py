"""How units are taken out of a model for real, and how a masked twin, a stored shape or an optimiser follows.

Which units go is decided in criteria.py and select.py; which slices a unit owns is declared by the
models or with unit_builders.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim import Optimizer

from audioprune.compress.ties import join_views_
from audioprune.compress.units.declare import UnitSet, check_unit_sets, tensors_of
from audioprune.compress.units.module_sizes import Shape, module_sizes
from audioprune.compress.units.weight_groups import any_kept, expand
from audioprune.errors import CheckpointError, ConfigError, unknown_name


@dataclass(frozen=True)
class Trimmed:
    """What a trim left, so that optimisers and snapshots can follow.

    A parameter that a model holds under two names appears under both.

    Attributes:
        kept: Tensor name -> axis -> kept positions of the tensor before the trim, ascending,
            int64.
        shapes: Tensor name -> shape before the trim.
        replaced: Parameter name -> (parameter before, parameter now).
    """

    kept: dict[str, dict[int, Tensor]]
    shapes: dict[str, Shape]
    replaced: dict[str, tuple[nn.Parameter, nn.Parameter]]

    def then(self, later: Trimmed) -> Trimmed:
        """Join this trim with the next one of the same model: positions refer to the model before this trim."""
        kept = {name: dict(axes) for name, axes in self.kept.items()}
        for name, axes in later.kept.items():
            mine = kept.setdefault(name, {})
            for dim, positions in axes.items():
                mine[dim] = mine[dim][positions] if dim in mine else positions
        pairs = {
            name: (self.replaced.get(name, pair)[0], pair[1])
            for name, pair in later.replaced.items()
        }
        return Trimmed(kept, {**later.shapes, **self.shapes}, {**self.replaced, **pairs})


def trim_(model: nn.Module, unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]) -> Trimmed:
    """Take units out of a model, in place.

    Every listed parameter and buffer is sliced, then the sizes that modules store are set from the
    new shapes. Parameters are replaced by smaller ones that keep ``requires_grad`` and a sliced
    gradient. The model is unchanged if an error is raised.

    Args:
        model: The model that the sets describe.
        unit_sets: All its unit sets.
        keep: Set name -> kept units, bool, shape (U,); a set that is not named keeps all its
            units.

    Returns:
        The kept positions of every sliced tensor, for ``trim_optimizer_state_`` and
        ``trim_state``.

    Raises:
        ConfigError: A set is unknown, no removable one or would keep fewer than its ``min_units``;
            a shape is wrong; the sets do not fit the model or leave tensors of one module that do
            not fit one another; or a layer cannot be trimmed.
    """
    _refuse_parametrized(model, {part.tensor for each in unit_sets for part in each.slices})
    join_views_(model)
    check_unit_sets(model, unit_sets)
    removed = [
        (each, keep[each.name].cpu())
        for each in _named(unit_sets, keep)
        if not bool(keep[each.name].all())
    ]
    for each, kept_units in removed:
        _check_removal(each, kept_units)
    tensors = tensors_of(model)
    kept = _kept_positions(tensors, removed)
    shapes = {name: _sliced_shape(name, tensors[name], axes) for name, axes in kept.items()}
    sizes = module_sizes(model, {id(tensors[name]): shape for name, shape in shapes.items()})
    _check_groups(model, kept, sizes)
    fresh = {id(tensors[name]): _sliced(tensors[name], axes) for name, axes in kept.items()}
    names = {name: tensor for name, tensor in _all_names(model).items() if id(tensor) in fresh}
    axes_of = {id(tensors[name]): axes for name, axes in kept.items()}
    _replace_(model, fresh, sizes)
    return Trimmed(
        {name: axes_of[id(tensor)] for name, tensor in names.items()},
        {name: tuple(tensor.shape) for name, tensor in names.items()},
        {
            name: (tensor, fresh[id(tensor)])
            for name, tensor in names.items()
            if isinstance(tensor, nn.Parameter)
        },
    )


def trim_state(state: Mapping[str, Tensor], trimmed: Trimmed) -> dict[str, Tensor]:
    """Slice tensors of the model before a trim, such as an early snapshot, as the trim sliced the model.

    Args:
        state: Tensor name -> tensor of the size before the trim.
        trimmed: The trim, or several joined by ``then``.

    Returns:
        Copies, also of the tensors that the trim did not touch.

    Raises:
        ConfigError: A tensor that the trim sliced has another shape than the model had before the
            trim.
    """
    result = {}
    for name, tensor in state.items():
        if name in trimmed.kept and tuple(tensor.shape) != trimmed.shapes[name]:
            raise ConfigError(
                f"'{name}': expected the shape {trimmed.shapes[name]} of the untrimmed model, "
                f"got {tuple(tensor.shape)}; "
                "give a snapshot from before the trim"
            )
        result[name] = _select(tensor, trimmed.kept.get(name, {})).clone()
    return result


def trim_optimizer_state_(optimizer: Optimizer, trimmed: Trimmed) -> None:
    """Let an optimiser follow a trim: its parameters are exchanged and its moments sliced, so that training continues.

    Args:
        optimizer: Optimiser whose state tensors are scalars or have the shape of their parameter,
            as of SGD and Adam.
        trimmed: The trim.

    Raises:
        ConfigError: A state entry has another shape, so that it is unknown what belongs to which
            unit.
    """
    fresh: dict[nn.Parameter, Any] = {}
    for name, (old, new) in trimmed.replaced.items():
        for key, value in optimizer.state.get(old, {}).items():
            if isinstance(value, list | dict) or (
                isinstance(value, Tensor) and value.dim() and value.shape != old.shape
            ):
                raise ConfigError(
                    f"optimiser state '{key}' of '{name}': expected a scalar or shape "
                    f"{tuple(old.shape)}, got "
                    f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}; build a new {type(optimizer).__name__}"
                )
        fresh[old] = (new, trimmed.kept[name])
    for group in optimizer.param_groups:
        group["params"] = [
            fresh[parameter][0] if parameter in fresh else parameter
            for parameter in group["params"]
        ]
    for old, (new, axes) in fresh.items():
        if old in optimizer.state:
            entries = optimizer.state.pop(old)
            optimizer.state[new] = {
                key: _select(value, axes) if _has_shape(value, old) else value
                for key, value in entries.items()
            }


def resize_(model: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give the tensors of a freshly built model the smaller shapes of a trimmed one, so that its state dict can be loaded.

    Resized tensors are zero until then. The model is unchanged if an error is raised.

    Args:
        model: A model of the full widths.
        shapes: Parameter or buffer name -> shape; tensors that are not named stay as they are.

    Raises:
        CheckpointError: A name is unknown, a shape has another number of axes, is empty or larger
            than the model's, or the shapes of one module do not fit one another.
    """
    tensors = _all_names(model)
    wanted: dict[int, Shape] = {}
    for name, shape in shapes.items():
        if name not in tensors:
            raise CheckpointError(unknown_name("tensor", name, tensors))
        now, shape = tuple(tensors[name].shape), tuple(shape)
        if len(now) != len(shape) or any(
            not 1 <= new <= old for new, old in zip(shape, now, strict=True)
        ):
            raise CheckpointError(
                f"'{name}': expected a shape of at most {now}, got {shape}; choose the model "
                f"that was trimmed"
            )
        if wanted.setdefault(id(tensors[name]), shape) != shape:
            raise CheckpointError(
                f"'{name}': expected one shape for a shared tensor, got "
                f"{wanted[id(tensors[name])]} and {shape}"
            )
    changed = {
        name: shape for name, shape in shapes.items() if tuple(tensors[name].shape) != tuple(shape)
    }
    try:
        _refuse_parametrized(model, changed)
        sizes = module_sizes(
            model, {id(tensors[name]): tuple(shape) for name, shape in changed.items()}
        )
    except ConfigError as error:
        raise CheckpointError(f"shapes do not fit {type(model).__name__}: {error}") from error
    fresh = {
        id(tensors[name]): _like(tensors[name], tensors[name].new_zeros(tuple(shape)))
        for name, shape in changed.items()
    }
    _replace_(model, fresh, sizes)


def zero_units_(
    model: nn.Module, unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]
) -> None:
    """Make the masked twin of a trimmed model, in place: units that are not kept output exactly 0 and stay where they are.

    What writes a unit and its normalisation's scale and shift become zero; running statistics
    stay. Masked and trimmed model agree where a set is exact.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets; weight groups too.
        keep: Set name -> kept units, bool, shape (U,).

    Raises:
        ConfigError: A set is unknown, a shape is wrong or the sets do not fit the model.
    """
    check_unit_sets(model, unit_sets)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for each in _named(unit_sets, keep):
            for part in each.slices:
                if part.role != "in" and part.tensor in parameters:
                    parameter = parameters[part.tensor]
                    parameter.masked_fill_(
                        ~expand(part, keep[each.name].to(parameter.device), parameter.shape), 0.0
                    )


def removable(
    model: nn.Module, unit_sets: Sequence[UnitSet], mask: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Tell which units output exactly 0, because all that writes them is zero, and the scale and shift of their normalisation too.

    A zero filter whose normalisation has a live scale or shift outputs a constant and is not
    removable.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets; of weight groups the zero ones are told.
        mask: Parameter name -> kept positions, bool; the others count as zero.

    Returns:
        Set name -> bool tensor, shape (U,).

    Raises:
        ConfigError: The sets do not fit the model or a mask has another shape than its parameter.
    """
    check_unit_sets(model, unit_sets)
    live = _live(model, mask)
    return {each.name: _silent(each, live) for each in unit_sets}


def dead_units(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    mask: Mapping[str, Tensor] | None = None,
    *,
    inexact: bool = False,
) -> dict[str, Tensor]:
    """Choose the units that can be trimmed without a change of the output.

    A unit is dead if it outputs exactly 0, see ``removable``, or if every weight that reads it is
    zero. Weights of dead units count as zero for all others, until no more units die. Where fewer
    than ``min_units`` live, the first dead ones stay.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets; weight groups are left out.
        mask: Parameter name -> kept positions, bool; the others count as zero.
        inexact: Choose also from sets that are not exact, where the trim changes the output.

    Returns:
        Set name -> kept units, bool, shape (U,), as ``trim_`` takes it.

    Raises:
        ConfigError: The sets do not fit the model or a mask has another shape than its parameter.
    """
    check_unit_sets(model, unit_sets)
    live = _live(model, mask)
    chosen = [each for each in unit_sets if each.removable]
    keep = {each.name: torch.ones(each.size, dtype=torch.bool) for each in chosen}
    changed = True
    while changed:
        changed = False
        for each in chosen:
            if not each.exact and not inexact:
                continue
            alive = _at_least(
                each.min_units, keep[each.name], _silent(each, live) | _unread(each, live)
            )
            if not torch.equal(alive, keep[each.name]):
                keep[each.name], changed = alive, True
                for part in each.slices:
                    if part.tensor in live:
                        live[part.tensor] = live[part.tensor] & expand(
                            part, alive, live[part.tensor].shape
                        )
    return keep


def _named(unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]) -> list[UnitSet]:
    """Return the sets that ``keep`` names, after a check of names, types and shapes."""
    by_name = {each.name: each for each in unit_sets}
    for name, kept in keep.items():
        if name not in by_name:
            raise ConfigError(unknown_name("unit set", name, by_name))
        if (
            not isinstance(kept, Tensor)
            or kept.dtype != torch.bool
            or kept.shape != (by_name[name].size,)
        ):
            got = (
                f"{kept.dtype} {tuple(kept.shape)}"
                if isinstance(kept, Tensor)
                else type(kept).__name__
            )
            raise ConfigError(
                f"units of '{name}' to keep: expected a bool tensor of shape "
                f"({by_name[name].size},), got {got}; correct it"
            )
    return [each for each in unit_sets if each.name in keep]


def _check_removal(each: UnitSet, kept: Tensor) -> None:
    if not each.removable or any(part.leading != 1 for part in each.slices):
        raise ConfigError(
            f"unit set '{each.name}': expected removable units, got weight groups; they can be "
            f"zeroed, not trimmed"
        )
    floor = min(each.min_units, each.size)
    if int(kept.sum()) < floor:
        raise ConfigError(
            f"unit set '{each.name}': expected at least {floor} of {each.size} units kept, got "
            f"{int(kept.sum())}; keep more"
        )


def _kept_positions(
    tensors: Mapping[str, Tensor], removed: Iterable[tuple[UnitSet, Tensor]]
) -> dict[str, dict[int, Tensor]]:
    masks: dict[str, dict[int, Tensor]] = {}
    for each, keep in removed:
        for part in each.slices:
            length = tensors[part.tensor].shape[part.dim]
            mask = masks.setdefault(part.tensor, {}).setdefault(
                part.dim, torch.ones(length, dtype=torch.bool)
            )
            mask[part.index.cpu()[~keep].flatten()] = False
    return {
        name: {dim: mask.nonzero().flatten() for dim, mask in axes.items()}
        for name, axes in masks.items()
    }


def _sliced_shape(name: str, tensor: Tensor, axes: Mapping[int, Tensor]) -> Shape:
    shape = tuple(
        len(axes[dim]) if dim in axes else length for dim, length in enumerate(tensor.shape)
    )
    if 0 in shape:
        raise ConfigError(
            f"'{name}': expected at least one position on every axis, got {shape} after the "
            f"trim; keep more units"
        )
    return shape


def _select(tensor: Tensor, axes: Mapping[int, Tensor]) -> Tensor:
    for dim, positions in axes.items():
        tensor = tensor.index_select(dim, positions.to(tensor.device))
    return tensor


def _sliced(tensor: Tensor, axes: Mapping[int, Tensor]) -> Tensor:
    new = _like(tensor, _select(tensor.detach(), axes))
    if tensor.grad is not None:
        new.grad = _select(tensor.grad, axes)
    return new


def _like(old: Tensor, value: Tensor) -> Tensor:
    return (
        nn.Parameter(value, requires_grad=old.requires_grad)
        if isinstance(old, nn.Parameter)
        else value
    )


def _all_names(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers, those that are shared under each of their names."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _replace_(
    model: nn.Module, fresh: Mapping[int, Tensor], sizes: Mapping[nn.Module, dict[str, Any]]
) -> None:
    for module in model.modules():
        for holder in (module._parameters, module._buffers):
            for key, tensor in list(holder.items()):
                if tensor is not None and id(tensor) in fresh:
                    setattr(
                        module, key, fresh[id(tensor)]
                    )  # recurrent layers watch setattr to refresh their flat list
    for module, values in sizes.items():
        for key, value in values.items():
            setattr(module, key, value)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def _refuse_parametrized(model: nn.Module, names: Iterable[str]) -> None:
    modules = dict(model.named_modules())
    for name in names:
        owner = modules.get(
            name.split(".parametrizations.")[0]
            if ".parametrizations." in name
            else name.rpartition(".")[0]
        )
        if owner is None:
            continue
        normed = any(isinstance(hook, WeightNorm) for hook in owner._forward_pre_hooks.values())
        chains = owner.parametrizations.values() if parametrize.is_parametrized(owner) else ()
        kinds = {type(step).__name__ for chain in chains for step in chain}
        if normed or _WeightNorm.__name__ in kinds:
            raise ConfigError(
                f"'{name}': expected a plain parameter, got a weight-normalised one; fold "
                f"first: fold_weight_norm_(model)"
            )
        if kinds:
            raise ConfigError(
                f"'{name}': expected a plain parameter, got one parametrized by "
                f"{', '.join(sorted(kinds))}; "
                "fold first with torch.nn.utils.parametrize.remove_parametrizations"
            )


def _check_groups(
    model: nn.Module,
    kept: Mapping[str, Mapping[int, Tensor]],
    sizes: Mapping[nn.Module, dict[str, Any]],
) -> None:
    """Refuse cuts of grouped convolutions that leave unequal groups or a number of groups that the shapes do not tell."""
    for name, module in model.named_modules():
        positions = kept.get(f"{name}.weight".removeprefix("."), {}).get(0)
        if positions is None or not isinstance(module, _ConvNd) or module.groups == 1:
            continue
        per_group = module.weight.shape[0] // module.groups
        counts = torch.bincount(positions // per_group, minlength=module.groups)
        left = counts[counts > 0]
        if left.unique().numel() > 1 or left.numel() != sizes[module]["groups"]:
            raise ConfigError(
                f"'{name}' with {module.groups} groups: expected equally many channels left in "
                f"every group, or whole groups of a "
                f"depthwise layer, got {counts.tolist()} of {per_group}; let a unit own one "
                f"channel of every group"
            )


def _has_shape(value: Any, old: Tensor) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape == old.shape


def _live(model: nn.Module, mask: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Tell which positions of every parameter are not zero and not masked."""
    live = {name: (parameter.detach() != 0).cpu() for name, parameter in model.named_parameters()}
    for name in mask or {}:
        if name not in live:
            raise ConfigError(unknown_name("masked parameter", name, live))
        if mask[name].shape != live[name].shape:
            got = f"expected shape {tuple(live[name].shape)}, got {tuple(mask[name].shape)}"
            raise ConfigError(f"mask of '{name}': {got}; build the mask from this model")
        live[name] &= mask[name].cpu()
    return live


def _silent(each: UnitSet, live: Mapping[str, Tensor]) -> Tensor:
    """Tell which units nothing writes; a normalisation without scale and shift makes a constant of them."""
    silent = torch.full((each.size,), any(part.role == "out" for part in each.slices))
    for part in each.slices:
        if part.role != "in" and part.tensor in live:
            silent &= ~any_kept(part, live[part.tensor])
        elif (
            part.tensor.endswith("running_mean")
            and part.tensor.removesuffix("running_mean") + "weight" not in live
        ):
            silent &= False
    return silent


def _unread(each: UnitSet, live: Mapping[str, Tensor]) -> Tensor:
    """Tell which units no weight reads; a tensor of one axis scales a unit on its way and reads nothing."""
    readers = [
        part
        for part in each.slices
        if part.role == "in" and part.tensor in live and live[part.tensor].dim() > 1
    ]
    if not readers:
        return torch.zeros(each.size, dtype=torch.bool)
    return ~torch.stack([any_kept(part, live[part.tensor]) for part in readers]).any(0)


def _at_least(floor: int, keep: Tensor, dead: Tensor) -> Tensor:
    """Return the kept units without the dead ones, of which the first stay as long as fewer than ``floor`` live."""
    alive = keep & ~dead
    missing = max(0, min(floor, len(keep)) - int(alive.sum()))
    alive[(keep & dead).nonzero().flatten()[:missing]] = True
    return alive

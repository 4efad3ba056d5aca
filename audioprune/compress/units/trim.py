"""How units are taken out of a model for real: ``trim_``.

It slices every tensor that the units own and sets the sizes that modules store. Snapshots
(``trim_state``), optimisers (``trim_optimizer_state_``) and freshly built models (``resize_``)
follow. Which units go is decided elsewhere.
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
from audioprune.compress.units.declare import (
    UnitSet,
    check_unit_sets,
    sets_to_cut,
    tensors_of,
)
from audioprune.compress.units.module_sizes import Shape, module_sizes
from audioprune.compress.units.trimmed_layers import (
    Counted,
    count_,
    is_countable,
    is_narrowed,
    narrow_,
)
from audioprune.compress.units.weight_groups import owner_of
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
        """Join this trim with the next one of the same model.

        The positions of the result refer to the model before this trim.
        """
        kept = {name: dict(axes) for name, axes in self.kept.items()}
        for name, axes in later.kept.items():
            mine = kept.setdefault(name, {})
            for dim, positions in axes.items():
                mine[dim] = mine[dim][positions] if dim in mine else positions
        replaced = dict(self.replaced)
        for name, (old, new) in later.replaced.items():
            first = replaced[name][0] if name in replaced else old
            replaced[name] = (first, new)
        return Trimmed(kept, {**later.shapes, **self.shapes}, replaced)


def trim_(model: nn.Module, unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]) -> Trimmed:
    """Take units out of a model, in place.

    Every listed parameter and buffer is sliced, then the sizes that modules store are set from the
    new shapes. Normalisations over the units of an exact set go on to count them as zeros, and
    attention may get a width of its own, see trimmed_layers.py. Parameters are replaced by smaller
    ones that keep ``requires_grad`` and a sliced gradient. The model is unchanged if an error is
    raised.

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
    removed = []
    for each in sets_to_cut(unit_sets, keep):
        if not bool(keep[each.name].all()):
            _check_removal(each, keep[each.name])
            removed.append((each, keep[each.name].cpu()))
    # work out everything, then change the model
    tensors = tensors_of(model)
    kept = _kept_positions(tensors, removed)
    narrowed = _narrowed(model, kept)
    shapes = {name: _sliced_shape(name, tensors[name], axes) for name, axes in kept.items()}
    counting = _counting(model, removed)
    wanted = {id(tensors[name]): shape for name, shape in shapes.items()}
    sizes = module_sizes(model, wanted, [*counting, *narrowed])
    _check_groups(model, kept, sizes)
    fresh = {id(tensors[name]): _sliced(tensors[name], axes) for name, axes in kept.items()}
    # a shared tensor is sliced once and recorded under each of its names
    axes_of = {id(tensors[name]): axes for name, axes in kept.items()}
    names = {name: tensor for name, tensor in _all_names(model).items() if id(tensor) in fresh}
    for module in counting:
        count_(module)
    for attention in narrowed:
        narrow_(attention)
    _replace_(model, fresh, sizes)
    replaced = {}
    for name, tensor in names.items():
        new = fresh[id(tensor)]
        if isinstance(tensor, nn.Parameter) and isinstance(new, nn.Parameter):
            replaced[name] = (tensor, new)
    cut = {name: axes_of[id(tensor)] for name, tensor in names.items()}
    before = {name: tuple(tensor.shape) for name, tensor in names.items()}
    return Trimmed(cut, before, replaced)


def trim_state(state: Mapping[str, Tensor], trimmed: Trimmed) -> dict[str, Tensor]:
    """Slice tensors of the model before a trim, such as a snapshot, as the trim sliced the model.

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
    """Let an optimiser follow a trim, so that training continues.

    Its parameters are exchanged and its moments sliced.

    Args:
        optimizer: Optimiser whose state tensors are scalars or have the shape of their parameter,
            such as SGD and Adam.
        trimmed: The trim.

    Raises:
        ConfigError: A state entry has another shape, so that it is unknown what belongs to which
            unit.
    """
    fresh: dict[nn.Parameter, Any] = {}
    for name, (old, new) in trimmed.replaced.items():
        for key, value in optimizer.state.get(old, {}).items():
            if not _can_follow(value, old):
                is_tensor = isinstance(value, Tensor)
                got = tuple(value.shape) if is_tensor else type(value).__name__
                raise ConfigError(
                    f"optimiser state '{key}' of '{name}': expected a scalar or shape "
                    f"{tuple(old.shape)}, got {got}; build a new {type(optimizer).__name__}"
                )
        fresh[old] = (new, trimmed.kept[name])
    for group in optimizer.param_groups:
        group["params"] = [fresh[each][0] if each in fresh else each for each in group["params"]]
    for old, (new, axes) in fresh.items():
        if old in optimizer.state:
            entries = optimizer.state.pop(old)
            for key, value in entries.items():
                if isinstance(value, Tensor) and value.dim():
                    entries[key] = _select(value, axes)
            optimizer.state[new] = entries


def resize_(model: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Give the tensors of a freshly built model the smaller shapes of a trimmed one.

    The state dict of the trimmed model can be loaded then; resized tensors are zero until that.
    The model is unchanged if an error is raised.

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
        if not _is_within(shape, now):
            raise CheckpointError(
                f"'{name}': expected a shape of at most {now}, got {shape}; choose the model "
                f"that was trimmed"
            )
        first = wanted.setdefault(id(tensors[name]), shape)
        if first != shape:
            raise CheckpointError(
                f"'{name}': expected one shape for a shared tensor, got {first} and {shape}"
            )
    changed = {
        name: tensors[name]
        for name, shape in shapes.items()
        if tuple(tensors[name].shape) != tuple(shape)
    }
    new_shapes = {id(tensor): wanted[id(tensor)] for tensor in changed.values()}
    try:
        _refuse_parametrized(model, changed)
        sizes = module_sizes(model, new_shapes)
    except ConfigError as error:
        raise CheckpointError(f"shapes do not fit {type(model).__name__}: {error}") from error
    fresh = {}
    for tensor in changed.values():
        fresh[id(tensor)] = _like(tensor, tensor.new_zeros(new_shapes[id(tensor)]))
    _replace_(model, fresh, sizes)


def _counting(model: nn.Module, removed: Iterable[tuple[UnitSet, Tensor]]) -> list[Counted]:
    """Return the normalisations that go on to count the units of exact sets."""
    names = {part.tensor for each, _ in removed if each.exact for part in each.slices}
    modules = {owner_of(model, name): None for name in sorted(names)}
    return [module for module in modules if is_countable(module)]


def _narrowed(model: nn.Module, kept: dict[str, dict[int, Tensor]]) -> list[nn.MultiheadAttention]:
    """Return the attention whose heads become narrower, not fewer.

    Of heads that were narrowed before, whole ones leave with what they are scaled by.
    """
    found = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        prefix = f"{path}." if path else ""
        positions = kept.get(f"{prefix}in_proj_weight", kept.get(f"{prefix}q_proj_weight", {}))
        if 0 not in positions:
            continue
        queries = positions[0][positions[0] < module.num_heads * module.head_dim]
        counts = torch.bincount(queries // module.head_dim, minlength=module.num_heads)
        if not bool(((counts == 0) | (counts == module.head_dim)).all()):
            if bool((counts != counts[0]).any()):
                raise ConfigError(
                    f"'{path}': expected equally many positions left in every head, got "
                    f"{counts.tolist()} of {module.head_dim}; let a unit own one of each head"
                )
            found.append(module)
        elif is_narrowed(module):
            kept[f"{prefix}counted"] = {0: counts.nonzero().flatten()}
    return found


def _is_within(shape: Shape, largest: Shape) -> bool:
    if len(shape) != len(largest):
        return False
    return all(1 <= new <= old for new, old in zip(shape, largest, strict=True))


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
    """Return for each tensor and axis the positions that stay, ascending."""
    masks: dict[str, dict[int, Tensor]] = {}
    for each, keep in removed:
        for part in each.slices:
            axes = masks.setdefault(part.tensor, {})
            if part.dim not in axes:
                length = tensors[part.tensor].shape[part.dim]
                axes[part.dim] = torch.ones(length, dtype=torch.bool)
            axes[part.dim][part.index.cpu()[~keep].flatten()] = False
    kept: dict[str, dict[int, Tensor]] = {}
    for name, axes in masks.items():
        kept[name] = {dim: mask.nonzero().flatten() for dim, mask in axes.items()}
    return kept


def _sliced_shape(name: str, tensor: Tensor, axes: Mapping[int, Tensor]) -> Shape:
    lengths = list(tensor.shape)
    for dim, positions in axes.items():
        lengths[dim] = len(positions)
    shape = tuple(lengths)
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
    if isinstance(old, nn.Parameter):
        return nn.Parameter(value, requires_grad=old.requires_grad)
    return value


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
                    # recurrent layers watch setattr to refresh their flat list
                    setattr(module, key, fresh[id(tensor)])
    for module, values in sizes.items():
        for key, value in values.items():
            setattr(module, key, value)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def _refuse_parametrized(model: nn.Module, names: Iterable[str]) -> None:
    modules = dict(model.named_modules())
    for name in names:
        path, parametrized, _ = name.partition(".parametrizations.")
        owner = modules.get(path if parametrized else name.rpartition(".")[0])
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
    """Refuse cuts of grouped convolutions and normalisations that leave unequal groups.

    Also refused is a number of groups that the shapes do not tell.
    """
    for name, module in model.named_modules():
        positions = kept.get(f"{name}.weight".removeprefix("."), {}).get(0)
        if positions is None or not isinstance(module, _ConvNd | nn.GroupNorm):
            continue
        before = module.groups if isinstance(module, _ConvNd) else module.num_groups
        if before == 1:
            continue
        per_group = module.weight.shape[0] // before
        counts = torch.bincount(positions // per_group, minlength=before)
        left = counts[counts > 0]
        unequal = bool((left != left[0]).any())
        if unequal or left.numel() != _groups_of(sizes[module]):
            raise ConfigError(
                f"'{name}' with {before} groups: expected equally many channels left in "
                f"every group, or whole groups of a "
                f"depthwise layer, got {counts.tolist()} of {per_group}; let a unit own one "
                f"channel of every group"
            )


def _groups_of(sizes: Mapping[str, Any]) -> int:
    return int(sizes["groups"] if "groups" in sizes else sizes["num_groups"])


def _can_follow(value: Any, old: Tensor) -> bool:
    """Tell whether an optimiser's entry for a parameter is a number or has the same shape."""
    if isinstance(value, list | dict):
        return False
    return not isinstance(value, Tensor) or not value.dim() or value.shape == old.shape

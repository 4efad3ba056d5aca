"""Which parameters of a model are one weight, and which share memory without being one.

``check_ties(model)`` refuses the latter, for a change of either changes the other; ``tie_key`` is
equal for one weight under two names. Identity of objects does not tell: ``nn.Parameter(w.T)`` is
an object of its own on the memory of ``w``.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError

_REMEDY = "give one of them its own memory with .clone() in the constructor, or register it once"


def tie_key(tensor: Tensor) -> Hashable:
    """Return a key that two tensors share exactly when they view the same memory alike."""
    start = _memory(tensor)
    if not start or not tensor.numel():
        return id(tensor)
    return (
        tensor.device,
        start,
        tensor.storage_offset(),
        tensor.dtype,
        tuple(tensor.shape),
        tuple(tensor.stride()),
    )


def check_ties(model: nn.Module) -> None:
    """Refuse parameters that share memory without being the same weight.

    Such are transposed, sliced or expanded views. Frozen parameters and buffers may overlap one
    another, since nothing changes them; none may overlap a trained parameter.

    Raises:
        ConfigError: The message names both tensors and the remedy.
    """
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        _refuse_expanded(name, parameter)
    tensors = {**parameters, **dict(model.named_buffers())}
    refuse_overlaps(
        tensors, {name for name, parameter in parameters.items() if parameter.requires_grad}
    )


def refuse_overlaps(tensors: Mapping[str, Tensor], changed: Collection[str]) -> None:
    """Refuse tensors that share memory with one that will be changed.

    Two tensors that view the memory alike are one weight and may.

    Args:
        tensors: Parameters and buffers by name.
        changed: Names of those that are masked, quantised or trained.

    Raises:
        ConfigError: The message names both tensors and the remedy.
    """
    sharing: dict[Hashable, list[str]] = {}
    for name, tensor in tensors.items():
        if _memory(tensor) and tensor.numel():
            sharing.setdefault((tensor.device, _memory(tensor)), []).append(name)
    for names in sharing.values():
        for first, second in _neighbours(names, tensors):
            if (first in changed or second in changed) and _clash(tensors[first], tensors[second]):
                raise ConfigError(
                    f"expected parameters of their own memory, got '{first}' and '{second}' on "
                    f"the same, "
                    f"so that a change of one changes the other; {_REMEDY}"
                )


def join_views_(model: nn.Module) -> list[tuple[str, str]]:
    """Make one parameter of those that view the same memory alike, in place.

    They stay one on every device then.

    Returns:
        Pairs of the name that was kept and the name that now holds the same parameter.

    Raises:
        ConfigError: Two parameters share memory without being the same weight, or one of a pair
            alone is frozen.
    """
    check_ties(model)
    first: dict[Hashable, tuple[str, nn.Parameter]] = {}
    joined = []
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        kept_name, kept = first.setdefault(tie_key(parameter), (name, parameter))
        if kept is parameter:
            continue
        if kept.requires_grad != parameter.requires_grad:
            raise ConfigError(
                f"expected '{kept_name}' and '{name}' both trained or both frozen, got one of "
                f"each on one memory; {_REMEDY}"
            )
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, kept)
        joined.append((kept_name, name))
    return joined


def _memory(tensor: Tensor) -> int:
    """Return where the memory of a tensor begins, or 0 if it has none."""
    if tensor.is_meta or tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().data_ptr()


def _refuse_expanded(name: str, tensor: Tensor) -> None:
    """Refuse a parameter of which several entries are one value in memory."""
    if tensor.layout != torch.strided:
        return
    # from the axis of the smallest step on, each axis has to step over all axes before
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    reach = 0
    for step, length in sorted((step, length) for step, length in pairs if length > 1):
        if step <= reach and tensor.numel():
            raise ConfigError(
                f"'{name}': expected a value of its own for each entry of "
                f"{tuple(tensor.shape)}, got entries that share memory "
                f"(strides {tuple(tensor.stride())}); end the expand() with .clone() in the "
                f"constructor"
            )
        reach += step * (length - 1)


def _neighbours(names: Sequence[str], tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of tensors of one storage whose ranges meet.

    Both tensors of a pair are in the order of their definition.
    """
    ranges = {name: _range(tensors[name]) for name in names}
    ordered = sorted(names, key=lambda name: ranges[name])
    for place, first in enumerate(ordered):
        for second in ordered[place + 1 :]:
            if ranges[second][0] >= ranges[first][1]:
                break
            in_order = names.index(first) < names.index(second)
            yield (first, second) if in_order else (second, first)


def _range(tensor: Tensor) -> tuple[int, int]:
    """Return the first byte of a tensor in its storage, and the first one behind it."""
    start, size = int(tensor.storage_offset()), tensor.element_size()
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    end = start + 1 + sum((length - 1) * step for length, step in pairs)
    return start * size, end * size


def _clash(first: Tensor, second: Tensor) -> bool:
    """Tell whether two tensors whose ranges meet share an entry and are not the same weight."""
    if tie_key(first) == tie_key(second):
        return isinstance(first, nn.Parameter) != isinstance(second, nn.Parameter)
    return first.dtype != second.dtype or _entries_meet(first, second)


def _entries_meet(first: Tensor, second: Tensor) -> bool:
    """Tell whether two tensors of one storage share an entry.

    The entries of one are marked in a map of the storage; the other looks for a mark.
    """
    end = max(_range(first)[1], _range(second)[1])
    marks = torch.zeros(end // first.element_size(), dtype=torch.bool)
    marks.as_strided(first.shape, first.stride(), first.storage_offset()).fill_(True)
    return bool(marks.as_strided(second.shape, second.stride(), second.storage_offset()).any())

"""Rules for operations that move positions: views, parts, joins and paddings.

``RULES`` maps the name of an operation to its rule. What is not moved by a rule of its own is
found by moving the numbers of the positions (``probe``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioprune.compress.units.trace.atoms import FIXED
from audioprune.compress.units.trace.labels import Axis, Labels
from audioprune.compress.units.trace.tape import Tape, reshape, tensors_in

Rule = Callable[[Tape, Any, tuple[Any, ...], dict[str, Any], Any], None]


def _view(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    given, labels = args[0], tape.get(args[0])
    if given.numel() != out.numel():  # a view as another type of number
        tape.pin_all(given, f"{tape.where} reads it, whose effect on units is unknown")
        return
    tape.put(out, Labels(reshape(tape, labels.axes, given.shape, out.shape), labels.own))


def _same(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    labels = tape.get(args[0])
    tape.put(out, Labels(list(labels.axes), labels.own))


def _permute(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    labels, dims = tape.get(args[0]), out.dim()
    order = list(range(dims))
    if func.overloadpacket.__name__.startswith("transpose"):
        one, other = args[1] % dims, args[2] % dims
        order[one], order[other] = other, one
    elif func.overloadpacket.__name__ in ("t", "t_", "numpy_T"):
        order.reverse()
    else:
        order = [dim % dims for dim in args[1]]
    tape.put(out, Labels([labels.axes[dim] for dim in order], labels.own))


def _expand(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    labels = tape.get(args[0])
    axes = [None] * (out.dim() - len(labels.axes)) + list(labels.axes)
    tape.put(out, Labels(axes, labels.own))


def _view_as_real(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    labels = tape.get(args[0])
    tape.put(out, Labels([*labels.axes, None], labels.own))


def _view_as_complex(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    labels = tape.get(args[0])
    if labels.axes[-1] is not None:
        tape.atoms.pin(labels.axes[-1].ids, f"{tape.where} makes complex numbers of it")
    tape.put(out, Labels(labels.axes[:-1], labels.own))


def _slice(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    given, labels = args[0], tape.get(args[0])
    dim = (args[1] if len(args) > 1 else 0) % given.dim()
    axes, axis = list(labels.axes), labels.axes[dim]
    if axis is not None:
        length = given.shape[dim]
        start, stop, step = slice(*(list(args[2:5]) + [None] * 3)[:3]).indices(length)
        axes[dim] = axis.take(slice(start, stop, step))
        part = len(range(start, stop, step))
        if part < length:
            _tie_parts(tape, axis, part, start, step)
    tape.put(out, Labels(axes, labels.own))


def _tie_parts(tape: Tape, axis: Axis, part: int, start: int, step: int) -> None:
    """Keep equal parts of an axis equally long, so that their borders stay where they are."""
    if step != 1:
        tape.atoms.pin(axis.ids, f"{tape.where} takes every {step}. position of it")
    elif part == 1:
        tape.atoms.pin(axis.ids, f"{tape.where} takes one position of it")
    elif part and len(axis.ids) % part == 0 and start % part == 0:
        blocks = axis.ids.reshape(-1, part)
        for block in blocks[1:]:
            tape.unite_positions(blocks[0], block)


def _select(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    given, labels = args[0], tape.get(args[0])
    dim = args[1] % given.dim()
    axes, axis = list(labels.axes), labels.axes[dim]
    if axis is not None:
        tape.atoms.pin(axis.ids, f"{tape.where} takes one position of it")
    del axes[dim]
    tape.put(out, Labels(axes, labels.own))


def _unbind(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    dim = args[1] if len(args) > 1 else 0
    for part in out:
        _select(tape, func, (args[0], dim), {}, part)


def _split(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    given, labels = args[0], tape.get(args[0])
    dim = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % given.dim()
    start = 0
    for part in out:
        axes, axis, length = list(labels.axes), labels.axes[dim], part.shape[dim]
        if axis is not None:
            axes[dim] = axis.take(slice(start, start + length))
            if length < given.shape[dim]:
                _tie_parts(tape, axis, length, start, 1)
        start += length
        tape.put(part, Labels(axes, labels.own))


def _cat(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    parts = [part for part in args[0] if part.numel() or part.dim() == out.dim()]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.dim()
    _join(tape, [tape.get(part) for part in parts], [part.shape[dim] for part in parts], dim, out)


def _stack(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.dim()
    parts = []
    for part in args[0]:
        labels = tape.get(part)
        parts.append(Labels([*labels.axes[:dim], None, *labels.axes[dim:]], labels.own))
    _join(tape, parts, [1] * len(parts), dim, out)


def _join(tape: Tape, parts: list[Labels], lengths: list[int], dim: int, out: Tensor) -> None:
    if not all(part.own for part in parts):
        for part in parts:
            tape.write(part)
    axes: list[Axis | None] = []
    for place in range(out.dim()):
        column = [part.axes[place] for part in parts]
        if all(axis is None for axis in column):
            axes.append(None)
        elif place == dim:
            axes.append(_in_a_row(column, lengths))
        else:
            axes.append(_alike(tape, column))
    tape.put(out, Labels(axes, all(part.own for part in parts)))


def _in_a_row(column: list[Axis | None], lengths: list[int]) -> Axis:
    pieces = []
    for axis, length in zip(column, lengths, strict=True):
        nothing = Axis(np.full(length, FIXED, dtype=np.int64), np.zeros(length, dtype=np.bool_))
        pieces.append(axis or nothing)
    return Axis(
        np.concatenate([each.ids for each in pieces]),
        np.concatenate([each.zero for each in pieces]),
    )


def _alike(tape: Tape, column: list[Axis | None]) -> Axis:
    first = next(axis for axis in column if axis is not None)
    zero = first.zero
    for axis in column:
        tape.unite(first, axis)
        if axis is not None:
            zero = zero & axis.zero
    return Axis(first.ids, zero)


def probe(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Find where an operation puts the positions of each axis, by moving their numbers."""
    given, labels = args[0], tape.get(args[0])
    axes: list[Axis | None] = [None] * out.dim()
    for dim, axis in enumerate(labels.axes):
        if axis is None:
            continue
        shape = [1] * given.dim()
        shape[dim] = -1
        # 0 is what an operation fills in
        numbers = torch.arange(1, given.shape[dim] + 1, dtype=torch.float32).view(shape)
        twin = torch.empty_strided(given.shape, given.stride(), dtype=torch.float32)
        twin.copy_(numbers.expand(given.shape))
        moved = func(twin, *args[1:], **kwargs)
        place, line = _line_of(moved)
        if place is None or axes[place] is not None:
            tape.atoms.pin(axis.ids, f"{tape.where} mixes it with other axes")
            continue
        positions = line.numpy().astype(np.int64)
        ids = np.concatenate(([FIXED], axis.ids))[positions]
        zero = np.concatenate(([False], axis.zero))[positions]
        if (positions == 0).any():
            tape.atoms.pin(axis.ids, f"{tape.where} lengthens the axis of its units")
        axes[place] = Axis(ids, zero)
    tape.put(out, Labels(axes, labels.own))


def _line_of(moved: Tensor) -> tuple[int | None, Tensor]:
    """Return the axis along which numbers differ, and the numbers on it."""
    for dim in range(moved.dim()):
        others = [each for each in range(moved.dim()) if each != dim]
        line = moved.amax(others) if others else moved
        shape = [1] * moved.dim()
        shape[dim] = -1
        same = (moved == line.view(shape)) | (moved == 0)
        if len(line) > 1 and bool((line != line[0]).any()) and bool(same.all()):
            return dim, line
    return None, moved


def _pad(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow a padding with a number, which is 0 in the probe."""
    probe(tape, func, args[:2], {}, out)
    if kwargs.get("value", args[2] if len(args) > 2 else 0):
        labels = tape.get(out)
        axes = [axis and axis.with_zero(False) for axis in labels.axes]
        tape.put(out, Labels(axes, labels.own))


def _shuffle(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Follow channels that take turns: groups and their channels are exchanged."""
    given, groups = args[0], args[1]
    labels, shape = tape.get(given), given.shape
    seen = torch.Size((shape[0], groups, shape[1] // groups, *shape[2:]))
    axes = reshape(tape, labels.axes, shape, seen)
    axes[1], axes[2] = axes[2], axes[1]
    turned = torch.Size((shape[0], shape[1] // groups, groups, *shape[2:]))
    tape.put(out, Labels(reshape(tape, axes, turned, shape), labels.own))


def _pixel_shuffle(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Follow channels of which several become one with finer rows and columns."""
    given, factor = args[0], args[1]
    labels, shape = tape.get(given), given.shape
    *first, channels, rows, columns = shape
    count = len(first)
    seen = torch.Size((*first, channels // factor**2, factor, factor, rows, columns))
    axes = reshape(tape, labels.axes, shape, seen)
    order = [*range(count + 1), count + 3, count + 1, count + 4, count + 2]
    axes, turned = [axes[dim] for dim in order], torch.Size(seen[dim] for dim in order)
    tape.put(out, Labels(reshape(tape, axes, turned, out.shape), labels.own))


def _pack(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow sequences of several lengths whose steps are laid one behind the other."""
    given = tape.get(args[0])
    for axis in given.axes[:2]:
        if axis is not None:
            tape.atoms.pin(axis.ids, f"{tape.where} takes its positions for steps in time")
    tape.put(out[0], Labels([None, *given.axes[2:]]))
    tape.keep(out[1])


def draws_units(tape: Tape, labels: Labels) -> None:
    """Say that every unit has random numbers of its own, in evaluation too."""
    for axis in labels.axes if not tape.training else ():
        if axis is not None:
            tape.atoms.cross(axis.ids, f"{tape.where} draws random numbers for its units")


def factory(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Label a new constant tensor: its axes are as long as whatever it is joined with."""
    name = func.overloadpacket.__name__
    zero = "zeros" in name or "full" in name and not args[2 if name == "new_full" else 1]
    if name.endswith("_like"):
        axes = [axis and axis.with_zero(zero) for axis in tape.get(args[0]).axes]
    else:
        axes = []
        for length in out.shape:
            new = Axis(tape.atoms.fresh(length), np.full(length, zero))
            axes.append(new if length > 1 else None)
    if name in _DRAWN:
        draws_units(tape, Labels(axes))
    tape.put(out, Labels(axes))


def fixed_factory(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Label a new tensor whose length is a fact, such as a window."""
    for tensor in tensors_in(out):
        tape.keep(tensor)


# fmt: off
_DRAWN = {"rand", "randn", "rand_like", "randn_like", "normal"}
_GROUPS: list[tuple[Rule, tuple[str, ...]]] = [
    (_view, ("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_",
             "_reshape_alias", "view_copy")),
    (_same, ("clone", "_to_copy", "detach", "alias", "lift_fresh", "lift", "contiguous",
             "positive", "_conj", "_conj_physical", "resolve_conj", "detach_")),
    (_permute, ("permute", "transpose", "t", "numpy_T", "transpose_", "t_")),
    (_expand, ("expand",)),
    (_view_as_real, ("view_as_real",)),
    (_view_as_complex, ("view_as_complex",)),
    (_slice, ("slice",)),
    (_select, ("select",)),
    (_unbind, ("unbind",)),
    (_split, ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes")),
    (_cat, ("cat",)),
    (_stack, ("stack",)),
    (_pad, ("constant_pad_nd",)),
    (probe, ("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
             "im2col", "flip", "repeat", "as_strided", "unfold", "roll", "index", "index_select",
             "pixel_unshuffle", "diagonal", "tril", "triu", "rot90")),
    (_shuffle, ("channel_shuffle", "native_channel_shuffle")),
    (_pixel_shuffle, ("pixel_shuffle",)),
    (_pack, ("_pack_padded_sequence",)),
    (factory, ("zeros", "ones", "empty", "full", "rand", "randn", "zeros_like", "ones_like",
               "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
               "new_full", "new_empty", "empty_strided", "new_empty_strided", "normal")),
    (fixed_factory, ("arange", "linspace", "hann_window", "hamming_window", "eye", "scalar_tensor",
                     "tril_indices", "randperm", "randint", "blackman_window", "logspace")),
]
# fmt: on
RULES: dict[str, Rule] = {name: rule for rule, names in _GROUPS for name in names}

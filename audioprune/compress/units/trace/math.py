"""Rules for arithmetic: what works element by element (``pointwise``), and reductions.

Whether a result is 0 where a unit is 0 is found by trying the operation on single numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from audioprune.compress.units.trace.labels import Axis, Flags, Labels
from audioprune.compress.units.trace.moves import Rule, draws_units
from audioprune.compress.units.trace.tape import Tape, tensors_in

# for numbers that a unit does not set to zero; large ones pass every threshold
_TRIED = (0.7, -1.3, 2.1, 0.4, 1e6, -1e6)
_known: dict[Any, bool] = {}


def pointwise(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Unite the axes of all arguments of an elementwise operation."""
    leaves, spec = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    tensors: list[Tensor] = [leaves[place] for place in places]
    labels = [tape.get(tensor) for tensor in tensors]
    try_one = _trial(func, leaves, spec, places)
    axes = [_join(tape, tensors, labels, out, dim, try_one) for dim in range(out.dim())]
    result = Labels(axes, all(each.own for each in labels))
    if tape.knows(out) and any(out is tensor for tensor in tensors):
        _write_in_place(tape, out, result)
    else:
        tape.put(out, result)


def _join(
    tape: Tape,
    tensors: list[Tensor],
    labels: list[Labels],
    out: Tensor,
    dim: int,
    try_one: Callable[[tuple[bool, ...]], bool],
) -> Axis | None:
    """Unite one axis of all arguments, and tell where the result is zero."""
    length = out.shape[dim]
    found: list[Axis | None] = []  # one for each argument that has this axis
    holders: list[int] = []
    for number, (tensor, each) in enumerate(zip(tensors, labels, strict=True)):
        place = dim - out.dim() + tensor.dim()
        if place < 0 or tensor.shape[place] != length or length < 2:
            continue
        # what was made as wide as another tensor by repetition follows it
        if each.axes[place] is not None or tensor.stride(place):
            found.append(each.axes[place])
            holders.append(number)
    present = [axis for axis in found if axis is not None]
    if not present:
        return None
    # what the model computes comes before its parameters
    computed = [
        axis
        for axis, number in zip(found, holders, strict=True)
        if axis is not None and not labels[number].own
    ]
    first = (computed or present)[0]
    for axis in found:
        tape.unite(first, axis)
    zeros = np.zeros((len(tensors), length), dtype=np.bool_)
    for axis, number in zip(found, holders, strict=True):
        if axis is not None:
            zeros[number] = axis.zero
    zero = _zero_of(zeros, try_one)
    if computed and zero.any():
        _note_writers(tape, labels, holders, found, zeros, try_one)
    return Axis(first.ids, zero)


def _note_writers(
    tape: Tape,
    labels: list[Labels],
    holders: list[int],
    found: list[Axis | None],
    zeros: Flags,
    try_one: Callable[[tuple[bool, ...]], bool],
) -> None:
    """Note the parameters that have to be zero for the result to be zero, such as a bias."""
    for axis, number in zip(found, holders, strict=True):
        if axis is not None and labels[number].own:
            without = zeros.copy()
            without[number] = False
            if not _zero_of(without, try_one).all():
                tape.atoms.role(axis.ids, "write")


def _zero_of(zeros: Flags, try_one: Callable[[tuple[bool, ...]], bool]) -> Flags:
    if (zeros == zeros[:, :1]).all():
        return np.full(zeros.shape[1], try_one(tuple(zeros[:, 0].tolist())))
    patterns, inverse = np.unique(zeros, axis=1, return_inverse=True)
    results = [try_one(tuple(pattern.tolist())) for pattern in patterns.T]
    return np.array(results)[inverse.reshape(-1)]


def _trial(
    func: Any, leaves: list[Any], spec: Any, places: list[int]
) -> Callable[[tuple[bool, ...]], bool]:
    """Return a function that tells whether the result is 0 when some arguments are 0."""
    kinds = tuple(leaves[place].dtype for place in places)
    rest = tuple(repr(leaf) for leaf in leaves if not isinstance(leaf, Tensor))

    def try_one(pattern: tuple[bool, ...]) -> bool:
        key = (func, kinds, rest, pattern)
        if key not in _known:
            given = list(leaves)
            for turn, (place, kind, zero) in enumerate(zip(places, kinds, pattern, strict=True)):
                given[place] = _numbers(kind, zero, turn)
            try:
                args, kwargs = tree_unflatten(given, spec)
                _known[key] = bool((func(*args, **kwargs) == 0).all())
            except (RuntimeError, TypeError):
                _known[key] = False
        return _known[key]

    return try_one


def _numbers(kind: torch.dtype, zero: bool, turn: int) -> Tensor:
    if zero:
        return torch.zeros(len(_TRIED), dtype=kind)
    if kind == torch.bool:
        return torch.tensor([True, False] * (len(_TRIED) // 2)).roll(turn)
    numbers = torch.tensor(_TRIED).roll(turn)
    if not kind.is_floating_point and not kind.is_complex:
        most = torch.iinfo(kind).max
        numbers = (3 * numbers).clamp(max(-most, torch.iinfo(kind).min), most)
    return numbers.to(kind)


def _write_in_place(tape: Tape, out: Tensor, result: Labels) -> None:
    """Label a tensor that an operation changed; the tensor that it is a part of follows."""
    before = tape.get(out)
    for dim, (old, new) in enumerate(zip(before.axes, result.axes, strict=True)):
        if old is not None and new is not None:
            result.axes[dim] = Axis(old.ids, new.zero)
    tape.put(out, result)
    base = out._base
    if base is not None and tape.knows(base):
        axes = list(tape.get(base).axes)
        for old, new in zip(before.axes, result.axes, strict=True):
            if old is None or new is None or not (old.zero & ~new.zero).any():
                continue
            same = [axis is not None and bool(np.isin(old.ids, axis.ids).any()) for axis in axes]
            for dim, axis in enumerate(axes):
                if axis is not None and (same[dim] or not any(same)):
                    axes[dim] = axis.with_zero(False)
        tape.put(base, Labels(axes, tape.get(base).own))


def _copy(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow the copy of one tensor into another or into a part of it."""
    into, source = tape.get(args[0]), tape.get(args[1])
    tape.write(source)
    axes: list[Axis | None] = []
    shift = args[0].dim() - args[1].dim()
    for dim, axis in enumerate(into.axes):
        other = source.axes[dim - shift] if dim >= shift else None
        if axis is None and other is None:
            axes.append(None)
            continue
        broadcast = dim < shift or args[1].shape[dim - shift] == 1
        first = axis if broadcast else tape.unite(axis or other, other if axis else axis)
        zero = other.zero if other is not None else np.zeros(args[0].shape[dim], dtype=np.bool_)
        axes.append(first and Axis(first.ids, zero))
    _write_in_place(tape, args[0], Labels(axes))


def _reduce(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Follow a reduction: an axis that is left keeps its units, one that goes is summed."""
    name = func.overloadpacket.__name__
    given, labels = args[0], tape.get(args[0])
    dims = _dims_of(func, args, kwargs, given.dim())
    for dim in dims:
        axis = labels.axes[dim]
        if axis is None:
            continue
        tape.atoms.sum(axis.ids)
        if name in _SUMS and not _by_the_least(args):
            tape.atoms.cross(axis.ids[~axis.zero], f"{tape.where} sums constants of its units")
            if labels.own:  # the sum has to miss nothing
                tape.atoms.role(axis.ids, "write")
        elif name in _CROSSING:
            crossed = axis.ids[~axis.zero] if name == "mean" and tape.counts() else axis.ids
            tape.atoms.cross(crossed, f"{tape.where} counts its units")
        else:
            tape.atoms.pin(axis.ids, f"{tape.where} compares its units")
    keepdim = given.dim() > 0 and next(tensors_in(out)).dim() == given.dim()
    axes: list[Axis | None] = []
    for dim, axis in enumerate(labels.axes):
        if dim in dims:
            axes += [None] if keepdim else []
        else:
            axes.append(axis and (axis if name not in _LOSES_ZERO else axis.with_zero(False)))
    for tensor in tensors_in(out):
        tape.put(tensor, Labels(list(axes), labels.own))


def _by_the_least(args: tuple[Any, ...]) -> bool:
    """Tell whether a norm is of an order at which zeros count, such as the least of all."""
    order = args[1] if len(args) > 1 else None
    return isinstance(order, int | float) and order <= 0


def _drawn(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow random numbers, one for each position; a dropout keeps what is zero."""
    name = func.overloadpacket.__name__
    keeps = name in ("native_dropout", "rrelu_with_noise")
    labels = tape.get(args[0])
    # outside of training it is a plain slope
    if name != "rrelu_with_noise" or (len(args) > 4 and args[4]):
        draws_units(tape, labels)
    for number, tensor in enumerate(tensors_in(out)):
        kept = keeps and number == 0
        axes = [axis and (axis if kept else axis.with_zero(False)) for axis in labels.axes]
        if tensor is args[0]:
            _write_in_place(tape, tensor, Labels(axes))
        else:
            tape.put(tensor, Labels(axes))


def _dims_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> set[int]:
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    dims = given.get("dim")
    if dims is None or dims == []:
        return set(range(count))
    return {dim % count for dim in ([dims] if isinstance(dims, int) else dims)}


def _along(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow an operation that works along one axis and keeps its length, such as a softmax."""
    name = func.overloadpacket.__name__
    given, labels = args[0], tape.get(args[0])
    dims = _dims_of(func, args, kwargs, given.dim())
    axes: list[Axis | None] = []
    for dim, axis in enumerate(labels.axes):
        if axis is not None and dim in dims:
            if "softmax" in name:
                tape.atoms.cross(axis.ids, f"{tape.where} weighs its units against one another")
            else:
                tape.atoms.pin(axis.ids, f"{tape.where} works along its units")
        keeps = name in ("cumsum", "sort", "cumprod")
        axes.append(axis and (axis if keeps else axis.with_zero(False)))
    for tensor in tensors_in(out):
        tape.put(tensor, Labels(list(axes), labels.own))


def _glu(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    given, labels = args[0], tape.get(args[0])
    dim = (args[1] if len(args) > 1 else -1) % given.dim()
    axes = list(labels.axes)
    axis = axes[dim]
    if axis is not None:
        half = out.shape[dim]
        tape.unite_positions(axis.ids[:half], axis.ids[half:])
        axes[dim] = axis.take(slice(0, half))
    tape.put(out, Labels(axes, labels.own))


def _boundary(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Follow a Fourier transform: its own axes have no units, the others keep theirs."""
    given, labels = args[0], tape.get(args[0])
    dims = {dim % given.dim() for dim in args[1]}
    axes: list[Axis | None] = []
    for dim, axis in enumerate(labels.axes):
        if axis is not None and dim in dims:
            tape.atoms.pin(axis.ids, f"{tape.where} transforms the axis of its units")
            axis = None
        axes.append(axis)
    tape.put(out, Labels(axes, labels.own))


# fmt: off
_SUMS = {"sum", "linalg_vector_norm", "norm", "nansum"}
_CROSSING = {"mean", "var", "std", "logsumexp", "var_mean", "std_mean"}
_LOSES_ZERO = {"logsumexp"}
_GROUPS: list[tuple[Rule, tuple[str, ...]]] = [
    (_copy, ("copy_", "copy")),
    (_reduce, ("sum", "mean", "amax", "amin", "max", "min", "var", "std", "linalg_vector_norm",
               "norm", "logsumexp", "argmax", "argmin", "any", "all", "prod", "var_mean",
               "std_mean", "nansum", "median", "aminmax")),
    (_along, ("_softmax", "_safe_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "topk",
              "logcumsumexp")),
    (_glu, ("glu",)),
    (_drawn, ("bernoulli", "bernoulli_", "native_dropout", "rrelu_with_noise", "uniform_",
              "normal_", "exponential_", "log_normal_", "cauchy_", "geometric_", "random_")),
    (pointwise, ("_prelu_kernel", "complex", "polar", "where", "masked_fill", "angle",
                 "masked_fill_", "fill_", "zero_", "real", "imag", "atan2", "addcmul", "addcdiv",
                 "lerp", "clamp", "softplus", "hardswish", "log_sigmoid_forward")),
    (_boundary, ("_fft_r2c", "_fft_c2r", "_fft_c2c")),
]
# fmt: on
RULES: dict[str, Rule] = {name: rule for rule, names in _GROUPS for name in names}

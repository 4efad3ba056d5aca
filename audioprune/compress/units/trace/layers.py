"""Rules for what layers compute: products with weights, convolutions, normalisations, pooling.

In a product, the axis that is summed holds the same units on both sides; the axes that are left
hold those of the weight's rows and of the input's other axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from audioprune.compress.units.trace.labels import Axis, Labels
from audioprune.compress.units.trace.moves import Rule
from audioprune.compress.units.trace.tape import Tape, tensors_in

KERNEL = "it is the axis of a kernel"


def _contract(
    tape: Tape, one: Labels, first: Axis | None, other: Labels, second: Axis | None
) -> None:
    """Unite the axes that a product sums."""
    tape.unite(first, second)
    if first is None or second is None:
        return
    zero = np.zeros(len(first.ids), dtype=np.bool_)
    for labels, axis, partner in ((one, first, other), (other, second, one)):
        if labels.own:
            # of two weights that are multiplied, the second one writes
            tape.atoms.role(axis.ids, "write" if partner.own and labels is other else "read")
        else:
            zero |= axis.zero
    if one.own and other.own:
        zero[:] = True
    if not one.own and not other.own:
        tape.atoms.sum(first.ids)
    tape.atoms.cross(second.ids[~zero], f"{tape.where} reads a constant where its unit is zero")
    tape.atoms.cross(first.ids[~zero], f"{tape.where} reads a constant where its unit is zero")


def _left(tape: Tape, axis: Axis | None, labels: Labels, own: bool) -> Axis | None:
    """Return an axis that a product leaves: of a weight, it is written into what is computed."""
    if axis is None or own or not labels.own:
        return axis
    tape.atoms.role(axis.ids, "write")
    return tape.copy(axis)


def _product(tape: Tape, one: Tensor, other: Tensor, out: Tensor, batch: int) -> Labels:
    a, b = tape.get(one), tape.get(other)
    own = a.own and b.own
    _contract(tape, a, a.axes[-1], b, b.axes[batch])
    axes: list[Axis | None] = []
    if batch:
        both = [tape.unite(a.axes[0], b.axes[0]), a.axes[0], b.axes[0]]
        axis = both[0]
        zero = [each.zero for each in both[1:] if each is not None]
        axes.append(axis and Axis(axis.ids, zero[0] | zero[-1]))
    if one.dim() > batch + 1:
        axes.append(_left(tape, a.axes[-2], a, own))
    if other.dim() > batch + 1:
        axes.append(_left(tape, b.axes[-1], b, own))
    return Labels(axes, own)


def _mm(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    batch = 1 if func.overloadpacket.__name__ == "bmm" else 0
    tape.put(out, _product(tape, args[0], args[1], out, batch))


def _addmm(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    batch = 1 if func.overloadpacket.__name__ == "baddbmm" else 0
    result = _product(tape, args[1], args[2], out, batch)
    tape.put(out, _add_bias(tape, result, args[0], out, out.dim() - args[0].dim()))


def _add_bias(tape: Tape, result: Labels, bias: Tensor | None, out: Tensor, start: int) -> Labels:
    """Add a tensor that lies on the axes of a result from ``start`` on."""
    if bias is None:
        return result
    given = tape.get(bias)
    for dim, axis in enumerate(result.axes):
        place = dim - start
        there = 0 <= place < bias.dim() and bias.shape[place] == out.shape[dim]
        if there and out.shape[dim] > 1:
            other = given.axes[place]
            tape.unite(axis or other, other if axis else axis)
            if axis is not None and other is not None:
                result.axes[dim] = Axis(axis.ids, axis.zero & other.zero)
                if given.own and not result.own:
                    tape.atoms.role(other.ids, "write")
        elif axis is not None:
            result.axes[dim] = axis.with_zero(False)
    result.own = result.own and given.own
    return result


def _convolution(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    given, weight, bias, stride, padding, _, transposed, _, groups = args[:9]
    x, w = tape.get(given), tape.get(weight)
    for axis in w.axes[2:]:
        if axis is not None:
            tape.atoms.pin(axis.ids, KERNEL)
    source, target = (w.axes[0], w.axes[1]) if transposed else (w.axes[1], w.axes[0])
    if groups == 1:
        _contract(tape, x, x.axes[1], w, source)
        written = _left(tape, target, w, x.own and w.own)
    elif transposed and weight.shape[0] == groups:
        written = _depthwise_transposed(tape, x, w, weight.shape[1])
    elif transposed:
        written = _grouped(tape, x, w, x.axes[1], source, target, groups, weight.shape, True)
    elif weight.shape[1] == 1:
        written = _depthwise(tape, x, w, weight.shape[0] // groups)
    else:
        written = _grouped(tape, x, w, x.axes[1], source, target, groups, weight.shape, False)
    axes = [x.axes[0], written]
    for dim in range(2, given.dim()):
        axis = x.axes[dim]
        plain = weight.shape[dim] == 1 and stride[dim - 2] == 1 and padding[dim - 2] == 0
        if axis is not None and not plain:
            tape.atoms.pin(axis.ids, f"{tape.where} runs along the axis of its units")
            axis = None
        axes.append(axis)
    result = Labels(axes, x.own and w.own)
    tape.put(out, _add_bias(tape, result, bias, out, 1))


def _depthwise(tape: Tape, x: Labels, w: Labels, per_channel: int) -> Axis | None:
    """Unite each channel with the filters that read it alone."""
    rows, channels = w.axes[0], x.axes[1]
    if rows is None:
        return channels
    written = _left(tape, rows, w, x.own and w.own)
    if channels is None:
        tape.atoms.pin(rows.ids, f"{tape.where} filters what has no units")
    else:
        wide = Axis(np.repeat(channels.ids, per_channel), np.repeat(channels.zero, per_channel))
        tape.unite(wide, rows)
    return written


def _depthwise_transposed(tape: Tape, x: Labels, w: Labels, per_channel: int) -> Axis | None:
    """Unite each channel with the filters that it alone spreads."""
    rows, channels = w.axes[0], x.axes[1]
    if w.axes[1] is not None:
        tape.atoms.pin(w.axes[1].ids, "it is one of several filters of a channel")
    if rows is None:
        return channels
    written = _left(tape, rows, w, x.own and w.own)
    if channels is None:
        tape.atoms.pin(rows.ids, f"{tape.where} filters what has no units")
    else:
        tape.unite(channels, rows)
    if written is None:
        return None
    return Axis(np.repeat(written.ids, per_channel), np.repeat(written.zero, per_channel))


def _grouped(
    tape: Tape,
    x: Labels,
    w: Labels,
    channels: Axis | None,
    source: Axis | None,
    target: Axis | None,
    groups: int,
    shape: Any,
    transposed: bool,
) -> Axis | None:
    """Unite the same channel of every group, so that all groups stay equally wide."""
    if transposed:
        _contract(tape, x, channels, w, source)
        _tie_groups(tape, source, groups)
        written = _left(tape, target, w, x.own and w.own)
        if written is None:
            return None
        return Axis(np.tile(written.ids, groups), np.tile(written.zero, groups))
    _tie_groups(tape, channels, groups)
    if source is not None:
        wide = Axis(np.tile(source.ids, groups), np.tile(source.zero, groups))
        _contract(tape, x, channels, w, wide)
    elif channels is not None:
        tape.atoms.pin(channels.ids, f"{tape.where} has one channel in each group")
    _tie_groups(tape, target, groups)
    return _left(tape, target, w, x.own and w.own)


def _tie_groups(tape: Tape, axis: Axis | None, groups: int) -> None:
    if axis is None:
        return
    blocks = axis.ids.reshape(groups, -1)
    if blocks.shape[1] == 1:
        tape.atoms.pin(axis.ids, f"{tape.where} has one channel in each group")
    for block in blocks[1:]:
        tape.unite_positions(blocks[0], block)


def _batch_norm(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    given, scale, shift, mean, variance = args[:5]
    x = tape.get(given)
    axis = x.axes[1] if given.dim() > 1 else None
    for tensor in (scale, shift, mean, variance):
        if tensor is not None:
            axis = _norm_axis(tape, axis, tape.get(tensor).axes[0])
    # without scale and shift, running statistics make a constant of zero
    silent = scale is not None or mean is None
    axes = [each and each.with_zero(False) for each in x.axes]
    if axis is not None:
        axes[1] = Axis(axis.ids, np.full(len(axis.ids), silent))
    _put_first(tape, out, Labels(axes))


def _norm_axis(tape: Tape, axis: Axis | None, other: Axis | None) -> Axis | None:
    """Unite the units of a normalisation's input with those of its scale, shift or statistics."""
    if other is not None:
        tape.atoms.role(other.ids, "norm")
    tape.unite(axis or other, other if axis else axis)
    return axis


def _layer_norm(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    given, shape, scale, shift = args[:4]
    x = tape.get(given)
    start = given.dim() - len(shape)
    axes: list[Axis | None] = []
    for dim, axis in enumerate(x.axes):
        for tensor in (scale, shift):
            if tensor is not None and dim >= start:
                axis = _norm_axis(tape, axis, tape.get(tensor).axes[dim - start])
        if axis is not None and dim >= start:
            tape.cross_norm(axis, scale)
        axes.append(axis and axis.with_zero(scale is not None and dim >= start))
    _put_first(tape, out, Labels(axes))


def _group_norm(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    given, scale, shift, groups = args[0], args[1], args[2], args[6]
    x = tape.get(given)
    axis = x.axes[1]
    for tensor in (scale, shift):
        if tensor is not None:
            axis = _norm_axis(tape, axis, tape.get(tensor).axes[0])
    if axis is not None:
        if 1 < groups < len(axis.ids):
            _tie_groups(tape, axis, groups)
        if groups < len(axis.ids):
            tape.cross_norm(axis, scale)
    axes = [each and each.with_zero(False) for each in x.axes]
    if axis is not None:
        axes[1] = axis.with_zero(scale is not None)
    for dim in range(2, len(axes)):
        each = axes[dim]
        if each is not None:
            tape.atoms.cross(each.ids, f"{tape.where} counts its units")
    _put_first(tape, out, Labels(axes))


def _put_first(tape: Tape, out: Any, labels: Labels) -> None:
    """Label the first of several results; the others are statistics without units."""
    first, *rest = tensors_in(out)
    tape.put(first, labels)
    for tensor in rest:
        tape.keep(tensor)


def _weight_norm(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    direction, length = tape.get(args[0]), tape.get(args[1])
    for axis, other in zip(direction.axes, length.axes, strict=True):
        if axis is not None and other is not None:
            tape.unite(axis, other)
    _put_first(tape, out, Labels(list(direction.axes), direction.own))


def _distances(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Follow distances between vectors, to which what is zero on both sides adds nothing."""
    one, other = tape.get(args[0]), tape.get(args[1])
    for labels, axis in ((one, one.axes[-1]), (other, other.axes[-1])):
        if axis is not None:
            tape.atoms.sum(axis.ids)
            tape.atoms.cross(axis.ids[~axis.zero], f"{tape.where} compares constants")
            if labels.own:
                tape.atoms.role(axis.ids, "write")
    tape.unite(one.axes[-1], other.axes[-1])
    for axis in (*one.axes[:-2], *other.axes[:-2]):
        if axis is not None:
            tape.atoms.pin(axis.ids, f"{tape.where} compares its units")
    left = [axis and axis.with_zero(False) for axis in (one.axes[-2], other.axes[-2])]
    tape.put(out, Labels([*[None] * (out.dim() - 2), *left]))


def _embedding(
    tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    table = tape.get(args[0])
    if table.axes[0] is not None:
        tape.atoms.pin(table.axes[0].ids, f"{tape.where} looks its rows up by number")
    axes = [*tape.get(args[1]).axes, _left(tape, table.axes[1], table, False)]
    tape.put(out, Labels(axes))


def _pool(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Follow pooling or resampling over the last axes."""
    name = func.overloadpacket.__name__
    x = tape.get(args[0])
    over = next(int(letter) for letter in name if letter.isdigit()) if name[-1] != "r" else 2
    first = len(x.axes) - over
    for axis in x.axes[first:]:
        if axis is not None:
            tape.atoms.pin(axis.ids, f"{tape.where} runs along the axis of its units")
    for tensor in tensors_in(out):
        tape.put(tensor, Labels([*x.axes[:first], *[None] * over]))


# fmt: off
_GROUPS: list[tuple[Rule, tuple[str, ...]]] = [
    (_mm, ("mm", "bmm", "mv", "dot", "vdot")),
    (_addmm, ("addmm", "baddbmm", "addmv")),
    (_convolution, ("convolution", "_convolution")),
    (_batch_norm, ("native_batch_norm", "_native_batch_norm_legit",
                   "_native_batch_norm_legit_no_training", "cudnn_batch_norm")),
    (_layer_norm, ("native_layer_norm",)),
    (_group_norm, ("native_group_norm",)),
    (_weight_norm, ("_weight_norm_interface",)),
    (_distances, ("_cdist_forward", "_euclidean_dist")),
    (_embedding, ("embedding",)),
    (_pool, ("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices",
             "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d",
             "adaptive_avg_pool1d", "_adaptive_avg_pool3d", "adaptive_max_pool1d",
             "adaptive_max_pool2d", "upsample_nearest1d", "upsample_nearest2d",
             "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d",
             "_upsample_nearest_exact1d", "_upsample_nearest_exact2d")),
]
# fmt: on
RULES: dict[str, Rule] = {name: rule for rule, names in _GROUPS for name in names}

"""What operators over an axis become in C: padding, picking, pooling, sums. ``WINDOWS`` has rules.

Positions that do not depend on the signal are constants in ROM. Kernels are in kernels.h.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.export.c.lowering import Lowering, empty, sizes_of, two_axes
from audioprune.export.c.pointwise import c_number
from audioprune.export.c.program import Array, refuse
from audioprune.export.trace import name_of

_MODES = ("reflect", "replicate", "circular")


def _pad(made: Lowering, node: Any) -> Array:
    source, widths = made.array(node.args[0]), list(node.args[1])
    name = name_of(node)
    mode = next((each for each in _MODES if each in name), "constant")
    value = node.args[3] if len(node.args) > 3 and node.args[3] is not None else 0.0
    if name == "constant_pad_nd":
        value = node.args[2] if len(node.args) > 2 else 0.0
    elif name == "pad" and len(node.args) > 2:
        mode = node.args[2]
    value = node.kwargs.get("value") or value
    if mode in _MODES:
        return _repeated(made, source, widths, mode)
    source = _cut(made, source, widths)
    widths = [max(0, width) for width in widths]
    to = made.out(node)
    made.program.say("ap_fill(", to, f", {c_number(value)}, {to.size});")
    target = empty(to.shape)
    for i in range(len(widths) // 2):
        dim = len(to.shape) - 1 - i
        target = target.narrow(dim, widths[2 * i], source.shape[dim])
    made.copy(to, target, source, empty(source.shape))
    return to


def _cut(made: Lowering, source: Array, widths: list[int]) -> Array:
    """Leave out what negative widths leave out."""
    view = empty(source.shape)
    for i in range(len(widths) // 2):
        dim = view.dim() - 1 - i
        first, last = (max(0, -width) for width in widths[2 * i : 2 * i + 2])
        view = view.narrow(dim, first, view.shape[dim] - first - last)
    return (
        source
        if view.is_contiguous() and view.numel() == source.size
        else made.viewed(source, view)
    )


def _repeated(made: Lowering, source: Array, widths: list[int], mode: str) -> Array:
    """Pad by values of the signal, one axis after the other."""
    for i in range(len(widths) // 2):
        pair, dim = tuple(widths[2 * i : 2 * i + 2]), len(source.shape) - 1 - i
        if not any(pair):
            continue
        places = torch.arange(source.shape[dim], dtype=torch.float64)[None, None]
        source = _picked(made, source, dim, F.pad(places, pair, mode=mode)[0, 0])
    return source


def _picked(made: Lowering, source: Array, dim: int, places: Tensor) -> Array:
    """Return the fixed positions of an axis."""
    shape = list(source.shape)
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    index = made.program.constant(places.float(), "places")
    to = made.program.new([*shape[:dim], len(places), *shape[dim + 1 :]])
    sizes = f"{outer}, {len(places)}, {inner}, {shape[dim]}, {index}"
    made.program.say("ap_take(", to, ", ", source, f", {sizes});")
    return to


def _take(made: Lowering, node: Any) -> Array:
    source, index = made.array(node.args[0]), made.values[node.args[2]]
    if not isinstance(index, Tensor):
        return refuse(node, "of positions that depend on the signal")
    return _picked(made, source, node.args[1] % len(source.shape), index)


def _index(made: Lowering, node: Any) -> Array:
    source, given = made.array(node.args[0]), list(node.args[1])
    axes = [i for i, each in enumerate(given) if each is not None]
    index = made.values[given[axes[0]]]
    if len(axes) != 1 or not isinstance(index, Tensor) or index.dim() != 1:
        return refuse(node, "of positions on several axes, or that depend on the signal")
    if index.dtype == torch.bool:
        index = index.nonzero()[:, 0]
    return _picked(made, source, axes[0], index % source.shape[axes[0]])


def _turned_round(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    for dim in node.args[1]:
        dim %= len(source.shape)
        source = _picked(made, source, dim, torch.arange(source.shape[dim]).flip(0))
    return source


def _rolled(made: Lowering, node: Any) -> Array:
    source, dims = made.array(node.args[0]), node.args[2] if len(node.args) > 2 else []
    if not dims:
        return refuse(node, "over all axes as one")
    for shift, dim in zip(node.args[1], dims, strict=True):
        dim %= len(source.shape)
        source = _picked(made, source, dim, torch.arange(source.shape[dim]).roll(shift))
    return source


def _nearest(made: Lowering, node: Any) -> Array:
    source, after = made.array(node.args[0]), made.shape(node)
    for dim in range(2, len(after)):
        size = source.shape[dim]
        if size != after[dim]:
            places = torch.arange(after[dim]) * size // after[dim]
            source = _picked(made, source, dim, places)
    return source


def _pool(made: Lowering, node: Any) -> Array:
    name, source = name_of(node), made.array(node.args[0])
    rank = int(name[name.index("pool") + 4])
    largest = name.startswith("max")
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    if not largest:
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    if given.get("ceil_mode") or given.get("divisor_override"):
        return refuse(node, "with options")
    padding = given.get("padding") or 0
    if not largest and padding not in (0, [0] * rank) and not given.get("count_include_pad", True):
        return refuse(node, "that does not count its padding")

    kernel = two_axes(given["kernel_size"], rank)
    stride = two_axes(given.get("stride") or given["kernel_size"], rank)
    size, after = source.shape[-rank:], made.shape(node)[-rank:]
    planes = source.size // math.prod(size)
    numbers = [1, planes, *two_axes(size, rank), planes, *kernel, *stride]
    numbers += [*two_axes(padding, rank, 0), *two_axes(given.get("dilation") or 1, rank)]
    numbers += [planes, *two_axes(after, rank)]
    return _pooled(made, node, source, numbers, largest)


def _pooled(made: Lowering, node: Any, source: Array, numbers: list[int], largest: bool) -> Array:
    to = made.out(node)
    sizes = sizes_of(numbers)
    made.program.say("ap_pool(", to, ", ", source, f", {int(largest)}, {sizes});")
    return to


def _adaptive(made: Lowering, node: Any) -> Array:
    """Say an average over as many equal windows as are asked for."""
    source, rank = made.array(node.args[0]), int(name_of(node)[-2])
    size, after = list(source.shape[-rank:]), list(made.shape(node)[-rank:])
    if any(n % k for n, k in zip(size, after, strict=True)):
        return refuse(node, f"of {size} into {after} windows that are not equal")
    kernel = [n // k for n, k in zip(size, after, strict=True)]
    planes = source.size // math.prod(size)
    one = [1] * (2 - rank)
    numbers = [1, planes, *one, *size, planes, *one, *kernel, *one, *kernel, 0, 0, 1, 1, planes]
    return _pooled(made, node, source, [*numbers, *one, *after], False)


def _rows(made: Lowering, node: Any, dims: Any) -> tuple[Array, int]:
    """Return an array whose last axes are those of ``dims``, and how many values they hold.

    Without ``dims`` all axes are meant.
    """
    source = made.array(node.args[0])
    rank = len(source.shape)
    dims = [dims] if isinstance(dims, int) else dims
    over = [dim % rank for dim in dims or range(rank)]
    order = [i for i in range(rank) if i not in over] + over
    view = empty(source.shape).permute(order)
    return made.viewed(source, view, node), math.prod(source.shape[dim] for dim in over)


def _reduced(made: Lowering, node: Any) -> Array:
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    source, n = _rows(made, node, dims)
    to, rows = made.out(node), source.size // n
    if name_of(node) in ("amax", "amin"):
        sign = "1.0f" if name_of(node) == "amax" else "-1.0f"
        made.program.say("ap_most(", to, ", ", source, f", {rows}, {n}, {sign});")
        return to
    share = f"{1 / n!r}f" if name_of(node) == "mean" else "1.0f"
    made.program.say("ap_sum(", to, ", ", source, f", {rows}, {n}, {share});")
    return to


def _spread(made: Lowering, node: Any) -> Array:
    """Say a variance, a deviation or a Euclidean norm."""
    name = name_of(node)
    given = list(node.args[1:]) + [None] * 2
    dims = given[1] if name == "linalg_vector_norm" else given[0]
    if name == "linalg_vector_norm" and given[0] not in (None, 2):
        return refuse(node, "of another order than 2")
    source, n = _rows(made, node, dims)
    correction = node.kwargs.get("correction", 1)
    if name == "linalg_vector_norm":
        centred, share = 0, 1.0
    else:
        centred, share = 1, 1 / max(n - (1 if correction is None else correction), 1e-30)
    to, root = made.out(node), int(name != "var")
    sizes = f"{source.size // n}, {n}, {centred}, {share!r}, {root}"
    made.program.say("ap_spread(", to, ", ", source, f", {sizes});")
    return to


def _softmax(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    rank = len(source.shape)
    axis = node.args[1] % rank
    order = [*(i for i in range(rank) if i != axis), axis]
    rows = made.turned(source, order, node)
    to, n = made.program.new(rows.shape), source.shape[axis]
    log = int("log" in name_of(node))
    made.program.say("ap_softmax(", to, ", ", rows, f", {source.size // n}, {n}, {log});")
    back = [order.index(i) for i in range(rank)]
    return made.turned(to, back, node)


def _running_sum(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    axis = node.args[1] % len(source.shape)
    outer, inner = math.prod(source.shape[:axis]), math.prod(source.shape[axis + 1 :])
    to = made.out(node)
    made.program.say("ap_cumsum(", to, ", ", source, f", {outer}, {source.shape[axis]}, {inner});")
    return to


WINDOWS = {
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(
        [f"{mode}ion_pad{n}d" for mode in ("reflect", "replicat") for n in (1, 2)], _pad
    ),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduced),
    **dict.fromkeys(("var", "std", "linalg_vector_norm"), _spread),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), _adaptive),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), _nearest),
    "index_select": _take,
    "index": _index,
    "flip": _turned_round,
    "roll": _rolled,
    "cumsum": _running_sum,
}

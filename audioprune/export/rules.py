"""What each operator does when a model runs frame by frame: ``apply(rewriter, node)``.

It returns the ``Stream`` (or tuple of them) that stands for the node. An operator that maps each
position alone is kept as it is; one that reads a span of positions gets the past as a state; one
that needs later positions, or all of them, is refused with its layer. An operator without a rule
is kept if its result has the frames of its inputs; the comparison with the whole pass decides.
Spans (convolutions, pooling, recurrent layers) are in `spans`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sympy
import torch
from torch import fx

from audioprune.export import shapes, spans
from audioprune.export.rewrite import LastState, Plain, Rewriter, Stream, aten
from audioprune.export.trace import TIME, Node, layer_of, name_of

Rule = Callable[[Rewriter, Node], Any]
_END = 2**62  # what torch writes for "to the end" is about this much


def apply(rw: Rewriter, node: Node) -> Any:
    """Return what stands for an original node in the rewritten graph."""
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return Plain(node, node)
    if node.target is operator.getitem:
        return _item(rw, node)
    name = name_of(node)
    if not streams_of(rw, node) or name in CREATED:
        return _without_time(rw, node, name)
    if name in RULES:
        return RULES[name](rw, node)
    return mapped(rw, node)


def streams_of(rw: Rewriter, node: Node) -> list[Stream]:
    """Return the inputs of a node that run along time."""
    found = [rw.values.get(each) for each in node.all_input_nodes]
    return [each for each in found if isinstance(each, Stream)]


def arguments(
    rw: Rewriter, node: Node, given: dict[fx.Node, fx.Node] | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a node in the new graph.

    Args:
        rw: The rewriting.
        node: The original node.
        given: What stands for its inputs along time; by default all at the same offset.
    """

    def new(each: fx.Node) -> Any:
        if given is not None and each in given:
            return given[each]
        if isinstance(each.meta.get("val"), torch.SymInt):
            return rw.whole_number(each.meta["val"], node)
        if isinstance(rw.values[each], tuple):
            return rw.refuse(node, "several values as one")
        return rw.plain(rw.values[each], node)

    args, kwargs = fx.map_arg((node.args, node.kwargs), new)
    return args, kwargs


def mapped(rw: Rewriter, node: Node, target: Any = None, drop: int | None = None) -> Any:
    """Keep an operator that maps each position alone.

    Args:
        rw: The rewriting.
        node: The original node.
        target: Operator of the new graph; by default the same.
        drop: How many arguments are kept; by default all.
    """
    if name_of(node) not in KNOWN and torch.Tag.pointwise not in getattr(node.target, "tags", ()):
        rw.assumed.append(f"{node.target}")
    origins = [each for each in node.all_input_nodes if isinstance(rw.values[each], Stream)]
    nodes, offset = rw.aligned([rw.values[each] for each in origins], node)
    args, kwargs = arguments(rw, node, dict(zip(origins, nodes, strict=True)))
    made = rw.emit(node, target or node.target, *args[:drop], **kwargs)
    first: Stream = rw.values[origins[0]]
    folded = any(rw.values[each].folded for each in origins)
    if isinstance(node.meta.get("val"), list | tuple):
        return _parts(rw, node, made, replace(first, offset=offset, folded=folded))
    return result(rw, node, made, replace(first, offset=offset, folded=folded))


def result(rw: Rewriter, node: Node, made: fx.Node, like: Stream) -> Stream:
    """Return the stream of a new value whose positions are those of another one."""
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, f"{name_of(node)} over all frames")
    length = like.length if like.folded else rw.shape(node)[axis]
    return replace(like, node=made, axis=axis, base=node.name, source=node, length=length)


def _parts(rw: Rewriter, node: Node, made: fx.Node, like: Stream) -> tuple[Stream, ...]:
    """Return the streams of an operator with several results."""
    found = []
    for i, value in enumerate(node.meta["val"]):
        shape = [rw.traced.size(size) for size in value.shape]
        axes = [k for k, size in enumerate(shape) if TIME in size.free_symbols]
        if len(axes) != 1:
            return rw.refuse(node, f"{name_of(node)} over frames")
        item = rw.emit(node, operator.getitem, made, i)
        length = like.length if like.folded else shape[axes[0]]
        # the original item is the getitem behind this node, see `_item`
        found.append(
            replace(like, node=item, axis=axes[0], base=f"{node.name}[{i}]", length=length)
        )
    return tuple(found)


def _item(rw: Rewriter, node: Node) -> Any:
    origin, index = node.args
    value = rw.values[origin]
    if not isinstance(value, tuple):
        return rw.refuse(node, "one of several values")
    item = value[index]
    return replace(item, source=node) if isinstance(item, Stream | Plain) else item


def _without_time(rw: Rewriter, node: Node, name: str) -> Any:
    """Keep what has no input along time: zeros of some size, or a value for each item."""
    if name in ("audioprune.lstm", "audioprune.gru", "audioprune.rnn"):
        return rw.refuse(node, "a recurrent layer over something else than frames")
    if isinstance(node.meta.get("val"), list | tuple):
        return rw.refuse(node, f"{name} of sizes")
    axis = rw.time_axis(node)
    sized = name in CREATED or name in ("expand", *shapes.VIEWS)
    if not sized:
        if axis is not None:
            return rw.refuse(node, f"{name} of the position in time")
        args, kwargs = arguments(rw, node)
        return Plain(rw.emit(node, node.target, *args, **kwargs), node)
    length = TIME if axis is None else _time_part(rw.shape(node)[axis])
    sizes = rw.sizes(node, rw.frame, axis, length)
    place = CREATED.get(name, 1)
    args = tuple(
        sizes if i == place else _argument(rw, node, arg) for i, arg in enumerate(node.args)
    )
    target = aten.reshape.default if name in shapes.VIEWS else node.target
    made = rw.emit(node, target, *args[: 2 if name in shapes.VIEWS else None], **dict(node.kwargs))
    if axis is None:
        return Plain(made, node)
    folded = rw.shape(node)[axis] != length
    return Stream(made, axis, rw.frame, None, node.name, node, length, folded)


def _time_part(size: sympy.Expr) -> sympy.Expr:
    """Return the factor of a size that holds time."""
    factors = [factor for factor in sympy.Mul.make_args(sympy.factor(size)) if factor.has(TIME)]
    return sympy.Mul(*factors)


def _argument(rw: Rewriter, node: Node, value: Any) -> Any:
    if not isinstance(value, fx.Node):
        return value
    found = rw.values[value]
    return found.node if isinstance(found, Stream) else rw.plain(found, node)


def _over(place: int, default: Any = None) -> Rule:
    """Return the rule of an operator that works along the axes of its argument ``place``."""

    def rule(rw: Rewriter, node: Node) -> Any:
        if str(node.target).endswith(".other"):  # of two values, such as the larger one
            return mapped(rw, node)
        stream = streams_of(rw, node)[0]
        dims = node.args[place] if len(node.args) > place else node.kwargs.get("dim", default)
        rank = len(rw.shape(stream.source))
        if isinstance(dims, int):
            dims = [dims]
        over_all = not isinstance(dims, Sequence) or not dims
        if over_all or any(isinstance(dim, int) and dim % rank == stream.axis for dim in dims):
            return rw.refuse(node, f"{name_of(node)} over all frames")
        return mapped(rw, node)

    return rule


def _normalised(rw: Rewriter, node: Node) -> Any:
    stream, rank = streams_of(rw, node)[0], len(rw.shape(streams_of(rw, node)[0].source))
    if stream.axis >= rank - len(node.args[1]):
        return rw.refuse(node, "a normalisation over all frames")
    return mapped(rw, node)


def _batch_norm(rw: Rewriter, node: Node) -> Any:
    if streams_of(rw, node)[0].axis == 1:
        return rw.refuse(node, "a normalisation of each frame apart")
    return mapped(rw, node)


def _group_norm(rw: Rewriter, node: Node) -> Any:
    if streams_of(rw, node)[0].axis != 0:
        return rw.refuse(node, "a normalisation over all frames")
    return mapped(rw, node)


def _linear(rw: Rewriter, node: Node) -> Any:
    stream = rw.values[node.args[0]]
    if isinstance(stream, Stream) and stream.axis == len(rw.shape(stream.source)) - 1:
        return rw.refuse(node, "a layer over all frames")
    return mapped(rw, node)


def _matmul(rw: Rewriter, node: Node) -> Any:
    for place, back in ((0, 1), (1, 2)):
        value = rw.values[node.args[place]]
        if isinstance(value, Stream) and value.axis == len(rw.shape(value.source)) - back:
            return rw.refuse(node, "a sum over all frames")
    return mapped(rw, node)


def _same(rw: Rewriter, node: Node) -> Any:
    """Leave out what changes nothing in evaluation."""
    if "dropout" in name_of(node) and len(node.args) > 2 and node.args[2]:
        return rw.refuse(node, "values that are drawn", "pass training=self.training to dropout")
    return rw.values[node.args[0]]


def _pad(rw: Rewriter, node: Node) -> Any:
    stream: Stream = rw.values[node.args[0]]
    rank, widths = len(rw.shape(stream.source)), list(node.args[1])
    mode = node.args[2] if name_of(node) == "pad" and len(node.args) > 2 else "constant"
    place = 2 * (rank - 1 - stream.axis)
    before = 0
    if place < len(widths):
        before = widths[place]
        behind = widths[place + 1]
        if not isinstance(before, int) or not isinstance(behind, int):
            return rw.refuse(node, "padding that depends on the length of the signal")
        if mode != "constant" and (before or behind):
            return rw.refuse(node, f"{mode} padding, which repeats frames")
        widths[place] = widths[place + 1] = 0
    made = stream.node
    if any(widths):
        made = rw.emit(node, node.target, made, widths, *node.args[2:], **node.kwargs)
    offset = None if stream.offset is None and not before else (stream.offset or 0) + before
    if offset is not None and offset < 0:
        return rw.refuse(node, _ahead(-offset))
    moved = replace(
        stream, node=made, offset=offset, source=node, length=_length(rw, node, stream)
    )
    return moved if made is stream.node else replace(moved, base=node.name)


def _ahead(count: int) -> str:
    return f"{count} frame{'s' * (count > 1)} ahead"


def _length(rw: Rewriter, node: Node, stream: Stream) -> sympy.Expr:
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, "a fixed number of frames")
    return stream.length if stream.folded else rw.shape(node)[axis]


def _slice(rw: Rewriter, node: Node) -> Any:
    stream: Stream = rw.values[node.args[0]]
    defaults: list[Any] = [0, None, None, 1]
    given: list[Any] = list(node.args[1:])
    dim, start, end, step = given + defaults[len(given) :]
    if dim % len(rw.shape(stream.source)) != stream.axis:
        return mapped(rw, node)
    start = 0 if start is None else start
    if isinstance(start, fx.Node):
        start = rw.whole_number(start.meta["val"], node)
    if not isinstance(start, int) or start < 0 or step != 1 or stream.folded:
        return rw.refuse(node, f"frames from {start} on in steps of {step}")
    if isinstance(end, int) and 0 <= end < _END:
        return rw.refuse(node, f"the first {end} frames alone")
    length = _length(rw, node, stream)
    if stream.offset is None:
        return replace(stream, source=node, length=length)
    if stream.offset < start:
        return rw.refuse(node, _ahead(start - stream.offset))
    return replace(stream, offset=stream.offset - start, source=node, length=length)


def _cat(rw: Rewriter, node: Node) -> Any:
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    axis = rw.time_axis(node)
    if axis is None or dim % len(rw.shape(node)) != axis or name_of(node) == "stack":
        return mapped(rw, node)
    moving = [each for each in node.args[0] if isinstance(rw.values[each], Stream)]
    moving = [each for each in moving if rw.values[each].offset is not None]
    if len(moving) != 1:
        return rw.refuse(node, "several signals one after another")
    before = sum(rw.shape(each)[axis] for each in node.args[0][: node.args[0].index(moving[0])])
    stream: Stream = rw.values[moving[0]]
    if not sympy.sympify(before).is_Integer or stream.folded:
        return rw.refuse(node, "frames behind others whose number is not fixed")
    offset = (stream.offset or 0) + int(before)
    return replace(stream, offset=offset, source=node, length=_length(rw, node, stream))


def _expand(rw: Rewriter, node: Node) -> Any:
    stream: Stream = rw.values[node.args[0]]
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, "a fixed number of frames")
    sizes = rw.sizes(node, stream.chunk, axis, stream.length)
    return result(rw, node, rw.emit(node, aten.expand.default, stream.node, sizes), stream)


def _select(rw: Rewriter, node: Node) -> Any:
    stream: Stream = rw.values[node.args[0]]
    if node.args[1] % len(rw.shape(stream.source)) == stream.axis:
        return rw.refuse(node, "one frame of all")
    return mapped(rw, node)


def _upsample(rw: Rewriter, node: Node) -> Any:
    stream: Stream = rw.values[node.args[0]]
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, "a fixed number of frames")
    ratios = [
        sympy.simplify(size / old)
        for size, old in zip(rw.shape(node)[2:], rw.shape(stream.source)[2:], strict=True)
    ]
    times = ratios[axis - 2] if axis >= 2 else sympy.Integer(1)
    if not times.is_Integer or (times != 1 and "nearest" not in name_of(node)):
        return rw.refuse(node, "frames between frames", "use nearest neighbours, whole factors")
    target = node.target
    made = rw.emit(
        node,
        target,
        stream.node,
        None,
        *[a for a in node.args[2:-1]],
        [float(ratio) for ratio in ratios],
    )
    return result(rw, node, made, shapes.rescaled(rw, node, stream, times))


def _running_sum(rw: Rewriter, node: Node) -> Any:
    """Keep the sum of all frames so far."""
    stream: Stream = rw.values[node.args[0]]
    if node.args[1] % len(rw.shape(stream.source)) != stream.axis:
        return mapped(rw, node)
    if stream.folded:
        return rw.refuse(node, "time and another axis in one", "keep time an axis of its own")
    source, axis = stream.source, stream.axis

    def initial(values: dict[str, Any]) -> torch.Tensor:
        one: torch.Tensor = values[source.name].narrow(axis, 0, 1)
        return torch.zeros_like(one)

    newest = rw.delayed(stream, 0, node)
    kept = rw.state(
        f"{layer_of(node) or node.name}.sum", initial, (source,), rw.batch_axis(source)
    )
    own = rw.emit(node, aten.cumsum.default, newest, axis)
    made = rw.emit(node, aten.add.Tensor, own, kept.place)
    kept.after = rw.emit(node, aten.slice.Tensor, made, axis, stream.chunk - 1, 2**63 - 1)
    return result(rw, node, made, replace(stream, offset=0))


def _last_state(rw: Rewriter, node: Node) -> Any:
    return LastState()


CREATED = {
    "new_zeros": 1,
    "new_ones": 1,
    "new_full": 1,
    "new_empty": 1,
    "zeros": 0,
    "ones": 0,
    "full": 0,
    "empty": 0,
}
RULES: dict[str, Rule] = {
    **dict.fromkeys(shapes.VIEWS, shapes.view),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("cat", "concat", "stack"), _cat),
    **dict.fromkeys(("dropout", "feature_dropout", "contiguous", "detach", "alias"), _same),
    **dict.fromkeys(("alpha_dropout", "lift_fresh_copy", "detach_", "dropout_"), _same),
    **dict.fromkeys(
        ("softmax", "log_softmax", "mean", "sum", "var", "std", "amax", "amin"), _over(1)
    ),
    **dict.fromkeys(("argmax", "argmin", "var_mean", "std_mean", "logsumexp"), _over(1)),
    **dict.fromkeys(("cumprod", "flip", "prod", "max", "min", "any", "all"), _over(1)),
    "cumsum": _running_sum,
    "glu": _over(1, -1),
    **dict.fromkeys(("topk", "kthvalue"), _over(2, -1)),
    **dict.fromkeys(("norm", "roll"), _over(2)),
    **dict.fromkeys(("linalg_vector_norm",), _over(2)),
    **dict.fromkeys(("sort", "argsort", "median"), _over(1, -1)),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "tensor_split"), _over(2, 0)),
    **dict.fromkeys(("index_select", "gather"), _over(1)),
    "unbind": _over(1, 0),
    "layer_norm": _normalised,
    "rms_norm": _normalised,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "instance_norm": _group_norm,
    "linear": _linear,
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "slice": _slice,
    "select": _select,
    "expand": _expand,
    **dict.fromkeys(
        ("upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d"), _upsample
    ),
    **spans.RULES,
}
KNOWN = {
    *RULES,
    "embedding",
    "permute",
    "transpose",
    "prelu",
    "clone",
    "to",
    "_to_copy",
    "type_as",
    "zeros_like",
    "ones_like",
    "full_like",
    "einsum",
    "movedim",
    "t",
    "numpy_T",
    "swapaxes",
}

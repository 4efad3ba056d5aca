"""How layers that read a span of positions run frame by frame: convolutions, pooling, recurrence.

``RULES`` maps the name of an operator to its rule. A convolution keeps the positions that it reads
again, a transposed one what it adds to the next frame, a recurrent layer its own state.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from audioprune.export.rewrite import (
    Constant,
    FrameTooShort,
    LastState,
    Plain,
    Rewriter,
    Stream,
    aten,
)
from audioprune.export.trace import Node, layer_of, name_of

_RANK = {"conv1d": 1, "conv2d": 2, "conv3d": 3}
_RECURRENT = {"audioprune.lstm": aten.lstm.input, "audioprune.gru": aten.gru.input}


@dataclass(frozen=True)
class Span:
    """Which positions one result reads.

    Attributes:
        width: Positions from the first to the last one that it reads, less 1.
        stride: Positions from one result to the next.
        padding: Zeros in front of the first position.
    """

    width: int
    stride: int
    padding: int


def windowed(rw: Rewriter, node: Node, stream: Stream, span: Span) -> tuple[fx.Node, Stream]:
    """Return the positions that a frame of results reads, and the stream of these results."""
    if stream.folded:
        rw.refuse(node, "time and another axis in one", "keep time an axis of its own")
    chunk, offset = stream.chunk, (stream.offset or 0) + span.padding
    if chunk % span.stride:
        raise FrameTooShort(span.stride)
    after = (offset - span.width - 1 + span.stride) // span.stride
    if after < 0:
        ahead = span.width - offset
        rw.refuse(node, f"{ahead} position{'s' * (ahead > 1)} ahead of it")
    past = offset - after * span.stride
    surplus = past + span.stride - span.width - 1
    window = rw.past(stream, past, node)
    if surplus > 0:
        stop = past + chunk - surplus
        window = rw.emit(node, aten.slice.Tensor, window, stream.axis, 0, stop)
    return window, replace(stream, chunk=chunk // span.stride, offset=after)


def _convolution(rw: Rewriter, node: Node) -> Any:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    stream = rw.values[given["input"]]
    if not isinstance(stream, Stream):
        return rw.refuse(node, "a kernel that is not fixed")
    rank = len(rw.shape(node)) - 2
    stride, dilation = (_each(given.get(name, 1), rank) for name in ("stride", "dilation"))
    shape = rw.shape(given["weight"])
    kernel = [int(size) for size in shape[2:]]
    padding = _padding(given.get("padding", 0), kernel, dilation)
    odd = [
        (k - 1) * d % 2 if given.get("padding") == "same" else 0
        for k, d in zip(kernel, dilation, strict=True)
    ]
    weights = [_value(rw, node, given.get(name)) for name in ("weight", "bias")]
    place = stream.axis - 2
    if place < 0:
        if stream.axis == 1:
            return rw.refuse(node, "frames as channels")
        made_on, like = stream.node, stream
    else:
        span = Span((kernel[place] - 1) * dilation[place], stride[place], padding[place])
        made_on, like = windowed(rw, node, stream, span)
        padding[place] = odd[place] = 0
    if any(odd):  # torch pads one position more behind than in front
        widths = [width for extra in reversed(odd) for width in (0, extra)]
        made_on = rw.emit(node, aten.constant_pad_nd.default, made_on, widths, 0.0)
    rest = (stride, padding, dilation, given.get("groups", 1))
    target = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}[rank]
    made = rw.emit(node, target, made_on, *weights, *rest)
    return _result(rw, node, made, like)


def _result(rw: Rewriter, node: Node, made: fx.Node, like: Stream) -> Stream:
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, "a fixed number of frames")
    length = like.length if like.folded else rw.shape(node)[axis]
    return replace(like, node=made, axis=axis, base=node.name, source=node, length=length)


def _each(value: Any, rank: int) -> list[int]:
    values = list(value) if isinstance(value, Sequence) else [value]
    return values * rank if len(values) == 1 else values


def _padding(value: Any, kernel: list[int], dilation: list[int]) -> list[int]:
    if isinstance(value, str):
        if value == "valid":
            return [0] * len(kernel)
        return [(k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True)]
    return _each(value, len(kernel))


def _value(rw: Rewriter, node: Node, value: Any) -> Any:
    if not isinstance(value, fx.Node):
        return value
    found = rw.values[value]
    if not isinstance(found, Constant | Plain):
        return rw.refuse(node, "weights that depend on the signal")
    return rw.plain(found, node)


def _transposed(rw: Rewriter, node: Node) -> Any:
    names = (
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        "output_padding",
        "groups",
        "dilation",
    )
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    stream: Stream = rw.values[given["input"]]
    rank, groups = len(rw.shape(node)) - 2, given.get("groups", 1)
    stride, padding, extra, dilation = (
        _each(given.get(name, default), rank)
        for name, default in (
            ("stride", 1),
            ("padding", 0),
            ("output_padding", 0),
            ("dilation", 1),
        )
    )
    weight, bias = (_value(rw, node, given.get(name)) for name in ("weight", "bias"))
    target = {1: aten.conv_transpose1d.default, 2: aten.conv_transpose2d.input}[rank]
    place = stream.axis - 2
    if place < 0 or (stream.folded):
        rest = (stride, padding, extra, groups, dilation)
        if stream.axis == 1 or place >= 0:
            return rw.refuse(node, "frames as channels")
        return _result(rw, node, rw.emit(node, target, stream.node, weight, bias, *rest), stream)
    kernel = int(rw.shape(given["weight"])[2 + place])
    step, width = stride[place], (kernel - 1) * dilation[place] + 1
    offset = stream.offset or 0
    after = offset * step - padding[place]
    if after < 0:
        return rw.refuse(node, f"{-after} position{'s' * (after < -1)} ahead of it")
    padding[place] = extra[place] = 0
    like = replace(stream, chunk=stream.chunk * step, offset=after)
    rest = (stride, padding, extra, groups, dilation)
    beyond = width - step
    if beyond <= 0:
        made = rw.emit(node, target, stream.node, weight, bias, *rest)
        return _result(rw, node, made, like)
    alone = rw.emit(node, target, stream.node, weight, None, *rest)
    kept = _overlap(rw, node, given, stream, target, rest, beyond)
    zeros = _zeros_like(rw, node, kept.place, stream.axis, like.chunk)
    both = rw.emit(node, aten.cat.default, [kept.place, zeros], stream.axis)
    total = rw.emit(node, aten.add.Tensor, alone, both)
    kept.after = rw.emit(node, aten.slice.Tensor, total, stream.axis, like.chunk, 2**63 - 1)
    made = rw.emit(node, aten.slice.Tensor, total, stream.axis, 0, like.chunk)
    if bias is not None:
        shaped = rw.emit(node, aten.reshape.default, bias, [1, -1, *[1] * rank])
        made = rw.emit(node, aten.add.Tensor, made, shaped)
    return _result(rw, node, made, like)


def _zeros_like(rw: Rewriter, node: Node, kept: fx.Node, axis: int, count: int) -> fx.Node:
    """Return ``count`` zero positions shaped like a state."""
    one = rw.emit(node, aten.slice.Tensor, kept, axis, 0, 1)
    zero = rw.emit(node, aten.mul.Tensor, one, 0.0)
    return zero if count == 1 else rw.emit(node, aten.cat.default, [zero] * count, axis)


def _overlap(
    rw: Rewriter,
    node: Node,
    given: dict[str, Any],
    stream: Stream,
    target: Any,
    rest: tuple[Any, ...],
    beyond: int,
) -> Any:
    """Add the state that holds what earlier frames add to the next one."""
    weight = rw.values[given["weight"]]
    if not isinstance(weight, Constant):
        return rw.refuse(node, "weights that depend on the signal")
    source, axis, offset = stream.source, stream.axis, stream.offset or 0
    step = rest[0][axis - 2]

    def initial(values: dict[str, Any]) -> Tensor:
        whole = values[source.name]
        if offset:
            done = target(whole.narrow(axis, 0, offset), weight.value, None, *rest)
            return done.narrow(axis, offset * step, beyond)
        one = target(whole.narrow(axis, 0, 1), weight.value, None, *rest)
        return torch.zeros_like(one.narrow(axis, 0, 1)).repeat_interleave(beyond, axis)

    layer = _layer(node)
    return rw.state(f"{layer}.overlap", initial, (source,), rw.batch_axis(source))


def _layer(node: Node) -> str:
    return layer_of(node) or node.name


def _pool(target_rank: int) -> Callable[[Rewriter, Node], Any]:
    def rule(rw: Rewriter, node: Node) -> Any:
        stream: Stream = rw.values[node.args[0]]
        rank = target_rank
        kernel = _each(node.args[1], rank)
        stride = _each(node.args[2] if len(node.args) > 2 and node.args[2] else kernel, rank)
        padding = _each(node.args[3] if len(node.args) > 3 else 0, rank)
        largest = str(node.target).startswith("aten.max")
        wide = _each(node.args[4] if largest and len(node.args) > 4 else 1, rank)
        place = stream.axis - (len(rw.shape(stream.source)) - rank)
        if place < 0:
            return _result(
                rw, node, rw.emit(node, node.target, stream.node, *node.args[1:]), stream
            )
        if padding[place]:
            return rw.refuse(node, "pooling over padded frames", "pad on the left, before it")
        span = Span((kernel[place] - 1) * wide[place], stride[place], 0)
        window, like = windowed(rw, node, stream, span)
        made = rw.emit(node, node.target, window, *node.args[1:])
        return _result(rw, node, made, like)

    return rule


def _recurrent(rw: Rewriter, node: Node) -> Any:
    name = name_of(node)
    count = 2 if name == "audioprune.lstm" else 1
    values, before = node.args[0], node.args[1 : 1 + count]
    weights, bias, layers, bidirectional, batch_first = node.args[1 + count : 6 + count]
    stream = rw.values[values]
    if not isinstance(stream, Stream):
        return rw.refuse(node, "a recurrent layer over something else than frames")
    target = _RECURRENT.get(name) or getattr(aten, f"rnn_{node.args[-1]}").input
    over_time = stream.axis == (1 if batch_first else 0)
    if over_time and bidirectional:
        return rw.refuse(node, "a layer that runs backwards in time too")
    parts = [_value(rw, node, weight) for weight in weights]
    options = (parts, bias, layers, 0.0, False, bidirectional, batch_first)
    if not over_time:
        given = [_state_of(rw, node, each) for each in before]
        made = rw.emit(node, target, stream.node, given if count == 2 else given[0], *options)
        like = replace(stream, base=node.name)
        out = replace(like, node=rw.emit(node, operator.getitem, made, 0))
        others = [
            replace(like, node=rw.emit(node, operator.getitem, made, i + 1), axis=1)
            for i in range(count)
        ]
        return (out, *others)
    newest = rw.delayed(stream, 0, node)
    states = [
        rw.state(f"{_layer(node)}.{letter}", _taken(each), (each,), 1)
        for letter, each in zip("hc", before, strict=False)
    ]
    places = [state.place for state in states]
    made = rw.emit(node, target, newest, places if count == 2 else places[0], *options)
    result = rw.emit(node, operator.getitem, made, 0)
    for i, state in enumerate(states):
        state.after = rw.emit(node, operator.getitem, made, i + 1)
    offset = None if stream.offset is None else 0
    found = replace(stream, node=result, offset=offset or 0, base=node.name)
    return (found, *[LastState() for _ in states])


def _taken(node: Node) -> Callable[[dict[str, Any]], Tensor]:
    return lambda values: values[node.name]


def _state_of(rw: Rewriter, node: Node, value: fx.Node) -> Any:
    found = rw.values[value]
    if isinstance(found, Stream):
        return found.node
    return rw.plain(found, node)


RULES: dict[str, Callable[[Rewriter, Node], Any]] = {
    **dict.fromkeys(_RANK, _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _transposed),
    **dict.fromkeys(("avg_pool1d", "max_pool1d"), _pool(1)),
    **dict.fromkeys(("avg_pool2d", "max_pool2d"), _pool(2)),
    **dict.fromkeys((*_RECURRENT, "audioprune.rnn"), _recurrent),
}

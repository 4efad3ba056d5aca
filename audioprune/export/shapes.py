"""What a reshape does when a model runs frame by frame: ``view(rewriter, node)``.

Time may be joined with an axis behind it, which gives more positions a frame, or split, which
gives fewer; shared with one in front of it, it keeps no past until it is an axis of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sympy

from audioprune.export.rewrite import FrameTooShort, Rewriter, Stream, aten
from audioprune.export.trace import Node

VIEWS = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")


def view(rw: Rewriter, node: Node) -> Any:
    """Return the stream of a value in another shape.

    Args:
        rw: The rewriting.
        node: The original reshape.
    """
    stream: Stream = rw.values[node.args[0]]
    axis = rw.time_axis(node)
    if axis is None:
        return rw.refuse(node, "a fixed number of frames")
    before, after = rw.shape(stream.source), rw.shape(node)
    size, length = after[axis], stream.length
    found = replace(stream, axis=axis, base=node.name, source=node)
    if not stream.folded and _product(before[: stream.axis]) == _product(after[:axis]):
        found = rescaled(rw, node, found, sympy.simplify(size / length))
    else:  # time shares its axis with one in front of it
        folded = sympy.simplify(size / length) != 1
        if not folded and not stream.folded:
            return rw.refuse(node, "frames in another order", "permute before a reshape")
        found = replace(found, folded=folded)
    sizes = rw.sizes(node, found.chunk, axis, found.length)
    made = rw.emit(node, aten.reshape.default, found.node, rw.single_unknown(sizes))
    return replace(found, node=made)


def rescaled(rw: Rewriter, node: Node, stream: Stream, ratio: sympy.Expr) -> Stream:
    """Return a stream with ``ratio`` times as many positions, joined or split inwards.

    Args:
        rw: The rewriting.
        node: The original operator.
        stream: Its input.
        ratio: Positions of the result for each of the input.

    Raises:
        FrameTooShort: A frame holds no whole number of them.
    """
    if ratio.is_Integer:
        times = int(ratio)
        offset = None if stream.offset is None else stream.offset * times
        chunk = stream.chunk * times
        return replace(stream, chunk=chunk, offset=offset, length=stream.length * times)
    inverse = sympy.simplify(1 / ratio)
    if not inverse.is_Integer:
        return rw.refuse(node, f"{ratio} positions from one frame")
    parts = int(inverse)
    if stream.chunk % parts:
        raise FrameTooShort(parts)
    if stream.offset is None:
        return replace(stream, chunk=stream.chunk // parts, length=stream.length / parts)
    offset = stream.offset // parts
    origin = rw.values[node.args[0]]
    waiting = rw.delayed(origin, offset * parts, node)
    chunk, length = stream.chunk // parts, stream.length / parts
    return replace(stream, node=waiting, chunk=chunk, offset=offset, length=length)


def _product(sizes: Sequence[sympy.Expr]) -> sympy.Expr:
    return sympy.simplify(sympy.prod(sizes))

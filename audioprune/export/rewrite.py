"""How a traced model is rewritten so that it maps one frame and its states to one frame.

``Rewriter(traced, frame, groups, apply).run()`` makes the graph. Every value that runs along time
is a ``Stream``: at step t it holds ``chunk`` positions of the whole value, from
``chunk * t + offset`` on. A shift to the left by padding adds to the offset, an operator that
reads a span of positions takes from it; below 0 the model looks ahead. Where two values meet, the
later one waits. What a single operator does is in `rules`; states before the first frame are read
off the whole pass, for there no input can have reached them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import sympy
import torch
from torch import Tensor, fx

from audioprune.errors import ConfigError
from audioprune.export.trace import BATCH, TIME, Node, Traced, held_by, layer_of

aten = torch.ops.aten


@dataclass(frozen=True)
class Stream:
    """A value along time in the rewritten graph.

    Attributes:
        node: Its node there, with ``chunk`` positions along ``axis``.
        axis: Axis of time.
        chunk: Positions of each step.
        offset: Position of the whole value at which step 0 begins; None where all are equal.
        base: Name of the original value whose positions these are, however shifted.
        source: The original value itself.
        length: Positions of the whole value, in ``TIME``.
        folded: Whether the axis holds another one beside time, so that no past can be kept.
    """

    node: fx.Node
    axis: int
    chunk: int
    offset: int | None
    base: str
    source: fx.Node
    length: sympy.Expr
    folded: bool = False


@dataclass(frozen=True)
class Constant:
    """A value that depends on no input."""

    value: Any
    name: str = ""


@dataclass(frozen=True)
class Plain:
    """A value without an axis of time, such as zeros for each item of the batch."""

    node: fx.Node
    source: fx.Node


@dataclass(frozen=True)
class LastState:
    """What a recurrent layer remembers after the last frame."""


class FrameTooShort(Exception):
    """A frame has to be so many times as long for a layer that leaves positions out."""

    def __init__(self, times: int) -> None:
        super().__init__(times)
        self.times = times


@dataclass
class State:
    """One state of the rewritten graph.

    Attributes:
        name: A C identifier.
        place: Its placeholder.
        initial: Value before the first frame from the values of a whole pass, by node name.
        needs: Nodes whose values ``initial`` reads.
        batch_axis: Axis of the batch.
    """

    name: str
    place: fx.Node
    initial: Callable[[dict[str, Any]], Tensor]
    needs: tuple[fx.Node, ...]
    batch_axis: int | None
    after: fx.Node | None = None


@dataclass
class Request:
    """How many past positions of a value a layer wants, and what they are at first."""

    stream: Stream
    count: int
    layer: str


@dataclass
class Rewriter:
    """The rewriting of one graph; ``apply`` gives the rule of an operator, see `rules`."""

    traced: Traced
    frame: int
    groups: dict[tuple[str, int], tuple[int, Request]]
    apply: Callable[[Rewriter, Node], Any]
    requests: list[Request] = field(default_factory=list)
    graph: fx.Graph = field(default_factory=fx.Graph)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[Stream] = field(default_factory=list)
    outputs: list[Stream] = field(default_factory=list)
    output_places: list[int] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    _fulls: dict[int, tuple[fx.Node, int]] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _last_place: fx.Node | None = None
    _batch: fx.Node | None = None

    def run(self) -> None:
        """Rewrite all nodes."""
        axes = iter(self.traced.time_dims)
        for node in self.traced.module.graph.nodes:
            if node.op == "placeholder":
                self._add_input(node, next(axes))
            elif node.op == "get_attr":
                self.values[node] = Constant(held_by(self.traced.module, node), node.target)
            elif node.op == "call_function":
                self.values[node] = self._fold(node) or self.apply(self, node)
            elif node.op == "output":
                self._finish(node)

    def refuse(self, node: Node, why: str, remedy: str = "streaming needs a causal model") -> Any:
        """Raise what says which layer cannot run frame by frame."""
        layer = layer_of(node)
        where = f"layer {layer}" if layer else f"operator {node.target}"
        raise ConfigError(
            f"{where}: expected one frame to follow from the past, got {why}; {remedy}"
        )

    def shape(self, node: fx.Node) -> tuple[sympy.Expr, ...]:
        """Return the sizes of an original value."""
        found = self.traced.shape(node)
        if found is None:
            self.refuse(node, "a value that is no tensor", "leave it out")
        return found or ()

    def time_axis(self, node: fx.Node) -> int | None:
        """Return the axis of time of an original value, None where it has none."""
        axes = [i for i, size in enumerate(self.shape(node)) if TIME in size.free_symbols]
        if len(axes) > 1:
            self.refuse(node, "each frame beside each other one (attention over time)")
        return axes[0] if axes else None

    # --- values of the new graph

    def emit(self, node: Node, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """Add an operator that stands for a part of an original node."""
        made = self.graph.call_function(target, args, kwargs)
        made.meta["layer"] = layer_of(node)
        return made

    def tensor(self, name: str, value: Tensor) -> fx.Node:
        """Return a node that holds a tensor."""
        flat = name
        self.tensors[flat] = value
        return self.graph.create_node("get_attr", flat)

    def plain(self, value: Any, node: fx.Node) -> Any:
        """Return what stands for an argument without time in the new graph."""
        if isinstance(value, Constant):
            if isinstance(value.value, Tensor):
                return self.tensor(value.name, value.value)
            return value.value
        if isinstance(value, Plain):
            return value.node
        if isinstance(value, LastState):
            return self.refuse(node, "the state after the last frame")
        return value

    def whole_number(self, size: Any, node: fx.Node) -> Any:
        """Return a size that does not depend on time as a number or a node."""
        expr = self.traced.size(size)
        if TIME in expr.free_symbols:
            self.refuse(node, "the length of the whole signal as a number")
        if BATCH in expr.free_symbols:
            return self._times_batch(expr, node)
        return int(expr)

    def _times_batch(self, expr: sympy.Expr, node: fx.Node) -> Any:
        share = sympy.simplify(expr / BATCH)
        if share.free_symbols or not share.is_Integer:
            self.refuse(node, f"the size {expr}", "keep the batch an axis of its own")
        assert self._batch is not None
        return (
            self._batch if share == 1 else self.emit(node, operator.mul, self._batch, int(share))
        )

    def sizes(self, node: Node, chunk: int, axis: int | None, length: Any) -> list[Any]:
        """Return the sizes of an original value with ``chunk`` positions along its time axis."""
        sizes: list[Any] = []
        for i, size in enumerate(self.shape(node)):
            if i == axis:  # time, beside what is folded into it
                size = sympy.simplify(size / length) * chunk
            sizes.append(
                self._times_batch(size, node) if BATCH in size.free_symbols else int(size)
            )
        return sizes

    def single_unknown(self, sizes: list[Any]) -> list[Any]:
        """Return sizes with -1 in place of the only one that is a node."""
        nodes = [i for i, size in enumerate(sizes) if isinstance(size, fx.Node)]
        if len(nodes) != 1:
            return sizes
        return [-1 if isinstance(size, fx.Node) else size for size in sizes]

    # --- the past

    def past(self, stream: Stream, count: int, node: fx.Node) -> fx.Node:
        """Return a value with ``count`` past positions in front of the newest ones."""
        if count == 0:
            return stream.node
        if stream.folded:
            self.refuse(node, "time and another axis in one", "keep time an axis of its own")
        request = Request(stream, count, layer_of(node) or stream.base)
        index = len(self.requests)
        self.requests.append(request)
        group, shared = self.groups.get(("request", index), (index, request))
        if group not in self._fulls:
            self._fulls[group] = self._remember(shared, stream)
        full, kept = self._fulls[group]
        if kept == count:
            return full
        return self.emit(node, aten.slice.Tensor, full, stream.axis, kept - count, 2**63 - 1)

    def _remember(self, request: Request, stream: Stream) -> tuple[fx.Node, int]:
        """Add a state that holds past positions of a value."""
        count, axis, source = request.count, stream.axis, request.stream.source
        offset = request.stream.offset or 0

        def initial(values: dict[str, Any]) -> Tensor:
            return past_of(values[source.name], axis, offset, count)

        state = self.state(f"{request.layer}_past", initial, (source,), self.batch_axis(source))
        full = self.graph.call_function(aten.cat.default, ([state.place, stream.node], axis))
        state.after = self.graph.call_function(
            aten.slice.Tensor, (full, axis, stream.chunk, 2**63 - 1)
        )
        return full, count

    def batch_axis(self, source: fx.Node) -> int | None:
        """Return the axis of the batch of an original value."""
        axes = [i for i, size in enumerate(self.shape(source)) if BATCH in size.free_symbols]
        return axes[0] if axes else None

    def state(
        self,
        name: str,
        initial: Callable[[dict[str, Any]], Tensor],
        needs: tuple[fx.Node, ...],
        batch_axis: int | None,
    ) -> State:
        """Add a state with a placeholder behind those that are there."""
        plain = re.sub(r"\W+", "_", name).strip("_")
        plain = plain if plain[:1].isalpha() else f"layer_{plain}"  # a C identifier
        unique, count = plain, 1
        while unique in self._names:
            count += 1
            unique = f"{plain}_{count}"
        self._names.add(unique)
        state = State(unique, self._place(f"state_{unique}"), initial, needs, batch_axis)
        self.states.append(state)
        return state

    def _place(self, name: str) -> fx.Node:
        if self._last_place is None:
            made = self.graph.placeholder(name)
        else:
            with self.graph.inserting_after(self._last_place):
                made = self.graph.placeholder(name)
        self._last_place = made
        return made

    def delayed(self, stream: Stream, offset: int | None, node: fx.Node) -> fx.Node:
        """Return a value as it was when a step began at ``offset``."""
        if offset is None or stream.offset is None or stream.offset == offset:
            return stream.node
        wait = stream.offset - offset
        full = self.past(stream, wait, node)
        return self.emit(node, aten.slice.Tensor, full, stream.axis, 0, stream.chunk)

    def aligned(self, streams: list[Stream], node: fx.Node) -> tuple[list[fx.Node], int | None]:
        """Return values at the offset that all of them have reached, and this offset."""
        if len({stream.chunk for stream in streams}) > 1:
            self.refuse(node, "values of different rates in one operator")
        offsets = [stream.offset for stream in streams if stream.offset is not None]
        offset = min(offsets) if offsets else None
        return [self.delayed(stream, offset, node) for stream in streams], offset

    # --- ends of the graph

    def _add_input(self, node: Node, axis: int) -> None:
        made = self._place(node.name)
        if self.traced.open_batch and self._batch is None:
            self._batch = self.graph.call_function(aten.sym_size.int, (made, 0))
        stream = Stream(made, axis, self.frame, 0, node.name, node, TIME)
        self.inputs.append(stream)
        self.values[node] = stream

    def _fold(self, node: fx.Node) -> Any:
        """Compute what depends on no input; None for all else."""
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return Plain(node, node)
        if _is_random(node) or not all(
            _is_fixed(self.values[each]) for each in node.all_input_nodes
        ):
            return None
        if any(isinstance(leaf, torch.SymInt) for leaf in _sizes_of(node)):
            return None

        def real(each: fx.Node) -> Any:
            return self.values[each].value

        args, kwargs = fx.map_arg((node.args, node.kwargs), real)
        with torch.no_grad():
            return Constant(cast(Any, node.target)(*args, **kwargs), f"folded_{node.name}")

    def _finish(self, node: fx.Node) -> None:
        for place, each in enumerate(cast(Any, node.args[0])):
            value = self.values.get(each) if isinstance(each, fx.Node) else each
            if isinstance(value, LastState) or value is None:
                continue
            if not isinstance(value, Stream):
                self.refuse(node, "an output without frames", "return frames alone")
            self.output_places.append(place)
            at = 0 if value.offset is not None else None
            self.outputs.append(replace(value, node=self.delayed(value, at, each), offset=0))
        if not self.outputs:
            self.refuse(node, "no output with frames", "return frames")
        self.graph.output(
            (*(each.node for each in self.outputs), *(state.after for state in self.states))
        )


def past_of(value: Tensor, axis: int, offset: int, count: int) -> Tensor:
    """Return the ``count`` positions before ``offset``; before position 0 all are 0."""
    missing = max(0, count - offset)
    found = value.narrow(axis, max(0, offset - count), min(offset, count))
    zeros = found.new_zeros([missing if i == axis else n for i, n in enumerate(found.shape)])
    return torch.cat((zeros, found), axis)


def grouped(
    requests: list[Request], values: dict[str, Any]
) -> dict[tuple[str, int], tuple[int, Request]]:
    """Let layers that want the same past of a value share one state, the longest of them.

    Args:
        requests: What layers want, in the order of the graph.
        values: Original values of a whole pass, by name.
    """
    groups: list[list[int]] = []
    for index, request in enumerate(requests):
        for members in groups:
            if all(_agree(requests[other], request, values) for other in members):
                members.append(index)
                break
        else:
            groups.append([index])
    found: dict[tuple[str, int], tuple[int, Request]] = {}
    for members in groups:
        longest = max((requests[i] for i in members), key=lambda each: each.count)
        found |= {("request", i): (members[0], longest) for i in members}
    return found


def _agree(a: Request, b: Request, values: dict[str, Any]) -> bool:
    if a.stream.base != b.stream.base or a.stream.axis != b.stream.axis:
        return False
    count = min(a.count, b.count)
    before = [
        past_of(values[each.stream.source.name], each.stream.axis, each.stream.offset or 0, count)
        for each in (a, b)
    ]
    return torch.equal(before[0], before[1])


def _is_fixed(value: Any) -> bool:
    return isinstance(value, Constant)


def _is_random(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags and node.target is not aten.dropout.default


def _sizes_of(node: fx.Node) -> list[Any]:
    value = node.meta.get("val")
    tensors = value if isinstance(value, list | tuple) else [value]
    return [size for each in tensors if isinstance(each, Tensor) for size in each.shape]

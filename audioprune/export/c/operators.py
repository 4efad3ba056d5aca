"""What each operator of a streaming form becomes in C: ``lower(stream) -> Lowered``.

The graph is run once on its example, so that every shape is known. An operator without a rule is
refused with its layer. Layers with weights are in `layers`, sums of activations and the like in
`pointwise`, the kernels in kernels.h.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from audioprune.export.c.layers import LAYERS, folds
from audioprune.export.c.lowering import Lowering, empty
from audioprune.export.c.pointwise import BINARY, UNARY, chosen, clamped, expression
from audioprune.export.c.program import Array, Place, Program, refuse
from audioprune.export.c.spectra import SPECTRA
from audioprune.export.c.windows import WINDOWS
from audioprune.export.streaming import StreamingModel
from audioprune.export.trace import name_of, values_of


@dataclass
class Lowered:
    """One step as C.

    Attributes:
        program: Its statements.
        inputs: Arrays of the frames.
        states: Arrays of the states.
        outputs: Shapes of the outputs.
    """

    program: Program
    inputs: list[Array]
    states: list[Array]
    outputs: list[tuple[int, ...]]


def lower(stream: StreamingModel) -> Lowered:
    """Lower one step of a streaming form for one signal.

    Raises:
        ConfigError: An operator has no C form, which names its layer.
    """
    given = (*stream.example_frames(), *stream.initial_state(1))
    tensors = values_of(stream.body, given)
    made = Lowering(Program(), tensors, {}, folds(stream.body.graph, tensors))
    names = [*(f"in_{name}" for name in stream.input_names)]
    names += [f"m->{name}" for name in stream.state_names]
    entries: list[Array] = []
    for node in stream.body.graph.nodes:
        if node.op == "placeholder":
            value = tensors[node]
            place = Place(names[len(entries)], value.numel())
            entries.append(Array(place, tuple(value.shape)))
            made.values[node] = entries[-1]
        elif node.op == "get_attr":
            made.values[node] = tensors[node]
        elif node.op == "call_function":
            made.values[node] = _lowered(made, node)
        elif node.op == "output":
            outputs = _finish(made, node, stream, names)
    count = len(stream.input_names)
    return Lowered(made.program, entries[:count], entries[count:], outputs)


def _finish(made: Lowering, node: Any, stream: StreamingModel, names: list[str]) -> list[Any]:
    """Say the copies of the outputs and, when nothing reads them any more, of the states."""
    results = [made.array(each) for each in node.args[0]]
    count, inputs = len(stream.output_names), len(stream.input_names)
    targets = [f"out_{name}" for name in stream.output_names] + names[inputs:]
    pairs = list(zip(targets, results, strict=True))
    held: list[tuple[str, Array]] = []
    for target, result in pairs:
        kind = result.place.kind
        if target in names[inputs:] and kind.startswith("m->") and kind != target:
            kept = made.program.new(result.shape)  # a state that becomes another one
            made.program.say("memcpy(", kept, ", ", result, f", {4 * result.size});")
            result = kept
        if kind != target or result.offset:
            held.append((target, result))
    for target, result in held:
        made.program.say(f"memmove({target}, ", result, f", {4 * result.size});")
    return [result.shape for result in results[:count]]


def _lowered(made: Lowering, node: Any) -> Any:
    value = made.tensors[node]
    if isinstance(value, int | float):
        return value
    if node.target is operator.getitem:
        return made.values[node.args[0]][node.args[1]]
    inputs = [made.values[each] for each in node.all_input_nodes]
    if not any(isinstance(each, Array | tuple) for each in inputs):
        return value  # follows from constants and sizes
    name = name_of(node)
    if name in VIEWS:
        return _view(made, node)
    rule = RULES.get(name)
    if rule is not None:
        return rule(made, node)
    if name in UNARY or name in BINARY:
        return expression(made, node, name)
    return refuse(node, "without one")


_RESHAPES = (
    *("view", "reshape", "flatten", "unflatten", "contiguous", "dropout", "clone"),
    *("feature_dropout", "alpha_dropout", "lift_fresh_copy", "_unsafe_view", "detach", "alias"),
)
VIEWS = {
    *_RESHAPES,
    *("permute", "transpose", "t", "slice", "select", "expand", "unsqueeze", "squeeze", "narrow"),
    *("split", "split_with_sizes", "chunk", "unbind", "swapaxes", "movedim", "unfold", "numpy_T"),
}


def _view(made: Lowering, node: Any) -> Any:
    source = made.array(node.args[0])
    value = made.tensors[node]
    if name_of(node) in _RESHAPES:  # arrays are contiguous: the shape alone changes
        return Array(source.place, tuple(value.shape), source.offset)
    numbers = {each: made.tensors[each] for each in node.all_input_nodes[1:]}
    args, kwargs = fx.map_arg(
        (node.args[1:], node.kwargs), lambda each: numbers.get(each, made.tensors[each])
    )
    views = node.target(empty(source.shape), *args, **kwargs)
    if isinstance(views, Tensor):
        return made.viewed(source, views, node)
    return tuple(made.viewed(source, each, node) for each in views)


def _cat(made: Lowering, node: Any) -> Array:
    parts, dim = node.args[0], node.args[1] if len(node.args) > 1 else 0
    to = made.out(node)
    whole = empty(to.shape)
    stacked = name_of(node) == "stack"
    first = 0
    for part in parts:
        source = made.array(part)
        if stacked:
            target = whole.select(dim, first)
            first += 1
        else:
            size = source.shape[dim] if source.shape else 0
            target = whole.narrow(dim, first, size)
            first += size
        if target.dim() > 5:
            return refuse(node, f"over {target.dim()} axes")
        made.copy(to, target, source, empty(source.shape))
    return to


def _glu(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    dim = node.args[1] if len(node.args) > 1 else -1
    left, right = (made.viewed(source, view, node) for view in empty(source.shape).chunk(2, dim))
    to = made.out(node)
    pieces = ["ap_gate(", to, ", ", left, ", ", right, f", {to.size});"]
    made.program.say(*pieces)
    return to


def _typed(made: Lowering, node: Any) -> Array:
    source, value = made.array(node.args[0]), made.tensors[node]
    before = made.tensors[node.args[0]].dtype
    kept = before == torch.bool or not before.is_floating_point
    if value.is_floating_point() or value.dtype == before:
        return source  # every value is a float here
    if value.dtype == torch.bool or not kept:
        return refuse(node, f"to {value.dtype}")
    return source


def _created(made: Lowering, node: Any) -> Tensor:
    found: Tensor = made.tensors[node]  # zeros of some size
    return found


Rule = Callable[[Lowering, Any], Any]
RULES: dict[str, Rule] = {
    **dict.fromkeys(("cat", "concat", "stack"), _cat),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty"), _created),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "zeros", "ones", "full"), _created),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _typed),
    **dict.fromkeys(("clamp", "clamp_", "clip"), clamped),
    **dict.fromkeys(("where", "masked_fill"), chosen),
    "glu": _glu,
    **LAYERS,
    **WINDOWS,
    **SPECTRA,
}

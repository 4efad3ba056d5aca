"""What each operator of a streaming form becomes in C: ``lower(stream) -> Lowered``.

The graph is run once on its example, so that every shape is known. Views are made on empty tensors
whose strides say how to copy. An operator without a rule is refused with its layer. The kernels
are in kernels.h, sums of activations and the like in `pointwise`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from audioprune.export.c.pointwise import BINARY, UNARY, c_number, expression
from audioprune.export.c.program import Array, Place, Program, refuse
from audioprune.export.c.recurrent import recurrent
from audioprune.export.streaming import StreamingModel
from audioprune.export.trace import values_of

Values = dict[fx.Node, Any]
_AXES = 5


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


@dataclass
class Lowering:
    """The lowering of one graph; rules of operators call its methods.

    Attributes:
        program: What was said so far.
        tensors: What each node holds on the example.
        values: What stands for each node: an array, a constant tensor or a number.
    """

    program: Program
    tensors: Values
    values: Values

    def array(self, node: Any) -> Array:
        """Return the array of a node; a constant is put into ROM."""
        value = self.values[node]
        if isinstance(value, Array):
            return value
        if isinstance(value, Tensor):
            name = self.program.constant(
                value, str(node.target if node.op == "get_attr" else node)
            )
            return Array(Place(name, value.numel()), tuple(value.shape))
        return refuse(node, "as a number")

    def weight(self, node: Any) -> str:
        """Return the name of a weight that is read through ``ap_weight``."""
        value = self.values[node]
        if not isinstance(value, Tensor):
            return refuse(node, "as a weight that depends on the signal")
        return self.program.constant(value, str(node.target), coded=True)

    def plain(self, node: Any) -> str:
        """Return the name of a constant, or NULL for none."""
        if node is None:
            return "NULL"
        value = self.values[node]
        if not isinstance(value, Tensor):
            return refuse(node, "with a bias that depends on the signal")
        return self.program.constant(value, str(node.target))

    def shape(self, node: Any) -> tuple[int, ...]:
        """Return the shape of a node."""
        return tuple(self.tensors[node].shape)

    def out(self, node: Any) -> Array:
        """Return a new array for a node."""
        return self.program.new(self.shape(node))

    def copy(self, to: Array, to_view: Tensor, source: Array, view: Tensor) -> None:
        """Say a strided copy; the views tell strides and offsets within both arrays."""
        lists = []
        for tensor in (to_view, view):
            strides = [0] * (_AXES - tensor.dim()) + list(tensor.stride())
            lists.append("(const ptrdiff_t[]){" + ", ".join(map(str, strides)) + "}")
        if view.dim() > _AXES:
            raise ValueError(f"{view.dim()} axes")
        sizes = [1] * (_AXES - view.dim()) + list(view.shape)
        count = "(const size_t[]){" + ", ".join(map(str, sizes)) + "}"
        begin, first = int(to_view.storage_offset()), int(view.storage_offset())
        pieces = ["ap_copy(", to, f" + {begin}, {lists[0]}, ", source, f" + {first}, {lists[1]}, "]
        self.program.say(*pieces, f"{count});")

    def viewed(self, source: Array, view: Tensor) -> Array:
        """Return a view of an array: itself where it is contiguous, else a copy."""
        if view.is_contiguous():
            offset = source.offset + int(view.storage_offset())
            return Array(source.place, tuple(view.shape), offset)
        to = self.program.new(view.shape)
        self.copy(to, torch.empty(view.shape, device="meta"), source, view)
        return to


def lower(stream: StreamingModel) -> Lowered:
    """Lower one step of a streaming form for one signal.

    Raises:
        ConfigError: An operator has no C form, which names its layer.
    """
    given = (*stream.example_frames(), *stream.initial_state(1))
    tensors = values_of(stream.body, given)
    made = Lowering(Program(), tensors, {})
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


def name_of(node: Any) -> str:
    """Return the name of an operator without its overload."""
    parts = str(node.target).split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else str(node.target)


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


VIEWS = {
    *("permute", "transpose", "t", "slice", "select", "expand", "unsqueeze", "squeeze", "narrow"),
    *("split", "split_with_sizes", "chunk", "unbind", "view", "reshape", "flatten", "unflatten"),
    *("alias", "detach", "contiguous", "swapaxes", "movedim", "dropout", "clone"),
}
_RESHAPES = ("view", "reshape", "flatten", "unflatten", "contiguous", "dropout", "clone")


def _view(made: Lowering, node: Any) -> Any:
    source = made.array(node.args[0])
    value = made.tensors[node]
    if name_of(node) in _RESHAPES:  # arrays are contiguous: the shape alone changes
        return Array(source.place, tuple(value.shape), source.offset)
    empty = torch.empty(source.shape, device="meta")
    numbers = {each: made.tensors[each] for each in node.all_input_nodes[1:]}
    args, kwargs = fx.map_arg(
        (node.args[1:], node.kwargs), lambda each: numbers.get(each, made.tensors[each])
    )
    views = node.target(empty, *args, **kwargs)
    if isinstance(views, Tensor):
        return made.viewed(source, views)
    return tuple(made.viewed(source, each) for each in views)


def _cat(made: Lowering, node: Any) -> Array:
    parts, dim = node.args[0], node.args[1] if len(node.args) > 1 else 0
    to = made.out(node)
    whole = torch.empty(to.shape, device="meta")
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
        made.copy(to, target, source, torch.empty(source.shape, device="meta"))
    return to


def _pad(made: Lowering, node: Any) -> Array:
    source, widths = made.array(node.args[0]), list(node.args[1])
    value = node.args[3] if len(node.args) > 3 and node.args[3] is not None else 0.0
    if name_of(node) == "constant_pad_nd":
        value = node.args[2] if len(node.args) > 2 else 0.0
    elif len(node.args) > 2 and node.args[2] != "constant":
        return refuse(node, f"with {node.args[2]} padding")
    if min(widths) < 0:
        return refuse(node, "with negative padding")
    to = made.out(node)
    made.program.say("ap_fill(", to, f", {c_number(value)}, {to.size});")
    target = torch.empty(to.shape, device="meta")
    for i in range(len(widths) // 2):
        dim = len(to.shape) - 1 - i
        target = target.narrow(dim, widths[2 * i], source.shape[dim])
    made.copy(to, target, source, torch.empty(source.shape, device="meta"))
    return to


def _linear(made: Lowering, node: Any) -> Array:
    source, weight = made.array(node.args[0]), made.weight(node.args[1])
    bias = made.plain(node.args[2] if len(node.args) > 2 else None)
    out, inner = made.shape(node.args[1])
    to, rows = made.out(node), source.size // inner
    made.program.macs += rows * inner * out
    made.program.say(
        "ap_linear(", to, ", ", source, f", {weight}, {bias}, {rows}, {inner}, {out});"
    )
    return to


def _matmul(made: Lowering, node: Any) -> Array:
    a, b = made.array(node.args[0]), made.array(node.args[1])
    m, k = (a.shape[-2] if len(a.shape) > 1 else 1), a.shape[-1]
    n = b.shape[-1]
    if len(b.shape) < 2 or (len(b.shape) > 2 and a.shape[:-2] != b.shape[:-2]):
        return refuse(node, "of these shapes")
    batch = math.prod(a.shape[:-2])
    to = made.out(node)
    made.program.macs += batch * m * k * n
    step = k * n if len(b.shape) > 2 else 0
    made.program.say("ap_matmul(", to, ", ", a, ", ", b, f", {batch}, {m}, {k}, {n}, {step});")
    return to


def _around(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the sizes before, of and behind the axis of channels."""
    return shape[0], shape[1], math.prod(shape[2:])


def _batch_norm(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    given: list[Any] = [None if each is None else made.values[each] for each in node.args[1:5]]
    weight, bias, mean, var = given
    eps = next(each for each in reversed(node.args) if isinstance(each, float))
    scale = torch.rsqrt(var.double() + eps) * (1 if weight is None else weight.double())
    shift = (0 if bias is None else bias.double()) - mean.double() * scale
    names = [
        made.program.constant(v, f"{node}_{k}") for k, v in (("scale", scale), ("shift", shift))
    ]
    to = made.out(node)
    sizes = ", ".join(map(str, _around(source.shape)))
    made.program.say("ap_affine(", to, ", ", source, f", {sizes}, {names[0]}, {names[1]});")
    return to


def _prelu(made: Lowering, node: Any) -> Array:
    source, slope = made.array(node.args[0]), made.plain(node.args[1])
    to, sizes = made.out(node), ", ".join(map(str, _around(source.shape)))
    count = made.tensors[node.args[1]].numel()
    made.program.say("ap_prelu(", to, ", ", source, f", {sizes}, {slope}, {count});")
    return to


def _layer_norm(made: Lowering, node: Any) -> Array:
    source, n = made.array(node.args[0]), math.prod(node.args[1])
    given = list(node.args[2:]) + [None] * 3
    weight, bias = (made.plain(each) for each in given[:2])
    eps = given[2] if isinstance(given[2], float) else 1e-5
    to = made.out(node)
    made.program.say(
        "ap_layer_norm(",
        to,
        ", ",
        source,
        f", {source.size // n}, {n}, {weight}, {bias}, {eps!r}f);",
    )
    return to


def _rows(made: Lowering, node: Any, dims: list[int]) -> tuple[Array, int]:
    """Return an array whose last axes are those of ``dims``, and how many values they hold."""
    source = made.array(node.args[0])
    rank = len(source.shape)
    over = [dim % rank for dim in dims]
    order = [i for i in range(rank) if i not in over] + over
    view = torch.empty(source.shape, device="meta").permute(order)
    return made.viewed(source, view), math.prod(source.shape[dim] for dim in over)


def _reduced(made: Lowering, node: Any) -> Array:
    dims = node.args[1] if len(node.args) > 1 else None
    if not dims:
        return refuse(node, "over everything")
    source, n = _rows(made, node, list(dims))
    to = made.out(node)
    share = f"{1 / n!r}f" if name_of(node) == "mean" else "1.0f"
    made.program.say("ap_sum(", to, ", ", source, f", {source.size // n}, {n}, {share});")
    return to


def _softmax(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    if node.args[1] % len(source.shape) != len(source.shape) - 1:
        return refuse(node, "over another axis than the last")
    to, n = made.out(node), source.shape[-1]
    made.program.say("ap_softmax(", to, ", ", source, f", {source.size // n}, {n});")
    return to


def _convolution(made: Lowering, node: Any) -> Array:
    turned = name_of(node).startswith("conv_transpose")
    rank = len(made.shape(node)) - 2
    if rank > 2:
        return refuse(node, "over three axes")
    source, weight = made.array(node.args[0]), made.weight(node.args[1])
    bias = made.plain(node.args[2])
    if turned:
        stride, padding, _, groups, dilation = node.args[3:8]
    else:
        stride, padding, dilation, groups = node.args[3:7]

    def both(values: Any) -> list[int]:
        return [1, *values] if rank == 1 else list(values)

    kernel = both(made.shape(node.args[1])[2:])
    size = both(source.shape[2:])
    after = both(made.shape(node)[2:])
    pads = [0, *padding] if rank == 1 else list(padding)
    channels, out = source.shape[1], made.shape(node)[1]
    numbers = [source.shape[0], channels, *size, out, *kernel, *both(stride), *pads]
    numbers += [*both(dilation), groups, *after]
    places = size if turned else after
    made.program.macs += (
        source.shape[0] * channels * out // groups * math.prod(kernel) * math.prod(places)
    )
    to = made.out(node)
    sizes = "&(const ap_conv){" + ", ".join(map(str, numbers)) + "}"
    kind = "ap_deconv2d(" if turned else "ap_conv2d("
    made.program.say(kind, to, ", ", source, f", {weight}, {bias}, {sizes});")
    return to


def _embedding(made: Lowering, node: Any) -> Array:
    table, index = made.weight(node.args[0]), made.array(node.args[1])
    to, dim = made.out(node), made.shape(node.args[0])[1]
    made.program.say("ap_embed(", to, f", {table}, ", index, f", {index.size}, {dim});")
    return to


def _take(made: Lowering, node: Any) -> Array:
    source, index = made.array(node.args[0]), made.plain(node.args[2])
    dim = node.args[1] % len(source.shape)
    outer, inner = math.prod(source.shape[:dim]), math.prod(source.shape[dim + 1 :])
    to, count = made.out(node), made.tensors[node.args[2]].numel()
    sizes = f"{outer}, {count}, {inner}, {source.shape[dim]}, {index}"
    made.program.say("ap_take(", to, ", ", source, f", {sizes});")
    return to


def _typed(made: Lowering, node: Any) -> Array:
    source, value = made.array(node.args[0]), made.tensors[node]
    whole = not made.tensors[node.args[0]].is_floating_point()
    if not (value.is_floating_point() or (whole and value.dtype != torch.bool)):
        return refuse(node, f"to {value.dtype}")
    return source  # every value is a float here


def _created(made: Lowering, node: Any) -> Tensor:
    return made.tensors[node]  # zeros of some size


Rule = Callable[[Lowering, Any], Any]
RULES: dict[str, Rule] = {
    **dict.fromkeys(("cat", "stack"), _cat),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    **dict.fromkeys(("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"), _convolution),
    **dict.fromkeys(("mean", "sum"), _reduced),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like"), _created),
    **dict.fromkeys(("lstm", "gru"), recurrent),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _typed),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
    "embedding": _embedding,
    "index_select": _take,
}

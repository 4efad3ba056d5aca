"""How a model becomes a graph of operators whose batch and number of frames stay open.

``trace(model, example, time_dims)`` returns a ``Traced``: a graph of ATen operators in which the
axes of each value say by their symbolic size whether they run along the batch or along time.
Inputs are tensors with the batch first. Nothing is rewritten here, see `rewrite`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor, fx, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.optional import quiet
from audioprune.export.recurrent import whole_layers

TIME, BATCH = sympy.Symbol("time", positive=True), sympy.Symbol("batch", positive=True)

Node = Any
"""A node of a traced graph, a ``torch.fx.Node``; what its arguments are, its operator decides."""


@dataclass
class Traced:
    """A traced model.

    Attributes:
        module: The graph, with the model's parameters under their names.
        example: Inputs of one item.
        time_dims: Axis of time of each input.
        open_batch: Whether the graph takes every batch; else one item alone.
        open_time: Whether it takes every number of frames.
        symbols: Symbolic sizes of the graph and what they mean.
        program: The same as ``torch.export`` made it.
    """

    module: fx.GraphModule
    example: tuple[Tensor, ...]
    time_dims: tuple[int, ...]
    open_batch: bool
    open_time: bool
    symbols: dict[sympy.Symbol, sympy.Symbol]
    program: Any

    def shape(self, node: fx.Node) -> tuple[sympy.Expr, ...] | None:
        """Return the sizes of a value in ``TIME`` and ``BATCH``; None where it is no tensor."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            return None
        return tuple(self.size(size) for size in value.shape)

    def size(self, size: Any) -> sympy.Expr:
        """Return a size in ``TIME`` and ``BATCH``."""
        if isinstance(size, torch.SymInt):
            return sympy.sympify(size.node.expr).subs(self.symbols)
        return sympy.Integer(int(size))


def trace(
    model: nn.Module, example: Sequence[Tensor], time_dims: Sequence[int], fixed: bool = False
) -> Traced:
    """Trace a model in evaluation mode.

    Args:
        model: Any module whose inputs are tensors with the batch first.
        example: One tensor an input, of which the first item is used, with at least 4 frames.
        time_dims: Axis of time of each input.
        fixed: Whether a model that allows one number of frames alone is traced with it.

    Raises:
        ConfigError: The model cannot be traced with an open number of frames.
    """
    one = tuple(value[:1].detach() for value in example)
    failure: Exception | None = None
    tries = [(True, True), (False, True), *([(True, False), (False, False)] if fixed else [])]
    for opened, timed in tries:
        given = tuple(torch.cat((value, value)) if opened else value for value in one)
        sizes = tuple(_open(axis, opened, timed) for axis in time_dims)
        try:
            program = _exported(model, given, sizes)
        except Exception as error:  # torch.export has no common class of its failures
            failure = failure or error
            continue
        module = program.module(check_guards=False)
        cleaned(module.graph)
        module.graph.eliminate_dead_code()
        symbols = _symbols(module, time_dims, opened, timed)
        if symbols is not None:
            found = BATCH in symbols.values()
            return Traced(module, one, tuple(time_dims), found, timed, symbols, program)
    wanted = "" if fixed else " with any number of frames"
    raise ConfigError(
        f"{type(model).__name__}: expected a model that torch.export traces{wanted}, got "
        f"{first_line(failure)}; write its loops over frames as layers"
    )


def cleaned(graph: fx.Graph) -> None:
    """Leave out what torch checks before a change of type, and write into no input.

    An operator that writes into its input returns a new value instead, which later nodes read.
    Writing into a view stays as it is: it changes the value that the view is of.
    """
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    places = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        plain = _plain_target(node)
        if plain is None or not isinstance(node.args[0], fx.Node) or _is_view(node.args[0]):
            continue
        node.target, before = plain, node.args[0]
        for user in list(before.users):
            if places[user] > places[node]:
                user.replace_input_with(before, node)


def _plain_target(node: fx.Node) -> Any:
    """Return the operator of the same name that writes nothing, None where there is none."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    space, _, name = node.target._schema.name.partition("::")
    if space != "aten" or not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    return getattr(packet, node.target._overloadname, None)


def _is_view(node: fx.Node) -> bool:
    """Tell whether a value lies in the memory of another one."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    return any(each.alias_info is not None for each in node.target._schema.returns)


def _open(axis: int, batch: bool, timed: bool) -> dict[int, Any]:
    sizes: dict[int, Any] = {0: torch.export.Dim.AUTO} if batch else {}
    return {**sizes, axis: torch.export.Dim.DYNAMIC} if timed else sizes


def _exported(
    model: nn.Module, given: tuple[Tensor, ...], sizes: tuple[dict[int, Any], ...]
) -> Any:
    with (
        quiet("torch"),
        evaluating(model),
        torch.no_grad(),
        whole_layers(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return torch.export.export(model, given, dynamic_shapes=sizes, strict=False)


def _symbols(
    module: fx.GraphModule, time_dims: Sequence[int], opened: bool, timed: bool
) -> dict[sympy.Symbol, sympy.Symbol] | None:
    """Return what each symbol of the graph stands for; None where time has become a number."""
    found: dict[sympy.Symbol, sympy.Symbol] = {}
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node, axis in zip(places, time_dims, strict=True):
        shape = node.meta["val"].shape
        if timed:
            if not isinstance(shape[axis], torch.SymInt):
                return None
            found |= {symbol: TIME for symbol in shape[axis].node.expr.free_symbols}
        if opened and isinstance(shape[0], torch.SymInt):
            found |= {symbol: BATCH for symbol in shape[0].node.expr.free_symbols}
    return found


def first_line(error: Exception | None) -> str:
    """Return the first line of what torch, or another package, says of a failure, in quotes."""
    if error is None:
        return "a fixed number of frames"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"'{lines[0][:160]}'" if lines else type(error).__name__


def layer_of(node: fx.Node) -> str:
    """Return the name of the layer that a node belongs to; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    for path, _ in reversed(list(stack.values())):
        if isinstance(path, str) and not path.startswith("_"):
            return path
    return ""


def name_of(node: Node) -> str:
    """Return the name of an operator without its overload, such as ``conv2d``."""
    parts = str(node.target).split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else ".".join(parts[:2])


def held_by(module: nn.Module, node: fx.Node) -> Any:
    """Return the value of a module that a node names."""
    value: Any = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value


class _Recorder(fx.Interpreter):
    """Run a graph and keep the values of some nodes."""

    def __init__(self, module: fx.GraphModule, wanted: Callable[[fx.Node], bool]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if self.wanted(n):
            self.found[n] = value
        return value


@torch.no_grad()
def values_of(
    module: fx.GraphModule,
    inputs: Sequence[Tensor],
    wanted: Callable[[fx.Node], bool] = lambda node: True,
) -> dict[fx.Node, Any]:
    """Run a graph and return what its nodes became.

    Args:
        module: The graph.
        inputs: One value for each of its placeholders.
        wanted: Whether the value of a node is kept.
    """
    recorder = _Recorder(module, wanted)
    recorder.run(*inputs, enable_io_processing=False)
    return recorder.found

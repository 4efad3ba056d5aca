"""Which units of an unknown model can be removed: ``derive_units``, from one traced forward pass.

It finds units that run from one layer to one other layer, and gives a reason for every layer that
it leaves out. It proves nothing (see verify.py). Models with branches declare their units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.hooks import RemovableHandle

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.ties import tie_key
from audioprune.compress.units.chains import (
    CHANNELWISE,
    Layer,
    OpenUnits,
    close_units,
    follow_units,
    gate_units,
    is_layer,
    open_units,
)
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError

# torch functions by their effect on units
# fmt: off
_MOVES = {
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "swapaxes", "movedim",
    "squeeze", "unsqueeze", "contiguous", "clone", "__getitem__", "narrow", "mean", "amax",
}
_KEEPS_ZERO = {
    "relu", "relu_", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "tanh", "tanh_",
    "hardtanh", "relu6", "abs", "mish",
}
_LOSES_ZERO = {"sigmoid", "sigmoid_", "softplus", "softmax", "log_softmax", "hardsigmoid", "exp"}
_POOLS = {
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "lp_pool1d", "lp_pool2d",
    "interpolate",
}
# fmt: on
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_dropout"}


@dataclass
class Event:
    """One call of a leaf module, or of a torch function outside of leaf modules.

    Attributes:
        name: Name of the module or the function.
        module: The module, or None.
        call: What was called with ``arguments``.
        arguments: Positional and keyword arguments.
        inputs: Tensors among the arguments.
        outputs: Tensors that were returned.
        shape: Shape of the first output at that time.
        sources: Numbers of the events that made the inputs.
        readers: Numbers of the events that read an output; -1 is the end of the model.
        extra: Whether an output other than the first one is read, such as a recurrent state.
    """

    name: str
    module: nn.Module | None
    call: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    inputs: list[Tensor]
    outputs: list[Tensor]
    shape: torch.Size
    sources: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    extra: bool = False


def derive_units(
    model: nn.Module, example_input: Tensor | Sequence[Tensor]
) -> tuple[list[UnitSet], list[str]]:
    """Derive unit sets from one forward pass of a model whose layers mostly follow one another.

    The output of a linear, convolution or recurrent layer is followed through normalisations,
    activations, pooling, views and transpositions to the one layer that reads it. A layer stays
    out, with a reason, if its output is read more than once, is joined with other tensors, leaves
    the model or meets anything unknown. Check the result with ``verify_units``: a model that
    chooses its path by the data shows one path only, and numbers written into its code are not
    seen.

    Args:
        model: Any module; run once in evaluation mode without gradients, and not changed.
        example_input: Argument or arguments of its forward pass, with a batch axis.

    Returns:
        The sets, named as the layers that write the units, and one reason for every layer that is
        left out.
    """
    inputs = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    events = _trace(model, inputs)
    calls = Counter(id(event.module) for event in events if event.module is not None)
    shared = _shared_parameters(model)
    sets = []
    reasons: dict[str, None] = {}  # in order, each once
    for event in events:
        if is_layer(event.module):
            try:
                sets.append(_follow(event, event.module, events, calls, shared))
            except ConfigError as error:
                start = f"'{event.name}': "
                reasons[start + str(error).removeprefix(start)] = None
    for name, module in model.named_modules():
        if is_layer(module) and not calls[id(module)]:
            reasons[f"'{name}': the forward pass does not call it"] = None
    return sets, list(reasons)


class _Recorder(TorchFunctionMode):
    """Record torch functions, except those inside of a leaf module."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.depth = 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = (args, kwargs or {})
        outputs = func(*args, **(kwargs or {}))
        if self.depth == 0:
            self.add(getattr(func, "__name__", str(func)), None, func, given, outputs)
        return outputs

    def add(
        self,
        name: str,
        module: nn.Module | None,
        call: Callable[..., Any],
        arguments: Any,
        outputs: Any,
    ) -> None:
        inputs, made = _tensors(arguments), _tensors(outputs)
        if made:
            event = Event(name, module, call, arguments, inputs, made, made[0].shape)
            self.events.append(event)


def _trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Event]:
    """Run a model once and return its events in order, connected to one another."""
    recorder = _Recorder()
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        if module is not model and (is_layer(module) or not list(module.children())):
            handles += _watch(recorder, name, module)
    try:
        with torch.no_grad(), evaluating(model), recorder:
            outputs = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    _connect(recorder.events, _tensors(outputs))
    return recorder.events


def _watch(recorder: _Recorder, name: str, module: nn.Module) -> list[RemovableHandle]:
    """Record the calls of a module as one event each; what happens inside is not recorded."""

    def enter(*_: Any) -> None:
        recorder.depth += 1

    def leave(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        recorder.depth -= 1
        recorder.add(name, module, module, (args, kwargs), outputs)

    return [
        module.register_forward_pre_hook(enter),
        module.register_forward_hook(leave, with_kwargs=True),
    ]


def _connect(events: list[Event], results: list[Tensor]) -> None:
    """Note in every event who made its inputs and who reads its outputs."""
    made: dict[int, tuple[int, int]] = {}  # id of a tensor -> its event, and which output it is
    for number, event in enumerate(events):
        for tensor in event.inputs:
            _read(events, made, tensor, number)
        made |= {id(tensor): (number, place) for place, tensor in enumerate(event.outputs)}
    for tensor in results:
        _read(events, made, tensor, -1)


def _read(
    events: list[Event], made: dict[int, tuple[int, int]], tensor: Tensor, reader: int
) -> None:
    if id(tensor) not in made:
        return
    source, place = made[id(tensor)]
    events[source].readers.append(reader)
    events[source].extra |= place > 0
    if reader >= 0:
        events[reader].sources.append(source)


def _follow(
    event: Event,
    layer: Layer,
    events: list[Event],
    calls: Counter[int],
    shared: set[Hashable],
) -> UnitSet:
    """Lead the units of a layer to the one layer that reads them.

    Raises:
        ConfigError: The units cannot be followed; the message is the reason.
    """
    units = open_units(event.name, layer)
    axis = _unit_axis(layer, event.outputs[0].dim())
    _check_owned_once(event.name, layer, calls, shared)
    while True:
        event, before = _only_reader(event, events), event
        if event.module is None:
            units, axis = _through_function(units, axis, event, before.shape)
            continue
        _check_owned_once(event.name, event.module, calls, shared)
        _check_axis(event.name, event.module, axis, len(before.shape))
        if is_layer(event.module):
            return close_units(units, event.name, event.module)
        if isinstance(event.module, nn.Flatten):
            units, axis = _through_move(units, axis, event, before.shape)
        else:
            units = follow_units(units, event.name, event.module)


def _only_reader(event: Event, events: list[Event]) -> Event:
    if -1 in event.readers:
        raise ConfigError(f"the output of '{event.name}' leaves the model")
    if event.extra:
        raise ConfigError(f"more than the first output of '{event.name}' is read, such as a state")
    if len(event.readers) != 1:
        names = ", ".join(f"'{events[number].name}'" for number in event.readers)
        names = names or "nothing that was seen"
        raise ConfigError(f"the output of '{event.name}' is read by {names}, not by one layer")
    reader = events[event.readers[0]]
    if len(reader.inputs) != 1:
        raise ConfigError(f"'{reader.name}' joins it with other tensors")
    return reader


def _check_owned_once(
    name: str, module: nn.Module, calls: Counter[int], shared: set[Hashable]
) -> None:
    if calls[id(module)] > 1:
        raise ConfigError(f"'{name}' is called {calls[id(module)]} times")
    if any(tie_key(parameter) in shared for parameter in module.parameters()):
        raise ConfigError(f"'{name}' shares parameters with another module")


def _unit_axis(module: nn.Module, dims: int) -> int:
    return dims - 1 - len(module.kernel_size) if isinstance(module, _ConvNd) else dims - 1


def _check_axis(name: str, module: nn.Module, axis: int, dims: int) -> None:
    """Refuse a module that works on another axis than that of the units."""
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
        raise ConfigError(f"'{name}' normalises several axes")
    wanted = axis  # elementwise modules work on any axis
    if isinstance(module, nn.Linear | nn.RNNBase | nn.LayerNorm | nn.RMSNorm | _ConvNd):
        wanted = _unit_axis(module, dims)
    elif isinstance(module, (_NormBase, *CHANNELWISE)) or _has_slopes(module):
        wanted = 1
    elif isinstance(module, nn.GLU):
        wanted = module.dim % dims
    if axis != wanted:
        raise ConfigError(f"the units lie on axis {axis}, '{name}' works on axis {wanted}")


def _has_slopes(module: nn.Module) -> bool:
    """Tell whether a module has one slope per channel."""
    return isinstance(module, nn.PReLU) and module.num_parameters > 1


def _through_function(
    units: OpenUnits, axis: int, event: Event, before: torch.Size
) -> tuple[OpenUnits, int]:
    if event.name in _MOVES:
        return _through_move(units, axis, event, before)
    if event.name == "pad":
        return _through_pad(units, axis, event, len(before)), axis
    if event.name == "glu" and event.shape[axis] * 2 == before[axis]:
        return gate_units(units, event.name), axis
    if event.name in _POOLS and axis == 1:  # they work on all later axes
        return units, axis
    if event.shape == before and event.name in _KEEPS_ZERO | _LOSES_ZERO | _DROPOUTS:
        return replace(units, exact=units.exact and event.name not in _LOSES_ZERO), axis
    raise ConfigError(f"the function '{event.name}' reads it, whose effect on units is unknown")


def _through_pad(units: OpenUnits, axis: int, event: Event, dims: int) -> OpenUnits:
    args, kwargs = event.arguments
    given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    # one (before, after) pair per padded axis; the last axis comes first
    pairs = list(zip(given["pad"][::2], given["pad"][1::2], strict=True))
    place = dims - 1 - axis
    if place < len(pairs) and any(pairs[place]):
        raise ConfigError("the function 'pad' lengthens the axis of its units")
    constant = given.get("mode", "constant") == "constant" and given.get("value")
    return replace(units, exact=units.exact and not constant)


def _through_move(
    units: OpenUnits, axis: int, event: Event, before: torch.Size
) -> tuple[OpenUnits, int]:
    """Find where a view, transposition or selection puts each position of the units' axis.

    The positions themselves are moved: the axis on which they come out is the units' new axis.
    """
    places = torch.arange(before[axis], dtype=torch.float64)
    probe = _along(places, axis, len(before)).expand(before).contiguous()
    given = event.inputs[0]
    args, kwargs = tree_map(lambda value: probe if value is given else value, event.arguments)
    with torch.no_grad():
        moved = event.call(*args, **kwargs)
    for dim in range(moved.dim()):
        index = [slice(0, 1)] * moved.dim()
        index[dim] = slice(None)
        line = moved[tuple(index)].flatten()
        spread = bool((line != line[:1]).any())
        same = bool((moved == _along(line, dim, moved.dim())).all())
        if spread and same and bool(torch.isin(line, places).all()):
            last = dim == moved.dim() - 1
            return replace(units, unit_at=units.unit_at[line.long()], features_last=last), dim
    raise ConfigError(
        f"'{event.name}' mixes the axis of its units with others, or leaves one position"
    )


def _along(line: Tensor, axis: int, dims: int) -> Tensor:
    """Return a line of numbers as a tensor of so many axes, all of length 1 but one."""
    return line.view([-1 if dim == axis else 1 for dim in range(dims)])


def _shared_parameters(model: nn.Module) -> set[Hashable]:
    parameters = model.named_parameters(remove_duplicate=False)
    counts = Counter(tie_key(parameter) for _, parameter in parameters)
    return {key for key, count in counts.items() if count > 1}


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]

"""How a causal model is run frame by frame: ``streaming(model) -> StreamingModel``.

The contract, on which every exported form rests:

- ``initial_state(batch)`` returns a named tuple of float or integer tensors: what is remembered
  before the first frame. Names are C identifiers, made of the layer and of what is kept: ``h`` and
  ``c`` of recurrent layers, ``past`` positions of a value, the ``overlap`` of transposed
  convolutions.
- ``forward(*frames, *states)`` returns ``(*outputs, *states)``. A frame is an input of the model
  with ``frame`` positions along its axis of time, in most models 1: (B, 1, F) or (B, C, 1, F).
- Output frame t equals positions t, t + 1, .. of the whole pass to 1e-5 of its peak. All shapes
  but the batch are fixed; where ``open_batch`` is false the batch is 1.
- ``body`` is a ``torch.fx.GraphModule`` of ATen operators without a branch or a loop; its
  parameters and buffers keep the model's names, what was computed of them is called ``folded_*``.

Models are never trained here, and their weights are shared, not copied. To run a network of Python
on long files, inference/blocks.py needs no such form.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.parts import Parts, graph_module, output_names
from audioprune.export.rewrite import FrameTooShort, Rewriter, grouped
from audioprune.export.rules import apply
from audioprune.export.steps import alone, at_once, stepwise
from audioprune.export.timing import Function, gap, longer
from audioprune.export.trace import Traced, trace, values_of
from audioprune.protocols import Costed, HasExampleSeconds, StreamsFrames, StreamsPart

LENGTHS = (5, 12)
"""Frames of the two signals that a streaming form is compared on."""
TOLERANCE = 1e-5
_LONGEST_FRAME = 1 << 16


class StreamingModel(nn.Module):
    """A model that maps one frame and its states to one frame; see the head of this module.

    Attributes:
        body: The graph.
        frame: Positions along time of each input frame.
        time_dims: Axis of time of each input.
        output_dims: Axis of time of each output.
        output_frames: Positions along time of each output frame.
        input_names: Names of the inputs.
        output_names: Names of the outputs.
        output_places: Which outputs of the model these are.
        state_names: Names of the states.
        open_batch: Whether several signals may run side by side.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.body = parts.body
        self.frame, self.time_dims = parts.frame, parts.time_dims
        self.output_dims, self.output_frames = parts.output_dims, parts.output_frames
        self.open_batch, self.example = parts.open_batch, parts.example
        self.input_names, self.output_names = parts.input_names, parts.output_names
        self.state_names, self.batch_axes = parts.state_names, parts.batch_axes
        self.output_places = parts.output_places
        for name, value in zip(self.state_names, parts.initial, strict=True):
            self.register_buffer(f"initial_{name}", value.detach().clone().contiguous())

    def initial_state(self, batch: int = 1) -> tuple[Tensor, ...]:
        """Return the named states before the first frame.

        Args:
            batch: Signals side by side.

        Raises:
            ConfigError: The model runs one signal at a time and more are asked for.
        """
        if batch != 1 and not self.open_batch:
            raise ConfigError(
                f"expected a batch of 1, got {batch}; this model has the batch written into it"
            )
        found = []
        for name, axis in zip(self.state_names, self.batch_axes, strict=True):
            value = cast(Tensor, getattr(self, f"initial_{name}"))
            if axis is not None and batch != 1:
                value = value.repeat([batch if i == axis else 1 for i in range(value.dim())])
            found.append(value.clone())
        kind: Any = namedtuple("States", self.state_names)  # type: ignore[misc]
        return cast(tuple[Tensor, ...], kind(*found))

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Map one frame of each input and the states to the outputs and the next states."""
        return tuple(self.body(*values))

    def example_frames(self) -> tuple[Tensor, ...]:
        """Return one frame of each input of the example that the model was traced with."""
        return tuple(
            value.narrow(axis, 0, self.frame)
            for value, axis in zip(self.example, self.time_dims, strict=True)
        )

    @torch.no_grad()
    def run(self, *signals: Tensor) -> tuple[Tensor, ...]:
        """Run over whole signals frame by frame, from the initial state.

        Args:
            signals: The inputs of the model, a whole number of frames long.

        Returns:
            The outputs, as of the whole pass.
        """
        return self.joined(self.stepped(self, signals))

    @torch.no_grad()
    def stepped(self, step: Function, signals: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Return the outputs of each frame of signals, from the initial state on.

        Args:
            step: What maps frames and states as ``forward`` does, such as a written file.
            signals: As for ``run``.
        """
        batch = 1 if self.time_dims[0] == 0 else signals[0].shape[0]
        states: tuple[Tensor, ...] = tuple(self.initial_state(batch))
        count, found = len(self.output_names), []
        for frame in self.frames(signals):
            made = step(*frame, *states)
            found.append(tuple(value.clone() for value in made[:count]))
            states = made[count:]
        return found

    def frames(self, signals: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Cut signals into frames."""
        count = signals[0].shape[self.time_dims[0]] // self.frame
        return [
            tuple(
                value.narrow(axis, t * self.frame, self.frame).contiguous()
                for value, axis in zip(signals, self.time_dims, strict=True)
            )
            for t in range(count)
        ]

    def joined(self, frames: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Join the outputs of frames along time."""
        pairs = zip(zip(*frames, strict=True), self.output_dims, strict=True)
        return tuple(torch.cat(parts, axis) for parts, axis in pairs)


def streaming(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    time_dim: int | Sequence[int] | None = None,
) -> StreamingModel:
    """Derive the form of a causal model that runs frame by frame, and prove it.

    The model is traced with any number of frames; layers that read the past get a state, and the
    result is compared with the whole pass on signals of two lengths.

    Args:
        model: A model of this package or any other module whose inputs are tensors, batch first.
        example: An input, or a tuple of them, with at least 4 frames; by default the model's own.
        time_dim: Axis of time, or one for each input; by default the model's own.

    Raises:
        ConfigError: The model looks ahead, which names the layer, or cannot be traced, or the
            result differs from the whole pass.
    """
    return streaming_of(model, example, time_dim)[1]


def streaming_of(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    time_dim: int | Sequence[int] | None = None,
) -> tuple[nn.Module, StreamingModel]:
    """Return the part of a model that is streamed, most often all of it, and its streaming form.

    Arguments and failures are those of ``streaming``.
    """
    if isinstance(model, StreamsPart) and example is None:
        model, example, time_dim = model.streaming_part()
    inputs, axes = inputs_of(model, example, time_dim)
    try:
        return model, _of_graph(model, inputs, axes)
    except ConfigError as refused:
        try:
            if all(axis == 0 for axis in axes):
                return model, _proved(model, alone(model, inputs))
            if isinstance(model, StreamsFrames) and len(inputs) == 1:
                return model, _proved(model, stepwise(model, inputs[0]))
        except ConfigError:
            pass  # what the graph was refused for says more
        raise refused


def whole_of(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    time_dim: int | Sequence[int] | None = None,
) -> tuple[nn.Module, StreamingModel]:
    """Return a model as a form whose only frame is a whole signal as long as its example.

    Arguments are those of ``streaming``; the axis of time may be left out.
    """
    if time_dim is None and not isinstance(model, Costed):
        time_dim = 1
    inputs, axes = inputs_of(model, example, time_dim)
    return model, StreamingModel(at_once(model, tuple(each[:1] for each in inputs), axes)).eval()


def _proved(model: nn.Module, parts: Parts) -> StreamingModel:
    found = StreamingModel(parts).eval()
    verify(model, found)
    return found


def _of_graph(
    model: nn.Module, inputs: tuple[Tensor, ...], axes: tuple[int, ...]
) -> StreamingModel:
    """Rewrite the graph of a model frame by frame."""
    traced = trace(model, inputs, axes)
    frame = 1
    while True:
        try:
            rewriter, initial = _rewritten(traced, frame)
            break
        except FrameTooShort as short:
            frame *= short.times
            if frame > _LONGEST_FRAME:
                raise ConfigError(
                    f"{type(model).__name__}: expected frames of at most {_LONGEST_FRAME} "
                    f"positions, got more; stream a model with smaller strides"
                ) from None
    parts = Parts(
        body=graph_module(rewriter.graph, rewriter.tensors),
        frame=rewriter.frame,
        time_dims=rewriter.traced.time_dims,
        output_dims=tuple(each.axis for each in rewriter.outputs),
        output_frames=tuple(each.chunk for each in rewriter.outputs),
        open_batch=rewriter.traced.open_batch,
        input_names=tuple(each.base for each in rewriter.inputs),
        output_names=output_names(model, traced.example, rewriter.output_places),
        output_places=tuple(rewriter.output_places),
        state_names=tuple(state.name for state in rewriter.states),
        batch_axes=tuple(state.batch_axis for state in rewriter.states),
        initial=tuple(initial),
        example=traced.example,
    )
    found = StreamingModel(parts).eval()
    verify(model, found, rewriter.assumed)
    return found


def inputs_of(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None,
    time_dim: int | Sequence[int] | None,
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Return the inputs of a model and the axis of time of each, from what is known of them.

    Raises:
        ConfigError: Neither the model nor the caller says them.
    """
    if example is None:
        if not isinstance(model, Costed):
            raise ConfigError(
                f"{type(model).__name__}: expected an example input, got none; give one with the "
                f"batch first"
            )
        example = model.example_input()
    inputs = (example,) if isinstance(example, Tensor) else tuple(cast(Sequence[Tensor], example))
    if time_dim is None:
        if not isinstance(model, Costed):
            raise ConfigError(
                f"{type(model).__name__}: expected the axis of time, got none; give time_dim"
            )
        time_dim = model.time_dim
    if not isinstance(time_dim, int):
        return inputs, tuple(time_dim)
    frames = inputs[0].shape[time_dim]
    others = (_axis_of(value, frames, time_dim) for value in inputs[1:])
    return inputs, (time_dim, *others)


def positions_per_second(model: nn.Module) -> float | None:
    """Return the positions along time of a second of input; None where it is not said."""
    if not isinstance(model, Costed):
        return None
    if not isinstance(model, HasExampleSeconds):
        return model.frames_per_second
    first = tree_leaves(model.example_input())[0]
    return float(first.shape[model.time_dim] / model.example_seconds())


def _axis_of(value: Tensor, frames: int, time_dim: int) -> int:
    """Return the axis of a further input that has as many positions as the first one."""
    axes = [i for i, size in enumerate(value.shape) if i and size == frames]
    if time_dim in axes:
        return time_dim
    if not axes:
        raise ConfigError(
            f"expected inputs of {frames} frames each, got one of {tuple(value.shape)}; give the "
            f"axis of time of each input"
        )
    return axes[-1]


def _rewritten(traced: Traced, frame: int) -> tuple[Rewriter, list[Tensor]]:
    """Return the rewriting, and the states before the first frame."""
    first = Rewriter(traced, frame, {}, apply)
    first.run()
    wanted = [request.stream.source for request in first.requests]
    values = _values(traced, traced.example, wanted)
    rewriter = Rewriter(traced, frame, grouped(first.requests, values), apply)
    rewriter.run()
    needed = [node for state in rewriter.states for node in state.needs]
    values = _values(traced, traced.example, needed)
    changed = _values(traced, tuple(map(_other, traced.example)), needed)
    initial = []
    for state in rewriter.states:
        value, other = state.initial(values), state.initial(changed)
        if not torch.equal(value, other):
            raise ConfigError(
                f"state {state.name}: expected a past that no input reaches, got one that depends "
                f"on the first frames; pad with zeros"
            )
        initial.append(value)
    return rewriter, initial


def _other(value: Tensor) -> Tensor:
    """Return another input of the same kind."""
    turned = value.flip(0, *range(1, value.dim())).roll(1, -1)
    return turned if not value.is_floating_point() else turned * 0.5 + 0.25 * value


def _values(traced: Traced, inputs: tuple[Tensor, ...], wanted: list[fx.Node]) -> dict[str, Any]:
    names = {node.name for node in wanted}
    found = values_of(traced.module, inputs, lambda node: node.name in names)
    return {node.name: value for node, value in found.items()}


@torch.no_grad()
def verify(model: nn.Module, stream: StreamingModel, assumed: Sequence[str] = ()) -> float:
    """Compare a streaming form with the whole pass on signals of two lengths.

    Args:
        model: The model.
        stream: Its streaming form.
        assumed: Operators without a rule of their own, which a failure names.

    Returns:
        The largest difference, as a share of the output's peak.

    Raises:
        ConfigError: It is above 1e-5.
    """
    worst = 0.0
    missing: dict[str, set[int]] = {name: set() for name in stream.output_names}
    for frames, batch in zip(LENGTHS, (1, 2 if stream.open_batch else 1), strict=True):
        signals = tuple(
            _signal(value, axis, frames * stream.frame, batch)
            for value, axis in zip(stream.example, stream.time_dims, strict=True)
        )
        with evaluating(model):
            leaves = tree_leaves(model(*signals))
        whole = [leaves[place] for place in stream.output_places]
        found = stream.run(*signals)
        named = zip(stream.output_names, found, whole, stream.output_dims, strict=True)
        for name, value, wanted, axis in named:
            missing[name].add(max(0, value.shape[axis] - wanted.shape[axis]))
            value, wanted = same_length(value, wanted, axis)
            worst = max(worst, gap([value], [wanted]))
    if any(len(counts) > 1 for counts in missing.values()):
        raise ConfigError(
            f"{type(model).__name__}: expected an output frame for each input frame, got a share "
            f"of them alone; it cannot be streamed"
        )
    if not worst <= TOLERANCE:
        doubt = f" (unknown operators: {', '.join(sorted(set(assumed)))})" if assumed else ""
        raise ConfigError(
            f"{type(model).__name__}: expected frames that equal the whole pass to {TOLERANCE}, "
            f"got a difference of {worst:.2g}{doubt}; it cannot be streamed"
        )
    return worst


def same_length(value: Tensor, wanted: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return what both outputs have along time, from the first position on."""
    count = min(value.shape[axis], wanted.shape[axis])
    return value.narrow(axis, 0, count), wanted.narrow(axis, 0, count)


def _signal(value: Tensor, axis: int, length: int, batch: int) -> Tensor:
    """Return an input of some length made of an example, each item turned by some frames."""
    long = longer(value, axis, length)
    return torch.cat([long.roll(i, axis) for i in range(batch)])

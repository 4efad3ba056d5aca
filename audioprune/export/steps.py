"""Streaming forms that need no rewriting: a model with steps of its own, frames that stand alone.

``stepwise(model, example)`` records ``step`` of a `StreamsFrames` model, ``alone`` a model whose
frames are items of the batch, ``at_once`` a model over one whole signal. All return `Parts` for
one signal at a time. Whether they equal the whole pass is compared in `streaming`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.optional import quiet
from audioprune.export.parts import Parts, graph_module, output_names
from audioprune.export.trace import cleaned, first_line, held_by, layer_of
from audioprune.protocols import GeneratesByStep, StreamsFrames

_INNER = "model."


class _Held(nn.Module):
    """A model whose inputs and states are flat tensors; its axis of time may be left out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class _Whole(_Held):
    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        leaves = tree_leaves(self.model(*values))
        return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))


class _Step(_Held):
    def __init__(self, model: nn.Module, spec: Any, alone: bool, axis: int) -> None:
        super().__init__(model)
        self.spec, self.alone, self.axis = spec, alone, axis

    def forward(self, frame: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        given = frame.squeeze(self.axis) if self.alone else frame
        model: Any = self.model
        out, after = model.step(given, tree_unflatten(list(leaves), self.spec))
        made = out.unsqueeze(self.axis) if self.alone else out
        return (made, *tree_leaves(after))


@torch.no_grad()
def stepwise(model: nn.Module, example: Tensor) -> Parts:
    """Return the form of a model that has ``step`` and ``initial_state``.

    Args:
        model: A `StreamsFrames`.
        example: Its input, batch first.

    Raises:
        ConfigError: The step cannot be recorded, or its state is not of tensors alone.
    """
    assert isinstance(model, StreamsFrames)
    leaves, spec = tree_flatten(model.initial_state(1))
    if not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise ConfigError(
            f"{type(model).__name__}: expected a state of tensors, got other values; stream the "
            f"model by its layers"
        )
    axis = model.time_dim
    frame, alone = _frame(model, example[:1], axis)
    body = _recorded(_Step(model, spec, alone, axis), (frame, *leaves))
    made = body(frame, *leaves)[0]
    with evaluating(model):
        whole = tree_leaves(model(example[:1]))[0]
    sizes = zip(made.shape, whole.shape, strict=True)
    out_axis = next((i for i, (a, b) in enumerate(sizes) if i and a != b), axis)
    return Parts(
        body=body,
        frame=frame.shape[axis],
        time_dims=(axis,),
        output_dims=(out_axis,),
        output_frames=(made.shape[out_axis],),
        open_batch=False,
        input_names=("frame",),
        output_names=("out",),
        output_places=(0,),
        state_names=tuple(f"state_{i}" for i in range(len(leaves))),
        batch_axes=(None,) * len(leaves),
        initial=tuple(leaves),
        example=(example[:1],),
    )


def _frame(model: Any, example: Tensor, axis: int) -> tuple[Tensor, bool]:
    """Return a frame with its axis of time, and whether the step takes it without."""
    if isinstance(model, GeneratesByStep):
        given = model.step_input()
        first = given[0] if isinstance(given, tuple) else given
        if isinstance(first, Tensor) and first.dim() == example.dim():
            return example.narrow(axis, 0, first.shape[axis]), False
    return example.narrow(axis, 0, 1), True


def alone(model: nn.Module, inputs: Sequence[Tensor]) -> Parts:
    """Return the form of a model whose frames are the items of its batch.

    Raises:
        ConfigError: The model cannot be recorded.
    """
    return _stateless(model, inputs, tuple(value[:1] for value in inputs), 1, (0,) * len(inputs))


def at_once(model: nn.Module, inputs: Sequence[Tensor], axes: Sequence[int]) -> Parts:
    """Return the form whose only frame is a whole signal.

    Raises:
        ConfigError: The model cannot be recorded.
    """
    return _stateless(model, inputs, tuple(inputs), inputs[0].shape[axes[0]], tuple(axes))


@torch.no_grad()
def _stateless(
    model: nn.Module,
    inputs: Sequence[Tensor],
    frames: tuple[Tensor, ...],
    frame: int,
    axes: tuple[int, ...],
) -> Parts:
    body = _recorded(_Whole(model), frames)
    made = body(*frames)
    with evaluating(model):
        leaves = tree_leaves(model(*frames))
    places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
    count = len(places)
    names = ("frame",) if len(frames) == 1 else tuple(f"in_{i}" for i in range(len(frames)))
    return Parts(
        body=body,
        frame=frame,
        time_dims=axes,
        output_dims=(0,) * count,
        output_frames=tuple(value.shape[0] for value in made),
        open_batch=False,
        input_names=names,
        output_names=output_names(model, frames, places),
        output_places=places,
        state_names=(),
        batch_axes=(),
        initial=(),
        example=tuple(inputs),
    )


def _recorded(module: _Held, given: tuple[Tensor, ...]) -> fx.GraphModule:
    """Record a module as a graph of operators whose tensors keep the model's names."""
    try:
        with quiet("torch"), evaluating(module), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.export.export(module, given, strict=False)
    except Exception as error:  # torch.export has no common class of its failures
        raise ConfigError(
            f"{type(module.model).__name__}: expected a model that torch.export records, got "
            f"{first_line(error)}; use format=torchscript"
        ) from error
    found: Any = made.module(check_guards=False)
    graph: fx.Graph = found.graph
    tensors: dict[str, Tensor] = {}
    for node in list(graph.nodes):
        node.meta["layer"] = layer_of(node).removeprefix(_INNER).removesuffix("model")
        if node.op == "get_attr":
            value = held_by(found, node)
            node.target = str(node.target).removeprefix(_INNER)
            tensors[node.target] = value
    cleaned(graph)
    plain = fx.Graph()  # of no module yet, with flat inputs and outputs
    plain.output(plain.graph_copy(graph, {}))
    return graph_module(plain, tensors)

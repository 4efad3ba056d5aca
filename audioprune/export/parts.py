"""What a streaming form is made of: ``Parts``, from which `streaming` makes the module.

Also the names of outputs, and how tensors become a module of dotted names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from audioprune.compress.eval_mode import evaluating


@dataclass(frozen=True)
class Parts:
    """What a streaming form is made of.

    Attributes:
        body: The graph.
        frame: Positions along time of each input frame.
        time_dims: Axis of time of each input.
        output_dims: Axis of time of each output.
        output_frames: Positions along time of each output frame.
        open_batch: Whether several signals may run side by side.
        input_names: Names of the inputs.
        output_names: Names of the outputs.
        output_places: Which outputs of the model these are.
        state_names: Names of the states.
        batch_axes: Axis of the batch of each state.
        initial: The states before the first frame.
        example: One item of each input.
    """

    body: fx.GraphModule
    frame: int
    time_dims: tuple[int, ...]
    output_dims: tuple[int, ...]
    output_frames: tuple[int, ...]
    open_batch: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    output_places: tuple[int, ...]
    state_names: tuple[str, ...]
    batch_axes: tuple[int | None, ...]
    initial: tuple[Tensor, ...]
    example: tuple[Tensor, ...]


def graph_module(graph: fx.Graph, tensors: Mapping[str, Tensor]) -> fx.GraphModule:
    """Return a graph as a module that holds the tensors which it names."""
    root = nn.Module()
    for name, value in tensors.items():
        _hold(root, name, value)
    graph.eliminate_dead_code()
    graph.lint()
    return fx.GraphModule(root, graph, "Streaming")


def _hold(root: nn.Module, name: str, value: Tensor) -> None:
    """Give a module a tensor under a dotted name."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = cast(nn.Module, getattr(root, part))
    if isinstance(value, nn.Parameter):
        root.register_parameter(last, value)
    else:
        root.register_buffer(last, value)


@torch.no_grad()
def output_names(
    model: nn.Module, inputs: tuple[Tensor, ...], places: Sequence[int]
) -> tuple[str, ...]:
    """Return the names of outputs: fields and keys where there are any, else numbers."""
    if len(places) == 1:
        return ("out",)
    with evaluating(model):
        flat = tree_flatten_with_path(model(*inputs))[0]
    paths = [flat[place][0] for place in places]
    words = [re.sub(r"\W+", "_", keystr(path)).strip("_") for path in paths]
    named = [re.sub(r"^\d+_", "", word) for word in words]
    if len(set(named)) == len(named) and all(name.isidentifier() for name in named):
        return tuple(named)
    return tuple(f"out_{i}" for i in range(len(places)))

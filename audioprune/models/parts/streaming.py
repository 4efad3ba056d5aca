"""How a causal model is run frame by frame, and the shapes of the values that stages and states carry.

The state itself belongs to each model (``initial_state``, ``step``); frames are cut from audio
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Values = Tensor | tuple[Tensor, ...]
State = tuple[Tensor, ...]
# Start of the names of the parameters that a stage uses, dot included ("layers.1." is no start of
# "layers.10."), and the stage.
Stage = tuple[str | tuple[str, ...], Callable[[Values], Values]]


class Streaming(Protocol):
    """A model that maps one frame at a time and whose frames lie along the axis ``time_dim``."""

    time_dim: int

    def initial_state(self, batch: int = 1) -> State:
        """Return the state before the first frame."""
        ...

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one frame and the state before it to the output frame and the state after it."""
        ...


@torch.no_grad()
def stream(model: Streaming, frames: Tensor) -> Tensor:
    """Run a model over all frames one by one, from its initial state.

    In evaluation mode the result equals ``model(frames)`` up to rounding.

    Args:
        model: Model with ``time_dim``, ``initial_state`` and ``step``.
        frames: Input as for the forward pass, batch first, with at least one frame along
            ``time_dim``.

    Returns:
        Output as of the forward pass.
    """
    state, outputs = model.initial_state(frames.shape[0]), []
    for frame in frames.unbind(model.time_dim):
        output, state = model.step(frame, state)
        outputs.append(output)
    return torch.stack(outputs, model.time_dim)

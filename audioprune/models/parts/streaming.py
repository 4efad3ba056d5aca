"""How a causal model is run frame by frame, and the types of what its stages and steps pass on.

The state itself belongs to each model (``initial_state``, ``step``); frames are cut from audio
elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioprune.protocols import StreamsFrames

Tensors = tuple[Tensor, ...]
"""What a stage passes on: outputs that later stages still read, then the newest one."""
State = tuple[Tensor, ...]
"""What a model remembers between two frames."""


@torch.no_grad()
def stream(model: StreamsFrames, frames: Tensor) -> Tensor:
    """Run a model over all frames one by one, from its initial state.

    In evaluation mode the result equals ``model(frames)`` up to rounding.

    Args:
        model: A model that runs frame by frame.
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

"""The feed-forward mask estimator of Tan & Wang: layers, units, stages and one-frame steps.

``FDNN`` maps magnitudes (B, N, F) to masks (B, N, F). It knows neither the transform before it
nor the loss; the ratio mask and its target belong to the enhancement task.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.models.parts.frame_norm import FrameNorm
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.streaming import State
from audioprune.models.parts.widths import check_rate, check_whole, nearest_width
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range


class FDNN(nn.Module):
    """Estimate a ratio mask for each frame alone by a stack of linear layers.

    Hidden layers end in ReLU, the output in a sigmoid; the published model has no normalisation,
    no context frame and 9,054,369 parameters; of width h and depth 3 it has ``2h^2 + 325h + 161``.
    Widths are read from the weights, so that a trimmed model runs as it is.

    Args:
        bins: Number of frequency bins F, 1 to 4096.
        width: Units of each hidden layer, 1 to 16384.
        depth: Number of hidden layers, 1 to 32.
        context: Frames before the present one that are seen with it, 0 (the paper's) to 64; before
            the first frame they are 0. Training by ``task.frame_batch`` needs 0.
        normalise: Whether inputs are normalised bin by bin, by mean and deviation of the training
            set; see ``parts.frame_norm.FrameNorm``.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input and the output.
        frame_wise: Whether each frame is mapped alone.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Tan & Wang, "Compressing deep neural networks for efficient speech enhancement", ICASSP
    2021, FDNN of Tables 1 and 2. ReLU in the hidden layers is the common choice of the field; the
    paper does not print it. ``context`` and ``normalise`` are additions for short trainings.
    """

    frames_per_second: float = 100.0
    time_dim: int = 1
    layers: Layers[nn.Linear]

    def __init__(
        self,
        *,
        bins: Annotated[int, Range(2), FOLLOWS] = 161,
        width: Annotated[int, Range(1)] = 2048,
        depth: Annotated[int, Range(1)] = 3,
        context: Annotated[int, Range(0, 64)] = 0,
        normalise: bool = False,
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = 100.0,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.bins = check_whole("bins", bins, 1, 4096)
        self.width = check_whole("width", width, 1, 16384)
        self.depth = check_whole("depth", depth, 1, 32)
        self.context = check_whole("context", context, 0, 64)
        self.frame_wise = context == 0
        self.inputs = FrameNorm(bins) if normalise else None
        sizes = [bins * (context + 1), *[width] * depth, bins]
        self.layers = Layers(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    @classmethod
    def width_for(cls, params: int, *, bins: int = 161, depth: int = 3, context: int = 0) -> int:
        """Return the width whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            bins: As in the constructor.
            depth: As in the constructor.
            context: As in the constructor.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model.
        """

        def count(width: int) -> int:
            ends = bins * (context + 2) + 1  # the first and the last layer
            return (depth - 1) * width * (width + 1) + width * ends + bins

        return nearest_width(count, params, 16384)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Map magnitudes (B, N, F) to masks (B, N, F) between 0 and 1."""
        values = magnitude
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        last = len(self.layers) - 1
        begin: list[Stage] = []
        if self.inputs is not None:
            begin.append(("", self.inputs))
        if self.context:
            begin.append(("", self._with_past))
        hidden: list[Stage] = [(f"layers.{i}.", partial(self._hide, i)) for i in range(last)]
        return [*begin, *hidden, (f"layers.{last}.", self._finish)]

    def input_norm(self) -> FrameNorm | None:
        """Return what normalises the inputs, or None."""
        return self.inputs

    def _with_past(self, values: Tensor) -> Tensor:
        """Join frames (B, N, F) with those before them, oldest first, (B, N, (context + 1) F)."""
        padded = F.pad(values, (0, 0, self.context, 0))
        count = values.shape[-2]
        return torch.cat([padded[..., i : i + count, :] for i in range(self.context + 1)], -1)

    def _hide(self, layer: int, values: Tensor) -> Tensor:
        return torch.relu(self.layers[layer](values))

    def _finish(self, values: Tensor) -> Tensor:
        return torch.sigmoid(self.layers[-1](values))

    def initial_state(self, batch: int = 1) -> State:
        """Return the state before the first frame: the past frames (batch, context, F), if any."""
        if not self.context:
            return ()
        return (self.layers[0].weight.new_zeros(batch, self.context, self.bins),)

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one frame (B, F) and the past before it to its mask (B, F) and the next past."""
        if not self.context:
            return self(frame), state
        value = frame if self.inputs is None else self.inputs(frame)
        seen = torch.cat([state[0], value[:, None]], 1)
        joined = seen.flatten(1)
        for _, run in self.stages()[-len(self.layers) :]:
            joined = run(joined)
        return joined, (seen[:, 1:],)

    def example_input(self, frames: int = 100) -> Tensor:
        """Return magnitudes (1, frames, F) of fixed random values between 0 and 1."""
        values = torch.rand(1, frames, self.bins, generator=torch.Generator().manual_seed(0))
        return values.to(self.layers[0].weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return the hidden units: row and bias of a layer, and the column that reads them."""
        hidden = enumerate(self.layers[:-1])
        return [_hidden_units(i, layer.weight.shape[0]) for i, layer in hidden]


def _hidden_units(layer: int, count: int) -> UnitSet:
    units = rows(0, count)
    slices = (
        Slice(f"layers.{layer}.weight", 0, units),
        Slice(f"layers.{layer}.bias", 0, units),
        Slice(f"layers.{layer + 1}.weight", 1, units, "in"),
    )
    return UnitSet(f"layers.{layer}", slices)

"""The recurrent magnitude estimator of Tan & Wang: layers, units, stages and one-frame steps.

``LSTM`` maps noisy to clean magnitudes (B, N, F), by LSTM or GRU layers. It knows neither the
transform before it nor the loss; spectral mapping and its target belong to the enhancement task.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError, unknown_name
from audioprune.models.parts.frame_norm import FrameNorm
from audioprune.models.parts.layers import Layers, recurrent_units
from audioprune.models.parts.streaming import State
from audioprune.models.parts.widths import check_rate, check_whole, nearest_width
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, OneOf, Range

ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid}
CELLS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3)}
"""Recurrent layers by name, and how many gates each has."""


class LSTM(nn.Module):
    """Map noisy to clean magnitudes, or to masks, by unidirectional LSTM layers and a last layer.

    The published model has 30,217,377 parameters; of width h and depth 4 it has ``28h^2 + 837h +
    161`` (two bias vectors in each layer). Each layer is a one-layer ``nn.LSTM`` and has its own
    width, so that a trimmed model runs as it is.

    Args:
        bins: Number of frequency bins F, 1 to 4096.
        width: Hidden units of each LSTM layer, 1 to 8192.
        depth: Number of LSTM layers, 1 to 16.
        activation: What ends the output: ``relu`` (the paper's), or ``sigmoid`` for masks.
        normalise: Whether inputs are normalised bin by bin, by mean and deviation of the training
            set; see ``parts.frame_norm.FrameNorm``.
        cell: Kind of the recurrent layers: ``lstm`` (the paper's), or ``gru``, which has three
            quarters of the parameters.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input and the output.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Tan & Wang, "Compressing deep neural networks for efficient speech enhancement", ICASSP
    2021, LSTM of Tables 1 and 2. ``activation`` and ``normalise`` are additions for short
    trainings, ``cell`` one for comparisons.
    """

    frames_per_second: float = 100.0
    time_dim: int = 1
    layers: Layers[nn.RNNBase]

    def __init__(
        self,
        *,
        bins: Annotated[int, Range(2), FOLLOWS] = 161,
        width: Annotated[int, Range(1)] = 1024,
        depth: Annotated[int, Range(1)] = 4,
        activation: Annotated[str, OneOf(*ACTIVATIONS)] = "relu",
        normalise: bool = False,
        cell: Annotated[str, OneOf(*CELLS)] = "lstm",
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = 100.0,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.bins = check_whole("bins", bins, 1, 4096)
        self.width = check_whole("width", width, 1, 8192)
        self.depth = check_whole("depth", depth, 1, 16)
        if activation not in ACTIVATIONS:
            raise ConfigError(unknown_name("model.activation", activation, ACTIVATIONS))
        self.activation = activation
        if cell not in CELLS:
            raise ConfigError(unknown_name("model.cell", cell, CELLS))
        self.cell = cell
        kind, _ = CELLS[cell]
        self.inputs = FrameNorm(bins) if normalise else None
        sizes = [bins, *[width] * depth]
        self.layers = Layers(
            kind(a, b, batch_first=True) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.output = nn.Linear(width, bins)

    @classmethod
    def width_for(cls, params: int, *, bins: int = 161, depth: int = 4, cell: str = "lstm") -> int:
        """Return the width whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            bins: As in the constructor.
            depth: As in the constructor.
            cell: As in the constructor.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model.
        """
        gates = CELLS[cell][1]

        def count(width: int) -> int:
            inputs = bins + (depth - 1) * width
            return gates * width * (inputs + depth * (width + 2)) + bins * (width + 1)

        return nearest_width(count, params, 8192)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Map noisy magnitudes (B, N, F) to magnitudes or masks (B, N, F) of at least 0."""
        values = magnitude
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        count = len(self.layers)
        begin: list[Stage] = [] if self.inputs is None else [("", self.inputs)]
        layers: list[Stage] = [(f"layers.{i}.", partial(self._recur, i)) for i in range(count)]
        return [*begin, *layers, ("output.", self._finish)]

    def input_norm(self) -> FrameNorm | None:
        """Return what normalises the inputs, or None."""
        return self.inputs

    def _recur(self, layer: int, values: Tensor) -> Tensor:
        return self.layers[layer](values)[0]

    def _finish(self, values: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](self.output(values))

    def initial_state(self, batch: int = 1) -> State:
        """Return zero states h (of an LSTM h and c) of each layer, each (1, batch, units)."""
        weight = self.output.weight
        state: list[Tensor] = []
        for layer in self.layers:
            zero = weight.new_zeros(1, batch, recurrent_units(layer))
            state += [zero, zero.clone()] if self.cell == "lstm" else [zero]
        return tuple(state)

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one frame (B, F) and the state before it to the clean frame and the next state."""
        values, after = frame.unsqueeze(1), []
        if self.inputs is not None:
            values = self.inputs(values)
        for i, layer in enumerate(self.layers):
            if self.cell == "gru":
                values, hidden = layer(values, state[i])
                after.append(hidden)
                continue
            values, (hidden, cell) = layer(values, (state[2 * i], state[2 * i + 1]))
            after += [hidden, cell]
        return self._finish(values).squeeze(1), tuple(after)

    def example_input(self, frames: int = 100) -> Tensor:
        """Return magnitudes (1, frames, F) of fixed random values between 0 and 1."""
        values = torch.rand(1, frames, self.bins, generator=torch.Generator().manual_seed(0))
        return values.to(self.output.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return the hidden units of each layer.

        A unit owns its row in every gate, its recurrent column, and the column of the next layer
        that reads it.
        """
        readers = [f"layers.{i}.weight_ih_l0" for i in range(1, len(self.layers))]
        readers.append("output.weight")
        return [
            _hidden_units(f"layers.{i}", recurrent_units(layer), reader, CELLS[self.cell][1])
            for i, (layer, reader) in enumerate(zip(self.layers, readers, strict=True))
        ]


def _hidden_units(layer: str, count: int, reader: str, gates_of: int) -> UnitSet:
    gates, units = rows(0, count, repeat=gates_of, stride=count), rows(0, count)
    written = tuple(
        Slice(f"{layer}.{kind}_l0", 0, gates)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    read = (Slice(f"{layer}.weight_hh_l0", 1, units, "in"), Slice(reader, 1, units, "in"))
    return UnitSet(layer, written + read)

"""The layers of the gated convolutional recurrent network: gated convolutions and grouped LSTMs.

How they are joined is written in ``models/gcrn.py``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.models.parts.layers import Layers, recurrent_inputs, recurrent_units
from audioprune.models.parts.streaming import State


class GatedConv(nn.Module):
    """Convolve along frequency, gate and normalise: (B, C, N, F) to (B, C', N, F')."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(inputs, outputs, (1, 3), (1, 2))
        self.gate = nn.Conv2d(inputs, outputs, (1, 3), (1, 2))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Map features; the activation is left to the caller, who may concatenate first."""
        return self.norm(self.value(values) * torch.sigmoid(self.gate(values)))


class GatedDeconv(nn.Module):
    """Undo a gated convolution: (B, C, N, F) to (B, C', N, F')."""

    def __init__(self, inputs: int, outputs: int, output_padding: int) -> None:
        super().__init__()
        sizes = (inputs, outputs, (1, 3), (1, 2))
        self.value = nn.ConvTranspose2d(*sizes, output_padding=(0, output_padding))
        self.gate = nn.ConvTranspose2d(*sizes, output_padding=(0, output_padding))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Map features; the activation is left to the caller, who may concatenate first."""
        return self.norm(self.value(values) * torch.sigmoid(self.gate(values)))


class GroupedLSTM(nn.Module):
    """Run an LSTM on each group of features and normalise all outputs: (B, N, U) to (B, N, U').

    Where outputs are interleaved, the buffer ``order`` ranks each output of the concatenated
    groups (unit j of group g has the rank jG + g). It is a list of ranks, not of positions: where
    units are removed, the ranks that stay still sort the rest.

    Args:
        features: Number of input and of output features, a multiple of the groups.
        groups: Number of groups G.
        interleave: Whether the next layer shall read units of all groups in each of its own
            (representation rearrangement).
    """

    groups: Layers[nn.LSTM]
    order: Tensor | None

    def __init__(self, features: int, groups: int, interleave: bool) -> None:
        super().__init__()
        size = features // groups
        self.groups = Layers(nn.LSTM(size, size, batch_first=True) for _ in range(groups))
        self.norm = nn.LayerNorm(features)
        self.register_buffer("order", interleaved_ranks(features, groups) if interleave else None)

    def inputs(self) -> list[int]:
        """Return how many features each group reads."""
        return [recurrent_inputs(group) for group in self.groups]

    def units(self) -> list[int]:
        """Return how many units each group has."""
        return [recurrent_units(group) for group in self.groups]

    def forward(self, values: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map features.

        Args:
            values: Features (B, N, U).
            state: h and c of each group in turn, each (1, B, units of the group); zero if None.

        Returns:
            Features (B, N, U') and the state after the last frame.
        """
        outputs: list[Tensor] = []
        after: list[Tensor] = []
        parts = values.split(self.inputs(), -1)
        for i, (group, part) in enumerate(zip(self.groups, parts, strict=True)):
            before = None if state is None else (state[2 * i], state[2 * i + 1])
            output, pair = group(part, before)
            outputs.append(output)
            after += pair
        joined = torch.cat(outputs, -1)
        if self.order is not None:
            joined = joined.index_select(-1, self.order.argsort())
        return self.norm(joined), tuple(after)


class Decoder(nn.Module):
    """Make one part of the complex spectrum: five gated deconvolutions and a linear layer."""

    layers: Layers[GatedDeconv]

    def __init__(self, inputs: list[int], outputs: list[int], bins: int) -> None:
        super().__init__()
        self.layers = Layers(
            GatedDeconv(inputs[i], outputs[i], int(i == 3)) for i in range(len(outputs))
        )
        self.output = nn.Linear(bins, bins)

    def level(self, values: Tensor, layer: int, skip: Tensor | None) -> Tensor:
        """Run one layer, append the encoder's output where there is one, then rectify both."""
        outputs = self.layers[layer](values)
        return F.elu(outputs if skip is None else torch.cat((outputs, skip), 1))


def interleaved_ranks(features: int, groups: int) -> Tensor:
    """Return the rank jG + g of unit j of group g, for all groups one after another."""
    return torch.arange(features).reshape(features // groups, groups).T.flatten()

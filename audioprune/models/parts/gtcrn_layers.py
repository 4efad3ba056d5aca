"""The layers of the grouped temporal convolutional recurrent network.

Every layer that remembers maps features (B, C, N, K) and what it remembers of the frames before
to features and what the next frame needs; its initial memory is zero. How the layers are joined
is written in ``models/gtcrn.py``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.models.parts.layers import Layers, recurrent_units
from audioprune.models.parts.streaming import State

Remembered = tuple[Tensor, State]
"""Features, and what a layer remembers of the frames up to theirs."""


class BandConv(nn.Module):
    """Convolve over five bands, halve their number, normalise and rectify; frames stay apart."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (1, 5), (1, 2), (0, 2), groups=groups)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.PReLU()

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, C, N, K) to (B, C', N, (K + 1) / 2)."""
        return self.activation(self.norm(self.conv(values)))


class BandDeconv(nn.Module):
    """Undo a convolution over bands; the last layer of the network ends in a tanh."""

    def __init__(self, inputs: int, outputs: int, groups: int, last: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, (1, 5), (1, 2), (0, 2), groups=groups)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation: nn.Module = nn.Tanh() if last else nn.PReLU()

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, C, N, K) to (B, C', N, 2 K - 1)."""
        return self.activation(self.norm(self.conv(values)))


class TemporalAttention(nn.Module):
    """Scale each channel of each frame by what a GRU makes of the powers up to that frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, 2 * channels, batch_first=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, values: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Scale (B, C, N, K); the state is (1, B, 2 C)."""
        power = values.square().mean(-1).transpose(1, 2)  # (B, N, C)
        found, after = self.gru(power, before)
        scale = torch.sigmoid(self.linear(found)).transpose(1, 2)  # (B, C, N)
        return values * scale.unsqueeze(-1), after


class TemporalBlock(nn.Module):
    """Refine one half of the channels by a dilated convolution in time; then mix both halves.

    Three neighbouring bands of the first half go through a 1x1 convolution, a depthwise one of
    three frames and three bands and another 1x1 one, then the attention. The second half passes
    untouched; channels of both take turns in the output.

    Args:
        channels: Channels C, even.
        dilation: Frames from one tap of the depthwise convolution to the next.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        half = channels // 2
        self.expand = nn.Conv2d(3 * half, channels, 1)
        self.expand_norm = nn.BatchNorm2d(channels)
        self.expand_activation = nn.PReLU()
        self.depthwise = nn.Conv2d(
            channels, channels, 3, padding=(0, 1), dilation=(dilation, 1), groups=channels
        )
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.depthwise_activation = nn.PReLU()
        self.project = nn.Conv2d(channels, half, 1)
        self.project_norm = nn.BatchNorm2d(half)
        self.attention = TemporalAttention(half)

    def memory(self, batch: int, bands: int) -> State:
        """Return zero frames before the first one, and the zero state of the attention."""
        weight = self.depthwise.weight
        frames = 2 * self.depthwise.dilation[0]
        units = recurrent_units(self.attention.gru)
        return (
            weight.new_zeros(batch, weight.shape[0], frames, bands),
            weight.new_zeros(1, batch, units),
        )

    def forward(self, values: Tensor, before: State) -> Remembered:
        """Map (B, C, N, K) to the same shape."""
        inner, state = before
        first, second = values.chunk(2, 1)
        expanded = self.expand_norm(self.expand(neighbours(first)))
        inner = torch.cat((inner, self.expand_activation(expanded)), 2)
        made = self.depthwise_activation(self.depthwise_norm(self.depthwise(inner)))
        refined, state = self.attention(self.project_norm(self.project(made)), state)
        mixed = torch.stack((refined, second), 2).flatten(1, 2)  # channels in turns
        return mixed, (inner[:, :, values.shape[2] :], state)


class GroupedGRU(nn.Module):
    """Run a GRU over each half of the features of a sequence (B, L, U)."""

    groups: Layers[nn.GRU]

    def __init__(self, inputs: int, units: int, bidirectional: bool) -> None:
        super().__init__()
        self.groups = Layers(
            nn.GRU(inputs // 2, units // 2, batch_first=True, bidirectional=bidirectional)
            for _ in range(2)
        )

    def forward(self, values: Tensor, before: State | None = None) -> Remembered:
        """Map (B, L, U) to (B, L, U'), from a state of each half or from zero."""
        outputs: list[Tensor] = []
        after: list[Tensor] = []
        for i, (gru, part) in enumerate(zip(self.groups, values.chunk(2, -1), strict=True)):
            output, state = gru(part, None if before is None else before[i])
            outputs.append(output)
            after.append(state)
        return torch.cat(outputs, -1), tuple(after)


class DualPath(nn.Module):
    """Pass on what grouped GRUs find over the bands of each frame, then over the frames of each.

    Args:
        channels: Channels C, a multiple of 4.
        bands: Number of bands K.
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        # two directions of half the units over bands; the past alone over frames
        self.over_bands = GroupedGRU(channels, channels // 2, bidirectional=True)
        self.band_linear = nn.Linear(channels, channels)
        self.band_norm = nn.LayerNorm((bands, channels), eps=1e-8)
        self.over_frames = GroupedGRU(channels, channels, bidirectional=False)
        self.frame_linear = nn.Linear(channels, channels)
        self.frame_norm = nn.LayerNorm((bands, channels), eps=1e-8)

    def memory(self, batch: int, bands: int) -> State:
        """Return the zero states of the GRUs over frames, each (1, B K, C / 2)."""
        weight = self.frame_linear.weight
        sizes = [recurrent_units(gru) for gru in self.over_frames.groups]
        return tuple(weight.new_zeros(1, batch * bands, size) for size in sizes)

    def forward(self, values: Tensor, before: State) -> Remembered:
        """Map (B, C, N, K) to the same shape."""
        batch, _, frames, bands = values.shape
        stream = values.permute(0, 2, 3, 1)  # (B, N, K, C)
        found, _ = self.over_bands(stream.flatten(0, 1))
        found = self.band_linear(found).unflatten(0, (batch, frames))
        stream = stream + self.band_norm(found)
        found, after = self.over_frames(stream.transpose(1, 2).flatten(0, 1), before)
        found = self.frame_linear(found).unflatten(0, (batch, bands)).transpose(1, 2)
        stream = stream + self.frame_norm(found)
        return stream.permute(0, 3, 1, 2), after


def neighbours(values: Tensor) -> Tensor:
    """Put the bands below and above beside each band: (B, C, N, K) to (B, 3 C, N, K)."""
    padded = F.pad(values, (1, 1))
    bands = values.shape[-1]
    beside = [padded[..., i : i + bands] for i in range(3)]
    return torch.stack(beside, 2).flatten(1, 2)

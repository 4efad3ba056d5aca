"""The hand-made small enhancer of Rong et al.: layers and one-frame steps.

``GTCRN`` maps noisy complex spectra (B, 2, N, F) to complex ratio masks of the same shape. The
transform, the product with the noisy spectrum and the loss belong to the enhancement task.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.models.parts.erb import ErbBands
from audioprune.models.parts.gtcrn_layers import (
    BandConv,
    BandDeconv,
    DualPath,
    TemporalBlock,
    neighbours,
)
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.streaming import State
from audioprune.models.parts.widths import check_rate, check_whole
from audioprune.ranges import FOLLOWS, Range

BINS = 257
KEPT = 65
TRIANGLES = 64
INNER_BANDS = 33  # of 129 bands, halved twice
DILATIONS = (1, 2, 5)
SAMPLE_RATE = 16_000
_FAINTEST = 1e-12


class GTCRN(nn.Module):
    """Map noisy spectra to complex masks by few channels, grouped layers and bands of hearing.

    Magnitude, real and imaginary part of 257 bins become 129 bands, each beside its two
    neighbours. Two strided convolutions and three temporal blocks encode them, two dual-path
    blocks of grouped GRUs look over bands and frames, and a mirrored decoder reads the sum of its
    input and the encoder's output of the same level. The published network of 16 channels has
    23,669 parameters; with the 24,576 constants of its two filter banks, which we compute, its
    authors store 48,245. No frame reads a later one.

    Args:
        channels: Channels of all inner layers, a multiple of 4 from 4 to 256; 16 is the published
            network.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        bins: Number of frequency bins F, at 16 kHz.
        time_dim: Axis of the frames in the input and the output.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Rong et al., "GTCRN: A speech enhancement model requiring ultralow computational
    resources", ICASSP 2024. Transposed convolutions of stride 1 are written as plain ones.
    """

    frames_per_second: float = 62.5
    bins: int = BINS
    time_dim: int = 2
    down: Layers[BandConv]
    encoder: Layers[TemporalBlock]
    dual: Layers[DualPath]
    decoder: Layers[TemporalBlock]
    up: Layers[BandDeconv]

    def __init__(
        self,
        *,
        channels: Annotated[int, Range(4, 256)] = 16,
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = 62.5,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        if check_whole("channels", channels, 4, 256) % 4:
            raise ConfigError(
                f"expected channels as a multiple of 4, got {channels}; change model.channels"
            )
        self.bands = ErbBands(BINS, KEPT, TRIANGLES, SAMPLE_RATE)
        self.down = Layers([BandConv(9, channels, 1), BandConv(channels, channels, 2)])
        self.encoder = Layers(TemporalBlock(channels, dilation) for dilation in DILATIONS)
        self.dual = Layers(DualPath(channels, INNER_BANDS) for _ in range(2))
        self.decoder = Layers(TemporalBlock(channels, dilation) for dilation in DILATIONS[::-1])
        self.up = Layers(
            [BandDeconv(channels, channels, 2, last=False), BandDeconv(channels, 2, 1, last=True)]
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map noisy spectra (B, 2, N, F), real part first, to masks of the same shape in -1..1."""
        return self.continued(spectrum, self.initial_state(spectrum.shape[0]))[0]

    def initial_state(self, batch: int = 1) -> State:
        """Return zero memories of all frames before the first one.

        Each temporal block remembers two dilations of inner frames (B, C, 2 d, 33) and a GRU
        state, each dual-path block two GRU states for every band.
        """
        return tuple(
            part for layer in self._remembering() for part in layer.memory(batch, INNER_BANDS)
        )

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map a noisy frame (B, 2, F) and the state before it to its mask and the next state.

        Equal to the forward pass in evaluation mode, where batch normalisation does not depend on
        other frames.
        """
        mask, after = self.continued(frame.unsqueeze(2), state)
        return mask.squeeze(2), after

    def _remembering(self) -> list[TemporalBlock | DualPath]:
        """Return the layers that remember frames, in the order in which they run."""
        return [*self.encoder, *self.dual, *self.decoder]

    def continued(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """Map noisy spectra (B, 2, N, F) after the frames that the state remembers."""
        memories, after = iter(state), list[Tensor]()
        values = neighbours(self.bands(_features(spectrum)))  # (B, 9, N, 129)
        skips: list[Tensor] = []
        for narrowing in self.down:
            values = narrowing(values)
            skips.append(values)
        for place, layer in enumerate(self._remembering()):
            if place >= len(self.encoder) + len(self.dual):
                values = values + skips.pop()
            values, memory = layer(values, (next(memories), next(memories)))
            after += memory
            if place < len(self.encoder):
                skips.append(values)
        for widening in self.up:
            values = widening(values + skips.pop())
        return self.bands.back(values), tuple(after)

    def example_input(self, frames: int = 62) -> Tensor:
        """Return spectra (1, 2, frames, F) of fixed random values from a normal distribution."""
        values = torch.randn(1, 2, frames, BINS, generator=torch.Generator().manual_seed(0))
        return values.to(self.down[0].conv.weight)


def _features(spectrum: Tensor) -> Tensor:
    """Return magnitude, real and imaginary part (B, 3, N, F) of spectra (B, 2, N, F)."""
    magnitude = (spectrum.square().sum(1, keepdim=True) + _FAINTEST).sqrt()
    return torch.cat((magnitude, spectrum), 1)

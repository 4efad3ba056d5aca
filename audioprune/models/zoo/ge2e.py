"""The speaker encoder of the package resemblyzer: ``GE2E``.

Mel spectra (B, N, 40) become embeddings (B, 256) of length 1; ``front_end`` makes the spectra from
a waveform (B, T). Weights come from experiment/originals/published.py.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import linear_in
from audioprune.compress.units.chains import open_units
from audioprune.compress.units.declare import UnitSet
from audioprune.dsp import mel_filters
from audioprune.models.zoo.rates import only_rate
from audioprune.ranges import FOLLOWS, Range

SAMPLE_RATE = 16000
MELS, FRAMES = 40, 160
_N_FFT, _HOP = 400, 160
_SHIFT = 80
"""Frames from one part of a recording to the next."""


class GE2E(nn.Module):
    """Map what somebody says to a point on a sphere, near to what the same voice says elsewhere.

    Args:
        sample_rate: In Hz; 16000 alone.

    Raises:
        ConfigError: The rate is another one.

    Source: Wan et al. (2018), as the package resemblyzer trained it: three recurrent layers of 256
    units, the last state, a linear layer of non-negative values, length 1.
    """

    frames_per_second = SAMPLE_RATE / _HOP
    time_dim = 1

    def __init__(self, *, sample_rate: Annotated[int, Range(1000), FOLLOWS] = SAMPLE_RATE) -> None:
        super().__init__()
        self.sample_rate = only_rate(sample_rate, SAMPLE_RATE)
        self.lstm = nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """Map mel spectra (B, N, 40) to embeddings (B, 256) of length 1."""
        hidden = self.lstm(mels)[1][0][-1]
        values = torch.relu(self.linear(hidden))
        return values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def front_end(self, waveform: Tensor) -> Tensor:
        """Map waveforms (B, T) to the mel power spectra (B * P, 160, 40) of parts of 1.6 s.

        Parts begin every 0.8 s; a shorter waveform is filled with zeros.
        """
        missing = max(0, FRAMES * _HOP - waveform.shape[1])
        window = torch.hann_window(_N_FFT, dtype=waveform.dtype, device=waveform.device)
        spectrum = torch.stft(
            F.pad(waveform, (0, missing)),
            _N_FFT,
            _HOP,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square().transpose(1, 2)  # (B, N, 201)
        mels = power @ mel_filters(MELS, _N_FFT, SAMPLE_RATE).to(power).T
        parts = mels.unfold(1, FRAMES, _SHIFT)  # (B, P, 40, 160)
        return parts.transpose(2, 3).flatten(0, 1)

    def example_input(self) -> Tensor:
        """Return mel spectra (1, 160, 40) of fixed random values."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(1, FRAMES, MELS, generator=generator).to(self.linear.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return the hidden units, which are the same in all layers.

        The values of the embedding are not units: they leave the model.
        """
        units = open_units("lstm", self.lstm)
        return [UnitSet("lstm", units.slices + linear_in("linear", self.linear))]

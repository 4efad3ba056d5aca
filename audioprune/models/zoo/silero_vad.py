"""The voice activity detector of the package silero-vad for 16 kHz: ``SileroVAD``.

A waveform (B, T) becomes probabilities of speech (B, N), one for every 512 samples. The state runs
through one call and is empty at its start. Weights come from experiment/originals/published.py.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import conv_in
from audioprune.compress.units.chains import chain_units, open_units
from audioprune.compress.units.declare import UnitSet
from audioprune.models.zoo.rates import only_rate
from audioprune.ranges import FOLLOWS, Range

SAMPLE_RATE = 16000
CHUNK, CONTEXT = 512, 64
_N_FFT, _HOP = 256, 128
State = tuple[Tensor, Tensor, Tensor]


class SileroVAD(nn.Module):
    """Tell speech from other sounds, 31.25 times a second.

    A chunk of 512 samples is seen with the 64 samples before it: magnitudes of four frames of a
    short-time spectrum, four convolutions, one recurrent layer, one probability.

    Args:
        sample_rate: In Hz; 16000 alone.

    Raises:
        ConfigError: The rate is another one.

    Source: the computation graph of the package silero-vad, version 6.
    """

    frames_per_second = SAMPLE_RATE / CHUNK
    time_dim = 1

    def __init__(self, *, sample_rate: Annotated[int, Range(1000), FOLLOWS] = SAMPLE_RATE) -> None:
        super().__init__()
        self.sample_rate = only_rate(sample_rate, SAMPLE_RATE)
        self.conv1 = nn.Conv1d(_N_FFT // 2 + 1, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final = nn.Conv1d(128, 1, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map a waveform (B, T) to probabilities of speech (B, N), N = ceil(T / 512)."""
        padded = F.pad(waveform, (CONTEXT, -waveform.shape[1] % CHUNK))
        chunks = padded.unfold(1, CHUNK + CONTEXT, CHUNK)  # (B, N, 576)
        features = self._features(chunks.flatten(0, 1)).unflatten(0, chunks.shape[:2])
        return self._probability(self.lstm(features)[0])

    def _features(self, chunks: Tensor) -> Tensor:
        """Map chunks with their context (B, 576) to what the recurrent layer reads (B, C)."""
        frames = F.pad(chunks, (0, CONTEXT), mode="reflect").unfold(1, _N_FFT, _HOP)
        window = torch.hann_window(_N_FFT, dtype=chunks.dtype, device=chunks.device)
        values = torch.fft.rfft(frames * window).abs().transpose(1, 2)  # (B, 129, 4)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            values = torch.relu(layer(values))
        return values.squeeze(2)

    def _probability(self, hidden: Tensor) -> Tensor:
        """Map hidden values (B, N, H) to probabilities (B, N)."""
        return torch.sigmoid(self.final(torch.relu(hidden).transpose(1, 2))).squeeze(1)

    def initial_state(self, batch: int = 1) -> State:
        """Return the 64 samples before the first chunk (B, 64), and h and c (1, B, H)."""
        zero = self.final.weight.new_zeros(1, batch, self.final.in_channels)
        return zero.new_zeros(batch, CONTEXT), zero, zero.clone()

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one chunk (B, 512) and the state before it to a probability (B, 1) and the next."""
        context, hidden, cell = state
        features = self._features(torch.cat((context, frame), 1)).unsqueeze(1)
        values, (hidden, cell) = self.lstm(features, (hidden, cell))
        return self._probability(values), (frame[:, -CONTEXT:], hidden, cell)

    def step_input(self) -> tuple[Tensor, State]:
        """Return the arguments of one step."""
        return self.example_input(1), self.initial_state()

    def example_input(self, chunks: int = 32) -> Tensor:
        """Return noise (1, 512 * chunks) of fixed random values."""
        generator = torch.Generator().manual_seed(0)
        values = 0.1 * torch.randn(1, CHUNK * chunks, generator=generator)
        return values.to(self.final.weight)

    def example_seconds(self) -> float:
        """Return the seconds of audio that the example lasts."""
        return 32 * CHUNK / SAMPLE_RATE

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels of the convolutions and the hidden units of the recurrent layer."""
        names = ("conv1", "conv2", "conv3", "conv4", "lstm")
        sets = chain_units([(name, getattr(self, name)) for name in names])
        units = open_units("lstm", self.lstm)
        return [*sets, UnitSet("lstm", units.slices + conv_in("final", self.final))]

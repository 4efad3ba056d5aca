"""How a model of frames is run on samples: ``with_transform(model, task)``, the transform inside.

The result is a causal module that maps hops of samples (B, N, hop) to hops of samples (B, N, hop),
later by ``delay`` samples, frame minus hop. It is made of linear layers and shifts, so that any
runtime can run it. Signals come at RMS 1, as in training: whoever feeds it scales them.

The result is that of the task, later by the delay, where the task centres its frames and a hop is
half a frame. Otherwise a signal begins with more frames than in the task, which hold its first
samples behind zeros. Nothing is trained here.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.protocols import Enhances
from audioprune.tasks.targets import (
    ComplexMapping,
    MagnitudeMapping,
    RatioMask,
    WaveformMapping,
    compress_magnitude,
)

_TINY = 1e-30


class OnSamples(nn.Module):
    """A model of frames between an analysis and a synthesis of samples.

    Args:
        model: The model of frames.
        target: What the model is given and returns, as of its task.
        dry: Share of the noisy signal in the result.

    Attributes:
        delay: Samples by which the result is late.
        hop: Samples of a hop.
        frames_per_second: Hops in a second.
        time_dim: Axis of the hops.

    Raises:
        ConfigError: The frame is no whole number of hops, or the target is unknown.
    """

    time_dim: int = 1
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, model: nn.Module, target: Any, dry: float, sample_rate: int) -> None:
        super().__init__()
        wave = isinstance(target, WaveformMapping)
        if not isinstance(target, WaveformMapping | RatioMask | MagnitudeMapping | ComplexMapping):
            raise ConfigError(
                f"transform=inside: expected a task of speech enhancement, got "
                f"{type(target).__name__}; use transform=outside"
            )
        self.model, self.dry = model, dry
        self.target: Any = target
        whole: Any = self.target
        cut: Any = whole if wave else whole.stft
        size = cut.frame_length if wave else cut.n_fft
        self.hop = int(cut.hop_length)
        self.blocks = size // self.hop
        if size % self.hop:
            raise ConfigError(
                f"transform=inside: expected frames of a whole number of hops, got {size} and "
                f"{self.hop} samples; use transform=outside"
            )
        self.delay = size - self.hop
        self.frames_per_second = sample_rate / self.hop
        analysis, synthesis = _plain(size, self.hop) if wave else _transforms(self.target, size)
        self.register_buffer("analysis", analysis)
        self.register_buffer("synthesis", synthesis)

    def forward(self, samples: Tensor) -> Tensor:
        """Map hops of noisy samples (B, N, hop) to hops of clean ones, later by ``delay``."""
        count = samples.shape[1]
        shifted = [F.pad(samples, (0, 0, i, 0))[:, :count] for i in range(self.blocks - 1, -1, -1)]
        frames = torch.cat(shifted, -1)
        made = self._frames(frames)
        blocks = made.split(self.hop, -1)
        total = blocks[0]
        for i, block in enumerate(blocks[1:]):  # the newest block of a frame waits longest
            total = total + F.pad(block, (0, 0, i + 1, 0))[:, :count]
        return total if not self.dry else (1 - self.dry) * total + self.dry * shifted[0]

    def _frames(self, frames: Tensor) -> Tensor:
        """Map frames of samples (B, N, S) to what each adds to the signal."""
        if isinstance(self.target, WaveformMapping):
            return self.model(frames) * self.synthesis
        real, imag = F.linear(frames, self.analysis).chunk(2, -1)
        return F.linear(torch.cat(self._clean(real, imag), -1), self.synthesis)

    def _clean(self, real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
        """Map the parts of a noisy spectrum, each (B, N, F), to those of a clean one."""
        target = self.target
        size = torch.sqrt(real.square() + imag.square())
        seen = compress_magnitude(size, target.feature)
        if isinstance(target, RatioMask):
            mask = self.model(seen)
            return real * mask, imag * mask
        if isinstance(target, MagnitudeMapping):
            made = self.model(seen)
            share = made if target.output == "mask" else made / size.clamp_min(_TINY)
            return real * share, imag * share
        share = seen / size.clamp_min(_TINY)
        found = self.model(torch.stack((real * share, imag * share), 1))
        left, right = found[:, 0], found[:, 1]
        if target.output == "mapping":
            return left, right
        return left * real - right * imag, left * imag + right * real

    def example_input(self, frames: int = 50) -> Tensor:
        """Return hops (1, frames, hop) of fixed random samples of deviation 1."""
        values = torch.randn(1, frames, self.hop, generator=torch.Generator().manual_seed(0))
        return values.to(self.analysis)


def with_transform(model: nn.Module, task: Any) -> OnSamples:
    """Put the transform of a task into a model.

    Args:
        model: A model of frames.
        task: The enhancement task that it was trained for.

    Raises:
        ConfigError: The task is another.
    """
    if not isinstance(task, Enhances):
        raise ConfigError(
            f"transform=inside: expected a task of speech enhancement, got "
            f"{type(task).__name__}; use transform=outside"
        )
    found = OnSamples(model, task.target, task.dry, task.sample_rate)  # type: ignore[attr-defined]
    return found.eval()


def _plain(size: int, hop: int) -> tuple[Tensor, Tensor]:
    """Return what joins frames that are averaged: nothing, and the share of each."""
    return torch.zeros(1), torch.full((1,), hop / size)


def _transforms(target: Any, size: int) -> tuple[Tensor, Tensor]:
    """Return the matrices (2F, S) and (S, 2F) of a windowed transform and of its inverse."""
    bins = size // 2 + 1
    angle = _angles(bins, size)
    window = target.stft.window_values(torch.float64)
    analysis = torch.cat((angle.cos(), -angle.sin())) * window
    weight = torch.full((bins, 1), 2.0, dtype=torch.float64)
    weight[0] = weight[-1] = 1.0  # both ends of the spectrum stand for themselves alone
    inverse = torch.cat((angle.cos() * weight, -angle.sin() * weight)).T / size
    again = window if target.ola_norm == "window_squared" else torch.ones_like(window)
    share = window.square() if target.ola_norm == "window_squared" else window
    envelope = (
        share.reshape(-1, target.stft.hop_length).sum(0).repeat(size // target.stft.hop_length)
    )
    synthesis = inverse * (again / envelope)[:, None]
    return analysis.float().contiguous(), synthesis.float().contiguous()


def _angles(bins: int, size: int) -> Tensor:
    """Return the angle of each bin and sample, exact to a turn."""
    turns = torch.arange(bins)[:, None] * torch.arange(size)[None] % size
    return turns.double() * (2 * math.pi / size)

"""What an enhancement model sees, what it should return, and how its output becomes audio: one class per training target.

Losses, scores and batches are the business of enhancement.py; the transforms are in audioprune.dsp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from audioprune import dsp
from audioprune.dsp import STFT

FEATURES = ("magnitude", "cube_root", "log")


def compress_magnitude(magnitude: Tensor, feature: str) -> Tensor:
    """Return what a magnitude model sees: the magnitude itself, its cube root, or ``log(0.01 + magnitude)``.

    Source: Tan & Wang give the magnitude spectrogram as input; the two others are ours, for short trainings.
    """
    if feature == "cube_root":
        return magnitude.clamp_min(1e-9).pow(1 / 3)
    return magnitude if feature == "magnitude" else (magnitude + 1e-2).log()


class Target(Protocol):
    """One way to turn signals into a regression problem; frames lie along ``frame_dim`` of inputs and outputs."""

    frame_dim: int

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return what the model is given for noisy signals (B, T)."""

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return what the model should output for signals (B, T)."""

    def frames(self, length: int) -> int:
        """Return the number of frames of a signal of ``length`` samples."""

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Turn the model's output for noisy signals (B, T) into enhanced signals (B, T)."""


@dataclass(frozen=True)
class RatioMask:
    """Estimate the ideal ratio mask from the noisy magnitude; it scales the noisy spectrum, whose phase is kept.

    Source: Tan & Wang, FDNN: input magnitude spectrogram, target IRM.
    """

    stft: STFT
    ola_norm: str
    feature: str = "magnitude"
    frame_dim: int = 1

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return noisy magnitudes (B, N, F), compressed as ``feature`` says."""
        return compress_magnitude(self.stft.analysis(noisy).abs(), self.feature)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the ideal ratio mask (B, N, F)."""
        return dsp.ideal_ratio_mask(self.stft.analysis(clean).abs(), self.stft.analysis(noisy - clean).abs())

    def frames(self, length: int) -> int:
        """Return the number of frames."""
        return self.stft.frames(length)

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Apply the mask and return to the time domain."""
        return self.stft.synthesis(self.stft.analysis(noisy) * output, noisy.shape[-1], self.ola_norm)


@dataclass(frozen=True)
class MagnitudeMapping:
    """Map the noisy to the clean magnitude; the noisy phase is kept.

    Source: Tan & Wang, LSTM: spectral mapping in the magnitude domain.
    """

    stft: STFT
    ola_norm: str
    feature: str = "magnitude"
    frame_dim: int = 1

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return noisy magnitudes (B, N, F), compressed as ``feature`` says."""
        return compress_magnitude(self.stft.analysis(noisy).abs(), self.feature)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return clean magnitudes (B, N, F)."""
        return self.stft.analysis(clean).abs()

    def frames(self, length: int) -> int:
        """Return the number of frames."""
        return self.stft.frames(length)

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Join the estimated magnitude with the noisy phase and return to the time domain."""
        spectrum = self.stft.analysis(noisy)
        return self.stft.synthesis(torch.polar(output.float(), spectrum.angle()), noisy.shape[-1], self.ola_norm)


@dataclass(frozen=True)
class ComplexMapping:
    """Map the noisy to the clean complex spectrum, real and imaginary parts as two channels.

    Source: Tan & Wang, GCRN: complex spectral mapping.
    """

    stft: STFT
    ola_norm: str
    frame_dim: int = 2

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return the noisy spectrum as (B, 2, N, F)."""
        return self._parts(noisy)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the clean spectrum as (B, 2, N, F)."""
        return self._parts(clean)

    def frames(self, length: int) -> int:
        """Return the number of frames."""
        return self.stft.frames(length)

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Join the two channels to a spectrum and return to the time domain."""
        spectrum = torch.complex(output[:, 0].float(), output[:, 1].float())
        return self.stft.synthesis(spectrum, noisy.shape[-1], self.ola_norm)

    def _parts(self, signal: Tensor) -> Tensor:
        spectrum = self.stft.analysis(signal)
        return torch.stack([spectrum.real, spectrum.imag], dim=1)


@dataclass(frozen=True)
class WaveformMapping:
    """Map noisy to clean frames of samples, cut by a rectangular window and joined by overlap-add.

    Source: Tan & Wang, TCNN: time-domain enhancement; Pandey & Wang (ICASSP 2019): 20 ms frames every 10 ms.
    """

    frame_length: int
    hop_length: int
    frame_dim: int = 1

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return noisy frames (B, N, L)."""
        return dsp.frame_signal(noisy, self.frame_length, self.hop_length)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return clean frames (B, N, L)."""
        return dsp.frame_signal(clean, self.frame_length, self.hop_length)

    def frames(self, length: int) -> int:
        """Return the number of frames."""
        return max(0, -(-(length - self.frame_length) // self.hop_length)) + 1

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Average overlapping frames."""
        return dsp.overlap_add_mean(output.float(), self.hop_length, noisy.shape[-1])

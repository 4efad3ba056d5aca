"""The training targets of enhancement: what a model gets, should return, and how that is audio.

One class per target, each a ``Target``. Signals are (B, T); spectra (B, N, F) or (B, 2, N, F).
Losses, scores and batches belong to ``enhancement``, the transforms to ``audioprune.dsp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from audioprune import dsp
from audioprune.dsp import STFT, OlaNorm

FEATURES = ("magnitude", "cube_root", "log")
PHASED_FEATURES = ("magnitude", "cube_root")
OUTPUTS = ("mapping", "mask")


def compress_magnitude(magnitude: Tensor, feature: str) -> Tensor:
    """Return the magnitude itself, its cube root, or ``log(0.01 + magnitude)``.

    Source: Tan & Wang give the magnitude spectrogram as input; the two others are ours, for short
    trainings.
    """
    if feature == "cube_root":
        return magnitude.clamp_min(1e-9).pow(1 / 3)
    return magnitude if feature == "magnitude" else (magnitude + 1e-2).log()


def compress_spectrum(spectrum: Tensor, feature: str) -> Tensor:
    """Return a complex spectrum with its phase and a compressed magnitude."""
    if feature == "magnitude":
        return spectrum
    return torch.polar(compress_magnitude(spectrum.abs(), feature), spectrum.angle())


class Target(Protocol):
    """One way to turn signals into a regression problem."""

    @property
    def frame_dim(self) -> int:
        """Axis of the frames in inputs and outputs."""
        ...

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return what the model is given for noisy signals (B, T)."""
        ...

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return what the model should output for signals (B, T)."""
        ...

    def estimate(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Turn the model's output for noisy signals (B, T) into what should equal `wanted`."""
        ...

    def frames(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames of signals of so many samples, int64 of any shape."""
        ...

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Turn the model's output for noisy signals (B, T) into enhanced signals (B, T)."""
        ...


@dataclass(frozen=True)
class RatioMask:
    """Estimate the ideal ratio mask, which scales the noisy spectrum; the phase is kept.

    Source: Tan & Wang, FDNN: input magnitude spectrogram, target IRM.
    """

    stft: STFT
    ola_norm: OlaNorm
    feature: str = "magnitude"
    frame_dim: int = 1

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return noisy magnitudes (B, N, F), compressed as ``feature`` says."""
        return compress_magnitude(self.stft.analysis(noisy).abs(), self.feature)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the ideal ratio mask (B, N, F)."""
        speech, noise = self.stft.analysis(clean), self.stft.analysis(noisy - clean)
        return dsp.ideal_ratio_mask(speech.abs(), noise.abs())

    def estimate(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Return the output, which is the mask."""
        return output

    def frames(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames."""
        return lengths // self.stft.hop_length + 1

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Apply the mask and return to the time domain."""
        masked = self.stft.analysis(noisy) * output
        return self.stft.synthesis(masked, noisy.shape[-1], self.ola_norm)


@dataclass(frozen=True)
class MagnitudeMapping:
    """Map the noisy to the clean magnitude; the noisy phase is kept.

    Source: Tan & Wang, LSTM: spectral mapping in the magnitude domain. That the output may be a
    mask on the noisy magnitude, trained by the same loss on the same target (magnitude spectrum
    approximation), is an addition for short trainings.
    """

    stft: STFT
    ola_norm: OlaNorm
    feature: str = "magnitude"
    output: str = "mapping"
    frame_dim: int = 1

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return noisy magnitudes (B, N, F), compressed as ``feature`` says."""
        return compress_magnitude(self.stft.analysis(noisy).abs(), self.feature)

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return clean magnitudes (B, N, F)."""
        return self.stft.analysis(clean).abs()

    def estimate(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Return estimated magnitudes (B, N, F): the output, or the noisy ones times it."""
        return output if self.output == "mapping" else output * self.stft.analysis(noisy).abs()

    def frames(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames."""
        return lengths // self.stft.hop_length + 1

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Join the estimated magnitude with the noisy phase and return to the time domain."""
        magnitude, phase = self.estimate(output.float(), noisy), self.stft.analysis(noisy).angle()
        return self.stft.synthesis(torch.polar(magnitude, phase), noisy.shape[-1], self.ola_norm)


@dataclass(frozen=True)
class ComplexMapping:
    """Map the noisy to the clean complex spectrum, real and imaginary parts as two channels.

    Source: Tan & Wang, GCRN: complex spectral mapping. That the output may be a complex mask on
    the noisy spectrum, trained by the same loss on the same target, is an addition for short
    trainings.
    """

    stft: STFT
    ola_norm: OlaNorm
    feature: str = "magnitude"
    output: str = "mapping"
    frame_dim: int = 2

    def inputs(self, noisy: Tensor) -> Tensor:
        """Return the noisy spectrum (B, 2, N, F), compressed as ``feature`` says."""
        return _parts(compress_spectrum(self.stft.analysis(noisy), self.feature))

    def wanted(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return the clean spectrum as (B, 2, N, F)."""
        return _parts(self.stft.analysis(clean))

    def estimate(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Return the estimated spectrum (B, 2, N, F): the output, or the noisy one times it."""
        if self.output == "mapping":
            return output
        return _parts(_joined(output) * self.stft.analysis(noisy))

    def frames(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames."""
        return lengths // self.stft.hop_length + 1

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Join the two channels to a spectrum and return to the time domain."""
        spectrum = _joined(self.estimate(output, noisy))
        return self.stft.synthesis(spectrum, noisy.shape[-1], self.ola_norm)


@dataclass(frozen=True)
class WaveformMapping:
    """Map noisy to clean frames of samples, cut by a rectangular window and joined by overlap-add.

    Source: Tan & Wang, TCNN: time-domain enhancement; Pandey & Wang (ICASSP 2019): 20 ms frames
    every 10 ms.
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

    def estimate(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Return the output, which is the frames."""
        return output

    def frames(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames."""
        behind = (lengths - self.frame_length).clamp_min(0)  # samples behind the first frame
        return (behind + self.hop_length - 1) // self.hop_length + 1

    def audio(self, output: Tensor, noisy: Tensor) -> Tensor:
        """Average overlapping frames."""
        return dsp.overlap_add_mean(output.float(), self.hop_length, noisy.shape[-1])


def _parts(spectrum: Tensor) -> Tensor:
    return torch.stack([spectrum.real, spectrum.imag], dim=1)


def _joined(parts: Tensor) -> Tensor:
    return torch.complex(parts[:, 0].float(), parts[:, 1].float())

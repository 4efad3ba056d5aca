"""How a signal becomes a complex spectrum and a signal again: ``STFT``, differentiable.

Signals have the shape (..., T), spectra (..., N, F): N frames of F bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.dsp.framing import check_length, check_signal, overlap_add
from audioprune.errors import ConfigError, DataError, unknown_name

OlaNorm = Literal["window", "window_squared"]

OLA_NORMS = ("window", "window_squared")
WINDOWS = ("hamming", "hann")


@dataclass(frozen=True)
class STFT:
    """Short-time Fourier transform with centred frames and zero padding at both ends.

    A signal of T samples gives N = T // hop_length + 1 frames of F = n_fft // 2 + 1 bins; frame n
    is centred on sample n * hop_length. The defaults are 20 ms frames every 10 ms at 16 kHz.

    Attributes:
        n_fft: Frame and window length in samples, even.
        hop_length: Samples from one frame to the next, at most n_fft / 2.
        window: ``"hamming"`` (symmetric) or ``"hann"`` (periodic).

    Raises:
        ConfigError: An attribute is out of its range, or the window is unknown.

    Source: Tan & Wang (ICASSP 2021), 320-point transform with a Hamming window and a hop of 160
    samples.
    """

    n_fft: int = 320
    hop_length: int = 160
    window: str = "hamming"

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2:
            raise ConfigError(
                f"expected an even n_fft of at least 2, got {self.n_fft}; use for instance 320"
            )
        if not 1 <= self.hop_length <= self.n_fft // 2:
            raise ConfigError(
                f"expected hop_length from 1 to n_fft / 2 = {self.n_fft // 2}, got "
                f"{self.hop_length}; choose a smaller hop"
            )
        if self.window not in WINDOWS:
            raise ConfigError(unknown_name("window", self.window, WINDOWS))

    @property
    def bins(self) -> int:
        """Number of frequency bins F."""
        return self.n_fft // 2 + 1

    def frames(self, length: int) -> int:
        """Return the number of frames N of a signal of ``length`` samples."""
        return length // self.hop_length + 1

    def window_values(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Return the window, shape (n_fft,)."""
        if self.window == "hamming":
            return torch.hamming_window(self.n_fft, periodic=False, dtype=dtype, device=device)
        return torch.hann_window(self.n_fft, periodic=True, dtype=dtype, device=device)

    def analysis(self, signal: Tensor) -> Tensor:
        """Return the complex spectrum of a signal.

        Args:
            signal: Real samples, shape (..., T) with T >= 1.

        Returns:
            Complex spectrum, shape (..., N, F).

        Raises:
            DataError: The signal is empty or not real floating point.
        """
        check_signal(signal)
        padded = F.pad(signal, (self.n_fft // 2, self.n_fft // 2))
        window = self.window_values(padded.dtype, padded.device)
        return torch.fft.rfft(padded.unfold(-1, self.n_fft, self.hop_length) * window)

    def synthesis(
        self, spectrum: Tensor, length: int | None = None, ola_norm: OlaNorm = "window"
    ) -> Tensor:
        """Return the signal of a spectrum, the inverse of ``analysis``.

        Args:
            spectrum: Complex spectrum, shape (..., N, F).
            length: Samples T to return; (N - 1) * hop_length if None.
            ola_norm: What happens between the inverse transform and the division. ``"window"``:
                frames are added as they are and divided by the sum of windows.
                ``"window_squared"``: frames are windowed once more and divided by the sum of
                squared windows, the least-squares inverse of ``torch.istft``. The two differ on a
                changed spectrum.

        Returns:
            Real signal, shape (..., T).

        Raises:
            DataError: The spectrum is not complex, or not of this transform's bins.
            ConfigError: ``length`` is more than the frames cover, or ``ola_norm`` is unknown.

        Source: ``"window"`` is the convention of Tan & Wang's GCRN.
        """
        frames, window = self._untransform(spectrum, ola_norm)
        count = frames.shape[-2]
        length = (count - 1) * self.hop_length if length is None else length
        start = self.n_fft // 2
        check_length(length, (count - 1) * self.hop_length + start, count)
        signal = overlap_add(frames, self.hop_length)[..., start : start + length]
        envelope = overlap_add(window.expand(count, -1), self.hop_length)[start : start + length]
        return signal / envelope

    def _untransform(self, spectrum: Tensor, ola_norm: OlaNorm) -> tuple[Tensor, Tensor]:
        """Return the frames to add and what each of them adds to the envelope.

        Shapes (..., N, n_fft) and (n_fft,).
        """
        if ola_norm not in OLA_NORMS:
            raise ConfigError(unknown_name("ola_norm", ola_norm, OLA_NORMS))
        if (
            not spectrum.is_complex()
            or spectrum.ndim < 2
            or spectrum.shape[-1] != self.bins
            or spectrum.shape[-2] == 0
        ):
            given = f"{spectrum.dtype} {tuple(spectrum.shape)}"
            raise DataError(
                f"expected a complex spectrum (..., N, {self.bins}), got {given}; check n_fft "
                f"and the order of the axes"
            )
        frames = torch.fft.irfft(spectrum, n=self.n_fft)
        window = self.window_values(frames.dtype, frames.device)
        return (frames, window) if ola_norm == "window" else (frames * window, window.square())


def ideal_ratio_mask(speech: Tensor, noise: Tensor) -> Tensor:
    """Return sqrt(S^2 / (S^2 + N^2)), 0..1, and 0 where both magnitudes are 0.

    Args:
        speech: Magnitudes S of the clean speech, any shape.
        noise: Magnitudes N of the noise, same shape.

    Raises:
        DataError: The shapes differ.

    Source: Wang, Narayanan & Wang (2014), the target of the feed-forward network of Tan & Wang
    (ICASSP 2021).
    """
    if speech.shape != noise.shape:
        raise DataError(
            f"expected magnitudes of one shape, got {tuple(speech.shape)} and "
            f"{tuple(noise.shape)}; cut both alike"
        )
    return speech / torch.hypot(speech, noise).clamp_min(torch.finfo(speech.dtype).tiny)

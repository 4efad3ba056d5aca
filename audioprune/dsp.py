"""How audio becomes frames, spectra and mixtures, and how it becomes audio again.

Torch where a gradient may pass (spectra, framing, masks, mu-law), numpy where audio is prepared
(mixing, resampling). Reading files stands in audioprune.data, scores in audioprune.metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.errors import ConfigError, DataError, unknown_name

OlaNorm = Literal["window", "window_squared"]
Signal = TypeVar("Signal", np.ndarray, Tensor)

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
        _check_signal(signal)
        padded = F.pad(signal, (self.n_fft // 2, self.n_fft // 2))
        return self._transform(padded)

    def synthesis(
        self, spectrum: Tensor, length: int | None = None, ola_norm: OlaNorm = "window"
    ) -> Tensor:
        """Return the signal of a spectrum; the inverse of ``analysis`` on a spectrum that nobody changed.

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
        _check_length(length, 0, self.longest(count), count)
        signal = overlap_add(frames, self.hop_length)[..., start : start + length]
        envelope = overlap_add(window.expand(count, -1), self.hop_length)[start : start + length]
        return signal / envelope

    def longest(self, frames: int) -> int:
        """Return the largest length in samples that a number of frames covers."""
        return (frames - 1) * self.hop_length + self.n_fft // 2

    def _transform(self, padded: Tensor) -> Tensor:
        window = self.window_values(padded.dtype, padded.device)
        return torch.fft.rfft(padded.unfold(-1, self.n_fft, self.hop_length) * window)

    def _untransform(self, spectrum: Tensor, ola_norm: OlaNorm) -> tuple[Tensor, Tensor]:
        """Return the frames to add, shape (..., N, n_fft), and what each adds to the envelope, shape (n_fft,)."""
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


class StreamAnalysis:
    """The analysis of an STFT, fed piece by piece; all its frames together equal the batch analysis.

    The first frame needs n_fft / 2 samples; after that every hop_length samples give one frame.
    """

    def __init__(self, stft: STFT) -> None:
        self.stft = stft
        self._buffer: Tensor | None = None

    def push(self, samples: Tensor) -> Tensor:
        """Take the next samples, shape (..., any number), and return the frames that they complete, shape (..., N or 0, F)."""
        _check_signal(samples)
        if self._buffer is None:
            self._buffer = samples.new_zeros(*samples.shape[:-1], self.stft.n_fft // 2)
        self._buffer = torch.cat([self._buffer, samples], dim=-1)
        count = max(0, (self._buffer.shape[-1] - self.stft.n_fft) // self.stft.hop_length + 1)
        if count == 0:
            return samples.new_zeros(
                *samples.shape[:-1], 0, self.stft.bins, dtype=samples.dtype.to_complex()
            )
        frames = self.stft._transform(self._buffer)
        self._buffer = self._buffer[..., count * self.stft.hop_length :]
        return frames

    def flush(self) -> Tensor:
        """Return the last frames of the signal and start anew; a DataError says that nothing was pushed."""
        if self._buffer is None:
            raise DataError("expected samples before flush, got none; push some first")
        frames = self.push(self._buffer.new_zeros(*self._buffer.shape[:-1], self.stft.n_fft // 2))
        self._buffer = None
        return frames


class StreamSynthesis:
    """The synthesis of an STFT, fed frame by frame; all its samples together equal the batch synthesis.

    Each frame completes hop_length samples; the first n_fft / 2 of them are padding and are not
    returned. ``ola_norm`` is as in ``STFT.synthesis``.
    """

    def __init__(self, stft: STFT, ola_norm: OlaNorm = "window") -> None:
        self.stft = stft
        self.ola_norm: OlaNorm = ola_norm
        self._reset()

    def _reset(self) -> None:
        self._signal: Tensor | None = None
        self._envelope: Tensor | None = None
        self._position = (
            -self.stft.n_fft // 2
        )  # of the next sample to complete; the padding stands before 0
        self._frames = 0

    def push(self, spectrum: Tensor) -> Tensor:
        """Take the next frames, shape (..., N, F), and return the samples that they complete, shape (..., T or 0)."""
        if spectrum.ndim >= 2 and spectrum.shape[-2] == 0:
            return spectrum.real.new_zeros(*spectrum.shape[:-2], 0)
        hop = self.stft.hop_length
        frames, window = self.stft._untransform(spectrum, self.ola_norm)
        count = frames.shape[-2]
        self._frames += count
        signal = _join(self._signal, overlap_add(frames, hop))
        envelope = _join(self._envelope, overlap_add(window.expand(count, -1), hop))
        self._signal, self._envelope = signal[..., count * hop :], envelope[count * hop :]
        skip = min(max(0, -self._position), count * hop)
        self._position += count * hop
        return signal[..., skip : count * hop] / envelope[skip : count * hop]

    def flush(self, length: int | None = None) -> Tensor:
        """Return the last samples of a signal of ``length`` samples in all, as ``STFT.synthesis`` counts them, and start anew.

        Raises:
            DataError: Nothing was pushed.
            ConfigError: ``length`` is less than what was returned already, or more than the frames
                cover.
        """
        if self._signal is None or self._envelope is None:
            raise DataError("expected frames before flush, got none; push some first")
        length = (self._frames - 1) * self.stft.hop_length if length is None else length
        done, most = max(0, self._position), self.stft.longest(self._frames)
        _check_length(length, done, most, self._frames)
        span = slice(done - self._position, length - self._position)
        rest = self._signal[..., span] / self._envelope[span]
        self._reset()
        return rest


def frame_signal(signal: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """Cut a signal into rectangular frames that cover every sample; the last frame is filled with zeros.

    Args:
        signal: Samples, shape (..., T) with T >= 1; frame 0 starts at sample 0.
        frame_length: L in samples (320 is 20 ms at 16 kHz).
        hop_length: Samples from one frame to the next, 1..L.

    Returns:
        Frames, shape (..., N, L), N = max(0, ceil((T - L) / hop_length)) + 1.

    Raises:
        DataError: The signal is empty.
        ConfigError: A length is out of its range.
    """
    _check_signal(signal)
    _check_framing(frame_length, hop_length)
    over = max(0, signal.shape[-1] - frame_length)
    count = -(-over // hop_length) + 1
    padded = F.pad(signal, (0, (count - 1) * hop_length + frame_length - signal.shape[-1]))
    return padded.unfold(-1, frame_length, hop_length)


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """Add frames (..., N, L) at their places, giving (..., (N - 1) * hop_length + L) samples."""
    *_, count, width = frames.shape
    _check_framing(width, hop_length)
    parts = -(-width // hop_length)
    chunks = F.pad(frames, (0, parts * hop_length - width)).unflatten(-1, (parts, hop_length))
    total = frames.new_zeros(*frames.shape[:-2], count + parts - 1, hop_length)
    for part in range(parts):
        total[..., part : part + count, :] += chunks[..., part, :]
    return total.flatten(-2)[..., : (count - 1) * hop_length + width]


def overlap_add_mean(frames: Tensor, hop_length: int, length: int | None = None) -> Tensor:
    """Join rectangular frames by averaging where they overlap; the inverse of ``frame_signal``.

    Args:
        frames: Shape (..., N, L).
        hop_length: Samples from one frame to the next, 1..L.
        length: Samples to return, at most (N - 1) * hop_length + L, which is the default.

    Returns:
        Signal, shape (..., length).

    Raises:
        ConfigError: ``length`` is more than the frames cover.

    Source: Pandey & Wang (ICASSP 2019), the output stage of TCNN.
    """
    covered = (frames.shape[-2] - 1) * hop_length + frames.shape[-1]
    length = covered if length is None else length
    _check_length(length, 0, covered, frames.shape[-2])
    shares = overlap_add(
        torch.ones(frames.shape[-2:], dtype=frames.dtype, device=frames.device), hop_length
    )
    return (overlap_add(frames, hop_length) / shares)[..., :length]


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


def mu_law_encode(signal: Tensor, classes: int = 256) -> Tensor:
    """Quantize samples in -1..1 to class indices on a logarithmic scale.

    Args:
        signal: Samples, any shape, within -1..1.
        classes: Number of classes, mu + 1.

    Returns:
        int64 indices 0..classes-1, same shape; rounded to the nearest class.

    Raises:
        DataError: A sample is outside -1..1 or not a number.
        ConfigError: ``classes`` is less than 2.

    Source: ITU-T G.711 companding curve; van den Oord et al. (2016), WaveNet.
    """
    if classes < 2:
        raise ConfigError(f"expected at least 2 classes, got {classes}; use for instance 256")
    if signal.numel() and not bool(signal.abs().max() <= 1):
        raise DataError(
            f"expected samples within -1..1, got a peak of {float(signal.abs().max()):.4g}; "
            f"scale the signal first"
        )
    mu = classes - 1
    companded = signal.sign() * torch.log1p(mu * signal.abs()) / math.log1p(mu)
    return ((companded + 1) / 2 * mu).round().long()


def mu_law_decode(indices: Tensor, classes: int = 256) -> Tensor:
    """Return the float32 sample, -1..1, at the middle of each class 0..classes-1; see ``mu_law_encode``."""
    mu = classes - 1
    companded = 2 * indices.to(torch.float32) / mu - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu


def resample(signal: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Change the sample rate with soxr at its "VHQ" quality: linear phase, no delay, aliasing below 16-bit noise.

    Args:
        signal: Samples, shape (T,) or (C, T), float32 or float64.
        from_rate: Sample rate of the signal in Hz.
        to_rate: Wanted sample rate in Hz; the signal itself is returned if it is the same.

    Returns:
        Samples of the same dtype, T * to_rate / from_rate of them, rounded to the nearest whole
        number.

    Raises:
        ConfigError: A rate is not positive.
        DataError: The signal has more than two axes.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ConfigError(
            f"expected positive sample rates, got {from_rate} and {to_rate} Hz; give both in Hz"
        )
    if signal.ndim not in (1, 2):
        raise DataError(
            f"expected a signal (T,) or (C, T), got {signal.shape}; take one recording at a time"
        )
    if from_rate == to_rate:
        return signal
    return np.ascontiguousarray(soxr.resample(signal.T, from_rate, to_rate, quality="VHQ").T)


def mixdown(channels: np.ndarray) -> np.ndarray:
    """Average channels (C, T) to one (T,); a mono signal (T,) is returned as it is. Channels in antiphase cancel."""
    if channels.ndim not in (1, 2):
        raise DataError(f"expected channels (C, T), got {channels.shape}; channels come first")
    return channels if channels.ndim == 1 else channels.mean(axis=0)


def rms(signal: Signal) -> Signal:
    """Return the root mean square over the last axis, shape (...) of a floating-point signal (..., T).

    Raises:
        DataError: There is no sample, or the samples are whole numbers, whose squares would
            overflow.
    """
    return _power(signal) ** 0.5


def rms_gain(signal: Signal, target: float = 1.0) -> Signal:
    """Return the factor that brings the last axis of a signal (..., T) to a root mean square of ``target``, shape (...).

    Raises:
        DataError: A signal is silent or not finite.
        ConfigError: ``target`` is not positive.

    Source: Tan & Wang (ICASSP 2021): the mixture is scaled to 1 and the clean speech by the same
    factor.
    """
    if not target > 0:
        raise ConfigError(f"expected a positive target level, got {target}; use for instance 1.0")
    level = rms(signal)
    if not bool(((level > 0) & (level < math.inf)).all()):
        raise DataError(
            "expected a finite signal that is not silent, got a level of 0, infinity or NaN; "
            "leave this signal out"
        )
    return target / level


def set_rms(signal: Signal, target: float = 1.0) -> Signal:
    """Scale a signal (..., T) to a root mean square of ``target`` along its last axis; errors as in ``rms_gain``."""
    return signal * rms_gain(signal, target)[..., None]


def loudness_db(signal: Signal, floor_db: float = -100.0) -> Signal:
    """Return the level of the last axis in dB relative to a root mean square of 1, not below ``floor_db``.

    Of frames (..., N, L) as ``frame_signal`` cuts them it is the loudness curve (..., N). No
    frequency weighting is applied.
    """
    power = _power(signal).clip(10 ** (floor_db / 10))
    return 10 * (torch.log10(power) if isinstance(power, Tensor) else np.log10(power))


def mix_at_snr(
    speech: np.ndarray, noise: np.ndarray, snr_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mix speech with noise at an exact signal-to-noise ratio; the speech keeps its level.

    Args:
        speech: Samples, shape (T,).
        noise: Samples of the same shape.
        snr_db: 10 log10(sum speech^2 / sum noise^2) of the mixture in dB.

    Returns:
        The mixture and the scaled noise, both float64, shape (T,); mixture = speech + scaled
        noise.

    Raises:
        DataError: The shapes differ, or one of the signals is silent or not finite.
        ConfigError: ``snr_db`` is not finite.
    """
    if speech.ndim != 1 or speech.shape != noise.shape:
        raise DataError(
            f"expected speech and noise of one length, got {speech.shape} and {noise.shape}; "
            f"cut or repeat the noise first"
        )
    if not math.isfinite(snr_db):
        raise ConfigError(f"expected a finite snr_db, got {snr_db}; use for instance -5.0")
    speech, noise = speech.astype(np.float64), noise.astype(np.float64)
    scaled = noise * (rms_gain(noise) / rms_gain(speech) * 10 ** (-snr_db / 20))
    return speech + scaled, scaled


def _power(signal: Signal) -> Signal:
    real = (
        signal.is_floating_point()
        if isinstance(signal, Tensor)
        else np.issubdtype(signal.dtype, np.floating)
    )
    if not real or signal.ndim == 0 or signal.shape[-1] == 0:
        raise DataError(
            f"expected floating-point samples (..., T) with T >= 1, got {signal.dtype} "
            f"{tuple(signal.shape)}; convert it"
        )
    return (signal * signal).mean(-1)


def _join(tail: Tensor | None, block: Tensor) -> Tensor:
    """Add what earlier frames left over to the start of a block."""
    return block if tail is None else block + F.pad(tail, (0, block.shape[-1] - tail.shape[-1]))


def _check_signal(signal: Tensor) -> None:
    if not signal.is_floating_point() or signal.ndim == 0 or signal.shape[-1] == 0:
        given = f"{signal.dtype} {tuple(signal.shape)}"
        raise DataError(
            f"expected floating-point samples (..., T) with T >= 1, got {given}; check the "
            f"recording"
        )


def _check_framing(frame_length: int, hop_length: int) -> None:
    if not 1 <= hop_length <= frame_length:
        raise ConfigError(
            f"expected hop_length from 1 to the frame length {frame_length}, got {hop_length}; "
            f"choose a smaller hop"
        )


def _check_length(length: int, least: int, most: int, frames: int) -> None:
    if not least <= length <= most:
        raise ConfigError(
            f"expected a length from {least} to {most} samples for {frames} frames, got "
            f"{length}; give the original length"
        )

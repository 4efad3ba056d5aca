"""How loud a signal is, how it is brought to a level, and how two signals are mixed.

Signals have the shape (..., T), numpy or torch where both make sense. Resampling is in
resampling.py.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from audioprune.errors import ConfigError, DataError

Signal = TypeVar("Signal", np.ndarray, Tensor)


def rms(signal: Signal) -> Signal:
    """Return the root mean square over the last axis of a signal (..., T), shape (...).

    Raises:
        DataError: There is no sample, or the samples are whole numbers, whose squares would
            overflow.
    """
    return _power(signal) ** 0.5


def rms_gain(signal: Signal, target: float = 1.0) -> Signal:
    """Return the factor that brings a signal (..., T) to a root mean square, shape (...).

    Args:
        signal: Floating-point samples, each row of the last axis by itself.
        target: Wanted root mean square, above 0.

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


def loudness_db(signal: Signal, floor_db: float = -100.0) -> Signal:
    """Return the level of the last axis in dB, 0 dB for a root mean square of 1.

    It is at least ``floor_db``. Of frames (..., N, L) as ``frame_signal`` cuts them it is the
    loudness curve (..., N). No frequency weighting is applied.
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
    if isinstance(signal, Tensor):
        real = signal.is_floating_point()
    else:
        real = np.issubdtype(signal.dtype, np.floating)
    if not real or signal.ndim == 0 or signal.shape[-1] == 0:
        raise DataError(
            f"expected floating-point samples (..., T) with T >= 1, got {signal.dtype} "
            f"{tuple(signal.shape)}; convert it"
        )
    return (signal * signal).mean(-1)

"""How far one recording is from another in its spectrum, its samples and its frames.

The formulas take numpy arrays (scores, float64) and torch tensors (losses, differentiable, any
batch axes) alike; the functions of SPECTRAL_METRICS are their checked form for one recording, each
a ``contract.Metric``. Perceived quality is measured in speech.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from audioprune.errors import ConfigError
from audioprune.metrics.contract import Metric, MetricError, checked_pair

if TYPE_CHECKING:
    from torch import Tensor

    Signal = TypeVar("Signal", np.ndarray, Tensor)
else:
    Signal = TypeVar("Signal")

POWER_FLOOR = 1e-10
MR_STFT_SIZES = (512, 1024, 2048)
SEGMENT_S = 0.03
SEGMENT_RANGE_DB = (-10.0, 35.0)


def log_spectral_distance(
    reference: Signal,
    estimate: Signal,
    n_fft: int = 512,
    sample_rate: int | None = None,
    band_hz: tuple[float, float] | None = None,
) -> Signal:
    """Return the log-spectral distance in dB, 0 for equal signals.

    mean over frames of sqrt(mean over bins of (10 log10(max(S, e)) - 10 log10(max(S', e)))^2),
    with power spectra S and S' of frames of ``n_fft`` samples, a hop of a quarter, a Hann window,
    and e = 1e-10 times n_fft.

    Args:
        reference: Samples, shape (..., T).
        estimate: Samples, same shape.
        n_fft: Frame length in samples, even.
        sample_rate: In Hz; needed with ``band_hz`` only.
        band_hz: Lowest (included) and highest (excluded) frequency in Hz of the bins that count;
            all bins if None.

    Returns:
        Distance per signal, shape (...).

    Raises:
        ConfigError: The shapes differ, or no bin lies in the band.

    Source: Gray & Markel (1976).
    """
    library = _library_of(reference, estimate)
    decibels = []
    for signal in (reference, estimate):
        power = _magnitude(signal, n_fft) ** 2
        decibels.append(10 * library.log10(power.clip(POWER_FLOOR * n_fft)))
    squared = (decibels[0] - decibels[1])[..., _band(n_fft, sample_rate, band_hz)] ** 2
    distance: Signal = _root(squared.mean(-1)).mean(-1)
    return distance


def multi_resolution_stft_distance(
    reference: Signal, estimate: Signal, sizes: Sequence[int] = MR_STFT_SIZES
) -> Signal:
    """Return the multi-resolution STFT distance, 0 for equal signals.

    mean over window sizes of ||M - M'|| / ||M|| + mean |log M - log M'|: spectral convergence plus
    log-magnitude distance, with magnitudes M and M' (not below sqrt(1e-10 n_fft)), Frobenius
    norms, a Hann window and a hop of a quarter of its size.

    Args:
        reference: Samples, shape (..., T).
        estimate: Samples, same shape.
        sizes: Window sizes in samples, each even.

    Returns:
        Distance per signal, shape (...).

    Raises:
        ConfigError: The shapes differ, or no size is given.

    Source: Yamamoto, Song & Kim (2020), the multi-resolution STFT loss; there with windows shorter
    than their transforms.
    """
    library = _library_of(reference, estimate)
    if not sizes:
        raise ConfigError(
            "expected at least one window size, got none; use for instance 512, 1024, 2048"
        )
    total: Any = 0
    for n_fft in sizes:
        least = (POWER_FLOOR * n_fft) ** 0.5
        clean, other = (_magnitude(x, n_fft).clip(least) for x in (reference, estimate))
        # Frobenius norms over frames and bins, the last two axes.
        apart, whole = ((clean - other) ** 2).sum((-1, -2)), (clean**2).sum((-1, -2))
        convergence = _root(apart) / _root(whole)
        total = total + convergence + abs(library.log(clean) - library.log(other)).mean((-1, -2))
    distance: Signal = total / len(sizes)
    return distance


def l1_distance(reference: Signal, estimate: Signal) -> Signal:
    """Return mean |reference - estimate| over the last axis of samples (..., T), shape (...)."""
    _library_of(reference, estimate)
    distance: Signal = abs(reference - estimate).mean(-1)
    return distance


def segmental_snr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score the segmental signal-to-noise ratio in dB, -10..35.

    mean over frames of min(35, max(-10, 10 log10(sum s^2 / sum (s - e)^2))), frames of 30 ms under
    a Hann window with a hop of a quarter. Frames in which both sums are 0 count as -10 dB. The
    level of the estimate matters.

    Raises:
        MetricError: As in ``checked_pair``, with 30 ms.

    Source: Hansen & Pellom (1998), with the limits of Hu & Loizou (2008).
    """
    reference, estimate = checked_pair(
        reference, estimate, sample_rate, SEGMENT_S, silent_estimate=True
    )
    width = round(SEGMENT_S * sample_rate)
    window = np.hanning(width + 2)[1:-1] ** 2
    energies = []
    for signal in (reference, reference - estimate):
        frames = np.lib.stride_tricks.sliding_window_view(signal, width)[:: max(1, width // 4)]
        energies.append((frames**2) @ window)
    low, high = (10 ** (limit / 10) for limit in SEGMENT_RANGE_DB)
    # Not below what gives the largest ratio: nothing overflows where the estimate is exact.
    noise = np.maximum(energies[1], energies[0] / (2 * high)) + np.finfo(np.float64).tiny
    return float(np.mean(10 * np.log10((energies[0] / noise).clip(low, high))))


def _magnitude(signal: Signal, n_fft: int) -> Signal:
    """Return magnitudes (..., N, F) of centred frames: periodic Hann window, hop of a quarter."""
    if not isinstance(signal, np.ndarray):
        from audioprune.dsp import STFT

        spectrum = STFT(n_fft, max(1, n_fft // 4), "hann").analysis(signal)
        # The gradient of |z| is undefined at 0, which silence reaches; that of the guarded root is
        # 0 there.
        return _root(spectrum.real**2 + spectrum.imag**2)
    if n_fft < 2 or n_fft % 2:
        raise ConfigError(
            f"expected an even n_fft of at least 2, got {n_fft}; use for instance 512"
        )
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(n_fft // 2, n_fft // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)
    frames = windows[..., :: max(1, n_fft // 4), :]
    magnitude: np.ndarray = np.abs(np.fft.rfft(frames * np.hanning(n_fft + 1)[:-1]))
    return magnitude


def _root(power: Signal) -> Signal:
    """Return the square root, with a gradient of 0 instead of infinity at 0."""
    if isinstance(power, np.ndarray | np.floating):
        root: np.ndarray = np.sqrt(power)
        return root
    import torch

    positive = power > 0
    return torch.where(positive, torch.where(positive, power, 1.0).sqrt(), 0.0)


def _library_of(reference: Signal, estimate: Signal) -> Any:
    """Return numpy or torch, after checking that both signals are of one kind and shape."""
    alike = type(reference) is type(estimate) and reference.shape == estimate.shape
    if not alike or reference.ndim == 0 or reference.shape[-1] == 0:
        kinds = " and ".join(f"{type(x).__name__} {tuple(x.shape)}" for x in (reference, estimate))
        raise ConfigError(
            f"expected two signals (..., T) of one kind and shape, got {kinds}; cut or pad one "
            f"of them"
        )
    if isinstance(reference, np.ndarray):
        return np
    import torch

    return torch


def _band(n_fft: int, sample_rate: int | None, band_hz: tuple[float, float] | None) -> slice:
    if band_hz is None:
        return slice(None)
    if not sample_rate or sample_rate <= 0:
        raise ConfigError(f"expected a sample rate with band_hz, got {sample_rate}; give it in Hz")
    first, last = (int(np.ceil(min(edge * n_fft / sample_rate, n_fft))) for edge in band_hz)
    if not 0 <= first < min(last, n_fft // 2 + 1):
        raise ConfigError(
            f"expected a band with a bin below {sample_rate / 2:g} Hz, got {band_hz[0]:g} to "
            f"{band_hz[1]:g} Hz; widen it"
        )
    return slice(first, last)


def _lsd(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    band_hz: tuple[float, float] | None = None,
) -> float:
    """Score ``log_spectral_distance`` in frames of 32 ms."""
    reference, estimate = checked_pair(reference, estimate, sample_rate, silent_estimate=True)
    n_fft = 2 * round(0.016 * sample_rate)
    try:
        return float(log_spectral_distance(reference, estimate, n_fft, sample_rate, band_hz))
    except ConfigError as error:
        raise MetricError(str(error)) from error


def _mr_stft(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score ``multi_resolution_stft_distance``."""
    pair = checked_pair(reference, estimate, sample_rate, silent_estimate=True)
    return float(multi_resolution_stft_distance(*pair))


def _l1(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score ``l1_distance``."""
    pair = checked_pair(reference, estimate, sample_rate, silent_estimate=True)
    return float(l1_distance(*pair))


SPECTRAL_METRICS: dict[str, Metric] = {
    "lsd": _lsd,
    "lsd_below_4khz": partial(_lsd, band_hz=(0.0, 4000.0)),
    "lsd_above_4khz": partial(_lsd, band_hz=(4000.0, float("inf"))),
    "seg_snr": segmental_snr,
    "mr_stft": _mr_stft,
    "l1": _l1,
}

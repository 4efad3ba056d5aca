"""How control curves become sound: harmonic oscillators, filtered noise and reverberation.

Pure functions of tensors, differentiable in amplitudes and magnitudes; none of them has weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.dsp import overlap_add
from audioprune.errors import DataError

FLOOR = 1e-7


def mod_sigmoid(values: Tensor) -> Tensor:
    """Map any number to a positive amplitude: ``2 sigmoid(x)^ln(10) + 1e-7``.

    Source: Engel et al., "DDSP: Differentiable digital signal processing" (2020), the modified
    sigmoid of Appendix B.5.
    """
    return 2 * torch.sigmoid(values) ** math.log(10) + FLOOR


def scaled_pitch(f0_hz: Tensor) -> Tensor:
    """Return the MIDI pitch of a frequency, divided by 127.

    What lies below pitch 0 (8.18 Hz), as silence does, gives 0.
    """
    lowest = 440 * 2 ** (-69 / 12)
    return (12 * torch.log2(f0_hz.clamp_min(lowest) / lowest)) / 127


def harmonic_distribution(weights: Tensor, f0_hz: Tensor, sample_rate: int) -> Tensor:
    """Silence the partials at and above half the sample rate and let the others sum to 1.

    Args:
        weights: Positive weights of partials 1..K, shape (B, N, K).
        f0_hz: Fundamental frequency of each frame, shape (B, N).
        sample_rate: Samples per second.

    Returns:
        Shares (B, N, K); all zero where even the fundamental lies too high.
    """
    partials = torch.arange(1, weights.shape[-1] + 1, device=weights.device)
    audible = weights * (f0_hz[..., None] * partials < sample_rate / 2)
    return audible / audible.sum(-1, keepdim=True).clamp_min(FLOOR)


def harmonic_signal(
    f0_hz: Tensor, amplitudes: Tensor, block_size: int, sample_rate: int
) -> Tensor:
    """Add sinusoids at the multiples of a fundamental.

    Frequency and amplitudes move linearly from frame to frame. Frame n is at sample ``n *
    block_size``, the last one is held. The phase is summed in float64 and kept modulo one cycle,
    so that long notes stay in tune. No gradient passes to the frequency.

    Args:
        f0_hz: Fundamental frequency of each frame, shape (B, N).
        amplitudes: Amplitudes of partials 1..K, shape (B, N, K).
        block_size: Samples L of a frame.
        sample_rate: Samples per second.

    Returns:
        Signal, shape (B, N * L).

    Raises:
        DataError: The shapes do not fit.

    Source: Engel et al. (2020), Sec. 3.2, with linear instead of Hann-windowed interpolation of
    the amplitudes.
    """
    if f0_hz.dim() != 2 or amplitudes.shape[:2] != f0_hz.shape:
        given = f"{tuple(f0_hz.shape)} and {tuple(amplitudes.shape)}"
        raise DataError(
            f"expected a frequency (B, N) and amplitudes (B, N, K), got {given}; check the "
            f"order of the axes"
        )
    position = torch.arange(block_size, device=f0_hz.device, dtype=amplitudes.dtype) / block_size
    with torch.no_grad():
        begin, end = f0_hz[..., None].double(), _following(f0_hz)[..., None].double()
        moving = torch.lerp(begin, end, position.double())  # (B, N, L)
        cycles = torch.cumsum(moving.flatten(1) / sample_rate, 1).frac().to(amplitudes.dtype)
        partials = torch.arange(
            1, amplitudes.shape[-1] + 1, device=f0_hz.device, dtype=amplitudes.dtype
        )
        sines = (cycles.view(*f0_hz.shape, block_size, 1) * (2 * math.pi * partials)).sin_()
    ends = torch.stack((amplitudes, _following(amplitudes)), -1)
    both = sines @ ends  # (B, N, L, 2): with the amplitudes of either end of the frame
    return torch.lerp(both[..., 0], both[..., 1], position).flatten(1)


def filtered_noise(magnitudes: Tensor, noise: Tensor) -> Tensor:
    """Shape noise by one filter for each frame.

    The filter of M bands is the inverse transform of its magnitudes, 2 (M - 1) samples with zero
    phase under a Hann window. Frames are convolved in full and their tails added, so that nothing
    is lost at the borders of frames.

    Args:
        magnitudes: Magnitudes of M bands from 0 to half the sample rate, shape (B, N, M).
        noise: Noise of each frame, shape (B, N, L).

    Returns:
        Signal, shape (B, N * L), aligned with the noise.

    Raises:
        DataError: The shapes do not fit.

    Source: Engel et al. (2020), Sec. 3.3 and Appendix B.
    """
    shaped = magnitudes.dim() == 3 and magnitudes.shape[-1] >= 2
    if not shaped or noise.shape[:-1] != magnitudes.shape[:2]:
        given = f"{tuple(magnitudes.shape)} and {tuple(noise.shape)}"
        raise DataError(
            f"expected magnitudes (B, N, M) with M >= 2 and noise (B, N, L), got {given}; check "
            f"the order of the axes"
        )
    half, block_size = magnitudes.shape[-1] - 1, noise.shape[-1]
    response = torch.fft.irfft(magnitudes, n=2 * half).roll(half, -1)
    response = response * torch.hann_window(2 * half, dtype=response.dtype, device=response.device)
    frames = fft_convolve(noise, response)
    whole = F.pad(frames, (0, -frames.shape[-1] % block_size))  # a multiple of the hop
    signal = F.pad(overlap_add(whole, block_size), (0, half))
    return signal[:, half : half + noise.shape[1] * block_size]


def reverb_response(noise: Tensor, decay: Tensor, wet: Tensor, sample_rate: int) -> Tensor:
    """Return an impulse response (T,): the direct sound, then noise that decays exponentially.

    Args:
        noise: Noise in -1..1, shape (T,).
        decay: Any number; the higher, the longer the noise: ``exp(-500 softplus(-decay) t)``.
        wet: Any number; ``sigmoid(wet)`` is the level of the noise.
        sample_rate: Samples per second.
    """
    seconds = torch.arange(len(noise), device=noise.device, dtype=noise.dtype) / sample_rate
    tail = noise * torch.sigmoid(wet) * torch.exp(-500 * F.softplus(-decay) * seconds)
    return torch.cat((torch.ones_like(tail[:1]), tail[1:]))


def fft_convolve(signal: Tensor, response: Tensor) -> Tensor:
    """Convolve a signal (..., T) with a response (..., T'), giving T + T' - 1 samples."""
    length = signal.shape[-1] + response.shape[-1] - 1
    size = fft_size(length)
    product = torch.fft.rfft(signal, size) * torch.fft.rfft(response, size)
    return torch.fft.irfft(product, size)[..., :length]


def fft_size(length: int) -> int:
    """Return the smallest even size from ``length`` on with no prime factor above 5.

    Transforms of such sizes are fast.
    """
    size = length + length % 2
    while _rest(size) != 1:
        size += 2
    return size


def convolution_flops(length: int) -> float:
    """Estimate the operations of ``fft_convolve`` for a result of ``length`` samples.

    They are those of three transforms and of the product of two spectra.
    """
    size = fft_size(length)
    return 3 * 5 * size * math.log2(size) + 6 * (size // 2 + 1)


def _rest(size: int) -> int:
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    return size


def _following(curve: Tensor) -> Tensor:
    """Return the frames (B, N, ...) shifted by one; the last frame stays."""
    return torch.cat((curve[:, 1:], curve[:, -1:]), 1)

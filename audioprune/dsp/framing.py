"""How a signal is cut into frames and frames are joined to a signal, differentiable.

Signals have the shape (..., T), frames (..., N, L): N frames of L samples. Windows and spectra are
in stft.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.errors import ConfigError, DataError


def frame_signal(signal: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """Cut a signal into rectangular frames that cover every sample.

    Args:
        signal: Samples, shape (..., T) with T >= 1; frame 0 starts at sample 0.
        frame_length: L in samples (320 is 20 ms at 16 kHz).
        hop_length: Samples from one frame to the next, 1..L.

    Returns:
        Frames, shape (..., N, L), N = max(0, ceil((T - L) / hop_length)) + 1; the last one is
        filled with zeros.

    Raises:
        DataError: The signal is empty.
        ConfigError: A length is out of its range.
    """
    check_signal(signal)
    _check_framing(frame_length, hop_length)
    over = max(0, signal.shape[-1] - frame_length)
    count = -(-over // hop_length) + 1
    padded = F.pad(signal, (0, (count - 1) * hop_length + frame_length - signal.shape[-1]))
    return padded.unfold(-1, frame_length, hop_length)


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """Add frames (..., N, L) at their places, giving (..., (N - 1) * hop_length + L) samples."""
    *_, count, width = frames.shape
    _check_framing(width, hop_length)
    # Each frame is cut into chunks of one hop, so that chunk i of all frames is added at once.
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
    check_length(length, covered, frames.shape[-2])
    ones = torch.ones(frames.shape[-2:], dtype=frames.dtype, device=frames.device)
    shares = overlap_add(ones, hop_length)  # how many frames lie over each sample
    return (overlap_add(frames, hop_length) / shares)[..., :length]


def check_signal(signal: Tensor) -> None:
    """Refuse what is no signal of samples.

    Raises:
        DataError: It is empty or not floating point.
    """
    if not signal.is_floating_point() or signal.ndim == 0 or signal.shape[-1] == 0:
        given = f"{signal.dtype} {tuple(signal.shape)}"
        raise DataError(
            f"expected floating-point samples (..., T) with T >= 1, got {given}; check the "
            f"recording"
        )


def check_length(length: int, most: int, frames: int) -> None:
    """Refuse a length that a number of frames does not cover.

    Raises:
        ConfigError: ``length`` is below 0 or above ``most``.
    """
    if not 0 <= length <= most:
        raise ConfigError(
            f"expected a length from 0 to {most} samples for {frames} frames, got {length}; "
            f"give the original length"
        )


def _check_framing(frame_length: int, hop_length: int) -> None:
    if not 1 <= hop_length <= frame_length:
        raise ConfigError(
            f"expected hop_length from 1 to the frame length {frame_length}, got {hop_length}; "
            f"choose a smaller hop"
        )

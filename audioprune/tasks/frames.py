"""How a recording becomes the frames of a waveform model, and comes back.

``Frames`` scales, pre-emphasises and cuts signals (B, T) into frames (B, N, L), and joins them.
Losses and scores belong to the tasks; spectra to audioprune.dsp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.signal import lfilter
from torch import Tensor

from audioprune.dsp import frame_signal, overlap_add
from audioprune.errors import ConfigError


def pre_emphasise(signal: Tensor, coefficient: float, going_on: bool = False) -> Tensor:
    """Return x[t] - coefficient * x[t - 1] of a signal (..., T).

    Args:
        signal: Samples.
        coefficient: 0 to below 1.
        going_on: Whether the signal is a part of a longer one: the unknown sample before the first
            one is then taken to be like it, else it is 0, as before a recording.
    """
    before = signal[..., :1] if going_on else torch.zeros_like(signal[..., :1])
    return signal - coefficient * torch.cat((before, signal[..., :-1]), -1)


def de_emphasise(signal: Tensor, coefficient: float) -> Tensor:
    """Undo `pre_emphasise`: y[t] = x[t] + coefficient * y[t - 1], in double precision."""
    filtered = lfilter([1.0], [1.0, -coefficient], signal.double().cpu().numpy(), axis=-1)
    return torch.from_numpy(filtered).to(signal)


def levels(signals: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return the root mean square of signals (B, T), shape (B, 1), at least 1e-8.

    Args:
        signals: Recordings.
        lengths: Samples of each before padding, (B,), or None when all are T long.
    """
    if lengths is None:
        return signals.square().mean(1, keepdim=True).sqrt().clamp_min(1e-8)
    places = torch.arange(signals.shape[1], device=signals.device)
    inside = places < lengths.to(signals.device)[:, None]  # (B, T)
    power = (signals.square() * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True)
    return power.sqrt().clamp_min(1e-8)


@dataclass(frozen=True)
class Frames:
    """Cuts recordings into frames in the domain of a model.

    Attributes:
        length: Samples L of a frame.
        pre_emphasis: Coefficient of the pre-emphasis, 0 to below 1.
        level: Root mean square that every recording is scaled to, or None to leave levels as they
            are.
        overlap: Samples by which frames overlap, with a cross-fade, when recordings are put
            together again; 0 for none.

    Raises:
        ConfigError: A value is out of its range.
    """

    length: int
    pre_emphasis: float = 0.95
    level: float | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.length // 2:
            raise ConfigError(
                f"expected overlap from 0 to half a frame, {self.length // 2}, got "
                f"{self.overlap}; change task.overlap"
            )
        if not 0 <= self.pre_emphasis < 1:
            raise ConfigError(
                f"expected pre_emphasis from 0 to below 1, got {self.pre_emphasis}; change "
                f"task.pre_emphasis"
            )
        if self.level is not None and not 0 < self.level < math.inf:
            raise ConfigError(
                f"expected level as a finite number above 0, or null, got {self.level}; change "
                f"task.level"
            )

    def gains(self, signals: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the factor (B, 1) that brings each signal (B, T) to the level; 1 without one."""
        if self.level is None:
            return torch.ones_like(signals[:, :1])
        return self.level / levels(signals, lengths)

    def cut(
        self, signals: Tensor, gains: Tensor, hop_length: int, going_on: bool = False
    ) -> Tensor:
        """Return pre-emphasised frames (B, N, L) of signals (B, T); zeros fill the last one.

        Args:
            signals: Recordings, or parts of them.
            gains: What ``gains`` returned.
            hop_length: Samples from one frame to the next.
            going_on: Whether the signals are parts of recordings, see ``pre_emphasise``.
        """
        emphasised = pre_emphasise(signals * gains, self.pre_emphasis, going_on)
        return frame_signal(emphasised, self.length, hop_length)

    def cut_whole(self, signals: Tensor, gains: Tensor) -> Tensor:
        """Return pre-emphasised frames (B, N, L) of whole recordings (B, T), for `join`.

        Frames that overlap begin with zeros before the recording and end behind it, so that every
        sample has neighbours.
        """
        surrounded = F.pad(signals, (self.overlap, self.overlap))
        return self.cut(surrounded, gains, self.length - self.overlap)

    def join(self, frames: Tensor, gains: Tensor, length: int) -> Tensor:
        """Return recordings (B, T) of the frames of `cut_whole`, de-emphasised once joined."""
        joined = self._cross_faded(frames) if self.overlap else frames.flatten(1)
        return de_emphasise(joined[:, :length], self.pre_emphasis) / gains

    def _cross_faded(self, frames: Tensor) -> Tensor:
        """Return frames (B, N, L) added with fades, without what is before the recording."""
        hop = self.length - self.overlap
        fade = ((torch.arange(self.length) + 0.5) / self.overlap).clamp_max(1)
        window = (fade * fade.flip(0)).to(frames)
        shares = overlap_add(window.expand(frames.shape[1], -1), hop)
        return (overlap_add(frames * window, hop) / shares)[:, self.overlap :]

    def places(self, lengths: Tensor, count: int, hop_length: int) -> tuple[Tensor, Tensor]:
        """Tell which frames hold signal, (B, N), and which samples of them are, (B, N, L); bool.

        Args:
            lengths: Samples of each recording before padding, (B,).
            count: Frames N that the padded recordings were cut into.
            hop_length: Samples from one frame to the next.
        """
        behind = (lengths - self.length).clamp_min(0)  # samples behind the first frame
        needed = behind.add(hop_length - 1).div(hop_length, rounding_mode="floor") + 1
        number = torch.arange(count, device=lengths.device)
        samples = torch.arange(self.length, device=lengths.device)
        used = number < needed[:, None]
        inside = (number * hop_length)[None, :, None] + samples < lengths[:, None, None]
        return used, inside

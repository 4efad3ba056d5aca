"""The conditioning of generative models of notes: curves, a mel spectrum, or tags.

``controls`` gives pitch and loudness curves (B, N, 2), ``Conditioning`` features (B, C, T) of each
sample. Losses and scores belong to ``generation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from audioprune.dsp import STFT
from audioprune.errors import ConfigError, DataError, unknown_name

BLOCK = 160
"""Samples of a frame of control curves: 100 frames per second at 16 kHz."""
LOUDNESS = ("rms", "a_weighted")
CONDITIONS = ("none", "mel", "note")
_A_WEIGHTED_RANGE_DB = 80.0
_MEL_FLOOR = 1e-5
MEL_STFT = STFT(2048, 512, "hann")


def frequency_of(pitch: Tensor) -> Tensor:
    """Return the frequency in Hz of MIDI pitches, any shape: ``440 * 2^((p - 69) / 12)``."""
    return 440.0 * 2.0 ** ((pitch.to(torch.float32) - 69.0) / 12.0)


def loudness_curve(
    audio: Tensor, kind: str = "rms", sample_rate: int = 16000, block: int = BLOCK
) -> Tensor:
    """Return the loudness of each block of a signal, shape (B, N).

    Args:
        audio: Signals (B, N * block).
        kind: ``"rms"``: root mean square of each block. ``"a_weighted"``: mean A-weighted power in
            dB, not below -80 dB, divided by 80, plus 1, so that full scale is about 1 and silence
            0.
        sample_rate: In Hz.
        block: Samples of a block.

    Raises:
        ConfigError: The kind is unknown.

    Source: root mean square as in the code of Esling et al.; A-weighting as in Engel et al.
    (2020), of unwindowed blocks.
    """
    if kind not in LOUDNESS:
        raise ConfigError(unknown_name("loudness", kind, LOUDNESS))
    blocks = audio.unflatten(-1, (-1, block))
    if kind == "rms":
        return blocks.square().mean(-1).sqrt()
    spectrum = torch.fft.rfft(blocks).abs().square() / block**2
    weighted = (spectrum * _a_weighting(block, sample_rate).to(audio)).sum(-1)
    level = 10 * torch.log10(weighted * 2 + 1e-10)
    return (level.clamp_min(-_A_WEIGHTED_RANGE_DB) / _A_WEIGHTED_RANGE_DB) + 1


def controls(
    batch: Mapping[str, Any], kind: str = "rms", sample_rate: int = 16000, block: int = BLOCK
) -> tuple[Tensor, Tensor]:
    """Return the control curves of a batch and the audio that they describe.

    Args:
        batch: ``audio`` (B, T) and ``pitch`` (B,); ``loudness`` (B, N) in place of that of the
            audio, if it has one.
        kind: Kind of loudness, see ``loudness_curve``.
        sample_rate: In Hz.
        block: Samples of a frame.

    Returns:
        Frames (B, N, 2) of frequency in Hz and loudness, and audio (B, N * block), N = T // block.

    Raises:
        DataError: The audio is shorter than a frame.
    """
    audio = batch["audio"]
    frames = audio.shape[-1] // block
    if frames == 0:
        raise DataError(
            f"expected at least {block} samples, got {audio.shape[-1]}; use longer notes"
        )
    audio = audio[..., : frames * block]
    f0_hz = frequency_of(batch["pitch"])[:, None].expand(-1, frames)
    loudness = batch.get("loudness")
    if loudness is None:
        loudness = loudness_curve(audio, kind, sample_rate, block)
    return torch.stack((f0_hz, loudness), -1), audio


def played_loudness(
    pitch: Tensor,
    velocity: Tensor,
    frames: int,
    kind: str = "rms",
    sample_rate: int = 16000,
    block: int = BLOCK,
) -> Tensor:
    """Return the loudness (B, N) of an imagined note, held for three quarters of its length.

    It is that of a sine of the pitch whose amplitude is 0.05 + 0.6 (velocity / 127)^1.5, comes in
    within 20 ms and falls by 40 dB behind the release.

    Args:
        pitch: MIDI pitches (B,).
        velocity: MIDI velocities (B,).
        frames: Number of blocks N.
        kind: Kind of loudness, see ``loudness_curve``.
        sample_rate: In Hz.
        block: Samples of a block.
    """
    share = (torch.arange(frames * block, device=pitch.device) + 0.5) / (frames * block)
    seconds = share * frames * block / sample_rate
    fall = 10 ** (-2 * ((share - 0.75) / 0.25).clamp_min(0))
    level = 0.05 + 0.6 * (velocity.float() / 127) ** 1.5
    sine = torch.sin(2 * torch.pi * frequency_of(pitch)[:, None] * seconds)
    note = level[:, None] * sine * (seconds / 0.02).clamp_max(1) * fall  # (B, N * block)
    return loudness_curve(note, kind, sample_rate, block)


class Conditioning:
    """What an autoregressive model is conditioned on, for each sample.

    ``mel`` is the mel spectrum of the note itself: log10 of mel powers, not below 1e-5, scaled to
    0 there and 1 at power 1, moving linearly from frame to frame of 512 samples. ``note`` are tags
    that stay the same: one of the pitches, velocity / 127, and one of the families and of the
    instruments where their numbers are not 0; behind them, where harmonics are asked for, sine and
    cosine of each multiple of the pitch's frequency, 0 for those above half the sample rate.

    Args:
        kind: ``"none"``, ``"mel"`` or ``"note"``.
        mels: Number of mel bands.
        pitches: Lowest and highest MIDI pitch of the tags.
        families: Number of families, 0 for no such tag.
        instruments: Number of instruments, 0 for no such tag.
        harmonics: Multiples of the frequency beside the tags, 0 for none.
        sample_rate: In Hz.

    Raises:
        ConfigError: A value is unknown or out of its range.

    Source: Esling et al. condition on 80 mel bands with a hop of 512 in their code; the paper
    names no conditioning. Tags as in Engel et al. (2017), NSynth, whose WaveNet has the pitch.
    """

    def __init__(
        self,
        kind: str = "none",
        *,
        mels: int = 80,
        pitches: Sequence[int] = (0, 127),
        families: int = 0,
        instruments: int = 0,
        harmonics: int = 0,
        sample_rate: int = 16000,
    ) -> None:
        if kind not in CONDITIONS:
            raise ConfigError(unknown_name("conditioning", kind, CONDITIONS))
        if len(pitches) != 2 or not 0 <= pitches[0] <= pitches[1] <= 127:
            raise ConfigError(
                f"expected pitches as [lowest, highest] within 0..127, got {list(pitches)}; use "
                f"[0, 127]"
            )
        for what, value, least in (
            ("mels", mels, 1),
            ("families", families, 0),
            ("instruments", instruments, 0),
            ("harmonics", harmonics, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"expected {what} as a whole number of at least {least}, got {value}; "
                    f"correct task.{what}"
                )
        self.kind = kind
        self.mels = mels
        self.pitches = (pitches[0], pitches[1])
        self.families = families
        self.instruments = instruments
        self.harmonics = harmonics
        self.sample_rate = sample_rate

    @property
    def channels(self) -> int:
        """Number of features C of each sample; 0 for none."""
        tags = self.pitches[1] - self.pitches[0] + 2 + self.families + self.instruments
        tags += 2 * self.harmonics
        return {"none": 0, "mel": self.mels, "note": tags}[self.kind]

    def of(self, batch: Mapping[str, Any], length: int) -> Tensor | None:
        """Return the features (B, C, T) of a batch for ``length`` samples, or None.

        Raises:
            DataError: A pitch, family or instrument is not among those that the tags know.
        """
        if self.kind == "none":
            return None
        if self.kind == "mel":
            return self._mel(batch["audio"], length)
        tags = self._tags(batch)[..., None].expand(-1, -1, length)
        if not self.harmonics:
            return tags
        waves = harmonics(batch["pitch"], self.harmonics, length, self.sample_rate)
        return torch.cat((tags, waves), 1)

    def check(self, batch: Mapping[str, Any]) -> None:
        """Refuse a batch on the CPU whose tags are not known."""
        if self.kind == "note":
            self._tags(batch)

    def _mel(self, audio: Tensor, length: int) -> Tensor:
        spectrum = MEL_STFT.analysis(audio.float())
        filters = mel_filters(self.mels, self.sample_rate, MEL_STFT.n_fft).to(audio.device)
        power = (spectrum.real.square() + spectrum.imag.square()) @ filters
        frames = (torch.log10(power.clamp_min(_MEL_FLOOR)) / 5 + 1).transpose(1, 2)  # (B, C, N)
        position = torch.arange(length, device=audio.device) / MEL_STFT.hop_length
        before = position.long().clamp_max(frames.shape[-1] - 1)
        after = (before + 1).clamp_max(frames.shape[-1] - 1)
        share = (position - before).clamp(0, 1).to(frames)
        return torch.lerp(frames[..., before], frames[..., after], share)

    def _tags(self, batch: Mapping[str, Any]) -> Tensor:
        low, high = self.pitches
        tags = [_one_hot("pitch", batch["pitch"], range(low, high + 1), "task.pitches")]
        tags.append(batch["velocity"].float()[:, None] / 127)
        if self.families:
            known = range(self.families)
            tags.append(_one_hot("family", batch["family"], known, "task.families"))
        if self.instruments:
            known = range(self.instruments)
            tags.append(_one_hot("instrument", batch["instrument"], known, "task.instruments"))
        return torch.cat(tags, 1)


def harmonics(pitch: Tensor, count: int, length: int, sample_rate: int) -> Tensor:
    """Return sines, then cosines of multiples of a pitch's frequency: (B, 2 count, length).

    Args:
        pitch: MIDI pitches (B,).
        count: Multiples, 1 to ``count``; those above half the sample rate are 0.
        length: Samples, counted from 0.
        sample_rate: In Hz.
    """
    f0_hz = frequency_of(pitch).double()
    multiples = torch.arange(1, count + 1, device=pitch.device)
    cycles = f0_hz[:, None] * multiples / sample_rate  # (B, count), of a sample
    samples = torch.arange(length, device=pitch.device)
    phase = (2 * torch.pi * (cycles[..., None] * samples).remainder(1)).float()
    below = (cycles < 0.5).float()[..., None]
    return torch.cat((torch.sin(phase) * below, torch.cos(phase) * below), 1)


def _one_hot(what: str, values: Tensor, known: range, key: str) -> Tensor:
    check_tag(what, values, known, key)
    return (values[:, None] == torch.arange(known.start, known.stop, device=values.device)).float()


def check_tag(what: str, values: Tensor, known: range, key: str) -> None:
    """Refuse tags that are not known; on another device than the CPU the check would wait for it.

    Raises:
        DataError: A value is not in the range.
    """
    if values.device.type != "cpu":
        return
    if not bool(((values >= known.start) & (values < known.stop)).all()):
        wrong = next(int(value) for value in values if int(value) not in known)
        raise DataError(
            f"expected {what} within {known.start}..{known.stop - 1}, got {wrong}; widen {key} "
            f"and model.conditioning, and train anew"
        )


@lru_cache(maxsize=4)
def mel_filters(mels: int, sample_rate: int, n_fft: int) -> Tensor:
    """Return the filters (F, M), of equal area."""
    import librosa  # here, since it takes a second that other features need not pay

    filters = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=mels, dtype="float32")
    return torch.from_numpy(filters).T.contiguous()


@lru_cache(maxsize=4)
def _a_weighting(block: int, sample_rate: int) -> Tensor:
    """Return the A-weighting of the power of each bin (F,) of a block; nothing of frequency 0."""
    import librosa

    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=block)[1:]
    return torch.tensor([0.0, *(10 ** (librosa.A_weighting(frequencies) / 10))])

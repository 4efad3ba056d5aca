"""What is played to listeners: all conditions of one recording, with the anchors of MUSHRA.

``render_trial`` makes them equally long and equally loud, (T,) at 48 kHz. Which recordings are
taken is decided in items.py, how they are presented in page.py and webmushra.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import fftconvolve, firwin, freqz

from audioprune.data.coded.alignment import measure_lag
from audioprune.dsp import resample
from audioprune.errors import ConfigError, DataError
from audioprune.listening.items import Item
from audioprune.listening.loudness import SAMPLE_RATE, loudness_lufs
from audioprune.listening.scores import CONTROLS, LOW_ANCHOR, MID_ANCHOR, REFERENCE

MOST_CONDITIONS = 12
MOST_SECONDS = 12.0
ANCHOR_HZ = {LOW_ANCHOR: 3500.0, MID_ANCHOR: 7000.0}
HEADROOM_DB = 1.0
"""Least distance of the loudest sample of the whole test from full scale."""
_FADE_S = 0.005
_STOP_DB = 70.0
"""Attenuation of what an anchor leaves out."""
_WIDTH_SHARE = 0.1
"""Width of an anchor's slope as a share of its corner frequency."""


@dataclass(frozen=True)
class Stimulus:
    """One condition of one recording.

    Attributes:
        samples: Shape (T,), at 48 kHz, full scale 1.0.
        gain_db: What aligned its loudness, the common gain not included.
        loudness_lufs: Loudness before that gain.
        lag: Samples at 48 kHz that it is late against the reference.
    """

    samples: np.ndarray
    gain_db: float
    loudness_lufs: float
    lag: int


@dataclass(frozen=True)
class Trial:
    """All conditions of one recording, equally long and loud, the hidden reference first."""

    item: Item
    stimuli: dict[str, Stimulus]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.stimuli[REFERENCE].samples) / SAMPLE_RATE


def anchors_for(sample_rate: int) -> dict[str, float]:
    """Return the anchors that take something away from audio of a sample rate.

    Returns:
        Name -> corner frequency in Hz.
    """
    return {name: corner for name, corner in ANCHOR_HZ.items() if corner < sample_rate / 2}


def render_trial(
    item: Item,
    processed: Mapping[str, np.ndarray],
    unprocessed: str,
    sample_rate: int,
    target_lufs: float,
) -> Trial:
    """Turn the versions of a recording into the stimuli of a trial.

    Args:
        item: The recording.
        processed: Output of each system, shape (T,), T as the recording.
        unprocessed: Name of the condition without any system, ``coded`` or ``noisy``.
        sample_rate: Of all of these, in Hz.
        target_lufs: Loudness of every stimulus.

    Raises:
        ConfigError: There are more than 12 conditions, or the recording is longer than 12 s.
        DataError: A version is silent, not finite or of another length; the message names it.
    """
    versions = {REFERENCE: item.clean, unprocessed: item.unprocessed, **processed}
    _check_limits(len(versions) + len(ANCHOR_HZ), item)
    signals = {
        name: _prepared(f"{item.name}, {name}", samples, len(item.clean), sample_rate)
        for name, samples in versions.items()
    }
    for name, corner_hz in anchors_for(sample_rate).items():
        signals[name] = lowpass(signals[REFERENCE], corner_hz)
    soft = {name: _with_soft_ends(samples) for name, samples in signals.items()}
    stimuli = {
        name: _aligned(f"{item.name}, {name}", samples, soft[REFERENCE], target_lufs)
        for name, samples in soft.items()
    }
    return Trial(item, stimuli)


def common_gain(trials: Sequence[Trial]) -> float:
    """Return the factor, at most 1, that keeps a whole test ``HEADROOM_DB`` below full scale."""
    stimuli = [stimulus for trial in trials for stimulus in trial.stimuli.values()]
    peak = max(float(np.abs(stimulus.samples).max()) for stimulus in stimuli)
    return min(1.0, 10 ** (-HEADROOM_DB / 20) / peak)


def as_pcm16(samples: np.ndarray, gain: float) -> np.ndarray:
    """Return samples times a gain as int16, rounded."""
    return np.round(samples * gain * 32767).astype(np.int16)


def lowpass(signal: np.ndarray, corner_hz: float) -> np.ndarray:
    """Return a signal of 48 kHz without what lies above a corner frequency.

    The result is 3 dB down at the corner, not delayed, and of the same length.

    Source: ITU-R BS.1534-3, anchors of 3.5 and 7 kHz: at most 0.1 dB of ripple in the pass band,
    at least 25 dB down at 8/7 and 50 dB at 9/7 of the corner; the filter is ours.
    """
    taps = anchor_filter(corner_hz)
    half = len(taps) // 2
    return fftconvolve(signal, taps, mode="full")[half : half + len(signal)]


@lru_cache(maxsize=4)
def anchor_filter(corner_hz: float) -> np.ndarray:
    """Return the taps of an anchor, symmetric around the middle one of an odd number."""
    width_hz = _WIDTH_SHARE * corner_hz
    # Kaiser's formulas for the number of taps and for beta, by attenuation and width of the slope.
    count = math.ceil((_STOP_DB - 7.95) / (2.285 * 2 * math.pi * width_hz / SAMPLE_RATE)) | 1
    beta = 0.1102 * (_STOP_DB - 8.7)
    # firwin places the -6 dB point; bisection finds the one that puts -3 dB on the corner.
    low, high = corner_hz, corner_hz + width_hz
    for _ in range(40):
        middle = (low + high) / 2
        taps = firwin(count, middle, window=("kaiser", beta), fs=SAMPLE_RATE)
        if abs(freqz(taps, worN=[corner_hz], fs=SAMPLE_RATE)[1][0]) < 10 ** (-3 / 20):
            low = middle
        else:
            high = middle
    return taps


def check_name(name: str, unprocessed: str) -> None:
    """Refuse a system's name that another condition has.

    Raises:
        ConfigError: The name is taken.
    """
    if name in (*CONTROLS, unprocessed):
        raise ConfigError(
            f"systems.{name}: expected a name of its own, got that of a condition every test "
            f"has; rename it"
        )


def _check_limits(conditions: int, item: Item) -> None:
    if conditions > MOST_CONDITIONS:
        raise ConfigError(
            f"expected at most {MOST_CONDITIONS} conditions in a trial, got {conditions}; name "
            f"fewer systems"
        )
    if item.duration_s > MOST_SECONDS:
        raise ConfigError(
            f"expected recordings of at most {MOST_SECONDS:g} s, got {item.duration_s:.1f} s; "
            f"lower duration_s"
        )


def _prepared(what: str, samples: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    """Return samples at 48 kHz."""
    if samples.shape != (length,) or not np.isfinite(samples).all():
        raise DataError(
            f"{what}: expected {length} finite samples, got {samples.shape} or a value that is "
            f"not finite; check the model"
        )
    return resample(samples.astype(np.float64), sample_rate, SAMPLE_RATE)


def _with_soft_ends(samples: np.ndarray) -> np.ndarray:
    """Fade a signal in and out, so that a loop does not click."""
    count = round(_FADE_S * SAMPLE_RATE)
    fade = np.sin(0.5 * np.pi * (np.arange(count) + 0.5) / count) ** 2
    envelope = np.ones(len(samples))
    envelope[:count], envelope[-count:] = fade, fade[::-1]
    return samples * envelope


def _aligned(
    what: str, samples: np.ndarray, reference: np.ndarray, target_lufs: float
) -> Stimulus:
    loudness = loudness_lufs(samples)
    if not math.isfinite(loudness):
        raise DataError(
            f"{what}: expected an audible signal, got silence; check the model and the recording"
        )
    gain_db = target_lufs - loudness
    lag = measure_lag(reference, samples, SAMPLE_RATE).samples
    return Stimulus(samples * 10 ** (gain_db / 20), gain_db, loudness, lag)

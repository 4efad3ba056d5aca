"""How an artificial instrument sounds: ``play`` makes one note, (T,) float32 at 16 kHz.

There are additive organs, frequency-modulated mallets, plucked strings and blown pipes. Which
instruments play which notes is decided in synthetic.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

SAMPLE_RATE = 16000
_HELD = 0.75
"""Share of a note after which the key is released, as in NSynth (3 of 4 s)."""
_LN_60_DB = math.log(1000.0)
_GUARD_HZ = 7200.0
"""Partials above this are left out: they would alias."""

Audio = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """What all notes of one instrument have in common.

    Attributes:
        family: A key of FAMILIES.
        lowest: Lowest MIDI pitch of the instrument.
        highest: Highest MIDI pitch.
        character: Numbers 0..1 from which the family derives its timbre.
    """

    family: str
    lowest: int
    highest: int
    character: tuple[float, ...]


def frequency_of(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in Hz: 440 Hz at 69, twelve to the octave."""
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def draw_voice(family: str, rng: np.random.Generator, lowest: int, highest: int) -> Voice:
    """Draw an instrument of a family that plays from ``lowest`` to ``highest``."""
    return Voice(family, lowest, highest, tuple(float(value) for value in rng.uniform(size=8)))


def play(
    voice: Voice, pitch: int, velocity: int, duration_s: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Make one note.

    Args:
        voice: The instrument.
        pitch: MIDI pitch.
        velocity: MIDI velocity 1..127: louder and brighter.
        duration_s: Length in seconds; the key is released after three quarters of it.
        rng: Decides what differs from note to note: phases, noise, the place of the pluck.

    Returns:
        Samples (T,) at 16 kHz, below full scale.
    """
    count = round(duration_s * SAMPLE_RATE)
    force = velocity / 127.0
    note = FAMILIES[voice.family](voice, frequency_of(pitch), force, count, rng)
    level = 0.08 + 0.72 * force**1.5
    ends = np.minimum(1.0, np.arange(count, 0, -1) / (0.02 * SAMPLE_RATE))
    return (note * ends * level / max(float(np.abs(note).max()), 1e-9)).astype(np.float32)


def _organ(voice: Voice, f0: float, force: float, count: int, rng: np.random.Generator) -> Audio:
    """Add drawbars: sines at nine multiples of the pitch, in two slightly detuned ranks.

    Velocity opens a swell pedal.
    """
    first, second, third, detune, speed, *_ = voice.character
    ratios = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    slope = 0.35 + 1.3 * first + 0.8 * (1 - force)
    stops = 0.25 + 0.75 * (np.sin(np.arange(9) * (1.7 + 2.6 * second) + 6.28 * third) > -0.35)
    levels = stops * ratios**-slope * np.where(ratios == 1.0, 1.5, 1.0)
    note = np.zeros(count)
    for cents in (-0.5 - 1.5 * detune, 0.5 + 1.5 * detune):
        note += _partials(ratios * f0 * 2 ** (cents / 1200), levels, count, rng)
    phase = 2 * np.pi * (5.0 + 1.5 * speed) * _seconds(count) + rng.uniform(0, 6.28)
    tremulant = 1 + 0.12 * (speed - 0.3) * np.sin(phase)
    return note * tremulant * _gate(count, 0.008 + 0.03 * first, 0.05 + 0.1 * second)


def _mallet(voice: Voice, f0: float, force: float, count: int, rng: np.random.Generator) -> Audio:
    """Modulate a decaying sine by another, whose strength falls faster.

    By the ratio of the two it is a bell, a vibraphone or an electric piano.
    """
    ratio, strength, damping, bright, wave, *_ = voice.character
    ratio = (1.0, 2.0, 3.0, 3.5, 1.41, 4.0, 7.0)[int(ratio * 6.999)]
    seconds = _seconds(count)
    length_s = (0.7 + 2.2 * damping) * (220.0 / max(f0, 110.0)) ** 0.35
    # Carson's rule: no side band beyond the guard frequency.
    most = max(0.3, (_GUARD_HZ / f0 - 1) / ratio - 1)
    index = min(most, (0.6 + 3.4 * strength) * (0.25 + force))
    strike = index * np.exp(-seconds * (3.0 + 6.0 * bright))
    modulator = strike * np.sin(2 * np.pi * ratio * f0 * seconds)
    tone = np.sin(2 * np.pi * f0 * seconds + modulator)
    knock = rng.standard_normal(count) * np.exp(-seconds * 220.0) * 0.12 * force * wave
    tremolo = 1 + 0.18 * (wave > 0.6) * np.sin(2 * np.pi * 5.4 * seconds)
    decay = np.exp(-seconds * _LN_60_DB / (2.2 * length_s))
    return (tone * tremolo + knock) * decay * _gate(count, 0.002, 0.12 + 0.3 * damping)


def _guitar(voice: Voice, f0: float, force: float, count: int, rng: np.random.Generator) -> Audio:
    """Pluck a string: noise goes round a delay line with a low-pass filter.

    Source: Karplus & Strong (1983), with the fractional delay and pick position of Jaffe & Smith
    (1983).
    """
    blend, sustain, pick, body, bright, *_ = voice.character
    # Weights 1 - s and s of the averaging filter, which also delays by about s.
    smooth = 0.12 + 0.38 * blend
    loss = 10 ** (-3.0 / (f0 * (1.2 + 3.5 * sustain) * (196.0 / max(f0, 98.0)) ** 0.4))
    delay = SAMPLE_RATE / f0 - _phase_delay(smooth, f0)
    # The loop is a whole number of samples; an interpolation delays by the rest.
    whole = int(delay) - 1
    loop = loss * np.convolve([1 - smooth, smooth], _lagrange(delay - whole))
    # One period of noise, softer and darker when it is played softly.
    burst = rng.uniform(-1, 1, max(2, round(SAMPLE_RATE / f0)))
    softness = 0.85 * (1 - force) ** 0.7 * (0.5 + 0.5 * (1 - bright))
    burst = scipy.signal.lfilter([1 - softness], [1, -softness], burst - burst.mean())
    # The place of the pick is a comb filter: the burst and, later, its negative.
    place = max(1, round(len(burst) * (0.08 + 0.35 * pick)))
    excitation = np.zeros(count)
    excitation[: len(burst)] += burst
    excitation[place : place + len(burst)] -= burst
    feedback = np.concatenate([[1.0], np.zeros(whole - 1), -loop])
    string = scipy.signal.lfilter([1.0], feedback, excitation)
    resonance = scipy.signal.iirpeak(95.0 + 110.0 * body, 1.5, SAMPLE_RATE)
    return (string + 0.7 * scipy.signal.lfilter(*resonance, string)) * _gate(count, 0.001, 0.08)


def _flute(voice: Voice, f0: float, force: float, count: int, rng: np.random.Generator) -> Audio:
    """Blow a pipe: partials that come in one after the other, vibrato, and breath noise."""
    odd, slope, breath, vibrato, onset, *_ = voice.character
    seconds = _seconds(count)
    attack_s = 0.03 + 0.09 * onset + 0.04 * (1 - force)
    # Vibrato in cents; players begin straight.
    depth = (3.0 + 14.0 * vibrato) * np.clip((seconds - 0.25) / 0.4, 0, 1)
    swing = np.sin(2 * np.pi * (4.6 + 1.2 * vibrato) * seconds + rng.uniform(0, 6.28))
    frequency = f0 * 2 ** (depth / 1200 * swing)
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    note = np.zeros(count)
    for number in range(1, max(2, min(16, int(_GUARD_HZ / f0) + 1))):
        # A stopped pipe, or a clarinet, has weak even partials.
        weak = 0.12 if odd > 0.5 and number % 2 == 0 else 1.0
        level = number ** -(1.0 + 1.4 * slope + 0.9 * (1 - force)) * weak
        partial = level * np.sin(number * phase + rng.uniform(0, 6.28))
        note += partial * np.minimum(1, seconds / (attack_s * number**0.35))
    resonance = scipy.signal.iirpeak(min(2 * f0, 5000.0), 1.2, SAMPLE_RATE)
    noise = scipy.signal.lfilter(*resonance, rng.standard_normal(count))
    puff = 1 + 2.5 * np.exp(-seconds / 0.04)
    sound = note + (0.02 + 0.07 * breath) * puff * noise
    return sound * _gate(count, attack_s, 0.06 + 0.06 * slope)


FAMILIES: dict[str, Callable[[Voice, float, float, int, np.random.Generator], Audio]] = {
    "organ": _organ,
    "mallet": _mallet,
    "guitar": _guitar,
    "flute": _flute,
}
"""How each family sounds; the names are families of NSynth."""


def _seconds(count: int) -> Audio:
    return np.arange(count) / SAMPLE_RATE


def _partials(frequencies: Audio, levels: Audio, count: int, rng: np.random.Generator) -> Audio:
    """Add sines with random phases, leaving out those that would alias."""
    seconds = _seconds(count)
    phases = rng.uniform(0, 2 * np.pi, len(frequencies))
    note = np.zeros(count)
    for frequency, level, phase in zip(frequencies, levels, phases, strict=True):
        if frequency < _GUARD_HZ:
            note = note + level * np.sin(2 * np.pi * frequency * seconds + phase)
    return note


def _gate(count: int, attack_s: float, release_s: float) -> Audio:
    """Return a rise to 1 in ``attack_s`` and, after the release, a fall.

    The fall takes five times ``release_s`` for 60 dB.
    """
    seconds = _seconds(count)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.minimum(1, seconds / max(attack_s, 1e-4)))
    released = np.maximum(0, seconds - _HELD * count / SAMPLE_RATE)
    return rise * np.exp(-released * _LN_60_DB / (5 * release_s))


def _phase_delay(smooth: float, f0: float) -> float:
    """Return the phase delay in samples, at ``f0``, of the filter with weights 1 - s and s."""
    omega = 2 * math.pi * f0 / SAMPLE_RATE
    return math.atan2(smooth * math.sin(omega), 1 - smooth + smooth * math.cos(omega)) / omega


def _lagrange(delay: float) -> Audio:
    """Return the four weights of a cubic Lagrange interpolation.

    It delays by ``delay`` samples, best within 1..2.
    """
    places = np.arange(4)
    weights = []
    for place in places:
        others = np.delete(places, place)
        weights.append(np.prod((delay - others) / (place - others)))
    return np.array(weights)

"""How artificial noises sound: hisses, hums, gusts, knocks, tones, machines, voices in a room.

``NOISES`` holds functions of a duration in seconds and a random generator that return samples (T,)
at 16 kHz; ``babble`` and ``cafeteria`` also take voices. Which noise is used where is decided in
synthetic_speech.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from audioprune.data.files.audio import Samples
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE

Rng = np.random.Generator
Wave = NDArray[np.float64]
Noise = Callable[[float, Rng], Wave]

_LEVEL = 0.05
_MOST = 0.95
_NYQUIST = SAMPLE_RATE / 2
_METAL = ((2000, 7000), (5, 25))
_CERAMIC = ((900, 4500), (25, 90))
"""Lowest and highest frequency, and bandwidth, of the resonances in Hz."""


def levelled(wave: Wave) -> Samples:
    """Scale a signal to a root mean square of 0.05, or less where its peak would pass 0.95."""
    wave = wave - wave.mean()
    gain = min(_LEVEL / np.sqrt(np.mean(wave**2)), _MOST / np.abs(wave).max())
    return (gain * wave).astype(np.float32)


def coloured(slope_db: float, low_hz: float = 20.0, high_hz: float = _NYQUIST) -> Noise:
    """Return a noise whose level changes by ``slope_db`` per octave between two frequencies."""

    def make(seconds: float, rng: Rng) -> Wave:
        length = _samples(seconds)
        hz = fft.rfftfreq(length, 1 / SAMPLE_RATE)
        inside = (hz >= low_hz) & (hz <= high_hz)
        slope = (np.maximum(hz, low_hz) / low_hz) ** (slope_db / 6.02)
        shape = np.where(inside, slope, 1e-4)
        return fft.irfft(fft.rfft(rng.standard_normal(length)) * shape, n=length)

    return make


def hum(base_hz: float, harmonics: int, hiss: float) -> Noise:
    """Return steady harmonics of a slightly unsteady base frequency over a little hiss."""

    def make(seconds: float, rng: Rng) -> Wave:
        wander = 1 + 0.003 * _drift(_samples(seconds), 0.5, rng)
        tone = _harmonics(base_hz * rng.uniform(0.97, 1.03) * wander, harmonics, rng)
        return tone + hiss * coloured(-3)(seconds, rng)

    return make


def engine(seconds: float, rng: Rng) -> Wave:
    """Return an engine whose speed changes, over rumble."""
    speed = rng.uniform(25, 45) * 2 ** (0.4 * _drift(_samples(seconds), 1.5, rng))
    tone = _harmonics(speed, 40, rng)
    tone = tone * (1 + 0.2 * _drift(_samples(seconds), 0.05, rng))
    return tone + 0.3 * coloured(-6)(seconds, rng)


def drill(seconds: float, rng: Rng) -> Wave:
    """Return a buzzing tool that is switched on and off."""
    on = np.clip(4 * _drift(_samples(seconds), 0.9, rng) + 2, 0.02, 1)
    hz = rng.uniform(110, 190) * (1 + 0.02 * _drift(_samples(seconds), 0.2, rng))
    tone = _harmonics(hz, 30, rng)
    return on * (tone + 0.5 * coloured(3, 500)(seconds, rng))


def gusts(slope_db: float, every_s: float, depth: float) -> Noise:
    """Return coloured noise that swells and fades, as wind and waves do."""

    def make(seconds: float, rng: Rng) -> Wave:
        steady = coloured(slope_db)(seconds, rng)
        return steady * np.exp(depth * _drift(_samples(seconds), every_s, rng))

    return make


def rain(seconds: float, rng: Rng) -> Wave:
    """Return many small drops over a hiss."""
    drops = _ringing(_impulses(seconds, 300, rng), ((3500, 900), (5500, 1200)), rng)
    return 3 * drops + 0.1 * coloured(2, 1000)(seconds, rng)


def crackle(seconds: float, rng: Rng) -> Wave:
    """Return the crackle of a fire over a soft roar."""
    sparks = _impulses(seconds, 25, rng, spread=1.5)
    cracks = _ringing(sparks, ((1800, 800), (4200, 900)), rng)
    return 4 * cracks + 0.15 * coloured(-5)(seconds, rng)


def knocks(
    per_second: float, modes: Sequence[tuple[float, float]], regular: bool, floor: float = 0.02
) -> Noise:
    """Return blows on something that rings.

    Args:
        per_second: Mean number of blows in a second.
        modes: Frequency and bandwidth in Hz of each resonance.
        regular: Whether blows come at nearly equal distances.
        floor: Level of the noise behind them.
    """

    def make(seconds: float, rng: Rng) -> Wave:
        times = _ticks if regular else _impulses
        blows = times(seconds, per_second, rng)
        return _ringing(blows, modes, rng) + floor * coloured(-3)(seconds, rng)

    return make


def typing(seconds: float, rng: Rng) -> Wave:
    """Return keystrokes: a click and a duller return each."""
    strokes = _impulses(seconds, 6, rng)
    later = np.roll(strokes, _samples(0.07)) * 0.4
    return (
        _ringing(strokes, ((2600, 500), (4800, 700)), rng)
        + _ringing(later, ((1200, 300),), rng)
        + 0.02 * coloured(-3)(seconds, rng)
    )


def siren(seconds: float, rng: Rng) -> Wave:
    """Return a tone that rises and falls."""
    times = np.arange(_samples(seconds)) / SAMPLE_RATE
    hz = rng.uniform(600, 900) * 2 ** (0.6 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * times))
    return _harmonics(hz, 4, rng) + 0.05 * coloured(-3)(seconds, rng)


def beeps(seconds: float, rng: Rng) -> Wave:
    """Return short tones, one after another, as devices make them."""
    length, wave = _samples(seconds), 0.02 * coloured(-3)(seconds, rng)
    place = 0
    while place < length:
        span = min(_samples(rng.uniform(0.08, 0.3)), length - place)
        times = np.arange(span) / SAMPLE_RATE
        fade = np.minimum(1, 40 * np.minimum(times, times[::-1]))
        wave[place : place + span] += fade * np.sin(2 * np.pi * rng.uniform(500, 3000) * times)
        place += span + _samples(rng.uniform(0.05, 0.6))
    return wave


def music(seconds: float, rng: Rng) -> Wave:
    """Return plucked notes of a scale over chords."""
    length, wave = _samples(seconds), np.zeros(_samples(seconds))
    root = rng.uniform(100, 160)
    for place in range(0, length, _samples(rng.uniform(0.18, 0.3))):
        times = np.arange(min(_samples(1.2), length - place)) / SAMPLE_RATE
        hz = root * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
        for harmonic in range(1, 9):
            level = rng.uniform(0.3, 1) / harmonic * np.exp(-times * (2 + harmonic))
            partial = level * np.sin(2 * np.pi * hz * harmonic * times)
            wave[place : place + len(times)] += partial
    return wave + 0.01 * coloured(-3)(seconds, rng)


def birds(seconds: float, rng: Rng) -> Wave:
    """Return chirps that sweep between 2 and 6 kHz over a faint wind."""
    length, wave = _samples(seconds), 0.03 * coloured(-5)(seconds, rng)
    for _ in range(round(4 * seconds)):
        times = np.arange(_samples(rng.uniform(0.04, 0.15))) / SAMPLE_RATE
        place = int(rng.integers(max(1, length - len(times))))
        sweep = rng.uniform(2200, 5200) + rng.uniform(-15000, 15000) * (times - times[-1] / 2)
        phase = 2 * np.pi * np.cumsum(np.clip(sweep, 1500, 7000)) / SAMPLE_RATE
        chirp = np.hanning(len(times)) * np.sin(phase)
        wave[place : place + len(times)] += rng.uniform(0.2, 1) * chirp[: length - place]
    return wave


def printer(seconds: float, rng: Rng) -> Wave:
    """Return rhythmic bursts of noise with a motor behind."""
    times = np.arange(_samples(seconds)) / SAMPLE_RATE
    gate = signal.square(2 * np.pi * rng.uniform(3, 6) * times, duty=0.35) > 0
    soft = signal.lfilter([0.01], [1, -0.99], gate.astype(float))
    bursts = soft * coloured(1, 800, 6000)(seconds, rng) / 100
    motor = _harmonics(np.full(len(times), rng.uniform(80, 130)), 12, rng)
    return bursts + 0.15 * motor


def rails(seconds: float, rng: Rng) -> Wave:
    """Return the double blows and the rumble of a train."""
    blows = _ticks(seconds, rng.uniform(1.0, 1.6), rng)
    double = blows + 0.8 * np.roll(blows, _samples(0.14))
    return 6 * _ringing(double, ((220, 60), (900, 200)), rng) + coloured(-6)(seconds, rng)


def babble(streams: Sequence[Samples], seconds: float, rng: Rng) -> Wave:
    """Put voices that talk at once at some distance in a small room."""
    voices = _crowd(streams, seconds, rng)
    return reverberated(voices, rng.uniform(0.4, 0.7), rng.uniform(1.0, 1.8), rng)


def cafeteria(streams: Sequence[Samples], seconds: float, rng: Rng) -> Wave:
    """Put voices that talk at once, clattering dishes and a ventilator into one large room."""
    voices, dishes = _crowd(streams, seconds, rng), clatter(seconds, rng)
    near = voices / voices.std() + rng.uniform(0.4, 0.7) * dishes / dishes.std()
    room = reverberated(near, rng.uniform(0.7, 1.5), rng.uniform(1.5, 3.0), rng)
    ventilator = coloured(-4)(seconds, rng)
    return room / room.std() + rng.uniform(0.2, 0.4) * ventilator / ventilator.std()


def _crowd(streams: Sequence[Samples], seconds: float, rng: Rng) -> Wave:
    """Sum voices, each from a random place in its stream and at a slightly different level."""
    total = np.zeros(_samples(seconds))
    for stream in streams:
        start = int(rng.integers(len(stream)))
        level = np.sqrt(np.mean(np.square(stream, dtype=np.float64)))
        gain = 10 ** (rng.uniform(-3, 3) / 20) / level
        total += gain * np.take(stream, np.arange(start, start + len(total)), mode="wrap")
    return total


def clatter(seconds: float, rng: Rng) -> Wave:
    """Return dishes and cutlery: clusters of blows.

    Metal rings long and high, ceramic short and low.
    """
    wave = np.zeros(_samples(seconds))
    for _ in range(8):
        hz, bandwidth_hz = _METAL if rng.random() < 0.5 else _CERAMIC
        modes = [(rng.uniform(*hz), rng.uniform(*bandwidth_hz)) for _ in range(5)]
        level = rng.uniform(0.3, 1)
        blows = _impulses(seconds, rng.uniform(0.3, 1.0), rng, spread=0.8)
        wave += level * _ringing(blows, modes, rng)
    return wave


def reverberated(wave: Wave, rt60_s: float, wet: float, rng: Rng) -> Wave:
    """Put a signal into a room.

    Args:
        wave: The direct sound, shape (T,).
        rt60_s: Seconds in which the tail decays by 60 dB.
        wet: Level of the tail relative to the direct sound.
        rng: Source of the tail, which is noise.
    """
    times = np.arange(_samples(rt60_s)) / SAMPLE_RATE
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / rt60_s)
    tail = signal.lfilter([0.6], [1, -0.4], tail)  # walls take the high frequencies first
    tail *= wet / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return signal.oaconvolve(wave, tail)[: len(wave)]


NOISES: dict[str, Noise] = {
    "white": coloured(0),
    "pink": coloured(-3),
    "brown": coloured(-6),
    "hiss": coloured(3, 1500),
    "speechband": coloured(-5, 150, 5000),
    "rumble": coloured(-3, 20, 400),
    "mains": hum(50, 20, 0.1),
    "transformer": hum(100, 12, 0.05),
    "fan": hum(120, 8, 1.0),
    "ventilation": hum(60, 5, 3.0),
    "engine": engine,
    "drill": drill,
    "wind": gusts(-8, 0.7, 0.7),
    "waves": gusts(-3, 2.5, 0.8),
    "stream": gusts(-4, 0.15, 0.5),
    "rain": rain,
    "fire": crackle,
    "hammer": knocks(1.6, ((700, 80), (1900, 60), (3600, 120)), regular=True),
    "footsteps": knocks(1.9, ((130, 60), (420, 150)), regular=True),
    "doors": knocks(0.8, ((180, 40), (350, 90), (900, 200)), regular=False),
    "dishes": lambda seconds, rng: clatter(seconds, rng) + 0.01 * coloured(-3)(seconds, rng),
    "typing": typing,
    "siren": siren,
    "beeps": beeps,
    "music": music,
    "birds": birds,
    "printer": printer,
    "rails": rails,
}
"""Noises without voices, by name."""


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _drift(length: int, every_s: float, rng: Rng) -> Wave:
    """Return a slow random curve with a standard deviation of about 1."""
    step = max(1, _samples(every_s))
    points = rng.standard_normal(length // step + 3)
    return np.interp(np.arange(length) / step, np.arange(len(points)), points)


def _harmonics(hz: Wave, count: int, rng: Rng) -> Wave:
    """Return harmonics of a changing frequency, with random levels and phases.

    They are louder at the bottom and end at 7.5 kHz.
    """
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE
    wave = np.zeros(len(hz))
    top = min(count, int(7500 / hz.max()))
    for number in range(1, top + 1):
        level = rng.uniform(0.3, 1) / number**0.8
        wave += level * np.sin(number * phase + rng.uniform(0, 2 * np.pi))
    return wave / max(1e-9, wave.std())


def _impulses(seconds: float, per_second: float, rng: Rng, spread: float = 0.6) -> Wave:
    """Return impulses at random times with levels that vary log-normally by ``spread``."""
    wave = np.zeros(_samples(seconds))
    count = max(1, int(rng.poisson(per_second * seconds)))
    np.add.at(wave, rng.integers(0, len(wave), count), np.exp(spread * rng.standard_normal(count)))
    return wave


def _ticks(seconds: float, per_second: float, rng: Rng) -> Wave:
    """Return impulses at nearly regular times."""
    wave = np.zeros(_samples(seconds))
    times = np.arange(rng.uniform(0, 1 / per_second), seconds, 1 / per_second)
    late = times + 0.01 * rng.standard_normal(len(times))
    places = np.clip(late * SAMPLE_RATE, 0, len(wave) - 1).astype(int)
    wave[places] = rng.uniform(0.6, 1.0, len(places))
    return wave


def _ringing(impulses: Wave, modes: Sequence[tuple[float, float]], rng: Rng) -> Wave:
    """Let every impulse ring with damped modes given as (frequency in Hz, bandwidth in Hz)."""
    wave = np.zeros(len(impulses))
    for hz, bandwidth_hz in modes:
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
        zeros = [np.sin(2 * np.pi * hz / SAMPLE_RATE)]
        wave += rng.uniform(0.4, 1) * signal.lfilter(zeros, poles, impulses)
    return wave

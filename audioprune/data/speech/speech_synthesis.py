"""How an artificial voice speaks: a source-filter synthesizer.

``speak(voice, seconds, rng)`` returns samples (T,) at 16 kHz that metrics and models take for
speech. The words mean nothing in any language. Which voices say what, and where it is written, is
decided in synthetic_speech.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from audioprune.data.files.audio import Samples

SAMPLE_RATE = 16000
_HOP = 128
_FRAME = 256
_FFT = 768
_TRACK_S = 0.004
_LEVEL = 0.05
_FRICTION = 40.0
_LAST_WORD_S = 0.45
"""No word begins later than this before the end."""
_FLOOR = 1e-4
_MOST = 0.9

Rng = np.random.Generator
Track = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        f0_hz: Mean pitch in Hz.
        span: Movement of the pitch in semitones.
        formant_scale: Factor on all formants, above 1 for a shorter vocal tract.
        formant_bias: Factor on each of the three formants that move.
        bandwidth_scale: Factor on the formant bandwidths.
        open_quotient: Share of a period in which the glottis is open, 0..1.
        tilt_hz: Corner of the low-pass on the glottal source in Hz.
        breath: Level of the breath noise relative to voicing.
        jitter: Random deviation of the pitch, as a share.
        rate: Factor on the speed.
        slope: Fall of the pitch over a phrase as a share of ``span``; below 0 it rises.
        glide_s: Most seconds in which formants glide from one sound to the next.
        hiss: Factor on the noise of fricatives.
    """

    f0_hz: float
    span: float
    formant_scale: float
    formant_bias: tuple[float, ...]
    bandwidth_scale: float
    open_quotient: float
    tilt_hz: float
    breath: float
    jitter: float
    rate: float
    slope: float = 1.2
    glide_s: float = 0.05
    hiss: float = 1.0


@dataclass(frozen=True)
class _Sound:
    """Targets of one phoneme-like sound.

    Attributes:
        formants: F1, F2, F3 in Hz of an average male voice.
        seconds: Typical length.
        voiced: Level of voicing, 0..1.
        aspirated: Level of noise through the vocal tract.
        fricative: Level of noise at the constriction.
        noise_hz: Middle of that noise in Hz.
        noise_width_hz: Its width.
        damping: Factor on the bandwidths.
    """

    formants: tuple[float, float, float]
    seconds: float
    voiced: float = 1.0
    aspirated: float = 0.0
    fricative: float = 0.0
    noise_hz: float = 4000.0
    noise_width_hz: float = 2000.0
    damping: float = 1.0


# Averages of male speakers by Peterson & Barney (1952), and a neutral vowel.
_VOWELS = tuple(
    _Sound(formants, seconds)
    for formants, seconds in (
        ((270, 2290, 3010), 0.10),
        ((390, 1990, 2550), 0.075),
        ((530, 1840, 2480), 0.085),
        ((660, 1720, 2410), 0.11),
        ((640, 1190, 2390), 0.08),
        ((730, 1090, 2440), 0.11),
        ((570, 840, 2410), 0.11),
        ((440, 1020, 2240), 0.075),
        ((300, 870, 2240), 0.10),
        ((490, 1350, 1690), 0.10),
        ((500, 1500, 2500), 0.06),
    )
)
_SONORANTS = (
    _Sound((250, 1100, 2200), 0.065, 0.45, damping=2.0),
    _Sound((250, 1600, 2600), 0.06, 0.45, damping=2.0),
    _Sound((250, 2100, 2700), 0.065, 0.45, damping=2.0),
    _Sound((360, 1100, 2600), 0.06, 0.7, damping=1.3),
    _Sound((330, 1060, 1380), 0.06, 0.7, damping=1.3),
    _Sound((300, 610, 2200), 0.06, 0.7, damping=1.2),
    _Sound((260, 2070, 3020), 0.055, 0.7, damping=1.2),
)
_FRICATIVES = (
    _Sound((340, 1400, 2500), 0.10, 0.0, 0.0, 0.16, 6200, 1100),
    _Sound((300, 1800, 2500), 0.10, 0.0, 0.0, 0.16, 3400, 900),
    _Sound((340, 1100, 2100), 0.09, 0.0, 0.0, 0.05, 5200, 3000),
    _Sound((500, 1500, 2500), 0.06, 0.0, 0.30, 0.0),
    _Sound((300, 1400, 2500), 0.07, 0.4, 0.0, 0.08, 6000, 1200),
    _Sound((300, 1100, 2100), 0.06, 0.5, 0.0, 0.03, 5000, 3000),
)
# Closure, then burst; the formants of the burst are where the neighbours' formants point to.
_PLOSIVES = tuple(
    (
        _Sound((200, f2, f3), closure, hum),
        _Sound((300, f2, f3), burst_s, hum, aspiration, level, burst_hz, width),
    )
    for f2, f3, closure, hum, burst_s, aspiration, level, burst_hz, width in (
        (900, 2200, 0.07, 0.0, 0.035, 0.20, 0.10, 1500, 1200),
        (1750, 2700, 0.06, 0.0, 0.040, 0.15, 0.20, 4800, 1300),
        (1900, 2400, 0.06, 0.0, 0.045, 0.20, 0.18, 2300, 700),
        (900, 2200, 0.055, 0.12, 0.012, 0.0, 0.10, 1200, 1000),
        (1750, 2700, 0.05, 0.12, 0.012, 0.0, 0.14, 4200, 1300),
        (1900, 2400, 0.05, 0.12, 0.018, 0.0, 0.14, 2200, 800),
    )
)
_LEVELS = ("voiced", "aspirated", "fricative")
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0)
_SMOOTH = np.hanning(9)[1:-1] / np.hanning(9).sum()
_UPPER_FORMANTS = ((3400.0, 220.0), (4400.0, 300.0), (5400.0, 400.0), (6500.0, 500.0))


@dataclass
class _Score:
    """The sounds of an utterance in order: lengths in seconds, levels, pitch in semitones."""

    sounds: list[_Sound] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    pitch: list[float] = field(default_factory=list)

    def add(self, sound: _Sound, seconds: float, level: float, pitch: float) -> None:
        """Append one sound."""
        self.sounds.append(sound)
        self.seconds.append(seconds)
        self.levels.append(level)
        self.pitch.append(pitch)


def draw_voice(rng: Rng) -> Voice:
    """Return a random voice, low or high with equal chance."""
    high = rng.random() < 0.5
    f0_hz = float(np.clip((205 if high else 112) * np.exp(rng.normal(0, 0.13)), 75, 290))
    return Voice(
        f0_hz=f0_hz,
        span=rng.uniform(2.0, 5.0),
        formant_scale=rng.uniform(1.08, 1.22) if high else rng.uniform(0.92, 1.06),
        formant_bias=tuple(rng.uniform(0.95, 1.05, 3).tolist()),
        bandwidth_scale=rng.uniform(0.8, 1.4),
        open_quotient=rng.uniform(0.5, 0.75),
        tilt_hz=rng.uniform(2500, 6000),
        breath=rng.uniform(0.01, 0.08),
        jitter=rng.uniform(0.004, 0.015),
        rate=rng.uniform(0.85, 1.2),
    )


def speak(voice: Voice, seconds: float, rng: Rng) -> Samples:
    """Say random words for a given time.

    Args:
        voice: Who speaks.
        seconds: Length of the result, at least 1.
        rng: Source of the words and of all noise.

    Returns:
        Samples at 16 kHz, shape (round(seconds * 16000),), root mean square about 0.05, peak below
        1.
    """
    score = _compose(voice, seconds, rng)
    tracks = _tracks(voice, score, seconds, rng)
    length = round(seconds * SAMPLE_RATE)
    voiced, breath = _excitation(voice, tracks, length, rng)
    speech = _filter(voice, tracks, voiced + breath, rng.standard_normal(length, dtype=np.float32))
    level = _LEVEL * 10 ** (rng.uniform(-2, 2) / 20)
    speech *= level / np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    speech += _FLOOR * rng.standard_normal(length, dtype=np.float32)
    peak = float(np.abs(speech).max())
    return (speech * min(1.0, _MOST / peak)).astype(np.float32)


def _compose(voice: Voice, seconds: float, rng: Rng) -> _Score:
    """Write phrases of words of syllables until the time is full, with pauses and stress."""
    score = _Score()
    used = rng.uniform(0.04, 0.15)
    pause = _Sound((500, 1500, 2500), 0.0, 0.0)
    score.add(pause, used, 0.0, 0.0)
    while used < seconds - _LAST_WORD_S:
        words = int(rng.integers(3, 7))
        for word in range(words):
            # The pitch falls over a phrase.
            fall = voice.span * (voice.slope / 2 - voice.slope * word / words)
            before = sum(score.seconds)
            _word(score, voice, fall, rng)
            used += sum(score.seconds) - before
            if used > seconds - _LAST_WORD_S:
                break
            if rng.random() < 0.2:
                score.add(pause, rng.uniform(0.03, 0.1), 0.0, fall)
                used += score.seconds[-1]
        score.add(pause, rng.uniform(0.15, 0.35), 0.0, -0.6 * voice.span)
        used += score.seconds[-1]
    return score


def _word(score: _Score, voice: Voice, fall: float, rng: Rng) -> None:
    """Append one to three syllables; the first is stressed and higher."""
    for syllable in range(int(rng.integers(1, 4))):
        stressed = syllable == 0 or rng.random() < 0.2
        rise = rng.uniform(0.3, 1.0) * voice.span if stressed else 0.0
        _syllable(score, voice, fall + rise, stressed, rng)


def _syllable(score: _Score, voice: Voice, pitch: float, stressed: bool, rng: Rng) -> None:
    """Append an onset, a vowel or two, and sometimes a coda."""
    level = rng.uniform(0.85, 1.1) if stressed else rng.uniform(0.5, 0.8)
    slow = (1.15 if stressed else 0.85) / voice.rate
    if rng.random() < 0.85:
        _consonant(score, level, pitch, slow, rng)
    if rng.random() < 0.15:
        _say(score, _SONORANTS[int(rng.integers(3, len(_SONORANTS)))], level, pitch, slow, rng)
    for _ in range(2 if rng.random() < 0.2 else 1):
        _say(score, _VOWELS[int(rng.integers(len(_VOWELS)))], level, pitch, slow * 1.2, rng)
    if rng.random() < 0.4:
        _consonant(score, 0.8 * level, pitch - 0.5, slow, rng)


def _consonant(score: _Score, level: float, pitch: float, slow: float, rng: Rng) -> None:
    kind = rng.random()
    if kind < 0.35:
        for sound in _PLOSIVES[int(rng.integers(len(_PLOSIVES)))]:
            _say(score, sound, level, pitch, slow, rng)
    else:
        sounds = _FRICATIVES if kind < 0.65 else _SONORANTS
        _say(score, sounds[int(rng.integers(len(sounds)))], level, pitch, slow, rng)


def _say(score: _Score, sound: _Sound, level: float, pitch: float, slow: float, rng: Rng) -> None:
    score.add(sound, sound.seconds * slow * rng.uniform(0.8, 1.25), level, pitch)


def _tracks(voice: Voice, score: _Score, seconds: float, rng: Rng) -> dict[str, Track]:
    """Return every control value at steps of 4 ms, each of shape (N,).

    Targets are held in the middle of a sound and glide between sounds.
    """
    times = np.arange(0, seconds + _TRACK_S, _TRACK_S)
    ends = np.cumsum(score.seconds)
    glide = np.minimum(voice.glide_s, 0.8 * np.asarray(score.seconds)) / 2
    hard = np.minimum(0.012, 0.4 * np.asarray(score.seconds)) / 2
    tracks = {}
    # Formants glide slowly, as the tongue moves; levels and noises switch fast.
    for number in range(3):
        targets = [sound.formants[number] for sound in score.sounds]
        path = _glided(times, ends, glide, targets)
        tracks[f"f{number + 1}"] = path * voice.formant_scale * voice.formant_bias[number]
    for name in ("damping", "noise_hz", "noise_width_hz"):
        values = [getattr(sound, name) for sound in score.sounds]
        tracks[name] = _glided(times, ends, hard, values)
    for name in _LEVELS:
        pairs = zip(score.sounds, score.levels, strict=True)
        values = [getattr(sound, name) * level for sound, level in pairs]
        tracks[name] = _glided(times, ends, hard, values)
    swell = 10 ** (1.5 * _drift(len(times), 12, rng) / 20)
    for name in _LEVELS:
        tracks[name] = np.convolve(tracks[name], _SMOOTH, mode="same") * swell
    # Pitch: the line of the score, slow drift in semitones, and jitter.
    line = _glided(times, ends, np.asarray(score.seconds) / 2.1, score.pitch)
    bend = line + 0.5 * _drift(len(times), 60, rng)
    shake = 1 + voice.jitter * rng.standard_normal(len(times))
    tracks["f0_hz"] = voice.f0_hz * 2 ** (bend / 12) * shake
    return tracks


def _glided(times: Track, ends: Track, glide: Track, values: Sequence[float]) -> Track:
    """Interpolate between held targets.

    Each is held from its begin plus ``glide`` to its end minus ``glide``.
    """
    starts = np.concatenate([[0.0], ends[:-1]])
    knots = np.stack([starts + glide, ends - glide], axis=1).ravel()
    return np.interp(times, knots, np.repeat(np.asarray(values, dtype=np.float64), 2))


def _drift(count: int, every: int, rng: Rng) -> Track:
    """Return ``count`` values of a random line with a knot at every ``every``-th."""
    points = rng.standard_normal(count // every + 2)
    return np.interp(np.arange(count) / every, np.arange(len(points)), points)


def _excitation(
    voice: Voice, tracks: dict[str, Track], length: int, rng: Rng
) -> tuple[Samples, Samples]:
    """Return the glottal flow derivative with its level, and breath noise, each (T,).

    The breath follows the opening of the glottis.
    """
    places = np.arange(length) / (SAMPLE_RATE * _TRACK_S)
    steps = np.arange(len(tracks["f0_hz"]))
    f0_hz = np.interp(places, steps, tracks["f0_hz"])
    voiced = np.interp(places, steps, tracks["voiced"])
    aspirated = np.interp(places, steps, tracks["aspirated"])
    phase = np.mod(np.cumsum(f0_hz / SAMPLE_RATE), 1.0).astype(np.float32)
    # Within a period the flow rises as a sine, falls faster, and rests while the glottis is shut.
    peak = 0.66 * voice.open_quotient
    closing = voice.open_quotient - peak
    opening = np.sin(np.pi * phase / peak) / peak
    falling = -np.sin(np.pi / 2 * (phase - peak) / closing) / closing
    shut_later = np.where(phase < voice.open_quotient, falling, 0.0)
    flow = np.where(phase < peak, opening, shut_later) * voiced * np.pi / 2
    pole = np.exp(-2 * np.pi * voice.tilt_hz / SAMPLE_RATE)
    flow = signal.lfilter([1 - pole], [1, -pole], flow)
    noise = rng.standard_normal(length, dtype=np.float32)
    opened = 0.3 + (phase < voice.open_quotient)
    breath = noise * (voice.breath * 6 * voiced * opened + 3 * aspirated)
    return flow.astype(np.float32), breath.astype(np.float32)


def _filter(voice: Voice, tracks: dict[str, Track], source: Samples, noise: Samples) -> Samples:
    """Pass the source through the formants and the noise through the constriction, (T,).

    Both are filtered frame by frame, and the frames are added.
    """
    frames = len(source) // _HOP + 2
    last = len(tracks["f1"]) - 1
    centres = np.minimum(np.arange(frames) * _HOP / (SAMPLE_RATE * _TRACK_S), last)
    at = {name: np.interp(centres, np.arange(len(track)), track) for name, track in tracks.items()}
    spectrum = _spectra(source, frames) * _vocal_tract(voice, at)
    hissing = np.flatnonzero(at["fricative"] > 1e-4)
    hz = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1, dtype=np.float32)
    # One row for each hissing frame, shape (N, 1).
    middle = at["noise_hz"][hissing, None].astype(np.float32) * voice.formant_scale**0.5
    width = at["noise_width_hz"][hissing, None].astype(np.float32)
    level = voice.hiss * at["fricative"][hissing, None].astype(np.float32)
    shape = level * _FRICTION * np.exp(-0.5 * ((hz - middle) / width) ** 2)
    spectrum[hissing] += _spectra(noise, frames, hissing) * shape
    return _overlapped(fft.irfft(spectrum, n=_FFT, axis=1), len(source))


def _spectra(
    samples: Samples, frames: int, chosen: NDArray[np.intp] | None = None
) -> NDArray[np.complex64]:
    """Return the spectra of windowed frames, centred on multiples of the hop, shape (N, 385)."""
    before, behind = np.zeros(_HOP, np.float32), np.zeros(_FRAME + _HOP, np.float32)
    padded = np.concatenate([before, samples, behind])
    cut = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][:frames]
    window = signal.get_window("hann", _FRAME).astype(np.float32)
    return fft.rfft((cut if chosen is None else cut[chosen]) * window, n=_FFT, axis=1)


def _vocal_tract(voice: Voice, at: dict[str, Track]) -> NDArray[np.complex64]:
    """Return the response of resonators in a row with gain 1 at 0 Hz, shape (N, 385).

    Three of them move with the sounds, four do not.
    """
    product = np.ones((1, _FFT // 2 + 1), dtype=np.complex64)
    for formant_hz, bandwidth_hz in _UPPER_FORMANTS:
        fixed_hz = np.array([formant_hz * voice.formant_scale])
        fixed_width_hz = np.array([bandwidth_hz * voice.bandwidth_scale])
        product = product * _resistance(fixed_hz, fixed_width_hz)
    for number, bandwidth_hz in enumerate(_BANDWIDTHS_HZ):
        width_hz = bandwidth_hz * voice.bandwidth_scale * at["damping"]
        product = product * _resistance(at[f"f{number + 1}"], width_hz)
    return 1 / product


def _resistance(formant_hz: Track, bandwidth_hz: Track) -> NDArray[np.complex64]:
    """Return one over the response of a two-pole resonator with gain 1 at 0 Hz, shape (N, 385)."""
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT).astype(np.complex64)
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
    angle = 2 * np.pi * np.minimum(formant_hz, 0.48 * SAMPLE_RATE) / SAMPLE_RATE
    first, second = -2 * radius * np.cos(angle), radius**2
    total = 1 + first + second
    # Coefficients of each frame, shape (N, 1), for the frequencies along the other axis.
    constant, first, second = (
        (value / total)[:, None].astype(np.float32) for value in (1.0, first, second)
    )
    return constant + delay * (first + second * delay)


def _overlapped(frames: NDArray[np.float32], length: int) -> Samples:
    """Add filtered frames at their places; the first begins one hop before the signal."""
    count, parts = len(frames), _FFT // _HOP
    total = np.zeros((count + parts, _HOP), dtype=np.float32)
    for part in range(parts):
        total[part : part + count] += frames[:, part * _HOP : (part + 1) * _HOP]
    return total.ravel()[_HOP : _HOP + length]

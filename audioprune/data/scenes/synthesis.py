"""How a clip of an artificial acoustic scene is made: ``synthesise``.

``SCENES`` are the ten classes. A clip is (2, T) float32 at 22,050 Hz. Which clips a corpus has is
decided in synthetic.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from audioprune.dsp import rms

SAMPLE_RATE = 22050
_EARLIEST_S = -0.5
"""Events may begin this long before the clip."""
_REVERB_LIMIT_S = 2.5
_LN_60_DB = math.log(1000.0)

Range = tuple[float, float]
Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What the clips of one class have in common; each clip draws its own values from the ranges.

    Attributes:
        name: Class and folder.
        rate_hz: Events, or bursts of events, per second.
        irregular: 0 for a steady beat, 1 for events at random.
        length_s: Duration of an event.
        shape: ``"strike"`` (sudden, fading), ``"swell"`` or ``"ramp"`` (growing, cut off).
        centre_hz: Frequency of the events; the ranges of the classes overlap.
        glide_octaves: Change of the frequency during an event.
        burst: Fewest and most events of a burst.
        rt60_s: Time in which the reverberation falls by 60 dB.
    """

    name: str
    rate_hz: Range
    irregular: float
    length_s: Range
    shape: str
    centre_hz: Range = (300.0, 4500.0)
    glide_octaves: Range = (0.0, 0.0)
    burst: tuple[int, int] = (1, 1)
    rt60_s: Range = (0.1, 0.4)


SCENES = (
    Scene("aviary", (1.0, 2.0), 1.0, (0.04, 0.08), "swell", (1500.0, 6000.0), (0.4, 0.9), (4, 7)),
    Scene("cafe", (5.0, 8.0), 0.5, (0.10, 0.22), "swell", (250.0, 2500.0), rt60_s=(0.2, 0.6)),
    Scene("engine_room", (7.0, 11.0), 0.03, (0.03, 0.08), "strike", (150.0, 1500.0)),
    Scene("hall", (2.5, 5.0), 1.0, (0.05, 0.15), "strike", rt60_s=(1.0, 2.0)),
    Scene(
        "harbour", (1.0, 2.0), 1.0, (0.3, 0.7), "swell", (200.0, 2000.0), (-1.4, -0.6), (1, 1),
        (0.3, 0.8),
    ),
    Scene("printshop", (1.5, 3.0), 0.8, (0.2, 0.5), "ramp"),
    Scene("railway", (2.5, 5.0), 0.03, (0.05, 0.15), "strike"),
    Scene("rain", (25.0, 60.0), 1.0, (0.01, 0.04), "strike", (1000.0, 6000.0)),
    Scene("shore", (0.8, 1.5), 0.6, (0.6, 1.4), "swell", (200.0, 2000.0)),
    Scene("workshop", (2.5, 5.0), 1.0, (0.05, 0.15), "strike"),
)  # fmt: skip
"""The ten classes.

Railway and workshop differ in the beat only, hall and workshop in the reverberation only.
"""


def synthesise(scene: Scene, rng: np.random.Generator, duration_s: float) -> Audio:
    """Make one clip.

    Events of the scene and a few strange ones sound in a room, above a coloured noise; a random
    frequency response colours the whole, and its level is random.

    Args:
        scene: Its class.
        rng: Decides everything else.
        duration_s: Length in seconds.

    Returns:
        Samples (2, T) at 22,050 Hz, below full scale.
    """
    length = round(duration_s * SAMPLE_RATE)
    events = _track(scene, rng, length)
    # A second source, unless it would blur a steady beat.
    if scene.irregular > 0.1 and rng.random() < 0.5:
        events += rng.uniform(0.2, 0.6) * _track(scene, rng, length)
    strange = _level(_track(_strange(rng), rng, length), rng.uniform(0.1, 0.5))
    rt60_s, wet = rng.uniform(*scene.rt60_s), rng.uniform(0.5, 0.9)
    room = _reverberate(_level(events) + strange, rt60_s, wet, rng)
    noise = rng.standard_normal((2, length), dtype=np.float32)
    noise[1] += 0.6 * noise[0]
    above = 10 ** (rng.uniform(4, 14) / 20)
    clip = _colour(_level(room, above) + _level(_colour(noise, rng)), rng)
    clip = _level(clip, 10 ** (rng.uniform(-38, -18) / 20))
    return clip * min(1.0, 0.95 / float(np.abs(clip).max()))


def _strange(rng: np.random.Generator) -> Scene:
    """Return rare events of no class, which occur in clips of all classes."""
    shape = ("strike", "swell", "ramp")[int(rng.integers(3))]
    return Scene("strange", (0.3, 1.0), 1.0, (0.05, 0.6), shape, (200.0, 6000.0), (-0.5, 0.5))


def _track(scene: Scene, rng: np.random.Generator, length: int) -> Audio:
    """Return the events of one source, shape (2, length): a rough tone each, between two ears."""
    track = np.zeros((2, length), np.float32)
    low, high = np.log(scene.centre_hz)
    centre, roughness = np.exp(rng.uniform(low, high)), np.exp(rng.uniform(-4.6, -0.5))
    direction, spread = rng.uniform(-0.8, 0.8), rng.uniform(0, 0.3)
    glide, length_s = rng.uniform(*scene.glide_octaves), rng.uniform(*scene.length_s)
    for onset in _onsets(scene, rng, length / SAMPLE_RATE):
        count = int(length_s * np.exp(0.2 * rng.standard_normal()) * SAMPLE_RATE) + 8
        # A tone that glides around its centre, rough by the noise of its phase.
        course = 2 ** (glide * np.linspace(-0.5, 0.5, count, dtype=np.float32))
        frequency = centre * np.exp(0.08 * rng.standard_normal()) * course
        noise = roughness * rng.standard_normal(count, dtype=np.float32)
        phase = np.cumsum(2 * np.pi / SAMPLE_RATE * frequency + noise)
        tone = np.sin(phase + rng.uniform(0, 2 * np.pi))
        event = tone * _envelope(scene.shape, count) * np.exp(0.35 * rng.standard_normal())
        # Equal power between the two ears, from the left at 0 to the right at pi / 2.
        angle = (np.clip(direction + spread * rng.standard_normal(), -1, 1) + 1) * np.pi / 4
        start = int(onset * SAMPLE_RATE)
        part = event[max(0, -start) : max(0, min(count, length - start))]
        first = max(0, start)
        track[:, first : first + len(part)] += np.outer((np.cos(angle), np.sin(angle)), part)
    return track


def _onsets(scene: Scene, rng: np.random.Generator, duration_s: float) -> NDArray[np.float64]:
    """Return the times in seconds at which events begin; those that begin before 0 are cut."""
    rate_hz = rng.uniform(*scene.rate_hz)
    count = int(1.5 * (duration_s - _EARLIEST_S) * rate_hz) + 6
    gaps = (1 - scene.irregular + scene.irregular * rng.exponential(1.0, count)) / rate_hz
    onsets = _EARLIEST_S + np.cumsum(gaps) - gaps[0] * rng.uniform()
    size = int(rng.integers(scene.burst[0], scene.burst[1] + 1))
    if size > 1:
        onsets = (onsets[:, None] + rng.uniform(0.07, 0.11) * np.arange(size)).ravel()
    return onsets[onsets < duration_s]


def _envelope(shape: str, count: int) -> NDArray[np.floating]:
    position = np.arange(count, dtype=np.float32)
    share = position / count
    if shape == "strike":
        return np.exp(-5 * share) * np.minimum(1, position / 20)
    if shape == "swell":
        return 0.5 - 0.5 * np.cos(2 * np.pi * share)
    return share**2 * np.minimum(1, (count - position) / 40)


def _reverberate(signal: Audio, rt60_s: float, wet: float, rng: np.random.Generator) -> Audio:
    """Add a diffuse tail that falls by 60 dB in ``rt60_s`` seconds.

    ``wet`` is the root of the tail's energy as a share of the direct sound's.
    """
    count = int(min(rt60_s, _REVERB_LIMIT_S) * SAMPLE_RATE)
    decay = np.exp(-_LN_60_DB / (rt60_s * SAMPLE_RATE) * np.arange(count)).astype(np.float32)
    response = rng.standard_normal((2, count), dtype=np.float32) * decay
    response *= wet / np.sqrt(np.square(response).sum(axis=1, keepdims=True))
    size = scipy.fft.next_fast_len(signal.shape[1] + count, real=True)
    tail = scipy.fft.irfft(scipy.fft.rfft(signal, size) * scipy.fft.rfft(response, size), size)
    return signal + tail[:, : signal.shape[1]]


def _colour(signal: Audio, rng: np.random.Generator) -> Audio:
    """Filter a signal by a random slope and four random resonances or gaps."""
    octaves = np.linspace(-6, 4, 81)  # around 1 kHz
    response_db = rng.uniform(-5, 0) * octaves
    for _ in range(4):
        height_db = 5 * rng.standard_normal()
        distance = (octaves - rng.uniform(-4, 3.4)) / rng.uniform(0.3, 1.2)
        response_db += height_db * np.exp(-0.5 * distance**2)
    spectrum = scipy.fft.rfft(signal)
    frequencies_hz = np.arange(spectrum.shape[1]) * SAMPLE_RATE / signal.shape[1]
    places = np.log2(np.maximum(frequencies_hz, 1) / 1000)
    # Nothing is left below the lowest octave.
    gain = 10 ** (np.interp(places, octaves, response_db) / 20) * (places > octaves[0])
    return scipy.fft.irfft(spectrum * gain.astype(np.float32), signal.shape[1])


def _level(signal: Audio, target: float = 1.0) -> Audio:
    """Scale both channels alike to a root mean square; silence stays silent."""
    return signal * np.float32(target / max(float(rms(signal.ravel())), 1e-12))

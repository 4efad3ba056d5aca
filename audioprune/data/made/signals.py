"""Made signals: ``voice`` and ``tone`` give (T,) float32, ``spectra`` any shape.

They are no speech and no music, only loud, changing and never silent, so that every loss and
every metric has something to work on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
_SYLLABLES_HZ = 4.0
_DECAY_S = 1.5


def voice(length: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Return a buzz of harmonics with four swells a second, of root mean square 0.1."""
    time = np.arange(length) / sample_rate
    pitch_hz = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    harmonics = range(1, 20)
    buzz = sum(np.sin(number * phase + rng.uniform(0, 6)) / number for number in harmonics)
    swell = 0.05 + np.sin(np.pi * _SYLLABLES_HZ * time + rng.uniform(0, 3)) ** 2
    return _levelled(swell * (buzz + 0.1 * rng.standard_normal(length)), 0.1)


def noise(length: int, level: float, rng: np.random.Generator) -> Samples:
    """Return white noise of a root mean square."""
    return _levelled(rng.standard_normal(length), level)


def tone(length: int, sample_rate: int, pitch: int) -> Samples:
    """Return a note of a MIDI pitch that dies away."""
    time = np.arange(length) / sample_rate
    phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time
    signal = sum(np.sin(number * phase) / number for number in range(1, 6))
    return _levelled(np.exp(-time / _DECAY_S) * signal, 0.1)


def spectra(shape: tuple[int, ...], rng: np.random.Generator) -> Samples:
    """Return normalised features of a shape."""
    return rng.standard_normal(shape, dtype=np.float32)


def _levelled(signal: NDArray[np.float64], level: float) -> Samples:
    return (signal * (level / max(1e-9, float(np.sqrt(np.mean(signal**2)))))).astype(np.float32)

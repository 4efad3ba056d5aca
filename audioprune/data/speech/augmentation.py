"""What else may vary in a training mixture: speed, colour, a second noise, level.

``Augmentation`` holds the limits and changes signals (T,) by a generator that is given. Only
training items are augmented; validation and test never are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft

from audioprune.data.files.audio import Samples
from audioprune.errors import ConfigError

Rng = np.random.Generator
_LOWEST_HZ = 60.0
_BANDS = 9
"""Points of a random curve of gains, equally far apart in octaves."""
_SECOND_DB = (-10.0, 0.0)
"""Level of a second noise relative to the first."""


@dataclass(frozen=True)
class Augmentation:
    """Limits of what varies; the defaults change nothing.

    Attributes:
        equaliser_db: Largest gain or loss of a random smooth curve over the frequencies, drawn for
            speech and noise apart.
        speed: Slowest and fastest factor on the speed of speech; pitch and formants move with it.
            Half of the items keep their speed: what was resampled ends below half the sample
            rate, and a model that only met such speech would take the rest for noise.
        second_noise: Share of the items that get a second noise, up to 10 dB below the first.
        level_db: Largest random change of the level of a mixture.

    Raises:
        ConfigError: A limit is out of its range.
    """

    equaliser_db: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)
    second_noise: float = 0.0
    level_db: float = 0.0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("equaliser_db", self.equaliser_db, 24),
            ("second_noise", self.second_noise, 1),
            ("level_db", self.level_db, 40),
        ):
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ConfigError(
                    f"data.augment_{name}: expected a number from 0 to {most}, got {value}; "
                    f"correct it"
                )
        slow, fast = self.speed
        if not 0.5 <= slow <= fast <= 2:
            raise ConfigError(
                f"data.augment_speed: expected [slowest, fastest] from 0.5 to 2, got "
                f"{[slow, fast]}; use for instance [0.9, 1.1]"
            )

    @property
    def is_idle(self) -> bool:
        """Whether nothing varies."""
        return self == Augmentation()

    def draw_speed(self, rng: Rng) -> float:
        """Return the factor on the speed of one utterance."""
        slow, fast = self.speed
        kept = slow != fast and rng.random() < 0.5
        return 1.0 if kept else float(rng.uniform(slow, fast))

    def coloured(self, samples: NDArray[np.floating], sample_rate: int, rng: Rng) -> Samples:
        """Return a signal behind a random curve of gains; its level may change."""
        if not self.equaliser_db:
            return np.asarray(samples, dtype=np.float32)
        return curved(samples, sample_rate, self.equaliser_db, rng).astype(np.float32)

    def wants_second(self, rng: Rng) -> bool:
        """Tell whether an item gets a second noise."""
        return bool(rng.random() < self.second_noise)

    def gain(self, rng: Rng) -> float:
        """Return the factor on the level of a mixture."""
        return float(10 ** (rng.uniform(-self.level_db, self.level_db) / 20))


def joined(first: NDArray[np.floating], second: NDArray[np.floating], rng: Rng) -> Samples:
    """Return the sum of two noises (T,), the second up to 10 dB below the first."""
    levels = [max(1e-9, float(np.sqrt(np.mean(np.square(each))))) for each in (first, second)]
    gain = 10 ** (rng.uniform(*_SECOND_DB) / 20) * levels[0] / levels[1]
    return (first + gain * second).astype(np.float32)


def faster(samples: Samples, speed: float, length: int) -> Samples:
    """Play a signal at another speed and return its first ``length`` samples.

    A signal that ends before is followed by zeros, which are one or two samples at most where it
    holds ``length * speed`` samples.
    """
    if speed == 1.0:
        return samples[:length]
    played = soxr.resample(samples, speed, 1.0, quality="HQ")[:length]
    return np.pad(played, (0, length - len(played)))


def curved(
    samples: NDArray[np.floating], sample_rate: int, most_db: float, rng: Rng
) -> NDArray[np.floating]:
    """Filter a signal (T,) by a random smooth curve of gains between two limits in dB.

    Args:
        samples: Shape (T,).
        sample_rate: In Hz.
        most_db: Largest gain and largest loss in dB.
        rng: Source of the curve: a tilt, and a gain in each of nine bands.
    """
    octaves = np.linspace(np.log2(_LOWEST_HZ), np.log2(sample_rate / 2), _BANDS)
    tilt = rng.uniform(-0.5, 0.5) * np.linspace(-1, 1, _BANDS)
    gains_db = most_db * (tilt + rng.uniform(-0.5, 0.5, _BANDS))
    size = fft.next_fast_len(len(samples), real=True)
    hz = fft.rfftfreq(size, 1 / sample_rate)
    curve = np.interp(np.log2(np.maximum(hz, 1.0)), octaves, gains_db).astype(samples.dtype)
    spectrum = fft.rfft(samples, n=size) * 10 ** (curve / 20)
    return fft.irfft(spectrum, n=size)[: len(samples)]

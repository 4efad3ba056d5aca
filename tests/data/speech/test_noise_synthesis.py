"""Artificial noises differ, and sound the same for one seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from audioprune.data.speech.noise_synthesis import (
    NOISES,
    babble,
    cafeteria,
    clatter,
    coloured,
    levelled,
    reverberated,
)
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE, draw_voice, speak


@pytest.fixture(scope="module")
def streams() -> list[np.ndarray]:
    made = []
    for number in range(6):
        rng = np.random.default_rng(number)
        made.append(speak(draw_voice(rng), rng.uniform(1.5, 2.5), rng))
    return made


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_is_finite_audible_and_repeatable(name: str) -> None:
    first, second = (levelled(NOISES[name](2.0, np.random.default_rng(3))) for _ in range(2))
    assert (
        first.shape == (2 * SAMPLE_RATE,)
        and first.dtype == np.float32
        and np.isfinite(first).all()
    )
    assert np.abs(first).max() <= 0.951 and first.std() > 0.002
    assert np.array_equal(first, second) and not np.array_equal(
        first, levelled(NOISES[name](2.0, np.random.default_rng(4)))
    )


@pytest.mark.parametrize("slope_db", [-6, -3, 0, 3])
def test_coloured_noise_has_its_slope(slope_db: float) -> None:
    hz, power = signal.welch(
        coloured(slope_db)(20.0, np.random.default_rng(0)), SAMPLE_RATE, nperseg=2048
    )
    chosen = (hz > 100) & (hz < 4000)
    slope = np.polyfit(np.log2(hz[chosen]), 10 * np.log10(power[chosen]), 1)[0]
    assert slope == pytest.approx(slope_db, abs=0.2)


def test_voices_in_a_room(streams: list[np.ndarray]) -> None:
    for make in (babble, cafeteria):
        noise, again = (make(streams, 3.0, np.random.default_rng(1)) for _ in range(2))
        assert (
            noise.shape == (3 * SAMPLE_RATE,)
            and np.isfinite(noise).all()
            and np.array_equal(noise, again)
        )
    crowd = babble(streams, 6.0, np.random.default_rng(1))
    one, two = crowd[: 3 * SAMPLE_RATE], crowd[3 * SAMPLE_RATE :]
    assert (
        abs(np.corrcoef(one, two)[0, 1]) < 0.5
    )  # streams of different lengths do not repeat together


def test_clatter_is_impulsive() -> None:
    wave = clatter(4.0, np.random.default_rng(2))
    assert np.abs(wave).max() > 6 * wave.std()


def test_room_decays_as_asked() -> None:
    click = np.zeros(SAMPLE_RATE)
    click[0] = 1.0
    answer = reverberated(click, 0.5, 1.0, np.random.default_rng(0))
    energy = np.cumsum(answer[1:][::-1] ** 2)[::-1]
    decay_db = 10 * np.log10(energy / energy[0])
    quarter = int(np.argmax(decay_db < -25))
    assert quarter / SAMPLE_RATE == pytest.approx(25 / 60 * 0.5, rel=0.1)
    assert answer[0] == pytest.approx(1.0, abs=0.3) and np.sum(answer[1:] ** 2) == pytest.approx(
        1.0, rel=0.1
    )

"""The pitch of a note, against signals whose pitch is known."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.report.page.pitch import pitch_hz


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("hz", [55.0, 233.08, 880.0, 1760.0])
def test_the_pitch_of_a_harmonic_sound_is_its_fundamental(rate: int, hz: float) -> None:
    time = np.arange(rate) / rate
    harmonics = [np.sin(2 * np.pi * k * hz * time + k) / k for k in range(1, 5) if k * hz < 7000]
    signal = np.exp(-2 * time) * sum(harmonics)
    assert pitch_hz(signal, rate) == pytest.approx(hz, rel=3e-3)


def test_it_is_the_pitch_of_the_loudest_part() -> None:
    time = np.arange(16000) / 16000
    quiet, loud = 0.1 * np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 330 * time)
    assert pitch_hz(np.concatenate([quiet, loud]), 16000) == pytest.approx(330, rel=1e-3)


@pytest.mark.parametrize(
    "signal", [np.zeros(8000), np.zeros(0), np.random.default_rng(0).standard_normal(8000)]
)
def test_silence_and_noise_have_none(signal: np.ndarray) -> None:
    assert pitch_hz(signal, 16000) is None

"""K-weighted loudness against the values of the recommendation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audioprune.errors import ConfigError, DataError
from audioprune.listening.loudness import SAMPLE_RATE, k_weighted, loudness_lufs


def _sine(hertz: float, seconds: float = 3.0, level_db: float = 0.0) -> np.ndarray:
    return 10 ** (level_db / 20) * np.sin(
        2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    )


def test_full_scale_sine_of_997_hz() -> None:
    # BS.1770: a 0 dB FS sine of 997 Hz in one front channel reads -3.01 LKFS.
    assert loudness_lufs(_sine(997)) == pytest.approx(-3.01, abs=0.01)
    assert loudness_lufs(_sine(997, level_db=-20)) == pytest.approx(-23.01, abs=0.01)


def test_gain_moves_loudness_by_as_many_decibels() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    assert loudness_lufs(noise * 10 ** (-6 / 20)) == pytest.approx(
        loudness_lufs(noise) - 6, abs=1e-6
    )


def test_weighting_takes_lows_and_lifts_highs() -> None:
    def gain_db(hertz: float) -> float:
        return 20 * math.log10(
            np.std(k_weighted(_sine(hertz))[SAMPLE_RATE:]) / np.std(_sine(hertz))
        )

    assert gain_db(997) == pytest.approx(0.69, abs=0.01)  # what the offset of -0.691 takes back
    assert gain_db(10000) == pytest.approx(4.0, abs=0.1) and gain_db(38) == pytest.approx(
        -6.0, abs=0.3
    )


def test_silence_between_speech_is_gated() -> None:
    # 3 s of tone and 3 s of silence: only the blocks within the tone, and those that overlap it
    # enough, count.
    tone = _sine(997, level_db=-20)
    with_pause = np.concatenate([tone, np.zeros(3 * SAMPLE_RATE)])
    assert loudness_lufs(with_pause) == pytest.approx(loudness_lufs(tone), abs=0.25)
    quiet = np.concatenate(
        [tone, _sine(997, level_db=-35)]
    )  # 15 dB below: under the relative gate
    assert loudness_lufs(quiet) == pytest.approx(loudness_lufs(tone), abs=0.25)


def test_silence_has_no_loudness() -> None:
    assert loudness_lufs(np.zeros(SAMPLE_RATE)) == -math.inf
    assert loudness_lufs(1e-5 * _sine(997)) == -math.inf


def test_short_signal_is_one_block() -> None:
    assert loudness_lufs(_sine(997, seconds=0.2)) == pytest.approx(-3.01, abs=0.1)


def test_wrong_signals_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected 48000 Hz"):
        loudness_lufs(np.zeros(10), 16000)
    for wrong in (np.zeros(0), np.zeros((2, 5)), np.array([np.nan])):
        with pytest.raises(DataError, match="expected finite mono samples"):
            loudness_lufs(wrong)

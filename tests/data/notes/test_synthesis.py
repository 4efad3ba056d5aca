"""Artificial instruments: in tune, louder and brighter with velocity, different, then silent."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.data.notes.synthesis import FAMILIES, SAMPLE_RATE, draw_voice, frequency_of, play


def _note(
    family: str, pitch: int, velocity: int = 100, voice: int = 0, duration_s: float = 1.0
) -> np.ndarray:
    drawn = draw_voice(family, np.random.default_rng(voice), 40, 84)
    return play(drawn, pitch, velocity, duration_s, np.random.default_rng([pitch, velocity]))


def _frequency(note: np.ndarray, guess: float) -> float:
    spectrum = np.abs(np.fft.rfft(note[2000:10192] * np.hanning(8192), 1 << 17))
    frequencies = np.arange(len(spectrum)) * SAMPLE_RATE / (1 << 17)
    near = (frequencies > 0.95 * guess) & (frequencies < 1.05 * guess)
    return float(frequencies[near][spectrum[near].argmax()])


def _centroid(note: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(note[:8000])) ** 2
    return float((power * np.arange(len(power))).sum() / power.sum())


@pytest.mark.parametrize("family", FAMILIES)
def test_notes_are_in_tune(family: str) -> None:
    for pitch in (45, 60, 79):
        for voice in range(3):
            wanted = frequency_of(pitch)
            assert (
                abs(1200 * np.log2(_frequency(_note(family, pitch, voice=voice), wanted) / wanted))
                < 10
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_velocity_makes_notes_louder_and_brighter(family: str) -> None:
    soft, loud = _note(family, 55, 25), _note(family, 55, 127)
    assert (
        np.abs(loud).max() == pytest.approx(0.8, abs=0.01)
        and np.abs(loud).max() > 4 * np.abs(soft).max()
    )
    assert (
        _centroid(loud) > _centroid(soft)
        and loud.shape == (SAMPLE_RATE,)
        and loud.dtype == np.float32
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_notes_end_in_silence_and_follow_from_their_numbers(family: str) -> None:
    note = _note(family, 60)
    assert np.abs(note[-100:]).max() < 0.05 * np.abs(note).max() and abs(float(note.mean())) < 0.01
    assert np.array_equal(note, _note(family, 60)) and not np.array_equal(
        note, _note(family, 60, voice=1)
    )


def test_families_decay_as_they_should() -> None:
    def later(family: str) -> float:
        note = _note(family, 67)
        return float(np.square(note[10000:11000]).mean() / np.square(note[2000:3000]).mean())

    assert (
        later("organ") > 0.5
        and later("flute") > 0.5
        and later("guitar") < 0.3
        and later("mallet") < 0.5
    )

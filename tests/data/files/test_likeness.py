"""Copies at other levels and rates are found; other takes and pieces are not."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from speech_trees import RATE, tone

from audioprune.data.files.likeness import _decode_all, alike, likeness_of
from audioprune.dsp import resample


def _noise(seconds: float, seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def _at(samples: np.ndarray, rate: int) -> np.ndarray:
    return resample(samples.astype(np.float32), RATE, rate)


def _are_alike(first: tuple[np.ndarray, int], second: tuple[np.ndarray, int]) -> bool:
    prints = [likeness_of(*first), likeness_of(*second)]
    return list(alike(prints, [len(samples) / rate for samples, rate in (first, second)])) == [
        (0, 1)
    ]


@pytest.mark.parametrize("make", [_noise, tone])
@pytest.mark.parametrize("seconds", [0.5, 3.0, 7.5])
def test_copies_at_other_rates_and_levels(make, seconds: float) -> None:
    samples = make(seconds, 1)
    for rate in (8000, 11025, 22050, 44100, 48000):
        assert _are_alike((samples, RATE), (_at(samples, rate), rate))
    quiet = np.round(0.03 * samples * 32768) / 32768
    assert _are_alike((samples, RATE), (quiet, RATE)) and _are_alike(
        (quiet, RATE), (_at(samples, 44100), 44100)
    )
    assert not _are_alike((samples, RATE), (make(seconds, 2), RATE))


def test_pieces_of_one_noise_are_not_copies() -> None:
    steady = _noise(8.0, 3)
    assert not _are_alike((steady[:48000], RATE), (steady[64000:112000], RATE))
    times = np.arange(3 * RATE) / RATE
    notes = [
        (0.5 * np.sin(2 * np.pi * 440 * times + phase) * np.exp(-times), RATE)
        for phase in (0.0, 1.0)
    ]
    assert likeness_of(*notes[0]) and not _are_alike((steady[: 3 * RATE], RATE), notes[0])


def test_steady_tones_are_not_copies_of_one_another() -> None:
    times = np.arange(2 * RATE) / RATE
    chord = [
        sum(
            np.sin(2 * np.pi * f * times + phase * f)
            for f in (150, 250, 390, 500, 700, 1000, 1300, 2000, 2500)
        )
        for phase in (0, 1)
    ]
    assert not _are_alike((0.05 * chord[0], RATE), (0.05 * chord[1], RATE))


def test_what_cannot_be_compared_has_no_fingerprint() -> None:
    assert (
        likeness_of(_noise(0.35, 1), RATE)
        == likeness_of(np.zeros(RATE), RATE)
        == likeness_of(_noise(1.0, 1), 4000)
        == ""
    )
    assert list(alike(["", ""], [1.0, 1.0])) == [] and list(alike([], [])) == []
    long = _noise(9.0, 4)
    assert (
        likeness_of(long, RATE)
        == likeness_of(long[: 6 * RATE], RATE)
        == likeness_of(long.copy(), RATE)
    )


def test_each_pair_is_found_once_among_many() -> None:
    sounds = [_noise(1.0, seed) for seed in range(30)] + [
        0.5 * _noise(1.0, 7),
        0.2 * _noise(1.0, 7),
    ]
    found = set(alike([likeness_of(samples, RATE) for samples in sounds], [1.0] * 32))
    assert found == {(7, 30), (7, 31), (30, 31)}


def test_many_at_once_find_what_each_pair_by_itself_says() -> None:
    rng = np.random.default_rng(4)
    prints, seconds = [""], [1.0]
    for number in range(20):
        length = 0.5 + 0.1 * (number % 3)
        samples = tone(length, number) if number % 2 else _noise(length, number)
        for copy in range(1 + (number % 4 == 0)):
            faint = 1e-4 * rng.standard_normal(len(samples))
            prints.append(likeness_of((samples + faint) * 0.5**copy, RATE))
            seconds.append(length)
    expected = []
    for second in range(len(prints)):
        for first in range(second):
            if list(alike([prints[first], prints[second]], [seconds[first], seconds[second]])):
                expected.append((first, second))
    assert len(expected) >= 5 and list(alike(prints, seconds)) == expected


def test_fingerprints_are_decoded_as_they_were_written() -> None:
    texts = [likeness_of(_noise(seconds, 1), RATE) for seconds in (0.4, 0.5, 0.6, 0.7, 0.4)]
    levels, frames = _decode_all(texts)
    for text, envelope, count in zip(texts, levels, frames, strict=True):
        stored = np.frombuffer(base64.b85decode(text), np.uint8)
        assert np.array_equal(np.round(envelope[:count] / 0.2).ravel(), stored)
        assert not envelope[count:].any()

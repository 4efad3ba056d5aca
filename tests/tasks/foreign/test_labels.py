"""Scores by labels against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.models.zoo.crepe import CENTS_APART, LOWEST_CENTS, Crepe
from audioprune.tasks.foreign.labels import cents_of, equal_error_rate, judge_of


def _around(cents: float) -> torch.Tensor:
    """Return probabilities (360,) around a pitch, as CREPE is trained to give them."""
    places = LOWEST_CENTS + CENTS_APART * torch.arange(360)
    return torch.exp(-((places - cents) ** 2) / (2 * 25**2))


def test_a_pitch_is_read_to_a_few_cents() -> None:
    cents = torch.tensor([2500.0, 4007.0, 6333.3])
    found = cents_of(torch.stack([_around(float(each)) for each in cents]))
    assert torch.allclose(found, cents, atol=2)


def test_notes_are_scored_where_they_sound() -> None:
    judge = judge_of("pitch", 16000)
    assert judge is not None and judge.result() == {}
    time = torch.arange(16000) / 16000
    audio = torch.sin(2 * torch.pi * 440 * time)
    audio[8000:] = 0  # silence, whose frames count nowhere
    cents = 1200 * math.log2(44)
    right, wrong = _around(cents + 30), _around(cents + 80)
    output = torch.stack([right] * 40 + [wrong] * 61)
    judge.add({"audio": audio, "pitch": 69}, output, 100.0)
    judge.add({"audio": audio}, output, 100.0)  # without a label
    score = judge.result()["pitch_within_50_cents"]
    sounding = sum(range(1)) + 53  # frames centred before 8000 + 512 samples that hold enough
    assert score == pytest.approx(40 / sounding, abs=0.02)


def test_speech_is_scored_in_speech_and_in_pauses_alike() -> None:
    judge = judge_of("speech", 16000)
    assert judge is not None and judge.result() == {}
    clean = torch.cat((torch.ones(512 * 6), torch.zeros(512 * 2), torch.ones(100)))
    told = torch.tensor([[0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1]])
    judge.add({"clean": clean}, told, 31.25)
    judge.add({"audio": clean}, told, 31.25)
    assert judge.result() == {"speech_accuracy": 0.5}


def test_equal_error_rate() -> None:
    likeness = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert equal_error_rate(likeness, np.array([1, 1, 1, 0, 0, 0], bool)) == 0
    assert equal_error_rate(likeness, np.array([0, 0, 0, 1, 1, 1], bool)) == 1
    third = equal_error_rate(likeness, np.array([1, 1, 0, 1, 0, 0], bool))
    assert third == pytest.approx(1 / 3)
    assert equal_error_rate(np.ones(4), np.array([1, 0, 1, 0], bool)) == 0.5  # no order is known


def test_speakers_are_told_apart_by_all_pairs() -> None:
    judge = judge_of("speaker", 16000)
    assert judge is not None
    for speaker, place in (("a", 0), ("a", 0), ("b", 1), ("b", 1), ("", 0)):
        judge.add({"speaker": speaker}, torch.eye(3)[place].repeat(2, 1), 100.0)
    assert judge.result() == {"equal_error_rate": 0.0}
    alone = judge_of("speaker", 16000)
    assert alone is not None and alone.result() == {}
    alone.add({"speaker": "a"}, torch.eye(3)[:1], 100.0)
    assert alone.result() == {}
    assert judge_of(None, 16000) is None
    with pytest.raises(ConfigError, match="unknown task.labels 'pich'; closest: pitch"):
        judge_of("pich", 16000)


def test_labels_meet_the_frames_of_the_networks() -> None:
    audio = torch.zeros(1, 3200)
    model = Crepe(size="tiny").eval()
    assert len(model.front_end(audio)) == 3200 * model.frames_per_second / 16000 + 1

"""Folders of audio become sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.splits.sources import Source, refuse_leaks, share_noise, speech_size
from audioprune.errors import DataError


def _source(
    name: str, split: str = "train", seconds: float = 10.0, speaker: str = "fan"
) -> Source:
    return Source(Path(name), name, split, speaker, name, seconds, 0.1)


def test_validation_shares_the_training_noises() -> None:
    shared, notes = share_noise([_source("a"), _source("b", seconds=2.0), _source("t", "test")])
    assert [(s.relative, s.split) for s in shared] == [
        ("a", "train"),
        ("b", "train"),
        ("t", "test"),
        ("a", "valid"),
        ("b", "valid"),
    ]
    assert "other excerpts of the 2 training files" in notes[0]
    given = [_source("a"), _source("v", "valid")]
    assert share_noise(given) == (given, [])


def test_a_file_in_training_and_test_is_refused() -> None:
    with pytest.raises(DataError, match="got a in both"):
        refuse_leaks([], [_source("a", "train"), _source("a", "valid"), _source("a", "test")])
    assert refuse_leaks([], [_source("a", "train"), _source("a", "valid")]) == []


def test_amount() -> None:
    assert speech_size("x", [_source("a", seconds=840.0)], "auto") == "x, 14 min, 1 speaker"
    assert (
        speech_size(
            "x", [_source("a", seconds=9.0), _source("b", seconds=9.0, speaker="b")], "file"
        )
        == "x, 18 s, 2 files"
    )
    assert speech_size("x", [_source("a", seconds=36000.0)], "auto") == "x, 10.0 h, 1 speaker"

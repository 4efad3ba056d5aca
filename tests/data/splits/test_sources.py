"""Folders of audio become sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from speech_trees import noise_tree, speech_tree

from audioprune.data.splits.corpus_folder import audio_below
from audioprune.data.splits.sources import Source, refuse_leaks, share_noise, speech_size
from audioprune.errors import DataError


def _source(
    name: str, split: str = "train", seconds: float = 10.0, speaker: str = "fan"
) -> Source:
    return Source(Path(name), name, split, speaker, name, seconds, 0.1)


def test_wrong_levels_are_recognised(tmp_path: Path) -> None:
    speech_tree(tmp_path / "corpus" / "speech")
    noise_tree(tmp_path / "corpus" / "noise", 1.0)
    for folder, message in {
        tmp_path / "corpus": f"point to {tmp_path / 'corpus' / 'speech'}",
        tmp_path / "corpus" / "speech" / "train": f"point to {tmp_path / 'corpus' / 'speech'}",
        tmp_path / "corpus" / "none" / "deep": f"{tmp_path / 'corpus'} holds noise/, speech/",
        tmp_path
        / "corpus"
        / "speech"
        / "train"
        / "train0"
        / "train0_0.wav": "found a file; give the folder",
    }.items():
        with pytest.raises(DataError, match="expected speech files in") as error:
            audio_below(folder, "speech")
        assert message in str(error.value) and "\n" not in str(error.value)
    assert len(audio_below(tmp_path / "corpus" / "speech", "speech")) == 24
    assert len(audio_below(tmp_path / "corpus" / "noise" / "train", "noise", part=True)) == 3


def test_a_folder_above_the_speakers_is_refused(tmp_path: Path) -> None:
    speech_tree(tmp_path / "VCTK" / "wav48", splits=())
    (tmp_path / "VCTK" / "txt").mkdir()
    (tmp_path / "VCTK" / "txt" / "a.txt").write_text("words")
    with pytest.raises(DataError, match="wav48"):
        audio_below(tmp_path / "VCTK", "speech")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="an empty folder without any audio"):
        audio_below(empty, "speech")


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

"""Wrong folders are recognised."""

from __future__ import annotations

from pathlib import Path

import pytest
from speech_trees import noise_tree, speech_tree

from audioprune.data.splits.corpus_folder import audio_below
from audioprune.errors import DataError


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

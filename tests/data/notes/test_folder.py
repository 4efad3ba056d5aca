"""A user's own folder of notes: layouts, unreadable names, official splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from note_trees import write_tone

from audioprune.data.notes.folder import list_folder, note_folder
from audioprune.errors import ConfigError, DataError


def test_folders_name_instruments_and_families(tmp_path: Path) -> None:
    for place in (
        "keys/piano/C4_pp.wav",
        "keys/piano/060.wav",
        "strings/viola/viola_D#4_f.flac",
        "strings/viola/noise.wav",
    ):
        write_tone(tmp_path / place, 60)
    listed = list_folder(tmp_path)
    found = [
        (note.family, note.instrument, note.pitch, note.velocity, note.id) for note in listed.notes
    ]
    assert found == [
        ("keys", "piano", 60, 100, "keys__piano__060"),
        ("keys", "piano", 60, 25, "keys__piano__C4_pp"),
        ("strings", "viola", 63, 100, "strings__viola__viola_D#4_f"),
    ]
    assert listed.families == ("keys", "strings") and listed.remarks == (
        "1 of 4 files say no pitch and are not used: strings/viola/noise.wav names no pitch",
        "1 of 3 notes say no velocity and count as 100",
    )


def test_a_flat_folder_names_instruments_before_the_pitch(tmp_path: Path) -> None:
    for name in ("piano_C4", "piano_C5", "flute-C4", "C2"):
        write_tone(tmp_path / f"{name}.wav", 60)
    assert {note.instrument for note in list_folder(tmp_path).notes} == {
        "piano",
        "flute",
        "unknown",
    }
    assert {note.pitch for note in list_folder(tmp_path, middle_c=3).notes} == {72, 84, 48}


def test_split_folders_are_the_official_split(tmp_path: Path) -> None:
    for split, pitch in (("train", "C4"), ("valid", "D4"), ("test", "E4")):
        write_tone(
            tmp_path / split / "flute" / f"{pitch}.wav", len(split), level=0.1 + 0.1 * len(pitch)
        )
    corpus = note_folder(
        tmp_path, split="official", cache_dir=str(tmp_path / "cache"), duration_s=0.05
    )
    assert [
        corpus.train()[0]["pitch"],
        corpus.valid()[0]["pitch"],
        corpus.tests()["test"][0]["pitch"],
    ] == [60, 62, 64]
    assert (
        corpus.instruments == ("flute",)
        and corpus.scale() == "note_folder, 1 notes of 0.05 s, 1 instrument"
    )


def test_folders_without_pitches_are_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "drums" / "kick.wav", 60)
    write_tone(tmp_path / "bells" / "ding.wav", 60)
    with pytest.raises(
        DataError,
        match="expected pitches in file names, such as C#4, p060 or 060, found none; the first "
        "bells/ding.wav",
    ):
        list_folder(tmp_path)
    with pytest.raises(DataError, match="found no such folder"):
        list_folder(tmp_path / "none")
    with pytest.raises(ConfigError, match="expected middle_c as 3, 4 or 5, got 2"):
        note_folder(tmp_path, middle_c=2)

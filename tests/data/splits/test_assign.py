"""Who gets which split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from split_files import places_of, write_files

from audioprune.data.splits.assign import Assigned, assign_speech, refuse_shared
from audioprune.data.splits.shares import share_out
from audioprune.data.splits.split_list import read_split_list
from audioprune.errors import ConfigError, DataError


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    files = write_files(
        tmp_path,
        "train/a/1.wav",
        "train/b/1.wav",
        "dev/c/1.wav",
        "test/d_1.wav",
        "extra/e/1.wav",
        "loose.wav",
    )
    assigned, notes = assign_speech(tmp_path, files)
    assert places_of(assigned, tmp_path) == {
        "train/a/1.wav": ("train", "a"),
        "train/b/1.wav": ("train", "b"),
        "dev/c/1.wav": ("valid", "c"),
        "test/d_1.wav": ("test", "d"),
    }
    assert notes == [
        "not used, since they are not in a folder train, valid or test: extra, loose.wav"
    ]


def test_without_valid_folder_training_speakers_are_set_aside(tmp_path: Path) -> None:
    files = write_files(
        tmp_path, *(f"train/s{number}/1.wav" for number in range(18)), "test/t/1.wav"
    )
    assigned, notes = assign_speech(tmp_path, files)
    assert Counter(entry.split for entry in assigned) == {"train": 16, "valid": 2, "test": 1}
    assert "2 of 18 training speakers" in notes[0]
    chosen, _ = assign_speech(tmp_path, files, valid_speakers=["s3", "s4"])
    assert {entry.group for entry in chosen if entry.split == "valid"} == {"s3", "s4"}
    with pytest.raises(DataError, match="valid_speakers"):
        assign_speech(tmp_path, files, valid_speakers=["s99"])


def test_shares_are_exact_deterministic_and_disjoint(tmp_path: Path) -> None:
    files = write_files(
        tmp_path, *(f"s{number:02d}/{take}.wav" for number in range(20) for take in range(2))
    )
    assigned, _ = assign_speech(tmp_path, files, fractions=(0.7, 0.1, 0.2), seed=3)
    speakers = {
        split: {entry.group for entry in assigned if entry.split == split}
        for split in ("train", "valid", "test")
    }
    assert [len(names) for names in speakers.values()] == [14, 2, 4] and len(
        set.union(*speakers.values())
    ) == 20
    assert assigned == assign_speech(tmp_path, files, fractions=(0.7, 0.1, 0.2), seed=3)[0]
    assert assigned != assign_speech(tmp_path, files, fractions=(0.7, 0.1, 0.2), seed=4)[0]
    assert Counter(share_out(("a", "b", "c"), (0.98, 0.01, 0.01), 0, "x").values()) == {
        "train": 1,
        "valid": 1,
        "test": 1,
    }
    assert Counter(share_out(("a", "b", "c"), (0.01, 0.01, 0.98), 0, "x").values()) == {
        "train": 1,
        "valid": 1,
        "test": 1,
    }


def test_too_few_speakers_and_bad_shares_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="expected at least 3 speakers .* found 1 .p287.*speaker_from=file"
    ):
        assign_speech(tmp_path, write_files(tmp_path, "p287_1.wav", "p287_2.wav"))
    for fractions in ((0.5, 0.5), (0.8, 0.1, 0.2), (1.0, 0.0, 0.0)):
        with pytest.raises(ConfigError, match="add up to 1"):
            share_out(("a", "b", "c"), fractions, 0, "x")


def test_a_speaker_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="speaker 'a' in train .* and test") as error:
        assign_speech(
            tmp_path, write_files(tmp_path, "train/a/1.wav", "valid/b/1.wav", "test/a/2.wav")
        )
    assert "1.wav" in str(error.value) and "2.wav" in str(error.value)
    refuse_shared(
        [Assigned(Path("x"), "train", "a"), Assigned(Path("y"), "train", "a")], "speaker"
    )


def test_missing_list_and_missing_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a list of splits"):
        read_split_list(tmp_path / "none.csv", tmp_path)
    with pytest.raises(DataError, match="expected folders train, valid and test"):
        assign_speech(tmp_path, write_files(tmp_path, "a/1.wav"), split="folders")


def test_training_speakers_are_lent_to_validation() -> None:
    from audioprune.data.splits.assign import lend_speakers

    assigned = [
        Assigned(Path(f"{s}_{n}"), "train", f"s{s}") for s in range(10) for n in range(2)
    ] + [Assigned(Path("v"), "valid", "v")]
    lent, notes = lend_speakers(assigned, 0.15, 0)
    moved = {entry.group for entry in lent if entry.split == "valid"} - {"v"}
    assert len(moved) == 2 and "2 of 10 training speakers" in notes[0]
    assert not moved & {entry.group for entry in lent if entry.split == "train"}
    assert lend_speakers(assigned, 0.15, 0) == (lent, notes) and lend_speakers(
        assigned, 0.0, 0
    ) == (assigned, [])
    assert (
        len(
            {
                entry.group
                for entry in lend_speakers(assigned, 0.99, 0)[0]
                if entry.split == "train"
            }
        )
        == 1
    )
    with pytest.raises(ConfigError, match="valid_share"):
        lend_speakers(assigned, 1.0, 0)

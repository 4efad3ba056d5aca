"""Splits that a user wrote down."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from split_files import places_of, write_files

from audioprune.data.splits.assign import assign_speech
from audioprune.data.splits.split_list import read_split_list
from audioprune.errors import DataError


def test_list_by_file_with_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    root = tmp_path / "corpus" / "speech"
    files = write_files(root, "train/a/1.wav", "train/b/1.wav", "train/c/1.wav", "train/d/1.wav")
    listed = tmp_path / "corpus" / "speech.csv"
    rows = [
        "split,speaker,path",
        "train,a,corpus/speech/train/a/1.wav",
        "dev,b,train/b/1.wav",
        "test,c,speech/train/c/1.wav",
    ]
    rows += ["test,z,gone.wav", "train,a,train/a/1.wav"]
    listed.write_bytes("\ufeff".encode() + "\r\n".join(rows).encode())
    assigned, notes = assign_speech(root, files, split=listed)
    assert places_of(assigned, root) == {
        "train/a/1.wav": ("train", "a"),
        "train/b/1.wav": ("valid", "b"),
        "train/c/1.wav": ("test", "c"),
    }
    assert (
        "1 rows name files that do not exist: gone.wav" in notes[0]
        and "does not name 1 files" in notes[1]
    )


def test_list_by_speaker_as_text_and_mapping(tmp_path: Path) -> None:
    files = write_files(tmp_path, "a/1.wav", "b/1.wav", "c/1.wav")
    listed = tmp_path / "split.txt"
    listed.write_text("# mine\ntrain a\nvalid b\n\ntest c\ntest nobody\n")
    assigned, notes = assign_speech(tmp_path, files, split=str(listed))
    assert (
        assigned
        == assign_speech(tmp_path, files, split={"train": ["a"], "valid": ["b"], "test": ["c"]})[0]
    )
    assert "1 speakers have no file: nobody" in notes[0]


def test_lists_of_names_by_speaker_and_by_file(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    files = write_files(
        tmp_path / "x", f"{composed}/1.wav", f"{apart}/2.wav", "b/sp1_take1.5.wav", "c/1.wav"
    )
    (tmp_path / "lists").mkdir()
    for split, name in (("train", apart), ("valid", "sp1_take1.5"), ("test", "c")):
        (tmp_path / "lists" / f"{split}.txt").write_text(f"{name}\n", encoding="utf-8")
    split = {name: tmp_path / "lists" / f"{name}.txt" for name in ("train", "valid", "test")}
    assigned, notes = assign_speech(tmp_path / "x", files, split=split)
    assert [(entry.split, entry.group) for entry in assigned] == [("train", composed)] * 2 + [
        ("valid", "b"),
        ("test", "c"),
    ]
    assert (
        assign_speech(tmp_path / "x", files, split=tmp_path / "lists") == (assigned, notes)
        and notes == []
    )
    table = tmp_path / "split.csv"
    table.write_text(
        f"split;filename\ntrain;{composed}/1\ntrain;{composed}/2\nvalid;b/sp1_take1.5\ntest;c/1.wav\n",
        encoding="utf-8",
    )
    files = write_files(
        tmp_path / "y", f"{apart}/1.wav", f"{apart}/2.wav", "b/sp1_take1.5.wav", "c/1.wav"
    )
    assert [entry.split for entry in assign_speech(tmp_path / "y", files, split=table)[0]] == [
        "train",
        "train",
        "valid",
        "test",
    ]
    with pytest.raises(DataError, match="expected lists train.txt, valid.txt and test.txt"):
        read_split_list(tmp_path / "y", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split,speaker\ntrian,a\n", "unknown split 'trian'; closest: train"),
        (
            "split,speaker\ntrain,a\ntest,a\n",
            "expected speaker 'a' in one split, got train and test",
        ),
        ("split,path\ntrain,a/1.wav\ntest,a/1.wav\n", "expected file a/1.wav in one split"),
        ("name,part\na,train\n", "expected the columns split and speaker or path"),
        ("train a b\n", "expected lines 'split speaker', got train a b"),
        ("", "got nothing"),
        ("train a\ntest b\n", "got none for valid"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    files = write_files(tmp_path, "a/1.wav", "b/1.wav", "c/1.wav")
    listed = tmp_path / "list.csv"
    listed.write_text(text)
    with pytest.raises(DataError, match=message):
        assign_speech(tmp_path, files, split=listed)

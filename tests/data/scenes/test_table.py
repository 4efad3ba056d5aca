from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from scene_trees import write_clip

from audioprune.data.scenes.corpora import ClassFolder
from audioprune.data.scenes.lists import list_classes
from audioprune.data.scenes.table import list_table
from audioprune.errors import DataError

ROWS = [
    "audio/clip0.wav;café/bar;train",
    "audio/clip1.wav;park;train",
    "audio/clip2.wav;café/bar;train",
    "audio/clip3.wav;park;train",
    "audio/clip4.wav;café/bar;test",
    "audio/clip5.wav;park;test",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        write_clip(tmp_path / "x" / "audio" / f"clip{number}.wav", number)
    return _table(tmp_path / "x", ["filename;label;split", *ROWS])


def _table(root: Path, lines: list[str]) -> Path:
    (root / "meta.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return root


def test_a_table_gives_files_classes_and_splits(root: Path, tmp_path: Path) -> None:
    found = list_table(root, root / "meta.csv")
    assert found.classes == ("café/bar", "park") and found.notes == ()
    assert [(clip.relative, clip.label, clip.split) for clip in found.clips] == [
        tuple(row.split(";")) for row in ROWS
    ]
    corpus = ClassFolder(
        root, table="meta.csv", cache_dir=str(tmp_path / "cache"), duration_s=1.0, hold_out=False
    )
    assert (len(corpus.train()), len(corpus.tests()["test"]), corpus.classes) == (
        4,
        2,
        found.classes,
    )
    assert ClassFolder(
        root, table=root / "meta.csv", cache_dir=str(tmp_path / "cache"), duration_s=1.0
    ).fingerprint()


def test_without_splits_recordings_are_shared_out(root: Path) -> None:
    lines = [
        f"clip{number},{'park' if number % 2 else 'bus'},r{number // 2}" for number in range(6)
    ]
    found = list_table(
        _table(root, ["file,class,recording", *lines, "gone.wav,park,r9"]), root / "meta.csv"
    )
    assert sorted(clip.split for clip in found.clips) == [
        "test",
        "test",
        "train",
        "train",
        "valid",
        "valid",
    ]
    assert "1 files are not there: gone.wav" in found.notes[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["filename,split", "audio/clip0.wav,train"],
            "expected the columns filename and label, found filename, split",
        ),
        (["filename,label", "audio/clip0.wav,"], "row 2: expected a label for audio/clip0.wav"),
        (["filename,label", "nowhere.wav,bus"], "found none of 1 .nowhere.wav"),
        (
            ["filename,label", "audio/clip0.wav,bus", "audio/clip0,park"],
            "row 3: expected one row for audio/clip0",
        ),
        (
            ["filename,label,split", "audio/clip0.wav,bus,trian"],
            "unknown split 'trian'; closest: train",
        ),
        (
            ["filename,label,split", "audio/clip0.wav,bus,train", "audio/clip1.wav,park,"],
            "a split in every row or in none",
        ),
        (
            ["filename,label,split", "audio/clip0.wav,bus,train"],
            "expected clips for train and test, found none for test",
        ),
        (
            ["filename,label,split", "audio/clip0.wav,bus,train", "audio/clip1.wav,park,test"],
            "unknown class 'park'",
        ),
        (
            ["filename,label,split", "audio/clip0.wav,bus,train", "audio/clip1.wav,bus,test"],
            "expected at least 2 classes, found bus",
        ),
    ],
)
def test_wrong_tables_are_refused(root: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_table(_table(root, lines), root / "meta.csv")


def test_classes_meet_whether_accents_are_composed_or_apart(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for split, name in (("train", composed), ("test", apart)):
        for label in (name, "bus"):
            write_clip(tmp_path / split / label / f"{split}.wav", len(label))
    assert list_classes(tmp_path).classes == ("bus", composed)

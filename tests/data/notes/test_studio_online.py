"""TinySOL and Studio-On-Line folders: tables, names, techniques, folds."""

from __future__ import annotations

from pathlib import Path

import pytest
from note_trees import tinysol_tree, write_tone

from audioprune.data.notes.studio_online import list_sol, tinysol
from audioprune.errors import DataError

ROWS = [
    ("Flute", "ordinario", "C5", 72, "pp"),
    ("Flute", "ordinario", "E5", 76, "mf"),
    ("Flute", "flatterzunge", "F5", 77, "ff"),
    ("Oboe", "ordinario", "C5", 72, "f"),
    ("Oboe", "ordinario", "D5", 74, "ppmfpp"),
]


def test_a_table_names_pitch_velocity_and_fold(tmp_path: Path) -> None:
    listed = list_sol(tinysol_tree(tmp_path, ROWS))
    found = {(note.instrument, note.pitch, note.velocity, note.part) for note in listed.notes}
    assert found == {
        ("Flute", 72, 25, "test"),
        ("Flute", 76, 75, "valid"),
        ("Flute", 77, 127, "train"),
        ("Oboe", 72, 100, "train"),
        ("Oboe", 74, 100, "train"),
    }
    assert (
        listed.families == ("Winds",)
        and listed.notes[0].id == "Winds__Flute__flatterzunge__Fl-ord-F5-ff-N-N"
    )
    assert listed.remarks == (
        "1 notes have no known dynamic marking and count as velocity 100: "
        "Ob-ord-D5-ppmfpp-N-N.wav",
    )


def test_notes_are_resampled(tmp_path: Path) -> None:
    corpus = tinysol(
        tinysol_tree(tmp_path, ROWS),
        cache_dir=str(tmp_path / "cache"),
        duration_s=0.1,
        split="official",
    )
    item = corpus.tests()["test"][0]
    assert (
        item["audio"].shape == (1600,) and item["pitch"] == 72 and item["audio"].abs().max() > 0.45
    )
    assert "5 of 5 files are resampled to 16000 Hz (5 from 44100 Hz)" in corpus.notes


def test_some_techniques(tmp_path: Path) -> None:
    root = tinysol_tree(tmp_path, ROWS)
    listed = list_sol(root, ["flatterzunge"])
    assert [note.pitch for note in listed.notes] == [77] and any(
        "of another technique" in remark for remark in listed.remarks
    )
    with pytest.raises(DataError, match="unknown technique 'ordinary'; closest: ordinario"):
        list_sol(root, ["ordinary"])


def test_a_table_that_lies(tmp_path: Path) -> None:
    root = tinysol_tree(tmp_path, [*ROWS, ("Oboe", "ordinario", "A4", 70, "mf")])
    (root / "audio/Winds/Flute/ordinario/Fl-ord-C5-pp-N-N.wav").unlink()
    write_tone(root / "audio/Winds/Flute/ordinario/Fl-ord-C9-pp-N-N.wav", 90)
    listed = list_sol(root)
    assert [finding.reason for finding in listed.findings] == [
        "named in the table, without an audio file"
    ] and len(listed.notes) == 5
    told = " | ".join(listed.remarks)
    assert (
        "1 notes have another pitch name than number" in told
        and "1 audio files are not in the table" in told
    )
    with pytest.raises(DataError, match="without an audio file"):
        tinysol(root, cache_dir=str(tmp_path / "cache")).prepare()


def test_folders_and_names_do_without_a_table(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("Vc-arco-harmonic-G#2-ff", "Vc-arco-harmonic-C3-mezzo-piano", "Vc-arco-harmonic-D3")
    ):
        write_tone(tmp_path / "Strings" / "Violoncello" / "harmonic" / f"{name}.wav", 44 + number)
    write_tone(tmp_path / "Vc-pizz.wav", 60)
    listed = list_sol(tmp_path)
    assert [(note.pitch, note.velocity, note.instrument) for note in listed.notes] == [
        (48, 62, "Violoncello"), (50, 100, "Violoncello"), (44, 127, "Violoncello"),
    ]  # fmt: skip
    assert [finding.reason for finding in listed.findings] == [
        "no pitch within 0..127 in its name or in the table"
    ]
    with pytest.raises(DataError, match="found no such folder"):
        list_sol(tmp_path / "none")


def test_real_notes_in_this_layout(shared_data: Path, tmp_path: Path) -> None:
    corpus = tinysol(shared_data / "TinySOL", cache_dir=str(tmp_path))
    assert len(corpus.train()) == 21 and corpus.describe()["families"] == {
        "Brass": 4,
        "Strings": 4,
        "Winds": 17,
    }

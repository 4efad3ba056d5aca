"""The embedded corpus of notes: written once in the layout of NSynth, read back as such."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioprune.data.notes.nsynth import FAMILIES, nsynth
from audioprune.data.notes.synthetic import VELOCITIES, synthetic_notes
from audioprune.errors import ConfigError, DataError

TINY = {"instruments": 3, "notes_per_instrument": 3, "duration_s": 0.25}


def test_a_corpus_is_written_once_and_is_an_nsynth(tmp_path: Path) -> None:
    corpus = synthetic_notes(cache_dir=str(tmp_path), **TINY)
    assert [len(corpus.train()), len(corpus.valid()), len(corpus.tests()["test"])] == [28, 4, 4]
    assert (
        corpus.scale() == "synthetic_notes, 28 notes of 0.25 s, 12 instruments"
        and not corpus.notes
    )
    root = Path(corpus.describe()["root"])
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}
    assert len(stamps) == 36 and corpus.describe()["recipe"]["instruments"] == 3
    again = synthetic_notes(cache_dir=str(tmp_path), **TINY)
    assert again.fingerprint() == corpus.fingerprint()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")} == stamps
    read = nsynth(root, cache_dir=str(tmp_path), duration_s=0.25, notes_per_instrument=None)
    assert sorted(row["sha256"] for row in read.manifest()[1:]) == sorted(
        row["sha256"] for row in corpus.manifest()[1:]
    )


def test_metadata_says_what_sounds(tmp_path: Path) -> None:
    corpus = synthetic_notes(
        tmp_path / "mine",
        cache_dir=str(tmp_path / "cache"),
        split="official",
        pitches=(50, 70),
        **TINY,
    )
    assert {note.instrument[-3:] for note in corpus.tests()["test"].notes} == {"002"}
    records = json.loads((tmp_path / "mine" / "nsynth-train" / "examples.json").read_text())
    assert len(records) == 12
    for name, facts in records.items():
        assert (
            name
            == f"{facts['instrument_str']}-{facts['pitch']:03d}-{facts['velocity']:03d}"
            == facts["note_str"]
        )
        assert 50 <= facts["pitch"] <= 70 and facts["velocity"] in VELOCITIES
        assert FAMILIES[facts["instrument_family"]] == facts["instrument_family_str"]


def test_damage_is_mended_and_other_recipes_are_refused(tmp_path: Path) -> None:
    options = {"cache_dir": str(tmp_path / "cache"), "families": ["organ"], **TINY}
    fingerprint = synthetic_notes(tmp_path / "mine", **options).fingerprint()
    (tmp_path / "mine" / "nsynth-train" / "examples.json").write_text("{}")
    assert synthetic_notes(tmp_path / "mine", **options).fingerprint() == fingerprint
    with pytest.raises(DataError, match="found another seed"):
        synthetic_notes(tmp_path / "mine", seed=1, **options).prepare()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"families": ["organ", "kazoo"]}, "unknown family 'kazoo'"),
        ({"families": []}, "expected one or more different families"),
        ({"instruments": 0}, "expected 1 to 1000 instruments"),
        ({"pitches": [80, 60]}, "expected pitches as"),
        ({"pitches": [60]}, "expected pitches as"),
        (
            {"pitches": [60, 60], "notes_per_instrument": 6},
            "expected 1 to 5 notes_per_instrument, got 6",
        ),
        ({"duration_s": 0.1}, "expected duration_s from 0.25"),
        ({"seed": -1}, "expected seed"),
        ({"segment_s": 3.0}, "expected segment_s from 0.001 to 2 s, got 3.0"),
        ({"lead_in_s": 0.1}, "expected lead_in_s from 0 to below 0 s"),
        ({"memory_mb": -1}, "expected memory_mb"),
        ({"sample_rate": 16000.5}, "expected sample_rate"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        synthetic_notes(**wrong)

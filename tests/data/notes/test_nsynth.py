"""NSynth on disk: parts, counts, and metadata that does not say the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from note_trees import add_record, nsynth_tree, record, write_tone

from audioprune.data.notes.nsynth import list_nsynth, nsynth
from audioprune.errors import DataError


def _corpus(root: Path, **options: object):
    return nsynth(root, cache_dir=str(root / "cache"), **{"duration_s": 0.1, **options})


def test_some_families_and_sources(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path)
    write_tone(root / "nsynth-train" / "audio" / "organ_electronic_001-060-100.wav", 60, level=0.2)
    add_record(
        root / "nsynth-train",
        "organ_electronic_001-060-100",
        record("organ_electronic_001", 60, 100, "organ"),
    )
    assert {note.family for note in list_nsynth(root).notes} == {"flute", "organ"}
    assert len(list_nsynth(root, ["organ"]).notes) == 1
    with pytest.raises(DataError, match="closest: flute"):
        list_nsynth(root, ["flut"])
    with pytest.raises(DataError, match="expected notes of synthetic, found none"):
        list_nsynth(root, None, ["synthetic"])


LIES = {
    "no_file": (
        "flute_acoustic_000-099-100",
        record("flute_acoustic_000", 99, 100),
        "without an audio file",
    ),
    "pitch": (
        "flute_acoustic_000-061-100",
        record("flute_acoustic_000", 128, 100),
        "metadata with pitch 128, expected 0..127",
    ),
    "velocity": (
        "flute_acoustic_000-061-100",
        record("flute_acoustic_000", 61, -1),
        "metadata with velocity -1",
    ),
    "text": (
        "flute_acoustic_000-061-100",
        {**record("f", 61, 1), "pitch": "C4"},
        "metadata with pitch 'C4'",
    ),
    "instrument": (
        "flute_acoustic_000-061-100",
        record("", 61, 100),
        "metadata with instrument_str ''",
    ),
    "no_object": ("flute_acoustic_000-061-100", [61], "metadata that is no object but list"),
}


@pytest.mark.parametrize("name", LIES)
def test_false_metadata_stops_or_is_skipped_and_listed(tmp_path: Path, name: str) -> None:
    note, facts, reason = LIES[name]
    root = nsynth_tree(tmp_path)
    add_record(root / "nsynth-train", note, facts)
    with pytest.raises(DataError) as caught:
        _corpus(root).prepare()
    assert (
        reason in str(caught.value)
        and "data.on_bad_file=skip" in str(caught.value)
        and "\n" not in str(caught.value)
    )
    corpus = _corpus(root, on_bad_file="skip")
    assert sum(corpus.describe()[split]["notes"] for split in ("train", "valid", "test")) == (
        20 if name == "no_file" else 19
    )
    assert len(corpus.describe()["skipped"]) == 1 and reason in corpus.describe()["skipped"][0]


def test_bad_and_odd_files_are_told(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path)
    train = root / "nsynth-train"
    write_tone(train / "audio" / "stray.wav", 60)
    add_record(train, "flute_acoustic_000-062-100", record("flute_acoustic_000", 64, 100))
    add_record(
        root / "nsynth-test", "flute_acoustic_000-063-100", record("flute_acoustic_000", 63, 100)
    )
    write_tone(root / "nsynth-test" / "audio" / "flute_acoustic_000-063-100.wav", 63)
    cut = train / "audio" / "flute_acoustic_001-064-100.wav"
    cut.write_bytes(cut.read_bytes()[:1500])
    soundfile.write(train / "audio" / "flute_acoustic_001-065-100.wav", np.zeros(1600), 16000)
    with pytest.raises(DataError, match="cut short: 1456 of 3200 bytes"):
        _corpus(root).prepare()
    corpus = _corpus(root, on_bad_file="skip")
    corpus.prepare()
    told = " | ".join(corpus.notes)
    for text in (
        "1 audio files are not in the metadata",
        "1 notes are named twice",
        "1 notes have another pitch",
        "1 silent notes",
    ):
        assert text in told
    assert sum(corpus.describe()[split]["notes"] for split in ("train", "valid", "test")) == 18


def test_what_is_no_nsynth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        list_nsynth(tmp_path / "none")
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match="found thesis.txt; unpack the corpus there"):
        list_nsynth(tmp_path)
    nsynth_tree(tmp_path / "a")
    (tmp_path / "a" / "nsynth-train" / "examples.json").write_text('{"a": ')
    with pytest.raises(DataError, match="expected the metadata of NSynth as JSON"):
        list_nsynth(tmp_path / "a")
    (tmp_path / "a" / "nsynth-train" / "examples.json").write_text("[1]")
    with pytest.raises(DataError, match="expected a JSON object of notes by name, got list"):
        list_nsynth(tmp_path / "a")


def test_one_part_alone_is_accepted(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path)
    assert len(list_nsynth(root / "nsynth-train").notes) == 10
    for part in ("nsynth-train", "nsynth-valid"):
        (root / part).rename(tmp_path / f"{part}.gone")
        (tmp_path / f"{part}.gone" / "examples.json").unlink()
    listed = list_nsynth(root)
    assert len(listed.notes) == 5 and listed.remarks == (
        f"a part of NSynth only: nsynth-train, nsynth-valid not in {root}",
    )


def test_real_notes_in_this_layout(shared_data: Path, tmp_path: Path) -> None:
    corpus = nsynth(shared_data, cache_dir=str(tmp_path))
    described = corpus.describe()
    assert (
        described["listed"] == 104
        and sum(described[split]["notes"] for split in ("train", "valid", "test")) == 90
    )
    assert corpus.train()[0]["audio"].shape == (64000,)

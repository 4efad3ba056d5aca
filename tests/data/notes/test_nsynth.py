"""NSynth on disk: parts, counts, and metadata that does not say the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from note_trees import add_record, nsynth_tree, record, write_tone

from audioprune.data.notes.nsynth import FAMILIES, list_nsynth, nsynth
from audioprune.errors import DataError


def _corpus(root: Path, **options: object):
    return nsynth(root, cache_dir=str(root / "cache"), **{"duration_s": 0.1, **options})


def test_all_parts_are_pooled_and_shared_out_anew(tmp_path: Path) -> None:
    corpus = _corpus(nsynth_tree(tmp_path), notes_per_instrument=4)
    sizes = [len(corpus.train()), len(corpus.valid()), len(corpus.tests()["test"])]
    assert sizes == [12, 2, 2] and corpus.instruments == tuple(
        f"flute_acoustic_{n:03d}" for n in range(4)
    )
    assert corpus.scale() == "nsynth, 12 notes of 0.1 s, 4 instruments"
    described = corpus.describe()
    assert (
        described["parts"] == ["nsynth-test", "nsynth-train", "nsynth-valid"]
        and described["listed"] == 20
    )
    assert (
        described["train"]["notes"] == 12
        and described["families"] == {"flute": 16}
        and not corpus.notes
    )
    item = corpus.train()[0]
    assert (
        item["audio"].shape == (1600,)
        and item["family"] == FAMILIES.index("flute")
        and 60 <= item["pitch"] <= 67
    )
    assert len(corpus.manifest()) == 17 and corpus.manifest()[1]["path"].startswith("nsynth-")
    json.dumps(described)


def test_a_use_has_its_fingerprint(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path)
    plain = _corpus(root).fingerprint()
    assert _corpus(root).fingerprint() == plain
    changed = [
        {"seed": 1},
        {"resplit_seed": 1},
        {"split": "by_instrument"},
        {"notes_per_instrument": 3},
        {"duration_s": 0.05},
    ]
    prints = {_corpus(root, **options).fingerprint() for options in changed}
    assert len(prints) == 5 and plain not in prints


def test_a_new_split_keeps_the_chosen_notes(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path, notes=8)
    first, second = (
        _corpus(root, notes_per_instrument=4, resplit_seed=seed) for seed in (None, 5)
    )
    ids = [
        {row["id"]: row["split"] for row in corpus.manifest()[1:]} for corpus in (first, second)
    ]
    assert set(ids[0]) == set(ids[1]) and ids[0] != ids[1]


def test_the_official_split_is_that_of_the_folders(tmp_path: Path) -> None:
    corpus = _corpus(nsynth_tree(tmp_path), split="official")
    assert {note.instrument for note in corpus.tests()["test"].notes} == {"flute_acoustic_003"}
    assert {note.instrument for note in corpus.valid().notes} == {"flute_acoustic_002"}


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


def test_equal_audio_is_told_and_kept_together(tmp_path: Path) -> None:
    root = nsynth_tree(tmp_path)
    for part, number in (("nsynth-test", 3), ("nsynth-train", 0)):
        for velocity in (25, 127):
            name = f"flute_acoustic_{number:03d}-080-{velocity:03d}"
            write_tone(root / part / "audio" / f"{name}.wav", 80)
            add_record(root / part, name, record(f"flute_acoustic_{number:03d}", 80, velocity))
    corpus = _corpus(root)
    places = {row["split"] for row in corpus.manifest() if row.get("pitch") == 80}
    assert len(places) == 1 and "3 notes hold the same audio as another" in corpus.notes
    official = _corpus(root, split="official")
    official.prepare()
    assert any("of them are in test and in another split" in remark for remark in official.notes)


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

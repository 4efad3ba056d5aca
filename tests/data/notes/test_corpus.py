"""The corpus of notes: sizes, fingerprints, splits, and equal audio that stays together."""

from __future__ import annotations

import json
from pathlib import Path

from note_trees import add_record, nsynth_tree, record, write_tone

from audioprune.data.notes.nsynth import FAMILIES, nsynth


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

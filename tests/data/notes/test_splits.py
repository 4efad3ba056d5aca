"""Which notes are used and split how: exact counts, seeds, and equal audio that stays together."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.notes.note import Note
from audioprune.data.notes.splits import choose, split_notes
from audioprune.errors import ConfigError, DataError

ROOT = Path("/corpus")


def _notes(instruments: int = 10, pitches: int = 4, velocities: int = 3) -> list[Note]:
    return [
        Note(
            ROOT / f"{i}-{p}-{v}.wav",
            f"{i}-{p}-{v}",
            60 + p,
            25 * v,
            f"i{i:02d}",
            "reed",
            ("train", "valid", "test")[v % 3],
        )
        for i in range(instruments)
        for p in range(pitches)
        for v in range(1, velocities + 1)
    ]


def _split(
    notes: list[Note], rule: str, seed: int = 0, audio: dict[Path, str] | None = None
) -> dict[str, list[Note]]:
    hashes = {note.path: note.id for note in notes} | (audio or {})
    return split_notes(notes, rule, (0.8, 0.1, 0.1), seed, hashes, ROOT)


def test_ten_notes_of_each_instrument_are_drawn_whatever_the_others() -> None:
    notes = [note for note in _notes() if note.instrument != "i09" or note.pitch == 60]
    chosen, remarks = choose(notes, 10, 0)
    counts = {
        name: sum(note.instrument == name for note in chosen)
        for name in {note.instrument for note in notes}
    }
    assert counts == {f"i{i:02d}": 10 for i in range(9)} | {"i09": 3}
    assert remarks == ["1 of 10 instruments have fewer than 10 notes: i09 (3)"]
    alone, _ = choose([note for note in reversed(notes) if note.instrument == "i04"], 10, 0)
    assert {note.id for note in alone} == {note.id for note in chosen if note.instrument == "i04"}
    assert {note.id for note in choose(notes, 10, 1)[0]} != {note.id for note in chosen}
    assert choose(notes, None, 0) == (notes, [])


def test_counts_of_the_paper() -> None:
    pools = _split(_notes(1006, 10, 1), "random")
    assert {split: len(pool) for split, pool in pools.items()} == {
        "train": 8048,
        "valid": 1006,
        "test": 1006,
    }


def test_rules_keep_together_what_they_should() -> None:
    notes = _notes()
    assert _split(notes, "random") == _split(notes, "random") != _split(notes, "random", seed=1)
    for rule, key in (
        ("by_instrument", lambda n: n.instrument),
        ("by_pitch", lambda n: (n.instrument, n.pitch)),
    ):
        pools = _split(notes, rule)
        kept = [{key(note) for note in pool} for pool in pools.values()]
        assert all(kept) and not (kept[0] & kept[1] or kept[0] & kept[2] or kept[1] & kept[2])
        assert sum(map(len, pools.values())) == len(notes)
    official = _split(notes, "official")
    assert all(note.part == split for split, pool in official.items() for note in pool)


def test_notes_of_the_same_audio_stay_together() -> None:
    notes = _notes()
    audio = {
        note.path: f"{note.instrument}-{note.pitch}" for note in notes
    }  # an instrument that does not know velocity
    pools = _split(notes, "random", audio=audio)
    kept = [{audio[note.path] for note in pool} for pool in pools.values()]
    assert not (kept[0] & kept[1] or kept[0] & kept[2] or kept[1] & kept[2])


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least 3 instruments to split them, found 2"):
        _split(_notes(2), "by_instrument")
    bare = [Note(ROOT / f"{i}.wav", str(i), 60, 100, "i", "reed") for i in range(5)]
    with pytest.raises(
        DataError,
        match="expected a corpus with its own split, found notes without one; use "
        "data.split=random",
    ):
        _split(bare, "official")
    from audioprune.data.notes.splits import check_rule

    with pytest.raises(ConfigError, match="closest: by_pitch"):
        check_rule("by_pich", (0.8, 0.1, 0.1))
    with pytest.raises(ConfigError, match="add up to 1"):
        check_rule("random", (0.8, 0.1, 0.2))

"""Single notes: samples with 16 bits, parts drawn from a note, items and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from note_trees import write_tone

from audioprune.data.notes.note import Crop, Note, NoteSet, NoteStore, collate


def _set(
    root: Path, crop: Crop | None = None, split: str = "train", seconds: float = 0.1
) -> NoteSet:
    notes = [
        Note(
            write_tone(root / f"{pitch}.wav", pitch, seconds=seconds),
            f"n{pitch}",
            pitch,
            90,
            f"i{pitch % 2}",
            "reed",
        )
        for pitch in (60, 61, 62)
    ]
    return NoteSet(
        notes,
        NoteStore(16000, 0.2, 1 << 20),
        ("i0", "i1"),
        ("brass", "reed"),
        split=split,
        seed=3,
        crop=crop,
    )


def test_items_are_filled_up_and_name_what_they_are(tmp_path: Path) -> None:
    item = _set(tmp_path)[1]
    assert (
        item["audio"].shape == (3200,)
        and item["audio"].dtype == torch.float32
        and item["length"] == 1600
    )
    assert not item["audio"][1600:].any() and item["audio"][:1600].abs().max() > 0.49
    assert {key: item[key] for key in ("pitch", "velocity", "instrument", "family", "id")} == {
        "pitch": 61, "velocity": 90, "instrument": 1, "family": 1, "id": "n61",
    }  # fmt: skip
    batch = collate([item, _set(tmp_path)[0]])
    assert batch["audio"].shape == (2, 3200) and batch["id"] == ["n61", "n60"]
    assert (
        batch["pitch"].tolist() == [61, 60]
        and batch["lengths"].tolist() == [1600, 1600]
        and batch["family"].dtype == torch.int64
    )


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_samples_have_sixteen_bits_whether_kept_or_not(tmp_path: Path, budget: int) -> None:
    path = write_tone(tmp_path / "a.wav", 60)
    exact, _ = soundfile.read(path, dtype="float32")
    store = NoteStore(16000, 1.0, budget)
    assert np.array_equal(store.get(path), exact) and np.array_equal(store.get(path), exact)
    soundfile.write(
        tmp_path / "loud.wav", np.array([[2.0, 0.5], [-3.0, -0.5]] * 400), 16000, subtype="FLOAT"
    )
    assert store.get(tmp_path / "loud.wav").tolist()[:2] == [32767 / 32768, -1.0]
    slow = store.get(write_tone(tmp_path / "slow.wav", 60, sample_rate=44100, seconds=1.5))
    assert slow.shape == (16000,) and np.abs(slow).max() == pytest.approx(0.5, abs=0.01)


def test_parts_follow_from_seed_split_index_and_epoch_alone(tmp_path: Path) -> None:
    train, valid = (_set(tmp_path, Crop(200), split) for split in ("train", "valid"))
    first = [train[index]["audio"] for index in range(3)]
    train.set_epoch(1)
    other = train[0]["audio"]
    train.set_epoch(0)
    assert all(
        torch.equal(train[index]["audio"], first[index]) for index in (2, 0, 1)
    ) and not torch.equal(other, first[0])
    assert train[0]["audio"].shape == (200,) and train[0]["length"] == 200
    before = valid[0]["audio"]
    valid.set_epoch(5)
    assert torch.equal(valid[0]["audio"], before) and not torch.equal(before, first[0])


def test_parts_lie_within_the_note_or_begin_in_silence_before_it() -> None:
    rng = np.random.default_rng(0)
    starts = [Crop(200).start(1600, rng) for _ in range(2000)]
    assert min(starts) == 0 and max(starts) == 1400
    assert {Crop(200).start(150, rng) for _ in range(20)} == {0}
    assert {Crop(200, lead_in=2).start(150, rng) for _ in range(50)} == {-2, -1, 0}


def test_a_lead_in_is_silence_and_counts_as_the_note(tmp_path: Path) -> None:
    notes = _set(tmp_path, Crop(200, lead_in=150), seconds=0.02)
    led = 0
    for epoch in range(40):
        notes.set_epoch(epoch)
        item = notes[0]
        led += not item["audio"][:2].any()
        assert item["length"] == 200 and item["audio"].shape == (200,) and item["audio"].any()
    assert 20 <= led < 40

"""The corpora of scenes: items, batches, leaks, bad files, and what they say of themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from scene_trees import (
    DEVELOPMENT_2017,
    EVALUATION_2017,
    SMALL,
    class_folder,
    small_tut,
    tut_2017,
    tut_2018,
    write_clip,
)
from torch.utils.data import DataLoader

from audioprune.data.scenes.corpora import ClassFolder, TutScenes
from audioprune.errors import DataError


def test_items_are_normalised_features_with_labels(tut: TutScenes) -> None:
    train = tut.train()
    item = train[0]
    assert (
        item["features"].shape == (2, 16, 6615 // 256 + 1)
        and item["features"].dtype == torch.float32
    )
    assert item["id"].startswith(DEVELOPMENT_2017) and item["label"] == 0
    assert {train.classes[each["label"]] for each in train} == {"beach", "cafe/restaurant", "tram"}
    values = torch.stack([each["features"] for each in train])
    assert (
        values.mean(dim=(0, 1, 3)).abs().max() < 1e-3
        and (values.std(dim=(0, 1, 3)) - 1).abs().max() < 1e-2
    )


def test_batches_come_from_any_number_of_processes(tut: TutScenes) -> None:
    tut.prepare()
    batches = [
        list(DataLoader(tut.train(), batch_size=5, collate_fn=tut.collate, num_workers=n))
        for n in (0, 2)
    ]
    assert [len(batch["id"]) for batch in batches[0]] == [5, 5, 2]
    assert (
        batches[0][0]["features"].shape == (5, 2, 16, 26)
        and batches[0][0]["label"].dtype == torch.int64
    )
    assert all(torch.equal(a["features"], b["features"]) for a, b in zip(*batches, strict=True))


def test_splits_hold_whole_recordings_and_the_whole_test_set(tut: TutScenes) -> None:
    recordings = [
        {source.clip.recording for source in items.sources}
        for items in (tut.train(), tut.valid(), tut.tests()["test"])
    ]
    assert [len(each) for each in recordings] == [6, 3, 3]
    assert not recordings[0] & recordings[1] and not recordings[0] & recordings[2]
    assert (
        len(tut.train()) == 12
        and len(tut.valid()) == 6
        and list(tut.tests()) == ["test"]
        and len(tut.tests()["test"]) == 3
    )


def test_the_fingerprint_follows_content_labels_splits_and_features(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    prints = [
        small_tut(tmp_path, **options).fingerprint()
        for options in ({}, {}, {"seed": 1}, {"mels": 8}, {"hold_out": False})
    ]
    write_clip(tmp_path / DEVELOPMENT_2017 / "audio" / "b000_0_10.wav", 99)
    prints.append(small_tut(tmp_path).fingerprint())
    assert prints[0] == prints[1] and len(set(prints)) == 5


def test_the_same_audio_in_training_and_test_is_refused(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    shutil.copy(
        tmp_path / DEVELOPMENT_2017 / "audio" / "b000_0_10.wav",
        tmp_path / EVALUATION_2017 / "audio" / "t902_0_10.wav",
    )
    with pytest.raises(
        DataError, match="expected different audio in training and test.*t902_0_10.wav"
    ):
        small_tut(tmp_path).prepare()


def test_a_file_in_training_and_test_is_refused(tmp_path: Path) -> None:
    lists = tut_2018(tmp_path) / "TUT-urban-acoustic-scenes-2018-development" / "evaluation_setup"
    row = (lists / "fold1_evaluate.txt").read_text().splitlines()[0]
    with open(lists / "fold1_train.txt", "a") as stream:
        stream.write(f"{row}\n")
    with pytest.raises(DataError, match="expected each file in one split"):
        small_tut(tmp_path, year=2018).prepare()


def test_a_recording_in_training_and_test_is_a_note(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    evaluation = tmp_path / EVALUATION_2017
    write_clip(evaluation / "audio" / "b001_40_50.wav", 77)
    with open(evaluation / "evaluation_setup" / "evaluate.txt", "a") as stream:
        stream.write("audio/b001_40_50.wav\tbeach\n")
    data = small_tut(tmp_path)
    data.prepare()
    assert any(
        "1 recordings are in test and in training, which makes the test optimistic: b001" in note
        for note in data.notes
    )


def test_bad_files_stop_or_are_left_out(tmp_path: Path) -> None:
    path = tut_2017(tmp_path) / DEVELOPMENT_2017 / "audio" / "b000_0_10.wav"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="b000_0_10.wav.*on_bad_file=skip"):
        small_tut(tmp_path).prepare()
    data = small_tut(tmp_path, on_bad_file="skip")
    assert len(data.train()) + len(data.valid()) == 17
    assert (
        any("1 bad files are left out" in note for note in data.notes)
        and len(data.describe()["skipped"]) == 1
    )


def test_mono_short_and_long_clips_are_noted(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "corpus")
    write_clip(root / "dog" / "90_0.wav", 1, seconds=0.1, channels=1)
    write_clip(root / "dog" / "91_0.wav", 2, seconds=0.9, channels=4)
    data = ClassFolder(root, cache_dir=str(tmp_path / "cache"), **SMALL)
    data.prepare()
    notes = "\n".join(data.notes)
    assert (
        "17 of 18 files are mono" in notes and "1 of 18 files have more than two channels" in notes
    )
    assert (
        "1 of 18 files are shorter than 0.3 s and are repeated" in notes
        and "1 of 18 files are longer than 0.3 s" in notes
    )


def test_manifest_lists_every_clip(tut: TutScenes, tmp_path: Path) -> None:
    records = [
        json.loads(line)
        for line in tut.write_manifest(tmp_path / "manifest.jsonl").read_text().splitlines()
    ]
    assert [record["kind"] for record in records] == ["corpus"] + ["clip"] * 21
    assert records[0]["fingerprint"] == tut.fingerprint()
    assert {"split": "test", "label": "cafe/restaurant"}.items() <= records[-2].items()


def test_features_are_computed_once(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    first = small_tut(tmp_path).train()[3]["features"]
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.f32")}
    data = small_tut(tmp_path, memory_mb=0)
    assert torch.equal(data.train()[3]["features"], first)
    assert (
        len(stored) == 21
        and {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.f32")}
        == stored
    )

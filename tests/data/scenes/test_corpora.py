"""The named corpora of scenes: the TUT corpora with their folds, and folders of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scene_trees import (
    SMALL,
    class_folder,
    small_tut,
    tut_2017,
    tut_2018,
)

from audioprune.data.scenes.corpora import ClassFolder, TutScenes
from audioprune.data.scenes.reading import said_by
from audioprune.errors import CheckpointError, ConfigError
from audioprune.protocols import ReadsRecordings, TellsReading


def test_a_partial_corpus_says_so(tut: TutScenes) -> None:
    assert (
        tut.scale()
        == "TUT 2017 (partial: 18 of 4680 training and 3 of 1620 test clips), 12 clips of 0.3 "
        "s, 15 classes"
    )
    facts = tut.describe()
    json.dumps(facts, allow_nan=False)
    assert (
        facts["train"]["per_class"]["cafe/restaurant"] == 4
        and facts["train"]["per_class"]["bus"] == 0
    )
    assert facts["test"]["recordings"] == 3 and facts["features"]["shape"] == [2, 16, 26]
    assert any(
        "21 of 21 files are resampled to 22050 Hz (21 from 44100 Hz)" in note for note in tut.notes
    )


def test_2018_and_folds_train(tmp_path: Path) -> None:
    data = small_tut(tut_2018(tmp_path), year=2018)
    assert (len(data.train()), len(data.valid()), len(data.tests()["test"])) == (6, 6, 3)
    assert data.scale().startswith("TUT 2018 (partial: 12 of 6122")
    assert len(data.classes) == 10 and data.sample_rate == 22050


def test_all_clips_can_train(tmp_path: Path) -> None:
    data = small_tut(tut_2017(tmp_path), hold_out=False)
    assert len(data.train()) == 18 and len(data.valid()) == 6


def test_class_folder_gives_items_of_its_classes(tmp_path: Path) -> None:
    data = ClassFolder(
        class_folder(tmp_path / "corpus", recordings=5), cache_dir=str(tmp_path / "cache"), **SMALL
    )
    assert data.classes == ("dog", "rain")
    assert (len(data.train()), len(data.valid()), len(data.tests()["test"])) == (12, 4, 4)
    item = data.tests()["test"][0]
    assert item["features"].shape == (2, 16, 26) and torch.equal(
        item["features"][0], item["features"][1]
    )
    assert data.scale() == "class_folder, 12 clips of 0.3 s, 2 classes"


def test_class_folder_without_a_valid_folder_holds_recordings_out(tmp_path: Path) -> None:
    data = ClassFolder(
        class_folder(tmp_path / "corpus", ("train", "test")),
        cache_dir=str(tmp_path / "cache"),
        **SMALL,
    )
    assert (len(data.train()), len(data.valid()), len(data.tests()["test"])) == (12, 4, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"year": 2016}, "2017 or 2018"),
        ({"fold": 9}, "fold"),
        ({"valid_fraction": 0}, "valid_fraction"),
        ({"on_bad_file": "ignore"}, "on_bad_file"),
        ({"memory_mb": float("nan")}, "memory_mb"),
        ({"mels": -1}, "mels"),
    ],
)
def test_wrong_values_are_refused_before_any_work(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_tut(tmp_path / "nowhere", **options)


def test_class_folder_refuses_wrong_rules(tmp_path: Path) -> None:
    for options in ({"split": "folder"}, {"recording_from": "speaker"}, {"fractions": (0.5, 0.5)}):
        with pytest.raises(ConfigError, match="expected|unknown"):
            ClassFolder(tmp_path, **options)


def test_real_recordings_become_features(shared_data: Path, tmp_path: Path) -> None:
    data = TutScenes(shared_data, cache_dir=str(tmp_path), mels=64)
    assert data.train()[0]["features"].shape == (2, 64, 431)
    assert np.isfinite(data.tests()["test"][0]["features"].numpy()).all()


def test_any_recording_gets_the_features_of_an_item(tut: TutScenes) -> None:
    items = tut.tests()["test"]
    assert isinstance(tut, ReadsRecordings) and tut.class_names() == tut.classes
    assert torch.equal(tut.features_of(items.sources[0].clip.path), items[0]["features"])


def test_what_a_model_file_says_reads_recordings_without_the_corpus(tut: TutScenes) -> None:
    said = json.loads(json.dumps(tut.reading()))
    items, found = tut.tests()["test"], said_by({"reading": said})
    assert isinstance(tut, TellsReading) and isinstance(found, ReadsRecordings)
    assert found.class_names() == tut.classes
    assert torch.equal(found.features_of(items.sources[0].clip.path), items[0]["features"])
    assert said_by({}) is None
    for key, value in (("mean", said["mean"][:8]), ("std", "no"), ("features", {"mels": 0})):
        with pytest.raises(CheckpointError, match="reading: expected class names"):
            said_by({"reading": {**said, key: value}})

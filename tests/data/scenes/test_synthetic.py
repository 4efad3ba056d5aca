"""The corpus of artificial scenes: written once, one recipe in a folder, values in their range."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.scenes.synthesis import SCENES
from audioprune.data.scenes.synthetic import SyntheticScenes
from audioprune.errors import ConfigError, DataError

TINY = {
    "clips_per_class": 2,
    "valid_clips_per_class": 1,
    "test_clips_per_class": 1,
    "duration_s": 1.0,
    "mels": 16,
}


def test_a_corpus_is_written_once_and_read_as_class_folders(tmp_path: Path) -> None:
    data = SyntheticScenes(cache_dir=str(tmp_path), **TINY)
    assert (len(data.train()), len(data.valid()), len(data.tests()["test"])) == (20, 10, 10)
    assert data.train()[0]["features"].shape == (
        2,
        16,
        44,
    ) and data.train().classes == data.classes == tuple(s.name for s in SCENES)
    assert data.scale() == "synthetic_scenes, 20 clips of 1 s, 10 classes"
    assert (
        data.describe()["recipe"]["clips"] == (2, 1, 1)
        and data.describe()["train"]["recordings"] == 20
    )
    files = list(data.folder.root.rglob("*.flac"))
    again = SyntheticScenes(cache_dir=str(tmp_path), **TINY)
    assert again.fingerprint() == data.fingerprint() and len(files) == 40
    assert not [note for note in data.notes if "warning" not in note]


@pytest.mark.slow
def test_a_chosen_folder_holds_one_recipe(tmp_path: Path) -> None:
    data = SyntheticScenes(tmp_path / "mine", cache_dir=str(tmp_path / "cache"), **TINY)
    data.prepare()
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "train",
        "valid",
        "test",
        "synthetic_scenes.json",
    }
    with pytest.raises(DataError, match="found another seed"):
        SyntheticScenes(
            tmp_path / "mine", cache_dir=str(tmp_path / "cache"), seed=1, **TINY
        ).prepare()


def test_values_out_of_range_are_refused() -> None:
    for options in (
        {"seed": -1},
        {"clips_per_class": 0},
        {"duration_s": 0.5},
        {"test_clips_per_class": 1.5},
        {"mels": 0},
    ):
        with pytest.raises(ConfigError, match="expected"):
            SyntheticScenes(**options)

"""Folders of classes as lists of clips, and recordings held out for validation."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene_trees import class_folder, write_clip

from audioprune.data.scenes.lists import (
    SceneClip,
    SceneList,
    check_fraction,
    list_classes,
    shared_recordings,
    with_validation,
)
from audioprune.errors import ConfigError, DataError


def _list(recordings: dict[str, int], clips: int = 2, split: str = "train") -> SceneList:
    made = [
        SceneClip(Path(f"/{label}{r}_{c}.wav"), f"{label}{r}_{c}.wav", label, f"{label}{r}", split)
        for label, count in recordings.items()
        for r in range(count)
        for c in range(clips)
    ]
    return SceneList(Path("/"), tuple(sorted(recordings)), tuple(made))


def _recordings(scenes: SceneList, split: str) -> set[str]:
    return {clip.recording for clip in scenes.clips if clip.split == split}


def test_validation_takes_whole_recordings_of_every_class() -> None:
    held = with_validation(_list({"a": 10, "b": 5, "c": 2}), 0.2, True, 0)
    valid, train = _recordings(held, "valid"), _recordings(held, "train")
    assert not valid & train
    assert [sum(name.startswith(label) for name in valid) for label in "abc"] == [2, 1, 1]
    assert len(held.clips) == 34 and held.notes == (
        "8 of 34 training clips are used for validation",
    )


def test_validation_follows_from_the_seed() -> None:
    scenes = _list({"a": 20, "b": 20})
    chosen = [_recordings(with_validation(scenes, 0.2, True, seed), "valid") for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_validation_without_holding_out_leaves_training_whole() -> None:
    held = with_validation(_list({"a": 4, "b": 1}, clips=1), 0.2, False, 0)
    assert len([clip for clip in held.clips if clip.split == "train"]) == 5
    assert {clip.label for clip in held.clips if clip.split == "valid"} == {"a", "b"}
    assert "and for training too" in held.notes[0]


def test_a_class_with_one_recording_validates_on_clips_and_says_so() -> None:
    held = with_validation(_list({"a": 1, "b": 4}), 0.2, True, 0)
    assert _recordings(held, "train") & _recordings(held, "valid") == {"a0"}
    assert "optimistic for 1 classes with a single training recording: a" in held.notes[1]


def test_given_validation_clips_stay() -> None:
    scenes = _list({"a": 2})
    both = SceneList(
        scenes.root, scenes.classes, scenes.clips + _list({"a": 1}, split="valid").clips
    )
    assert with_validation(both, 0.2, True, 0) is both


def test_validation_needs_two_clips_of_a_class() -> None:
    with pytest.raises(DataError, match="hold_out=false"):
        with_validation(_list({"a": 1, "b": 1}, clips=1), 0.2, True, 0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="valid_fraction between 0 and 1"):
            check_fraction(share)


def test_recordings_in_test_and_training_are_named() -> None:
    assert shared_recordings(_list({"a": 2}).clips + _list({"a": 1}, split="test").clips) == ["a0"]
    assert shared_recordings(_list({"a": 2}).clips) == []


def test_folders_of_classes_are_shared_out_by_recordings(tmp_path: Path) -> None:
    found = list_classes(class_folder(tmp_path, recordings=10), fractions=(0.6, 0.2, 0.2))
    assert found.classes == ("dog", "rain") and found.notes == ()
    splits = {split: _recordings(found, split) for split in ("train", "valid", "test")}
    assert [len(each) for each in splits.values()] == [12, 4, 4]
    assert not splits["train"] & splits["test"] and not splits["train"] & splits["valid"]
    assert {clip.label for clip in found.clips if clip.split == "test"} == {"dog", "rain"}


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    root = class_folder(tmp_path, ("train", "val", "test"), recordings=2)
    write_clip(root / "train" / "loose.wav", 0)
    write_clip(root / "extra" / "dog" / "b_1.wav", 0)
    found = list_classes(root)
    assert {clip.relative.split("/")[0]: clip.split for clip in found.clips} == {
        "train": "train",
        "val": "valid",
        "test": "test",
    }
    assert len(found.clips) == 24
    assert "2 audio files are in no folder of a class" in found.notes[0]


def test_split_folders_can_be_shared_out_anew(tmp_path: Path) -> None:
    found = list_classes(class_folder(tmp_path, ("train", "test"), recordings=3), split="fraction")
    assert {clip.split for clip in found.clips if clip.relative.startswith("test/")} - {"test"}
    assert not _recordings(found, "train") & _recordings(found, "test")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for label in ("train", "tram"):
        for clip in range(3):
            write_clip(tmp_path / label / f"{clip}.wav", clip)
    assert list_classes(tmp_path).classes == ("train", "tram")


@pytest.mark.parametrize(
    ("rule", "names"),
    [("folder", set("xyz")), ("auto", set("xyz")), ("prefix", set("ab")), ("file", set("xyz"))],
)
def test_recordings_come_from_folder_prefix_or_file(
    tmp_path: Path, rule: str, names: set[str]
) -> None:
    for label in ("dog", "rain"):
        for folder, stem in (("x", "a_1"), ("y", "a_2"), ("z", "b_1")):
            write_clip(tmp_path / "train" / label / folder / f"{stem}.wav", 0)
            write_clip(tmp_path / "test" / label / folder / f"{stem}.wav", 0)
    recordings = {
        clip.recording
        for clip in list_classes(tmp_path, recording_from=rule).clips
        if clip.label == "dog"
    }
    assert {name.split("/")[1] for name in recordings} == names
    assert len(recordings) == len(names)


def test_uniform_prefixes_fall_back_to_files(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        for clip in range(4):
            write_clip(tmp_path / label / f"clip_{clip}.wav", clip)
    found = list_classes(tmp_path)
    assert len({clip.recording for clip in found.clips}) == 8
    assert "each file counts as a recording" in found.notes[0]
    with pytest.raises(DataError, match="expected at least 3 recordings of class dog"):
        list_classes(tmp_path, recording_from="prefix")
    with pytest.raises(DataError, match="data.recording_from=file"):
        list_classes(tmp_path, recording_from="folder")


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "corpus", ("train", "test"), recordings=2)
    with pytest.raises(DataError, match=f"point to {root}"):
        list_classes(tmp_path)
    with pytest.raises(DataError, match=f"one split of a corpus; point to {root}"):
        list_classes(root / "train")
    with pytest.raises(DataError, match="at least 2 folders named after classes"):
        list_classes(root / "train" / "dog")
    with pytest.raises(DataError, match="no such folder"):
        list_classes(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="without any audio file"):
        list_classes(tmp_path / "empty")
    flat = class_folder(tmp_path / "flat", recordings=3)
    with pytest.raises(DataError, match="expected folders train, valid and test"):
        list_classes(flat, split="folders")


def test_a_test_class_unknown_in_training_is_refused(tmp_path: Path) -> None:
    root = class_folder(tmp_path, ("train", "test"), recordings=2)
    write_clip(root / "test" / "rains" / "a_0.wav", 3)
    with pytest.raises(DataError, match="unknown class 'rains'; closest: rain"):
        list_classes(root)

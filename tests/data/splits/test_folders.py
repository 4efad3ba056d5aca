"""Folders named after splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.splits.folders import has_split_folders, split_of_folder


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Dev", "valid"),
        ("val", "valid"),
        ("validation", "valid"),
        ("test", "test"),
        ("train-clean-100", "train"),
        ("dev-other", "valid"),
        ("test-clean", "test"),
        ("train_station", ""),
        ("p225", ""),
        ("testing-room", ""),
    ],
)
def test_split_of_folder(name: str, split: str) -> None:
    assert split_of_folder(name) == split


def test_a_vehicle_is_not_a_split() -> None:
    assert not has_split_folders([Path("train/a.wav"), Path("bus/b.wav")])
    assert has_split_folders([Path("train/a.wav"), Path("test/b.wav")])
    assert not has_split_folders([Path("train.wav"), Path("test.wav")])

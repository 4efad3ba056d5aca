"""Which noise a file holds, and which split it gets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from split_files import places_of, write_files

from audioprune.data.splits.noise import assign_noise, noise_of
from audioprune.errors import DataError


def test_noise_names() -> None:
    assert (
        noise_of(Path("babble_8talkers.flac")) == "babble"
        and noise_of(Path("cafe/x_1.wav")) == "x"
    )
    assert (
        noise_of(Path("cafe/one.wav")) == "cafe"
        and noise_of(Path("one.wav")) == "one"
        and noise_of(Path("test/one.wav")) == "one"
    )
    assert noise_of(Path("_x.wav")) == "_x"


def test_noise_by_folders_and_by_share(tmp_path: Path) -> None:
    folders = write_files(tmp_path / "x", "train/fan_1.wav", "test/babble_1.wav", "crowd/a.wav")
    assigned, notes = assign_noise(tmp_path / "x", folders, (0.8, 0.1, 0.1), 0)
    assert places_of(assigned, tmp_path / "x") == {
        "train/fan_1.wav": ("train", "fan"),
        "test/babble_1.wav": ("test", "babble"),
    }
    assert "crowd" in notes[0]
    flat = write_files(tmp_path / "y", *(f"n{number}.wav" for number in range(10)))
    assigned, _ = assign_noise(tmp_path / "y", flat, (0.7, 0.1, 0.2), 0)
    assert Counter(entry.split for entry in assigned) == {"train": 8, "test": 2}
    with pytest.raises(DataError, match="at least 2 noise files"):
        assign_noise(tmp_path / "z", write_files(tmp_path / "z", "only.wav"), (0.8, 0.1, 0.1), 0)

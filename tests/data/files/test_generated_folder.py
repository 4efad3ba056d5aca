"""Folders of made-up audio: made once, found again, mended, never mixed up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.errors import DataError, InterruptedRun


def _pieces(level: float = 0.1) -> dict[str, Callable[[], np.ndarray]]:
    return {
        f"{split}/{number}.flac": lambda: np.full((500, 2), level, np.float32)
        for split in ("a", "b")
        for number in range(2)
    }


def _folder(root: Path, seed: int = 0) -> GeneratedFolder:
    return GeneratedFolder.at(
        root / "made", "tones", {"seed": seed, "counts": (1, 2)}, str(root / "cache")
    )


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert not folder.is_intact()
    folder.make(_pieces(), 8000, 1000)
    stamps = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.flac")}
    assert len(stamps) == 4 and folder.is_intact()
    samples, sample_rate = soundfile.read(folder.root / "a" / "0.flac")
    assert (
        sample_rate == 8000 and samples.shape == (500, 2) and np.allclose(samples, 0.1, atol=1e-4)
    )
    _folder(tmp_path).make(_pieces(0.2), 8000, 1000)
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.flac")} == stamps
    assert [path.name for path in tmp_path.iterdir() if ".tmp." in path.name] == []


@pytest.mark.parametrize("damage", ["lose", "change", "add", "marker"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    folder = _folder(tmp_path)
    folder.make(_pieces(), 8000, 1000)
    file = folder.root / "a" / "0.flac"
    if damage == "lose":
        file.unlink()
    elif damage == "marker":
        (folder.root / "tones.json").write_text("{")
    else:
        soundfile.write(
            file if damage == "change" else file.with_name("9.flac"), np.zeros(300), 8000
        )
    assert not folder.is_intact()
    folder.make(_pieces(), 8000, 1000)
    assert folder.is_intact() and len(list(folder.root.rglob("*.flac"))) == 4


def test_other_recipes_and_other_files_are_refused(tmp_path: Path) -> None:
    _folder(tmp_path).make(_pieces(), 8000, 1000)
    with pytest.raises(DataError, match="found another seed; choose another root"):
        _folder(tmp_path, seed=1).make(_pieces(), 8000, 1000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="found thesis.txt; choose another root"):
        GeneratedFolder.at(tmp_path / "mine", "tones", {}, str(tmp_path)).make(
            _pieces(), 8000, 1000
        )
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise InterruptedRun("stopped")

    monkeypatch.setattr("audioprune.data.files.generated_folder.check_stop", stop)
    with pytest.raises(InterruptedRun):
        _folder(tmp_path).make(_pieces(), 8000, 1000)
    assert not any(tmp_path.iterdir())


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    dead, living = tmp_path / "made.tmp.4194999", tmp_path / f"made.tmp.{os.getppid()}"
    for folder in (dead, living):
        folder.mkdir()
    _folder(tmp_path).make(_pieces(), 8000, 1000)
    assert not dead.exists() and living.exists()


def test_the_slower_of_two_processes_keeps_the_work_of_the_faster(tmp_path: Path) -> None:
    slow, fast = _folder(tmp_path), _folder(tmp_path)

    def meanwhile() -> np.ndarray:
        if not fast.root.exists():
            fast.root.parent.joinpath("other").mkdir()
            other = GeneratedFolder(
                fast.root.parent / "other" / "made", "tones", fast.recipe, fast.cache_dir
            )
            other.make(_pieces(), 8000, 1000)
            os.rename(other.root, fast.root)
        return np.full((500, 2), 0.1, np.float32)

    slow.make({**_pieces(), "b/1.flac": meanwhile}, 8000, 1000)
    assert slow.is_intact() and not [path for path in tmp_path.iterdir() if ".tmp." in path.name]


def test_the_default_place_is_named_after_the_recipe(tmp_path: Path) -> None:
    places = [
        GeneratedFolder.at("", "tones", {"seed": seed}, str(tmp_path)).root for seed in (0, 0, 1)
    ]
    assert places[0] == places[1] != places[2] and places[0].parent == tmp_path / "tones"

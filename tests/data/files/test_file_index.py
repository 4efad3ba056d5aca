"""An unchanged file is decoded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from speech_trees import HOSTILE, tone, write

from audioprune import interrupts
from audioprune.data.files import file_index
from audioprune.data.files.file_index import inspect_files
from audioprune.errors import InterruptedRun


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of files that were really decoded."""
    seen: list[Path] = []
    real = file_index.inspect_file
    monkeypatch.setattr(
        file_index, "inspect_file", lambda path: (seen.append(path), real(path))[1]
    )
    return seen


def test_unchanged_files_are_decoded_once(tmp_path: Path, counted: list[Path]) -> None:
    root, cache = tmp_path / "data" / HOSTILE, str(tmp_path / "cache")
    paths = [write(root / f"{number}.wav", tone(0.2, number)) for number in range(3)]
    first = inspect_files(root, paths, cache)
    assert inspect_files(root, paths, cache) == first and len(counted) == 3
    write(paths[1], tone(0.2, 99))
    os.utime(paths[1], ns=(1, 1))
    again = inspect_files(root, paths, cache)
    assert len(counted) == 4 and again[0] == first[0] and again[1].sha256 != first[1].sha256
    paths.append(write(root / "new.wav", tone(0.2, 5)))
    inspect_files(root, paths[::-1], cache)
    assert len(counted) == 5


@pytest.mark.parametrize("damage", [b"", b"no checksum", None])
def test_a_damaged_memory_is_made_anew(
    tmp_path: Path, counted: list[Path], damage: bytes | None
) -> None:
    root, cache = tmp_path / "data", tmp_path / "cache"
    paths = [write(root / "a.wav", tone(0.2, 1))]
    first = inspect_files(root, paths, str(cache))
    (place,) = (cache / "files").iterdir()
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data if damage is None else damage)
    assert inspect_files(root, paths, str(cache)) == first and len(counted) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    (fact,) = inspect_files(tmp_path, [write(tmp_path / "a.wav", tone(0.2, 1))], str(blocked))
    assert fact.frames == 3200


def test_what_was_inspected_survives_an_interruption(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / "data" / f"{number}.wav", tone(0.2, number)) for number in range(3)]
    interrupts._requested.set()
    with pytest.raises(InterruptedRun):
        inspect_files(tmp_path / "data", paths, str(tmp_path / "cache"))
    interrupts._requested.clear()
    before = len(counted)
    inspect_files(tmp_path / "data", paths[:1], str(tmp_path / "cache"))
    assert len(counted) == before

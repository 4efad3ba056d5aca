from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.data.coded.cache import SignalCache
from audioprune.errors import OutputError

RATE = 16000


def _samples(seed: int = 0, length: int = 3000) -> np.ndarray:
    return (0.6 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def _never() -> tuple[np.ndarray, int]:
    raise AssertionError("made again")


def test_a_signal_is_made_once_and_kept_exactly(tmp_path: Path) -> None:
    cache = SignalCache(tmp_path / "x y/é 漢字", RATE)
    assert "k" not in cache
    made = cache.get("k", lambda: (_samples(), 77))
    assert "k" in cache and cache.get("k", _never) == made
    stored, rate = soundfile.read(str(made.path), dtype="float32")
    assert rate == RATE and np.array_equal(stored, _samples()) and np.abs(stored).max() > 1
    assert (made.frames, made.payload_bytes) == (3000, 77) and made.peak == np.abs(stored).max()
    assert made.level == pytest.approx(np.sqrt(np.mean(stored.astype(np.float64) ** 2)))
    assert cache.get("empty", lambda: (np.zeros(0, np.float32), 0)).frames == 0
    assert [path.name for path in cache.folder.iterdir() if ".tmp." in path.name] == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "foreign", "rate"])
def test_damaged_files_are_made_again(tmp_path: Path, damage: str) -> None:
    cache = SignalCache(tmp_path, RATE)
    made = cache.get("k", lambda: (_samples(), 5))
    content = bytearray(made.path.read_bytes())
    content[-400] ^= 4
    other = {"flip": bytes(content), "cut": content[:-500], "empty": b"", "text": b"no audio"}
    if damage in other:
        made.path.write_bytes(other[damage])
    else:
        soundfile.write(
            str(made.path), _samples(), RATE if damage == "foreign" else 8000, subtype="FLOAT"
        )
    again = cache.get("k", lambda: (_samples(), 5))
    assert again == made and cache.get("k", _never) == made


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        SignalCache(tmp_path / "file", RATE).get("k", lambda: (_samples(), 0))


def _fill(folder: str, done: multiprocessing.Queue) -> None:
    cache = SignalCache(Path(folder), RATE)
    done.put(
        [
            cache.get(str(seed), lambda seed=seed: (_samples(seed), seed)).sha256
            for seed in range(20)
        ]
    )


def test_two_processes_may_fill_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    workers = [context.Process(target=_fill, args=(str(tmp_path), done)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert done.get(timeout=60) == done.get(timeout=60)
    for worker in workers:
        worker.join(timeout=60)
    assert len(list(tmp_path.iterdir())) == 20

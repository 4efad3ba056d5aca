"""A corpus of artificial signals, a tiny model file and a written test: milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audioprune import checkpoint
from audioprune.models.fdnn import FDNN

RATE = 16000
MODEL = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 161,
    "width": 4,
    "depth": 1,
}
TASK = {"name": "irm", "_target_": "audioprune.tasks.enhancement.Enhancement"}


class Items:
    """Half-second test items of one condition: noise that swells, and the same with hiss."""

    def __init__(self, speakers: list[str], count: int, seconds: float = 0.5, **more: Any) -> None:
        self.speakers, self.count, self.seconds, self.more = speakers, count, seconds, more

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        time = np.arange(round(self.seconds * RATE)) / RATE
        clean = 0.1 * rng.standard_normal(len(time)) * (1.2 + np.sin(7 * time))
        noisy = clean + 0.02 * rng.standard_normal(len(time))
        speaker = self.speakers[index % len(self.speakers)]
        pair = {
            name: torch.from_numpy(signal.astype(np.float32))
            for name, signal in (("clean", clean), ("noisy", noisy))
        }
        genders = (
            {"gender": "F" if speaker.startswith("f") else "M"} if self.more.get("genders") else {}
        )
        return {
            **pair,
            "id": f"{index:06d}_{speaker}_{index:03d}",
            "noise": "hiss",
            "snr_db": 14.0,
            **genders,
        }


class Corpus:
    """What an export asks of a corpus."""

    def __init__(self, sets: dict[str, Any], sample_rate: int = RATE, **facts: Any) -> None:
        self.sets, self.sample_rate, self.facts, self.prepared = sets, sample_rate, facts, False

    def prepare(self) -> None:
        self.prepared = True

    def tests(self) -> dict[str, Any]:
        return self.sets

    def describe(self) -> dict[str, Any]:
        return {"name": "made", **self.facts}

    def fingerprint(self) -> str:
        return "made"


def corpus(**facts: Any) -> Corpus:
    """Return a corpus of four speakers in two conditions."""
    return Corpus(
        {
            name: Items(["f1", "f2", "m1", "m2"], 8, genders=True)
            for name in ("hiss_0dB", "hiss_5dB")
        },
        **facts,
    )


def model_file(path: Path, task: dict[str, Any] | None = TASK) -> Path:
    """Write an untrained enhancer."""
    torch.manual_seed(0)
    tensors = {
        f"model/{name}": value for name, value in FDNN(width=4, depth=1).state_dict().items()
    }
    checkpoint.write(path, tensors, {"model": MODEL, "task": task, "sample_rate": RATE})
    return path

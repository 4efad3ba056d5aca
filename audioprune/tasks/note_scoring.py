"""What the tasks of note synthesis share in scoring: mean errors, rows of results, kept audio.

What an error is decides each task in commands/generate.py.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError, unknown_name
from audioprune.interrupts import check_stop
from audioprune.progress import progress

Collate = Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]


class NoteTask(Protocol):
    """What scoring needs to know of a task."""

    sample_rate: int

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the error of each item, shape (B,)."""


def validated(
    task: NoteTask, model: nn.Module, batches: Iterable[Mapping[str, Any]], monitor: str
) -> dict[str, float]:
    """Return the mean error over batches as ``loss``.

    Raises:
        ConfigError: Another value is to be monitored.
    """
    if monitor != "loss":
        raise ConfigError(unknown_name("monitor", monitor, ("loss",)))
    values = torch.cat([task.errors(model, batch).double().cpu() for batch in batches])
    return {"loss": float(values.mean())}


def spread_batches(
    dataset: Any, collate: Collate, items: int | None, size: int
) -> Iterator[dict[str, Any]]:
    """Yield batches of items that are spread evenly over a set, which may be sorted by instrument."""
    count = min(items or len(dataset), len(dataset))
    chosen = [place * len(dataset) // count for place in range(count)]
    for start in range(0, count, size):
        yield collate([dataset[index] for index in chosen[start : start + size]])


def scored(
    task: NoteTask,
    model: nn.Module,
    dataset: Any,
    title: str,
    versions: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Tensor]],
    audio: Path | None,
    keep: int,
) -> list[tuple[str, float]]:
    """Return the id and the error of every item, one at a time, and write audio of the first ones.

    Args:
        task: Gives the error.
        model: In evaluation mode.
        dataset: Test notes.
        title: For the progress display.
        versions: Gives the signals (T,) to keep beside the note, by name, for an item and its
            batch of one.
        audio: Folder for them, or None.
        keep: Number of notes whose audio is kept.
    """
    found = []
    with progress(title, len(dataset)) as display:
        for index in range(len(dataset)):
            check_stop()
            item = dataset[index]
            batch = _alone(item)
            found.append((item["id"], float(task.errors(model, batch)[0])))
            if audio is not None and index < keep:
                keep_notes(
                    audio,
                    item["id"],
                    {"reference": item["audio"], **versions(item, batch)},
                    task.sample_rate,
                )
            display.advance()
    return found


def alone(dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield every item of a set as a batch of one."""
    for index in range(len(dataset)):
        yield _alone(dataset[index])


def _alone(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as a batch of one."""
    numbers = {
        key: torch.tensor([item[key]])
        for key in ("pitch", "velocity", "instrument", "family")
        if key in item
    }
    return {**numbers, "audio": item["audio"][None], "id": [item["id"]]}


def note_row(found: Sequence[tuple[str, float]], scales: Mapping[str, float]) -> dict[str, Any]:
    """Return what a result holds; an item whose error is not finite is a failure and in no mean.

    Args:
        found: Id and error of every item.
        scales: Factor of each metric to the error.
    """
    values = [value for _, value in found if math.isfinite(value)]
    mean = math.fsum(values) / len(values) if values else None
    spread = statistics.stdev(values) if len(values) > 1 else None
    failures = [
        f"{name}: error: the model's output is not finite"
        for name, value in found
        if not math.isfinite(value)
    ]
    return {
        "noise": None,
        "snr_db": None,
        "metrics": {
            name: None if mean is None else scale * mean for name, scale in scales.items()
        },
        "std": {
            name: None if spread is None else scale * spread for name, scale in scales.items()
        },
        "n": len(found),
        "n_valid": dict.fromkeys(scales, len(values)),
        "failures": failures,
    }


def keep_notes(folder: Path, name: str, signals: Mapping[str, Tensor], sample_rate: int) -> None:
    """Write signals as FLAC at the level they have; what lies beyond full scale is clipped."""
    folder.mkdir(parents=True, exist_ok=True)
    for version, signal in signals.items():
        samples = np.nan_to_num(signal.cpu().numpy()).clip(-1, 1)
        soundfile.write(os.fsencode(folder / f"{name}_{version}.flac"), samples, sample_rate)

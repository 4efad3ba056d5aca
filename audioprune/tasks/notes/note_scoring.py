"""What the tasks of note synthesis share: steps and validation, mean errors, rows, kept audio.

What an error is, each task in ``generation`` decides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.dsp.encoding import encoded
from audioprune.errors import ConfigError, unknown_name
from audioprune.files import write_atomic
from audioprune.progress import progress
from audioprune.protocols import Batch, HasErrors, HasLoss, Items, Number, Row, require
from audioprune.tasks.batches import Batches, items_of, samples_at_once
from audioprune.training.loaders import moved


class DescendsError:
    """How a task of notes trains: by the descent of its loss, which is the only monitor."""

    monitors = ("loss",)
    score_batch: float | None = None

    def batch_weight(self, batch: Batch) -> float:
        """Return the notes of a batch, which are of one length."""
        return float(len(batch["audio"]))

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step."""
        return {"loss": update(require(self, HasLoss, "task", "add it").loss(model, batch))}

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean error over the items as ``loss``.

        Raises:
            ConfigError: Another value is to be monitored.
        """
        if monitor != "loss":
            raise ConfigError(unknown_name("monitor", monitor, ("loss",)))
        task = require(self, HasErrors, "task", "add it")
        values = torch.cat([task.errors(model, batch) for batch in batches])
        return {"loss": float(values.cpu().double().mean())}

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved: a smaller loss did."""
        return new < best


def scored(
    task: HasErrors,
    model: nn.Module,
    dataset: Items,
    title: str,
    versions: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Tensor]],
    audio: Path | None,
    keep: int,
    seconds: float | None = None,
) -> list[tuple[str, float]]:
    """Return the id and the error of every item, and write audio of the first ones.

    Args:
        task: Gives the error.
        model: In evaluation mode.
        dataset: Test notes.
        title: For the progress display.
        versions: Gives the signals (T,) to keep beside the note, by name, for an item and its
            batch of one on the model's device.
        audio: Folder for them, or None.
        keep: Number of notes whose audio is kept.
        seconds: Audio of a batch, or None; see ``batches.samples_at_once``.
    """
    device = device_of(model)

    def make(items: Sequence[Mapping[str, Any]]) -> list[float]:
        found: list[float] = task.errors(model, moved(together(items), device)).tolist()
        return found

    def samples(item: Mapping[str, Any]) -> int:
        return int(item["audio"].shape[-1])

    errors: dict[int, tuple[str, float]] = {}
    batches = Batches(make, samples, samples_at_once(model, seconds, task.sample_rate))
    with progress(title, len(dataset)) as display:
        for place, item, error in batches.results(items_of(dataset)):
            errors[place] = (item["id"], error)
            if audio is not None and place < keep:
                batch = moved(together([item]), device)
                signals = {"reference": item["audio"], **versions(item, batch)}
                keep_notes(audio, item["id"], signals, task.sample_rate)
            display.advance()
    return [errors[place] for place in range(len(dataset))]


def alone(dataset: Items) -> Iterator[Batch]:
    """Yield every item of a set as a batch of one."""
    for index in range(len(dataset)):
        yield together([dataset[index]])


def together(items: Sequence[Mapping[str, Any]]) -> Batch:
    """Return items of one length as a batch."""
    tags = [key for key in ("pitch", "velocity", "instrument", "family") if key in items[0]]
    numbers = {key: torch.tensor([item[key] for item in items]) for key in tags}
    audio = torch.stack([item["audio"] for item in items])
    return {**numbers, "audio": audio, "id": [item["id"] for item in items]}


def note_row(found: Sequence[tuple[str, float]], scales: Mapping[str, float]) -> Row:
    """Return what a result holds; an item whose error is not finite is a failure and in no mean.

    Args:
        found: Id and error of every item.
        scales: Factor of each metric to the error.
    """
    values = [value for _, value in found if math.isfinite(value)]
    mean = math.fsum(values) / len(values) if values else None
    spread = statistics.stdev(values) if len(values) > 1 else None
    failed = [name for name, value in found if not math.isfinite(value)]
    return {
        "noise": None,
        "snr_db": None,
        "metrics": _scaled(mean, scales),
        "std": _scaled(spread, scales),
        "n": len(found),
        "n_valid": dict.fromkeys(scales, len(values)),
        "failures": [f"{name}: error: the model's output is not finite" for name in failed],
        "items": {
            "id": [name for name, _ in found],
            "error": [value if math.isfinite(value) else None for _, value in found],
        },
    }


def _scaled(value: float | None, scales: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if value is None else scale * value for name, scale in scales.items()}


def keep_notes(folder: Path, name: str, signals: Mapping[str, Tensor], sample_rate: int) -> None:
    """Write signals as FLAC at the level they have; what lies beyond full scale is clipped."""
    for version, signal in signals.items():
        samples = np.nan_to_num(signal.cpu().numpy()).clip(-1, 1)
        write_atomic(folder / f"{name}_{version}.flac", encoded(samples, sample_rate))

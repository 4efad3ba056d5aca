"""Compute a model's scores again: signals made anew, scored by the libraries themselves."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi
from scipy import stats

from audioprune.experiment import agreement
from audioprune.experiment.model_io import instantiate
from audioprune.metrics.summary import ItemScores
from scripts.auditing.folders import Folder, opened

Signals = list[tuple[str, np.ndarray, np.ndarray]]
DISTANCES = ("l1", "lsd")


def _raw(mapped: float) -> float:
    """Undo the mapping of ITU-T P.862.1."""
    return (4.6607 - math.log(4 / (mapped - 0.999) - 1)) / 1.4945


def _si_sdr(clean: np.ndarray, other: np.ndarray) -> float:
    clean, other = clean - clean.mean(), other - other.mean()
    target = clean * (clean @ other) / (clean @ clean)
    return 10 * math.log10(float(target @ target) / float(np.sum((other - target) ** 2)))


def _lsd(clean: np.ndarray, other: np.ndarray, size: int = 512) -> float:
    levels = []
    for signal in (clean, other):
        window = torch.hann_window(size, dtype=torch.float64)
        padding = {"center": True, "pad_mode": "constant", "return_complex": True}
        spectrum = torch.stft(torch.from_numpy(signal), size, size // 4, window=window, **padding)
        levels.append(10 * np.log10(np.maximum(spectrum.abs().numpy() ** 2, 1e-10 * size)))
    return float(np.mean(np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=0))))


def measured(metric: str, clean: np.ndarray, other: np.ndarray, rate: int) -> float | None:
    """Score one recording by one metric; None for a metric that this audit does not know."""
    clean, other = (
        np.asarray(clean, np.float32).astype(np.float64),
        np.asarray(other, np.float32).astype(np.float64),
    )
    known = {
        "stoi": lambda: float(stoi(clean, other, rate)),
        "pesq_nb": lambda: float(pesq(rate, clean, other, "nb")),
        "pesq_raw_nb": lambda: _raw(float(pesq(rate, clean, other, "nb"))),
        "pesq_wb": lambda: float(pesq(rate, clean, other, "wb")),
        "si_sdr": lambda: _si_sdr(clean, other),
        "l1": lambda: float(np.mean(np.abs(clean - other))),
        "lsd": lambda: _lsd(clean, other),
    }
    return known[metric]() if metric in known else None


class Recorder:
    """Keeps the signals that a task gives to a scorer; its own scores are never read.

    A task gives the input of a recording first, then the output of each noise seed.
    """

    def __init__(self) -> None:
        self.taken: Signals = []

    def score(self, items: Iterable[Any]) -> list[ItemScores]:
        """Keep the signals."""
        self.taken = [(name, np.array(clean), np.array(other)) for name, clean, other in items]
        return [ItemScores(name, {"unread": 0.0}, {}) for name, _, _ in self.taken]

    def versions(self, recordings: int) -> list[Signals]:
        """Return the inputs, then the outputs of each seed."""
        width = len(self.taken) // max(1, recordings)
        return [self.taken[first::width] for first in range(width)]


@functools.lru_cache(maxsize=16)
def _parts(folder: Folder) -> tuple[Any, Any]:
    """Build the corpus and the task of a run."""
    config = folder.run["config"]
    data = instantiate(config["data"])
    data.prepare()
    return data, instantiate(agreement.complete_task(config["task"], data))


@functools.lru_cache(maxsize=64)
def signals(folder: Folder, path: Path, condition: str) -> list[Signals]:
    """Return the signals of a test condition: the input, then the output of each noise seed."""
    loaded = opened(path)
    data, task = _parts(folder)
    dataset = data.tests().get(condition)
    if loaded is None or dataset is None or not getattr(task, "scores_audio", True):
        return []
    recorder = Recorder()
    task.score(loaded.model.eval(), dataset, recorder, condition=condition, variant="audit")
    return recorder.versions(len(dataset))


@functools.lru_cache(maxsize=4096)
def values(
    folder: Folder, path: Path, condition: str, metric: str, which: str
) -> tuple[float, ...]:
    """Return a metric of every recording: of the ``mixture``, or the model's mean over seeds."""
    found = signals(folder, path, condition)
    lists = found[:1] if which == "mixture" else found[1:]
    rate = _parts(folder)[1].sample_rate if found else 0
    try:
        scored = [
            [measured(metric, clean, other, rate) for _, clean, other in items] for items in lists
        ]
    except Exception as error:  # a library that refuses a signal leaves no number to compare with
        print(f"not scored again: {path.name}, {condition}, {metric}: {error}", file=sys.stderr)
        return ()
    if not scored or any(value is None for row in scored for value in row):
        return ()
    return tuple(float(value) for value in np.mean(np.array(scored), axis=0))


def half_interval(found: tuple[float, ...]) -> float | None:
    """Return half the width of the 95 % interval of a mean, by Student's t."""
    if len(found) < 2:
        return None
    return float(
        stats.t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / math.sqrt(len(found))
    )


@functools.lru_cache(maxsize=64)
def confusion(folder: Folder, path: Path, condition: str) -> np.ndarray | None:
    """Return a classifier's confusion matrix (true, predicted); None for other tasks."""
    loaded = opened(path)
    dataset = _parts(folder)[0].tests().get(condition)
    if loaded is None or dataset is None or "features" not in dataset[0]:
        return None
    items = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        outputs = [loaded.model.eval()(item["features"][None])[0] for item in items]
    counts = np.zeros((len(outputs[0]), len(outputs[0])), dtype=int)
    for item, output in zip(items, outputs, strict=True):
        counts[int(item["label"]), int(output.argmax())] += 1
    return counts

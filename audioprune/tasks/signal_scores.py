"""What tasks whose models return signals share in scoring: rows, intervals, gains, kept audio.

How a signal is made is each task's own business; the metrics are computed in
``audioprune.metrics``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.metrics import LOWER_IS_BETTER, METRICS
from audioprune.metrics.estimate import estimate
from audioprune.metrics.scorer import score_items
from audioprune.metrics.summary import ItemScores, summarise
from audioprune.protocols import Row, Signals, SignalScorer

Scores = Sequence[ItemScores]
MONITORS = ("loss", *METRICS)


def given_scorer(scorer: SignalScorer | None) -> SignalScorer:
    """Return the scorer that a task of signals cannot do without.

    Raises:
        ConfigError: There is none.
    """
    if scorer is None:
        raise ConfigError("expected a scorer of signals, got none; give a metrics.pool.Scorer")
    return scorer


def improved(monitor: str, new: float, best: float) -> bool:
    """Tell whether a monitored value is better: smaller for a loss or distance, else larger."""
    return new < best if monitor == "loss" or monitor in LOWER_IS_BETTER else new > best


def batch_items(batch: Mapping[str, Any], enhanced: Tensor) -> Iterator[Signals]:
    """Yield the clean and the enhanced signal of each item of a batch, without padding."""
    for name, clean, signal, length in zip(
        batch["id"], batch["clean"], enhanced, batch["lengths"], strict=True
    ):
        yield name, clean[: int(length)].cpu().numpy(), signal[: int(length)].cpu().numpy()


def monitored(monitor: str, items: Sequence[Signals], sample_rate: int) -> dict[str, float]:
    """Return the mean of the monitored metric, NaN without a score; nothing for the loss."""
    if monitor == "loss":
        return {}
    mean = summarise(score_items(items, [monitor], sample_rate)).mean[monitor]
    return {monitor: math.nan if mean is None else mean}


def score_row(scores: Scores) -> Row:
    """Return mean, standard deviation, counts and failures of each metric."""
    summary = summarise(scores)
    failures = [f"{each.id}: {each.metric}: {each.reason}" for each in summary.failures]
    return {
        "metrics": summary.mean,
        "std": summary.std,
        "n": summary.n,
        "n_valid": summary.n_valid,
        "failures": failures,
    }


def interval_row(scores: Scores) -> Row:
    """Return `score_row` and ``ci95``, half the width of each mean's 95 % confidence interval."""
    return {
        **score_row(scores),
        "ci95": {metric: half_width(valid_of(scores, metric)) for metric in scores[0].values},
    }


def gain_row(scores: Scores, inputs: Scores) -> Row:
    """Return how much better each metric is than on the unprocessed input.

    Returns:
        Positive is better: ``gain``, the mean over the recordings that have both scores, and
        ``gain_ci95``, half the width of its 95 % confidence interval.
    """
    gains: dict[str, list[float]] = {}
    for metric in scores[0].values:
        sign = -1 if metric in LOWER_IS_BETTER else 1
        gains[metric] = []
        for one, other in zip(scores, inputs, strict=True):
            new, old = one.values[metric], other.values[metric]
            if new is not None and old is not None:
                gains[metric].append(sign * (new - old))
    return {
        "gain": {metric: estimate(values).mean for metric, values in gains.items()},
        "gain_ci95": {metric: half_width(values) for metric, values in gains.items()},
    }


def averaged(runs: Sequence[Scores]) -> list[ItemScores]:
    """Return the mean over several runs of each recording's scores.

    A score that one run lacks is missing, with the reason of that run.
    """
    return [_mean_of(same) for same in zip(*runs, strict=True)]


def spread(runs: Sequence[Scores]) -> dict[str, float | None]:
    """Return the standard deviation of each metric's mean over several runs; None for one run.

    The denominator is n - 1.
    """
    means = [summarise(run).mean for run in runs]
    found = {}
    for metric in means[0]:
        values = [value for mean in means if (value := mean[metric]) is not None]
        found[metric] = estimate(values).sd
    return found


def half_width(values: Sequence[float]) -> float | None:
    """Return half the width of a mean's 95 % confidence interval; None below two values."""
    found = estimate(values)
    return None if found.high is None or found.mean is None else found.high - found.mean


def valid_of(scores: Scores, metric: str) -> list[float]:
    """Return the scores of the recordings that have one."""
    return [value for each in scores if (value := each.values[metric]) is not None]


def keep_audio(
    folder: Path, item: str, signals: Mapping[str, np.ndarray], sample_rate: int
) -> None:
    """Write signals (T,) as FLAC, scaled alike so that ``noisy`` and ``clean`` peak at 0.9."""
    folder.mkdir(parents=True, exist_ok=True)
    peak = max(float(np.abs(signals[name]).max()) for name in ("noisy", "clean"))
    for name, signal in signals.items():
        scaled = np.clip(0.9 * signal / max(peak, 1e-8), -1, 1)
        soundfile.write(os.fsencode(folder / f"{item}_{name}.flac"), scaled, sample_rate)


def _mean_of(same: Sequence[ItemScores]) -> ItemScores:
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for metric in same[0].values:
        known = [value for each in same if (value := each.values[metric]) is not None]
        values[metric] = math.fsum(known) / len(known) if len(known) == len(same) else None
        for each in same:
            reasons |= {metric: each.reasons[metric]} if metric in each.reasons else {}
    return ItemScores(same[0].id, values, reasons)

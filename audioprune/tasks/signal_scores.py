"""What tasks whose models return signals share in scoring: batches, rows, gains, kept audio.

``enhanced`` passes the items of a test set in batches whose results are those of the items alone,
``scored`` scores them meanwhile. How a signal is made is each task's own business; the metrics are
computed in ``audioprune.metrics``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.dsp.encoding import encoded
from audioprune.errors import ConfigError
from audioprune.files import write_atomic
from audioprune.metrics import LOWER_IS_BETTER, METRICS
from audioprune.metrics.estimate import estimate
from audioprune.metrics.scorer import score_items
from audioprune.metrics.summary import ItemScores, summarise
from audioprune.progress import progress
from audioprune.protocols import Items, Row, SeedsNoise, Signals, SignalScorer
from audioprune.tasks.batches import Batches, items_of, samples_at_once

Scores = Sequence[ItemScores]
MONITORS = ("loss", *METRICS)


Enhance = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""Maps signals (B, T) with lengths (B,) to one or several enhanced ones, each (B, T)."""
Enhanced = tuple[int, Mapping[str, Any], list[np.ndarray]]
"""Place of an item, the item, and what was made of its noisy signal, each (T,)."""
_PROBE_S = 1.0
_ROUNDING = 1e-5


def enhanced(
    enhance: Enhance,
    model: nn.Module,
    items: Iterable[Mapping[str, Any]],
    seconds: float | None,
    sample_rate: int,
) -> Iterator[Enhanced]:
    """Yield what a model makes of the items' ``noisy``, several at once, not in their order.

    Items of different lengths pass together only where that changes nothing but rounding, which is
    measured on two of them.

    Args:
        enhance: Enhances signals in batches, on the model's device.
        model: In evaluation mode.
        items: Of a test set.
        seconds: Audio of a batch, or None; see ``batches.samples_at_once``.
        sample_rate: In Hz.
    """
    device = device_of(model)

    def make(chosen: Sequence[Mapping[str, Any]]) -> list[list[np.ndarray]]:
        signals = [item["noisy"] for item in chosen]
        lengths = torch.tensor([len(signal) for signal in signals])
        padded = nn.utils.rnn.pad_sequence(signals, batch_first=True).to(device)
        made = [signal.cpu().numpy() for signal in enhance(padded, lengths)]
        return [
            [signal[row, :length] for signal in made]
            for row, length in enumerate(lengths.tolist())
        ]

    def may_mix(shorter: Mapping[str, Any], longer: Mapping[str, Any]) -> bool:
        most = round(_PROBE_S * sample_rate)
        probes = [{"noisy": longer["noisy"][:most]}]
        length = min(len(shorter["noisy"]), 7 * len(probes[0]["noisy"]) // 10)
        probes.append({"noisy": shorter["noisy"][: max(1, length)]})
        alone = [make([probe])[0] for probe in probes]
        return all(map(_alike, make(probes), alone))

    most = samples_at_once(model, seconds, sample_rate)
    batches = Batches(make, lambda item: len(item["noisy"]), most, may_mix)
    yield from batches.results(items)


def _alike(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Tell whether signals differ by no more than the rounding of another order of sums."""
    for left, right in zip(one, other, strict=True):
        largest = np.abs(np.nan_to_num(right)).max(initial=0)
        if not np.allclose(left, right, rtol=0, atol=_ROUNDING * largest, equal_nan=True):
            return False
    return True


def scored(scorer: SignalScorer, made: Iterable[Enhanced]) -> list[list[ItemScores]]:
    """Score unprocessed and enhanced signals while the next ones are made.

    Args:
        scorer: Computes the metrics.
        made: The signals of every item, in any order.

    Returns:
        Scores of the unprocessed signals, then of each version of the enhanced ones, in the order
        of the items.
    """
    places: list[int] = []

    def signals() -> Iterator[Signals]:
        for place, item, versions in made:
            places.append(place)
            clean = item["clean"].numpy()
            for signal in (item["noisy"].numpy(), *versions):
                yield item["id"], clean, signal

    found = scorer.score(signals())
    width = len(found) // len(places)
    order = sorted(range(len(places)), key=places.__getitem__)
    return [[found[width * row + version] for row in order] for version in range(width)]


@dataclass(frozen=True)
class KeptAudio:
    """Which enhanced signals are kept as audio.

    Attributes:
        folder: Where; None for nowhere.
        most: Signals at the most, the first ones.
        sample_rate: Rate in Hz.
    """

    folder: Path | None
    most: int
    sample_rate: int


def score_enhanced(
    made: Iterable[Enhanced],
    count: int,
    scorer: SignalScorer | None,
    condition: str,
    variant: str,
    kept: KeptAudio,
) -> list[list[ItemScores]]:
    """Score noisy signals and what an enhancer makes of them, as it is made; show how far it is.

    Args:
        made: The signals of every item, in any order; the first version of each may be kept.
        count: Items.
        scorer: What scores.
        condition: Name of the test condition, for the display.
        variant: Name of the enhancer, also in the audio that is kept.
        kept: What is kept as audio.

    Returns:
        As of ``scored``.
    """
    known = given_scorer(scorer)
    with progress(f"{variant} on {condition}", count) as display:

        def shown() -> Iterator[Enhanced]:
            for place, item, signals in made:
                if kept.folder is not None and place < kept.most:
                    heard = {"noisy": item["noisy"].numpy(), variant: signals[0]}
                    heard["clean"] = item["clean"].numpy()
                    keep_audio(kept.folder, item["id"], heard, kept.sample_rate)
                display.advance()
                yield place, item, signals

        return scored(known, shown())


class ScoresEnhanced(ABC):
    """What every task has whose model makes one enhanced signal: its scoring.

    Attributes:
        sample_rate: In Hz.
        score_batch: Seconds of signals that are enhanced together, or None.
    """

    sample_rate: int
    score_batch: float | None = None

    @abstractmethod
    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return enhanced signals (B, T), zeros behind each."""

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved."""
        return improved(monitor, new, best)

    def enhance_items(
        self, model: nn.Module, items: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Mapping[str, Any], np.ndarray]]:
        """Yield place, item and enhanced signal (T,) of every item, several made at once."""

        def enhance(noisy: Tensor, lengths: Tensor) -> list[Tensor]:
            return [self.enhance(model, noisy, lengths)]

        for place, item, (signal,) in enhanced(
            enhance, model, items, self.score_batch, self.sample_rate
        ):
            yield place, item, signal

    def score(
        self,
        model: nn.Module,
        dataset: Items,
        scorer: SignalScorer | None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, Row]:
        """Score a model and the mixtures on one test condition; see ``protocols.Task``.

        Returns:
            For ``"mixture"`` and for ``variant``: noise, snr_db, and mean, standard deviation,
            counts and failures of each metric.
        """
        made = (
            (place, item, [signal])
            for place, item, signal in self.enhance_items(model, items_of(dataset))
        )
        kept = KeptAudio(audio, keep, self.sample_rate)
        mixtures, own = score_enhanced(made, len(dataset), scorer, condition, variant, kept)
        place = {key: dataset[0][key] for key in ("noise", "snr_db")}
        return {
            "mixture": {**place, **score_row(mixtures)},
            variant: {**place, **score_row(own)},
        }


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
    signals = batch["clean"].cpu().numpy(), enhanced.cpu().numpy()
    lengths = batch["lengths"].tolist()
    for name, clean, signal, length in zip(batch["id"], *signals, lengths, strict=True):
        yield name, clean[:length], signal[:length]


def monitored(monitor: str, items: Sequence[Signals], sample_rate: int) -> dict[str, float]:
    """Return the mean of the monitored metric, NaN without a score; nothing for the loss."""
    if monitor == "loss":
        return {}
    mean = summarise(score_items(items, [monitor], sample_rate)).mean[monitor]
    return {monitor: math.nan if mean is None else mean}


def score_row(scores: Scores) -> Row:
    """Return mean, standard deviation, counts and failures of each metric, and every score."""
    summary = summarise(scores)
    failures = [f"{each.id}: {each.metric}: {each.reason}" for each in summary.failures]
    return {
        "metrics": summary.mean,
        "std": summary.std,
        "n": summary.n,
        "n_valid": summary.n_valid,
        "failures": failures,
        "items": {
            "id": [each.id for each in scores],
            **{metric: [each.values[metric] for each in scores] for metric in summary.mean},
        },
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


def seeds_row(runs: Sequence[Scores], inputs: Scores) -> Row:
    """Return the row of a model: scores over all seeds, and its gain over the input."""
    scores = averaged(runs)
    row = {**interval_row(scores), **gain_row(scores, inputs)}
    return {**row, "z_seeds": len(runs), "z_std": spread(runs)}


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Let a model draw its noise from a seed in a with-block, where it draws any."""
    if not isinstance(model, SeedsNoise):
        yield
        return
    before, model.z_seed = model.z_seed, seed
    try:
        yield
    finally:
        model.z_seed = before


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
    peak = max(float(np.abs(signals[name]).max()) for name in ("noisy", "clean"))
    for name, signal in signals.items():
        scaled = np.clip(0.9 * signal / max(peak, 1e-8), -1, 1)
        write_atomic(folder / f"{item}_{name}.flac", encoded(scaled, sample_rate))


def _mean_of(same: Sequence[ItemScores]) -> ItemScores:
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for metric in same[0].values:
        known = [value for each in same if (value := each.values[metric]) is not None]
        values[metric] = math.fsum(known) / len(known) if len(known) == len(same) else None
        for each in same:
            reasons |= {metric: each.reasons[metric]} if metric in each.reasons else {}
    return ItemScores(same[0].id, values, reasons)

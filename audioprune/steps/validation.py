"""How good a model is on the validation set, by the loss or metrics of signals: ``Validation``.

An analysis asks it again and again. Scores of the test set, which tables print, are measured in
evaluate.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import TensorLoss
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.experiment.run import Run
from audioprune.interrupts import check_stop
from audioprune.metrics import LOWER_IS_BETTER, METRICS
from audioprune.metrics.scorer import Scorer
from audioprune.paths import cache_folder
from audioprune.protocols import Enhances, EnhancesItems, Signals
from audioprune.steps.needs import need_loss

LOSS = "loss"
CHOICES = (LOSS, *METRICS)


class Validation:
    """Measures models on the first items of the validation set; use it in a with-block.

    The mean of a metric runs over the recordings that the first measured model could be scored on.
    A later model of which one of them cannot be scored, because it is silent, has no mean but NaN:
    a failure never improves a mean.

    Args:
        run: Its task, data and settings are used, its model only where it is given to ``of``.
        metrics: ``loss`` or metrics of audioprune.metrics, at least one.
        items: Number of first items, or None for all.

    Raises:
        ConfigError: A metric is unknown, or the task measures nothing or produces no signals to
            score.
    """

    def __init__(self, run: Run, metrics: Sequence[str], items: int | None = None) -> None:
        for metric in metrics:
            if metric not in CHOICES:
                raise ConfigError(unknown_name("metric", metric, CHOICES))
        if not metrics or len(set(metrics)) < len(metrics):
            raise ConfigError(
                f"metrics: expected one or more different ones of {', '.join(CHOICES)}, got "
                f"{list(metrics)}"
            )
        need_loss(run, "an analysis by validation")
        self.metrics = tuple(metrics)
        self._signal = tuple(metric for metric in metrics if metric != LOSS)
        if self._signal and not isinstance(run.task, Enhances):
            raise ConfigError(
                f"metrics: expected loss, as {type(run.task).__name__} makes no signals, got "
                f"{', '.join(self._signal)}"
            )
        self._run, self._count = run, items
        self._oracle: tuple[nn.Module, TensorLoss] | None = None
        self._items: list[Mapping[str, Any]] = []
        self._scored: dict[str, set[int]] = {}
        self._scorer: Scorer | None = None

    def __enter__(self) -> Validation:
        if self._signal:
            data, runtime = self._run.data.valid(), self._run.runtime
            count = min(self._count or len(data), len(data))
            self._items = [data[index] for index in range(count)]
            cache = cache_folder(runtime["cache"]) / "metrics"
            self._scorer = Scorer(
                self._signal, self._run.task.sample_rate, runtime["metric_workers"], cache
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._scorer is not None:
            self._scorer.close()

    def counted(self, model: nn.Module) -> dict[str, Any]:
        """Return over how many validation items the means run.

        Args:
            model: Measured where no model was yet, since it decides which items have a score.

        Returns:
            ``items`` used ``items_of`` all, and ``items_scored``: how many of the used ones count,
            by metric.
        """
        size = len(self._run.data.valid())
        count = min(self._count or size, size)
        if len(self._scored) < len(self._signal):
            self.of(model)
        scored = {metric: len(self._scored.get(metric, range(count))) for metric in self.metrics}
        return {"items": count, "items_of": size, "items_scored": scored}

    def larger_is_better(self) -> tuple[str, ...]:
        """Return the metrics of which a larger value is better."""
        return tuple(metric for metric in self._signal if metric not in LOWER_IS_BETTER)

    def worse(self, metric: str, value: float, base: float) -> float:
        """Return how much worse a value is than another; infinite where it is not a number."""
        difference = value - base if metric == LOSS or metric in LOWER_IS_BETTER else base - value
        return math.inf if math.isnan(difference) else difference

    def of(self, model: nn.Module) -> dict[str, float]:
        """Measure a model as it is."""
        values = {LOSS: self._loss(model).base()} if LOSS in self.metrics else {}
        return self._in_order({**values, **self._signal_scores(model)})

    def with_tensor(self, model: nn.Module, name: str | None) -> dict[str, float]:
        """Measure a model of which one tensor, or none, is modified in place.

        Nothing else may have changed since the call with None.
        """
        check_stop()
        if name is None or LOSS not in self.metrics:
            return self.of(model)
        loss = self._loss(model).with_tensor(name, math.inf)
        return self._in_order({LOSS: loss, **self._signal_scores(model)})

    def _in_order(self, values: dict[str, float]) -> dict[str, float]:
        return {metric: values[metric] for metric in self.metrics}

    def _loss(self, model: nn.Module) -> TensorLoss:
        """Return what evaluates the loss of a model.

        Only the last one is kept, since it remembers the inputs of stages.
        """
        if self._oracle is None or self._oracle[0] is not model:
            data = self._run.data
            loss = self._run.task.validation_loss(model, data.valid(), data.collate, self._count)
            self._oracle = (model, loss)
        return self._oracle[1]

    def _signal_scores(self, model: nn.Module) -> dict[str, float]:
        if self._scorer is None:
            return {}
        places: list[int] = []

        def signals() -> Iterator[Signals]:
            for place, item, signal in self._enhanced(model):
                places.append(place)
                yield str(place), item["clean"].numpy(), signal

        with evaluating(model), torch.no_grad():
            scores = dict(zip(places, self._scorer.score(signals()), strict=True))
        results = [scores[place] for place in range(len(self._items))]
        found = {}
        for metric in self._signal:
            found[metric] = self._mean(metric, [result.values[metric] for result in results])
        return found

    def _enhanced(self, model: nn.Module) -> Iterator[tuple[int, Mapping[str, Any], np.ndarray]]:
        """Yield place, item and enhanced signal of every item, several made at once."""
        task = self._run.task
        if isinstance(task, EnhancesItems):
            yield from task.enhance_items(model, self._items)
            return
        device = device_of(model)
        for place, item in enumerate(self._items):
            signal = task.enhance(model, item["noisy"][None].to(device))[0]
            yield place, item, signal.cpu().numpy()

    def _mean(self, metric: str, values: list[float | None]) -> float:
        """Return the mean over the items that the first model had a score of; NaN without one."""
        if metric not in self._scored:
            scored = {place for place, value in enumerate(values) if value is not None}
            if not scored:
                raise DataError(
                    f"{metric}: expected a validation item with a score, got none of "
                    f"{len(values)}; choose another metric"
                )
            self._scored[metric] = scored
        chosen = [values[place] for place in sorted(self._scored[metric])]
        numbers = [value for value in chosen if value is not None]
        return math.nan if len(numbers) < len(chosen) else math.fsum(numbers) / len(numbers)

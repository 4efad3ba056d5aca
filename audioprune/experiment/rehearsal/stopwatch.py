"""How long a task's training steps, validations, searches and scores take: ``Stopwatch``.

The methods of the task's class are timed within a block; what they do stays as it is. Devices are
waited for, so that what was started is counted where it was started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import nn

from audioprune.experiment.compatibility import hooked
from audioprune.protocols.work import (
    DRAWN_ITEM,
    SCORED_ITEM,
    SEARCHED_ITEM,
    TRAINING_STEP,
    VALIDATED_ITEM,
)

Timed = tuple[float, float]
"""Seconds, and the units that they were spent on."""


@dataclass
class Stopwatch:
    """Seconds by unit since the last ``reset``; of nested calls the outermost counts."""

    spent: dict[str, list[Timed]] = field(default_factory=dict)
    _running: bool = False

    def reset(self) -> None:
        """Forget everything."""
        self.spent = {}

    def seconds(self, unit: str) -> float:
        """Return all seconds of a unit."""
        return sum(seconds for seconds, _ in self.spent.get(unit, []))

    def per_unit(self, unit: str) -> float | None:
        """Return the seconds of one unit; None where there was none.

        Of training steps it is the median without the first, which also makes the optimiser's
        state and picks kernels.
        """
        found = self.spent.get(unit, [])
        units = sum(count for _, count in found)
        if not units:
            return None
        if unit == TRAINING_STEP:
            return median([seconds for seconds, _ in found[1:] or found])
        return self.seconds(unit) / units

    @contextmanager
    def timed(self, unit: str, count: Callable[[], float]) -> Iterator[None]:
        """Time a block as so many units, which are counted at its end."""
        if self._running:
            yield
            return
        self._running = True
        started = now()
        try:
            yield
        finally:
            self._running = False
            self.spent.setdefault(unit, []).append((now() - started, count()))

    @contextmanager
    def watching(self, task: Any) -> Iterator[None]:
        """Time the methods of a task's class within a block."""
        kind, wraps = type(task), self._wraps()
        found = {
            name: getattr(kind, name) for name in wraps if callable(getattr(kind, name, None))
        }
        own = {name: vars(kind)[name] for name in found if name in vars(kind)}
        for name, method in found.items():
            setattr(kind, name, wraps[name](method))
        try:
            yield
        finally:
            for name in found:
                if name in own:
                    setattr(kind, name, own[name])
                else:
                    delattr(kind, name)

    @contextmanager
    def forwards(self, model: nn.Module) -> Iterator[None]:
        """Time the forward passes of a model within a block, where nothing else is timed.

        They are those of a criterion that looks at data; of one that needs gradients, the way back
        is not counted.
        """
        begun: list[float] = []

        def before(_: nn.Module, given: Any) -> None:
            begun[:] = [] if self._running else [now()]

        def after(_: nn.Module, given: Any, output: Any) -> None:
            items = next((len(each) for each in given if isinstance(each, torch.Tensor)), 0)
            if begun and not self._running:
                spent = (now() - begun.pop(), float(items))
                self.spent.setdefault(DRAWN_ITEM, []).append(spent)

        with hooked(model, before, after):
            yield

    def _wraps(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "step": self._step,
            "validate": self._validate,
            "validation_loss": self._validation_loss,
            "score": self._score,
            "trivial_error": self._beside_scoring,
        }

    def _step(self, method: Any) -> Any:
        def step(task: Any, *args: Any, **options: Any) -> Any:
            with self.timed(TRAINING_STEP, lambda: 1):
                return method(task, *args, **options)

        return step

    def _validate(self, method: Any) -> Any:
        def validate(task: Any, model: Any, batches: Any, *args: Any, **options: Any) -> Any:
            seen: list[int] = []

            def counted() -> Iterator[Any]:
                for batch in batches:
                    seen.append(len(next(iter(batch.values()))))
                    yield batch

            with self.timed(VALIDATED_ITEM, lambda: sum(seen)):
                return method(task, model, counted(), *args, **options)

        return validate

    def _validation_loss(self, method: Any) -> Any:
        def validation_loss(
            task: Any, model: Any, dataset: Any, collate: Any, items: int | None
        ) -> Any:
            count = min(items or len(dataset), len(dataset))
            loss = method(task, model, dataset, collate, items)
            for name in ("base", "with_tensor"):
                setattr(loss, name, self._evaluation(getattr(loss, name), count))
            return loss

        return validation_loss

    def _evaluation(self, method: Any, count: int) -> Any:
        def evaluation(*args: Any, **options: Any) -> Any:
            with self.timed(SEARCHED_ITEM, lambda: count):
                return method(*args, **options)

        return evaluation

    def _score(self, method: Any) -> Any:
        def score(task: Any, model: Any, dataset: Any, *args: Any, **options: Any) -> Any:
            with self.timed(SCORED_ITEM, lambda: len(dataset)):
                return method(task, model, dataset, *args, **options)

        return score

    def _beside_scoring(self, method: Any) -> Any:
        def beside(task: Any, *args: Any, **options: Any) -> Any:
            with self.timed(SCORED_ITEM, lambda: 0):
                return method(task, *args, **options)

        return beside


def now() -> float:
    """Return the time in seconds once the device has done what it was given.

    One thread on the CPU has a time of its own, in which a shared machine does not count.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()

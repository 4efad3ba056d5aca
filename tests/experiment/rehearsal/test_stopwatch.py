"""Methods of a task are timed by unit within a block, and are themselves again behind it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audioprune.experiment.rehearsal import stopwatch
from audioprune.experiment.rehearsal.stopwatch import Stopwatch
from audioprune.protocols.work import (
    DRAWN_ITEM,
    SCORED_ITEM,
    SEARCHED_ITEM,
    TRAINING_STEP,
    VALIDATED_ITEM,
)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Loss:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def with_tensor(self, name: str, limit: float) -> float:
        self.clock.time += 4
        return 0.0

    def base(self) -> float:
        return self.with_tensor("", 0)


class Base:
    clock: Clock

    def score(self, model: Any, dataset: Any) -> None:
        self.clock.time += 10
        self.validate(model, iter([{"x": [1, 2]}]))  # within a score, so part of it


class Task(Base):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.cost = clock, 9.0

    def step(self, model: Any, batch: Any, update: Any) -> dict[str, float]:
        self.clock.time += self.cost
        self.cost = 1.0
        return {"loss": 0.0}

    def validate(self, model: Any, batches: Any, monitor: str = "loss") -> dict[str, float]:
        self.clock.time += sum(len(batch["x"]) for batch in batches)
        return {"loss": 0.0}

    def validation_loss(self, model: Any, dataset: Any, collate: Any, items: int | None) -> Loss:
        return Loss(self.clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stopwatch, "now", made)
    return made


def test_units_are_timed_by_name(clock: Clock) -> None:
    task, watch = Task(clock), Stopwatch()
    with watch.watching(task):
        for _ in range(3):
            task.step(None, None, None)
        task.validate(None, iter([{"x": [1, 2]}, {"x": [3]}]))
        task.validation_loss(None, [0, 0], None, 1).with_tensor("w", 0.0)
        task.score(None, [0, 0, 0, 0])
        Task(clock).score(None, [0])  # another one of the class, as a branch has
    assert watch.per_unit(TRAINING_STEP) == 1.0  # without the first
    assert watch.per_unit(VALIDATED_ITEM) == 1.0
    assert watch.per_unit(SEARCHED_ITEM) == 4.0
    assert watch.per_unit(SCORED_ITEM) == 24 / 5
    assert watch.per_unit("nothing") is None
    task.step(None, None, None)
    assert len(watch.spent[TRAINING_STEP]) == 3
    assert "score" not in vars(Task) and "step" in vars(Task)


def test_forward_passes_count_where_nothing_else_is_timed(clock: Clock) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.time += 6
            return x

    model, watch = Model(), Stopwatch()
    with watch.forwards(model):
        model(torch.zeros(3, 1))
        with watch.timed(SCORED_ITEM, lambda: 1):
            model(torch.zeros(5, 1))
    model(torch.zeros(2, 1))
    assert watch.spent == {DRAWN_ITEM: [(6.0, 3.0)], SCORED_ITEM: [(6.0, 1)]}

"""How much a step has to do, and how it does a little of it: the contracts of a rehearsal.

A rehearsal (`audioprune.experiment.rehearsal`) runs every step with few units and multiplies what
one unit took by the number of units of the whole run. Both numbers come from the steps themselves:
``work`` counts, ``rehearsed`` gives the same step with few units. Nothing is measured here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from audioprune.protocols.steps import Step

TRAINING_STEP = "training step"
VALIDATED_ITEM = "validated item"
SEARCHED_ITEM = "item of a search"
SCORED_ITEM = "scored item"
CLUSTERED = "million weights clustered"
STORED = "million weights stored"
DRAWN_ITEM = "item of a criterion"
CANDIDATE = "candidate of a budget"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Work:
    """How often a step does one thing.

    Attributes:
        unit: What it does, such as ``training step``.
        count: How often; at most, where the step may end early.
    """

    unit: str
    count: float


@runtime_checkable
class SaysWork(Protocol):
    """A step that counts its work on a run, whose corpus, model and settings decide it."""

    def work(self, run: Any) -> list[Work]:
        """Return what the step does in one pass.

        Of the time that a rehearsal cannot attribute to a unit, the last entry takes all.
        """
        ...


@runtime_checkable
class Rehearses(Protocol):
    """A step that has numbers of its own, beside those of the run, which a rehearsal lowers."""

    def rehearsed(self) -> Step:
        """Return the same step with as few units as still show what one takes."""
        ...


@runtime_checkable
class Repeats(Protocol):
    """A step that runs those that it holds up to ``most`` times."""

    most: int
    steps: Mapping[str, Any]


@runtime_checkable
class ChoosesConditions(Protocol):
    """A step that works on the test conditions that fit one of its patterns; None for all."""

    conditions: list[str] | None


def with_few_units(steps: Mapping[str, Step]) -> dict[str, Step]:
    """Return steps as a rehearsal runs them; one without numbers of its own is copied."""
    return {
        name: step.rehearsed() if isinstance(step, Rehearses) else copy.copy(step)
        for name, step in steps.items()
    }


def some_of(values: Mapping[str, Value], count: int | None) -> dict[str, Value]:
    """Return ``count`` entries from all over a mapping, in its order; all of them for None."""
    names = list(values)
    if count is None or count >= len(names):
        return dict(values)
    places = sorted(
        {round(index * (len(names) - 1) / max(1, count - 1)) for index in range(count)}
    )
    return {names[place]: values[names[place]] for place in places}

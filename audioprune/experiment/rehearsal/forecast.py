"""From what few units took to what all of them will take: ``Forecast``.

Plain values only; nothing is run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from audioprune.protocols.work import Work

REST = "start and store"
"""What a step does once, whatever the number of units."""


@dataclass(frozen=True)
class UnitCost:
    """What one kind of unit costs in a step.

    Attributes:
        unit: What is done.
        seconds: Time of one.
        count: How many a run does, at most.
    """

    unit: str
    seconds: float
    count: float

    @property
    def total_s(self) -> float:
        """Time of all of them in seconds."""
        return self.seconds * self.count


@dataclass(frozen=True)
class StepForecast:
    """What one step will take.

    Attributes:
        path: Names the step.
        passes: How often the step is run at most.
        units: Costs of one pass.
        host_bytes: Largest memory of the process.
        device_bytes: Largest memory of the device.
        disk_bytes: What one pass leaves in the run folder.
        failure: Why the step failed, in one line; empty where it did not.
        measured: Whether the step was run; otherwise its units cost what they do in other steps.
    """

    path: str
    passes: int
    units: tuple[UnitCost, ...]
    host_bytes: int = 0
    device_bytes: int = 0
    disk_bytes: int = 0
    failure: str = ""
    measured: bool = True

    @property
    def total_s(self) -> float:
        """Time of all passes in seconds."""
        return self.passes * sum(each.total_s for each in self.units)


@dataclass(frozen=True)
class Forecast:
    """What an experiment will take.

    Attributes:
        steps: Its steps in their order.
        problems: What would stop it, one line each.
        facts: What was rehearsed: device, corpus, items of a batch, and so on.
    """

    steps: tuple[StepForecast, ...]
    problems: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Time of all steps in seconds."""
        return sum(step.total_s for step in self.steps)

    @property
    def disk_bytes(self) -> int:
        """What all steps leave in the run folder."""
        return sum(step.passes * step.disk_bytes for step in self.steps)

    def dominating(self) -> tuple[str, str, float] | None:
        """Return the step and the unit that take longest, and their share of the whole."""
        if self.total_s <= 0:
            return None
        parts = [
            (step.path, each.unit, step.passes * each.total_s / self.total_s)
            for step in self.steps
            for each in step.units
        ]
        return max(parts, key=lambda part: part[2])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        steps = [asdict(step) | {"total_s": step.total_s} for step in self.steps]
        return {
            **self.facts,
            "steps": steps,
            "total_s": self.total_s,
            "disk_bytes": self.disk_bytes,
            "problems": list(self.problems),
        }


def unit_costs(
    whole: Sequence[Work],
    few: Sequence[Work],
    per_unit: Mapping[str, float],
    rest_s: float,
) -> tuple[UnitCost, ...]:
    """Join what a run has to do with what units took.

    Args:
        whole: Work of the run.
        few: Work of the rehearsal, in the same order.
        per_unit: Seconds of those units that were measured.
        rest_s: Seconds of the step that belong to none of these; they are shared by the last unit
            that was not measured, or happen once.
    """
    open_units = [each.unit for each in few if each.unit not in per_unit and each.count > 0]
    costs = [UnitCost(each.unit, per_unit.get(each.unit, 0.0), each.count) for each in whole]
    if not open_units:
        return (*costs, UnitCost(REST, rest_s, 1))
    last = open_units[-1]
    done = next(each.count for each in few if each.unit == last)
    return tuple(
        replace(each, seconds=rest_s / done) if each.unit == last else each for each in costs
    )


def filled(steps: Sequence[StepForecast]) -> tuple[StepForecast, ...]:
    """Give steps that were not run the costs of the same units in other steps."""
    known: dict[str, float] = {}
    for step in steps:
        if step.measured and not step.failure:
            known |= {each.unit: each.seconds for each in step.units}
    return tuple(
        step
        if step.measured and not step.failure
        else replace(
            step,
            units=tuple(
                replace(each, seconds=each.seconds or known.get(each.unit, 0.0))
                for each in step.units
            ),
        )
        for step in steps
    )

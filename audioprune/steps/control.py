"""Steps that hold other steps: ``Repeat``, and ``say_enough``, by which a step ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from audioprune.errors import ConfigError
from audioprune.experiment.model_io import instantiate
from audioprune.experiment.pipeline import execute
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Repetition, repetition_of
from audioprune.protocols import CleansUp, Step, changes_state
from audioprune.protocols.work import with_few_units
from audioprune.ranges import Range


@dataclass
class Repeat:
    """Repeat steps until one of them says that it is enough, or ``most`` times.

    Attributes:
        steps: Steps of the body, by name.
        most: Largest number of repetitions.
    """

    steps: Mapping[str, Any]
    most: Annotated[int, Range(1)] = 10

    def __post_init__(self) -> None:
        if self.most < 1 or not self.steps:
            raise ConfigError(
                f"a repetition needs most >= 1 and steps, got most={self.most} and "
                f"{len(self.steps)} steps"
            )
        self.steps = {
            name: instantiate(step) if isinstance(step, dict) else step
            for name, step in self.steps.items()
        }

    def nested(self, path: str) -> dict[str, Step]:
        """Return the steps of the body by their path in the last pass.

        A step that is done there is not needed again.
        """
        return {f"{path}/{self.most - 1}/{name}": step for name, step in self.steps.items()}

    def rehearsed(self) -> Repeat:
        """Return one pass of rehearsed steps."""
        return replace(self, steps=with_few_units(self.steps), most=1)

    def run(self, run: Run, path: str) -> None:
        """Run the body again and again, each pass under its own number."""
        state = run.states.of(path, Repetition)
        body = {name: _Unless(step) for name, step in self.steps.items()}
        for index in range(self.most):
            execute(run, body, f"{path}/{index}/")
            # A resumed run may know the stop of a later pass already; this pass is then completed
            # first.
            if state.reason and state.index == index:
                break
        state.ended = state.reason or f"{self.most} repetitions done"


@dataclass
class _Unless:
    """A step of the body, left out once another step has ended this pass at once."""

    step: Step

    @property
    def changes_state(self) -> bool:
        return changes_state(self.step)

    def run(self, run: Run, path: str) -> None:
        around = repetition_of(path)
        if around is not None:
            state = run.states.of(around[0], Repetition)
            if state.at_once and state.index == around[1]:
                return
        self.step.run(run, path)

    def cleanup(self, run: Run, path: str) -> None:
        if isinstance(self.step, CleansUp):
            self.step.cleanup(run, path)


def say_enough(run: Run, path: str, reason: str, at_once: bool = False) -> None:
    """Ask the repetition around a step to end after this pass, or at once.

    Outside of any repetition nothing happens.

    Args:
        run: The run.
        path: Path of the step that asks.
        reason: Why.
        at_once: Whether the rest of this pass is left out too.
    """
    around = repetition_of(path)
    if around is not None:
        state = run.states.of(around[0], Repetition)
        state.reason, state.index, state.at_once = reason, around[1], at_once

"""Which steps hold other steps: repetition.

What is repeated is written in the other modules of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audioprune.errors import ConfigError
from audioprune.loading import instantiate
from audioprune.run import Run, Step, execute


@dataclass
class Repeat:
    """Repeat steps until one of them says that it is enough, or ``most`` times.

    Attributes:
        steps: Steps of the body, by name.
        most: Largest number of repetitions.
    """

    steps: Mapping[str, Any]
    most: int = 10

    def __post_init__(self) -> None:
        if self.most < 1 or not self.steps:
            raise ConfigError(f"a repetition needs most >= 1 and steps, got most={self.most} and {len(self.steps)} steps")
        self.steps = {name: instantiate(step) if isinstance(step, dict) else step for name, step in self.steps.items()}

    def check(self, run: Run) -> None:
        """Let the steps of the body refuse what they could not carry out."""
        for step in self.steps.values():
            if hasattr(step, "check"):
                step.check(run)

    def run(self, run: Run, path: str) -> None:
        """Carry out the body again and again, each pass under its own number."""
        for index in range(self.most):
            execute(run, _until_enough(self.steps), f"{path}/{index}/")
            # A resumed run may know the stop of a later pass already; this pass is then completed first.
            if run.facts.get("stop") and not any(done.startswith(f"{path}/{index + 1}/") for done in run.completed):
                break
        run.facts.setdefault("stops", {})[path] = run.facts.pop("stop", None) or f"{self.most} repetitions done"
        run.facts.pop("stop_now", None)


@dataclass
class _Unless:
    """A step of a repetition's body that is left out once the repetition was told to end at once."""

    step: Step

    @property
    def changes_state(self) -> bool:
        return getattr(self.step, "changes_state", True)

    def run(self, run: Run, path: str) -> None:
        if not run.facts.get("stop_now"):
            self.step.run(run, path)

    def cleanup(self, run: Run, path: str) -> None:
        if hasattr(self.step, "cleanup"):
            self.step.cleanup(run, path)


def _until_enough(steps: Mapping[str, Step]) -> dict[str, Step]:
    return {name: _Unless(step) for name, step in steps.items()}

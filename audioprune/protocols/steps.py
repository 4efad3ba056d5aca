"""The contracts of pipeline steps: the only things that change a run."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Step(Protocol):
    """One piece of a pipeline.

    To add one, write a dataclass whose fields are its configuration, export it from
    ``audioprune.steps``, and name it as a ``_target_`` in a pipeline of ``conf/pipeline``. What it
    must remember between two sessions is a dataclass of its own, asked for by
    ``run.states.of(path, Kind)``; what later steps may read is in ``run.findings``.
    """

    def run(self, run: Any, path: str) -> None:
        """Run the step.

        Args:
            run: The state of the experiment, an ``experiment.run.Run``, changed in place.
            path: Names the step uniquely within the run.
        """
        ...


@runtime_checkable
class SaysWhatChanges(Step, Protocol):
    """A step that says whether it changes the model; without it, it does, and state is stored."""

    changes_state: bool


@runtime_checkable
class Checks(Protocol):
    """A step that refuses what it could not do, before any step begins."""

    def check(self, run: Any) -> None:
        """Raise ConfigError where the step could not be run."""
        ...


@runtime_checkable
class CleansUp(Protocol):
    """A step with files that are not needed once its result is stored."""

    def cleanup(self, run: Any, path: str) -> None:
        """Remove them."""
        ...


@runtime_checkable
class Nests(Protocol):
    """A step that holds other steps."""

    def nested(self, path: str) -> dict[str, Step]:
        """Return them by the path under which each is run last."""
        ...


@runtime_checkable
class WritesFile(Protocol):
    """A step that writes a file of the run folder; None where it writes none."""

    file: str | None


def changes_state(step: Step) -> bool:
    """Tell whether a step changes the model, so that the state is stored after it."""
    return step.changes_state if isinstance(step, SaysWhatChanges) else True

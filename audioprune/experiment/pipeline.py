"""The steps of a pipeline: built from their configuration, checked, and run once each.

What a step does is in audioprune.steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audioprune.errors import ConfigError
from audioprune.experiment.model_io import instantiate
from audioprune.experiment.rows import QualityRow
from audioprune.experiment.run import Run
from audioprune.interrupts import check_stop
from audioprune.progress import stage
from audioprune.protocols import Checks, CleansUp, Nests, Step, changes_state


def build_steps(pipeline: dict[str, Any]) -> dict[str, Step]:
    """Instantiate a pipeline's steps in their order.

    Raises:
        ConfigError: The pipeline has no steps.
    """
    steps = pipeline.get("steps") or {}
    if not steps:
        raise ConfigError(
            f"pipeline '{pipeline.get('name')}': expected a mapping 'steps' of name -> step, "
            f"got none; choose another pipeline"
        )
    return {name: instantiate(step) for name, step in steps.items()}


def walk(steps: Mapping[str, Step]) -> Iterator[tuple[str, Step]]:
    """Yield every step of a pipeline with its path, a step before those that it holds."""
    for path, step in steps.items():
        yield path, step
        if isinstance(step, Nests):
            yield from walk(step.nested(path))


def check_steps(run: Run, steps: Mapping[str, Step]) -> None:
    """Let every step that is not done yet refuse what it could not do, nested ones too."""
    run.steps = steps
    left = {path: step for path, step in steps.items() if path not in run.completed}
    for path, step in walk(left):
        if path not in run.completed and isinstance(step, Checks):
            step.check(run)


def execute(run: Run, steps: Mapping[str, Step], prefix: str = "") -> None:
    """Run the steps in order, each once: what is already completed is skipped."""
    for name, step in steps.items():
        path = f"{prefix}{name}"
        if path in run.completed:
            continue
        check_stop()
        with stage(path) as notes:
            step.run(run, path)
            run.finish(path, changes_state(step))
            notes.append(measured(run, path))
        if isinstance(step, CleansUp):
            step.cleanup(run, path)


def measured(run: Run, path: str) -> str:
    """Return what a step measured, in a few words: the mean of its first metric."""
    rows = run.results.of_kind(QualityRow.KIND)
    mine = [row for row in rows if row["key"].startswith(f"{path}/")]
    found = [row.get("metrics") or {} for row in mine if row.get("variant") != "mixture"]
    names = [name for metrics in found for name in metrics]
    values = [metrics[names[0]] for metrics in found if metrics.get(names[0]) is not None]
    return f"{names[0]} {sum(values) / len(values):.4g}" if values else ""

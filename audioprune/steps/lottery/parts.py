"""What the steps of a lottery share: units, batches on the device, the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import nn

from audioprune.compress.units.declare import Prunable, UnitSet
from audioprune.experiment.pipeline import walk
from audioprune.experiment.run import Run
from audioprune.interrupts import check_stop
from audioprune.protocols import Batch, Items
from audioprune.steps.needs import units_of
from audioprune.training.loaders import moved

Wanted = TypeVar("Wanted")


def steps_of(run: Run, kind: type[Wanted]) -> list[Wanted]:
    """Return the steps of one kind in the whole pipeline, nested ones too."""
    return [step for _, step in walk(run.steps) if isinstance(step, kind)]


def unit_sets(model: nn.Module, mode: str | None, said_by: str | None = None) -> list[UnitSet]:
    """List the units of a model; masks need none, so that only declared ones are listed then.

    The step at the path ``said_by`` tells the user which layers stay whole.
    """
    if mode == "trim" or isinstance(model, Prunable):
        return units_of(model, "units", "set pipeline.mode=mask", said_by)
    return []


def batches_of(run: Run, data: Items, chosen: Sequence[int]) -> Iterator[Batch]:
    """Yield the chosen items in batches on the device of the run."""
    size = run.settings.batch_size
    for start in range(0, len(chosen), size):
        check_stop()
        items = [data[index] for index in chosen[start : start + size]]
        yield moved(run.data.collate(items), run.device)

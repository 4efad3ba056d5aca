"""How a pipeline measures batch normalisations anew: ``Recalibrate``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated, Any

from audioprune.experiment.run import Run
from audioprune.interrupts import check_stop
from audioprune.protocols import Batch, EpochItems
from audioprune.protocols.work import TRAINING_STEP, VALIDATED_ITEM, Work
from audioprune.ranges import Range
from audioprune.steps.needs import check_items, need_loss, whole
from audioprune.steps.prune import items_of
from audioprune.steps.validation import LOSS, Validation
from audioprune.training.batch_norm import planned_sizes, recalibrate_, running_norms
from audioprune.training.loaders import epoch_plan, moved


@dataclass
class Recalibrate:
    """Measure the running statistics of all batch normalisations again, on training batches.

    Pruning and quantization change what layers pass on, and the statistics of training no longer
    fit. No weight changes. The row says what the validation set had before and after. A model
    without such statistics stays as it is, and one line says so.

    Attributes:
        batches: Training batches, in the order of a training of the run's seed; 0 does nothing.
        metrics: What the row compares: ``loss`` or metrics of signals.
        items: Validation items of the comparison, or None for all.

    Raises:
        ConfigError: A value is out of its range, or a metric is unknown.

    Source: the statistics as in ``torch.optim.swa_utils.update_bn``, Izmailov et al., UAI 2018.
    """

    batches: Annotated[int, Range(0)] = 100
    metrics: Sequence[str] = (LOSS,)
    items: Annotated[int | None, Range(1)] = None

    def __post_init__(self) -> None:
        whole("batches", self.batches, 0)
        check_items("items", self.items)

    def check(self, run: Run) -> None:
        """Refuse a task without a loss, and metrics that it cannot measure."""
        if self.batches and running_norms(run.model):
            need_loss(run, "the statistics of normalisations", "set recalibrate_batches=0")
            Validation(run, self.metrics, self.items)

    def run(self, run: Run, path: str) -> None:
        """Measure, and record what it gained."""
        if not self.batches:
            return
        row: dict[str, Any] = {"key": path, "kind": "recalibration", "label": run.label}
        layers = len(running_norms(run.model))
        if not layers:
            told = "no batch normalisation with running statistics: nothing to measure again"
            print(f"{path}: {run.label} has {told}", file=sys.stderr, flush=True)
            run.results.put({**row, "layers": 0, "batches": 0, "remark": told})
            return
        with Validation(run, self.metrics, self.items) as validation:
            before = validation.of(run.model)
            recalibrate_(run.model, run.task, islice(_batches(run), self.batches))
            after = validation.of(run.model)
        gained = {name: validation.worse(name, before[name], after[name]) for name in before}
        more = {"layers": layers, "batches": self.batches}
        run.results.put({**row, **more, "before": before, "after": after, "gained": gained})

    def work(self, run: Run) -> list[Work]:
        """Count batches as training steps, and validated items."""
        if not self.batches or not running_norms(run.model):
            return []
        items = 2 * items_of(run, self.items)
        return [Work(TRAINING_STEP, self.batches), Work(VALIDATED_ITEM, items)]


def _batches(run: Run) -> Iterator[Batch]:
    """Yield training batches, epoch after epoch."""
    items = run.data.train()
    sizes = planned_sizes(run.model, len(items), run.settings.batch_size)
    for epoch in count():
        if isinstance(items, EpochItems):
            items.set_epoch(epoch)
        for places in epoch_plan(sizes, run.seed, epoch):
            check_stop()
            yield moved(run.data.collate([items[place] for place in places]), run.device)

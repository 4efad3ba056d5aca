"""What is measured of every ticket: ``LotteryEvaluate`` writes one row with error and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

from torch import nn

from audioprune.compress import lottery
from audioprune.compress.masks import Mask
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import DivergedError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import running_costs, save_model
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Draw
from audioprune.interrupts import check_stop
from audioprune.protocols import HasErrors, Items, scores_audio
from audioprune.protocols.work import Work
from audioprune.ranges import Range
from audioprune.steps.evaluate import scoring_work
from audioprune.steps.lottery.parts import batches_of, steps_of, unit_sets
from audioprune.steps.lottery.prune import LotteryPrune
from audioprune.steps.lottery.rewind import Rewind

TRAINED = ("monitor", "epochs", "best_epoch", "kept_epoch", "steps", "seconds")
"""What the row takes over from that of the training."""


@dataclass
class LotteryEvaluate:
    """Write the ticket, read it back, measure error and costs, and record all of it in one row.

    The error is that of the task, or the loss over the test set where the task has none; smaller
    is better. The row says how the ticket was drawn and reset, as the steps before it did, or, for
    the first network, as the steps after it will do. Every round has its own file. The multiplier
    is the error over that of the first network. The row also has the error that needs no network,
    such as that of silence, where the task knows one.

    Attributes:
        audio_rounds: Rounds after which audio of the first test items is kept.

    Raises:
        DivergedError: The first network has no error above 0.

    Source: Esling et al., Sec. 5.1 (test error multiplier) and 6.1 (costs).
    """

    audio_rounds: Annotated[list[int], Range(0)] = field(default_factory=lambda: [0])

    def run(self, run: Run, path: str) -> None:
        """Measure the model as it is on disk."""
        found = run.findings.lottery
        file = run.folder / f"round-{found.round:02d}.safetensors"
        save_model(run, file)
        loaded = load_model_file(file, run.model_config, run.task_config)
        model = loaded.model.eval()
        error = self._error(run, model)
        if found.round == 0 and not 0 < error < math.inf:
            raise DivergedError(
                f"the first network has the test error {error}, which no other can be compared "
                f"with; change the training"
            )
        if found.first_error is None:
            found.first_error, found.trivial = error, _trivial(run, model)
        drawn = _drawn_as(run)
        row = {
            "key": path,
            "kind": "lottery",
            "label": run.label,
            "model": run.model_config.get("name"),
            **drawn,
            "dataset": (run.config.get("data") or {}).get("name"),
            "iteration": found.round,
            "round": found.round,
            "test": error,
            "multiplier": error / found.first_error,
            "trivial": found.trivial,
            "val": found.trained.get("kept"),
            **{key: found.trained.get(key) for key in TRAINED},
            **_counted(model, unit_sets(model, drawn["mode"]), loaded.mask),
            **vars(running_costs(model, run.config["scoring"]["latency_repeats"])),
            "file": file.name,
            "bytes_file": file.stat().st_size,
            "mi_samples": found.samples,
            "seconds_scoring": found.seconds,
            "scale": run.scale,
            "seed": run.seed,
        }
        run.results.put(row)

    def work(self, run: Run) -> list[Work]:
        """Count scored items and stored weights."""
        return scoring_work(run, run.data.tests())

    def _error(self, run: Run, model: nn.Module) -> float:
        """Return the mean error over the test conditions."""
        errors = []
        for condition, dataset in run.data.tests().items():
            check_stop()
            error = self._metrics(run, model, condition, dataset).get("error")
            if error is None:
                error = run.task.validation_loss(model, dataset, run.data.collate, None).base()
            errors.append(float(error))
        return math.fsum(errors) / len(errors)

    def _metrics(
        self, run: Run, model: nn.Module, condition: str, dataset: Items
    ) -> Mapping[str, Any]:
        """Score one condition; a task whose metrics are those of signals has no error."""
        if scores_audio(run.task):
            return {}
        now = run.findings.lottery.round
        variant = "uncompressed" if now == 0 else f"round-{now:02d}"
        keep = run.config["scoring"]["audio_items"] if now in self.audio_rounds else 0
        rows = run.task.score(
            model,
            dataset,
            None,
            condition=condition,
            variant=variant,
            audio=run.folder / "audio" / condition if keep else None,
            keep=keep,
        )
        metrics: Mapping[str, Any] = rows[variant]["metrics"]
        return metrics


def _trivial(run: Run, model: nn.Module) -> float | None:
    """Return the mean error that needs no network, or None where the task knows none."""
    if not isinstance(run.task, HasErrors):
        return None
    errors = []
    for data in run.data.tests().values():
        batches = batches_of(run, data, list(range(len(data))))
        errors.append(run.task.trivial_error(model, batches))
    return math.fsum(errors) / len(errors)


def _drawn_as(run: Run) -> dict[str, Any]:
    """Say how the ticket was drawn and reset, and which moment it goes back to."""
    found = run.findings.lottery
    draw, reset = found.draw, found.reset
    if draw is None:
        planned, resets = steps_of(run, LotteryPrune), steps_of(run, Rewind)
        draw = planned[0].draw if planned else None
        reset = resets[0].reset if resets else None
    knobs = asdict(draw) if draw else dict.fromkeys(each.name for each in fields(Draw))
    return {**knobs, "rewind": found.rewind, "reset": reset}


def _counted(model: nn.Module, sets: list[UnitSet], mask: Mask | None) -> dict[str, Any]:
    """Count parameters and units, masked and removable ones."""
    masked = lottery.fully_masked(sets, mask) if mask is not None else {}
    return {
        "params": lottery.parameters_of(model),
        "units": sum(each.size for each in sets),
        "params_nonzero": sum(int(each.count_nonzero()) for each in model.parameters()),
        "units_per_set": {each.name: each.size for each in sets},
        "units_masked": sum(int(gone.sum()) for gone in masked.values()),
        "mask_sparsity": mask.sparsity() if mask is not None else 0.0,
    }

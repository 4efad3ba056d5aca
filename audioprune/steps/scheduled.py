"""How a pipeline prunes by a schedule file: during a training, or once without one.

Schedule files are read and followed in audioprune.distiller; the training loop is in
training/loop.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from audioprune.compress.masks import complete, prunable
from audioprune.distiller import Schedule, ScheduleHook, factor_for, load_schedule, scaled
from audioprune.distiller.context import FirstStatistics
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.run import Run
from audioprune.protocols.work import Work
from audioprune.ranges import OneOf, PassedTo, Range
from audioprune.records import write_csv
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.prune import Trim, record_iteration
from audioprune.steps.train import (
    check_monitor,
    drop_checkpoints,
    kept_from,
    open_fit,
    train_row,
    training_work,
    with_numbers,
)
from audioprune.training.settings import Settings

MODES = ("one_shot", "final")


@dataclass
class Calibration:
    """Which total sparsity all sensitivities are multiplied for.

    Attributes:
        total_sparsity: Wanted zeros over all weights of all prunable tensors, above 0, below 1;
            None leaves the sensitivities.
        mode: ``one_shot`` finds the factor on the weights before training, as if they were pruned
            once; what further prunings take comes on top. ``final`` finds it at the last pruning,
            on the weights as training left them; where more is gone by then, that stays.

    Raises:
        ConfigError: The mode is unknown or the sparsity outside its range.
    """

    total_sparsity: Annotated[float | None, Range(above=0, below=1)] = None
    mode: Annotated[str, OneOf(*MODES)] = "one_shot"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(unknown_name("calibrate.mode", self.mode, MODES))
        if self.total_sparsity is not None and not 0 < self.total_sparsity < 1:
            raise ConfigError(
                f"calibrate.total_sparsity: expected a fraction above 0 and below 1, got "
                f"{self.total_sparsity}; correct it"
            )


@dataclass
class TrainScheduled:
    """Train the model while a schedule file prunes it.

    ``schedule.csv`` holds the sparsity of every weight tensor after every pruning. The weights of
    the best validation are kept that was measured after the last pruning, with the mask of that
    epoch.

    Attributes:
        schedule: Schedule file, name of a shipped one, or its values.
        strict: Refuse parameter names that the model does not have; otherwise they are left out
            with a note.
        starting_epoch: First epoch of every pruner in place of the file's.
        ending_epoch: Epoch behind the last one, likewise.
        frequency: Epochs between two prunings, likewise.
        calibrate: See ``Calibration``.
        epochs: Epochs in place of the experiment's.
        learning_rate: Learning rate in place of the experiment's.

    Source: Plain & Biswas, pruning during training with Distiller.
    """

    schedule: str | Mapping[str, Any] | None
    strict: bool = True
    starting_epoch: Annotated[int | None, Range(0)] = None
    ending_epoch: Annotated[int | None, Range(1)] = None
    frequency: Annotated[int | None, Range(1)] = None
    calibrate: Annotated[Mapping[str, Any] | None, PassedTo(Calibration)] = None
    epochs: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        self.calibration = Calibration(**(self.calibrate or {}))
        loaded = load_schedule(_needed(self.schedule), self.strict)
        self._loaded = loaded.at_epochs(self.starting_epoch, self.ending_epoch, self.frequency)

    def check(self, run: Run) -> None:
        """Refuse a schedule for other parameters, or for more epochs than are trained."""
        schedule = self._loaded.bound(plain_twin(run), self.strict)
        check_monitor(run, self._settings(run, schedule))
        check_extension(run, schedule)

    def run(self, run: Run, path: str) -> None:
        """Train to the end and record every pruning."""
        fold_first(run, path)
        schedule = bind(run, path, self._loaded, self.strict)
        settings = self._settings(run, schedule)
        before = complete(run.mask, run.model, prunable(run.model))
        hook = self._hook(run, schedule)
        outcome = open_fit(run, path, settings, mask=run.mask, hooks=(hook,)).run()
        run.codebooks, run.mask = None, outcome.mask
        record_prunings(run, path, hook)
        tell_what_is_missing(run, path, schedule, hook)
        facts = {
            "schedule": _name(self.schedule),
            "prunings": len(hook.history),
            "factor": hook.facts.get("factor", 1.0),
        }
        run.results.put(
            {
                **train_row(run, path, outcome, settings),
                **facts,
                "calibrate": vars(self.calibration),
            }
        )
        record_iteration(
            run, f"{path}/pruned", before, {**facts, "kept_epoch": outcome.kept_epoch}
        )
        if schedule.of("extension"):
            Trim().run(run, f"{path}/trim")

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints inside a repetition; the result is in the run's state."""
        if "/" in path:
            drop_checkpoints(run, path)

    def work(self, run: Run) -> list[Work]:
        """Count training steps and validated items."""
        return training_work(run, with_numbers(run.settings, self.epochs, self.learning_rate))

    def _settings(self, run: Run, schedule: Schedule) -> Settings:
        settings = with_numbers(run.settings, self.epochs, self.learning_rate)
        last = schedule.last_change()
        if settings.epochs <= last:
            raise ConfigError(
                f"{schedule.title}: it prunes up to epoch {last}, counted from 0, which takes "
                f"training.epochs >= {last + 1}, got "
                f"{settings.epochs}; raise them or give an earlier pipeline.ending_epoch"
            )
        return kept_from(settings, last)

    def _hook(self, run: Run, schedule: Schedule) -> ScheduleHook:
        wanted, mode = self.calibration.total_sparsity, self.calibration.mode
        if wanted is None:
            return ScheduleHook(schedule)
        if mode == "final":
            return ScheduleHook(schedule, before=_at_the_last_pruning(schedule, wanted))
        factor = factor_for(schedule, run.model, wanted, FirstStatistics())
        hook = ScheduleHook(scaled(schedule, factor))
        hook.facts["factor"] = factor
        return hook


@dataclass
class PruneScheduled:
    """Prune the model once with all pruners of a schedule file, each as at its last epoch.

    Nothing is trained.

    Attributes:
        schedule: Schedule file, name of a shipped one, or its values.
        strict: Refuse parameter names that the model does not have; otherwise they are left out
            with a note.
        calibrate: See ``Calibration``; both modes are the same here.

    Source: Plain & Biswas, post-training pruning.
    """

    schedule: str | Mapping[str, Any] | None
    strict: bool = True
    calibrate: Annotated[Mapping[str, Any] | None, PassedTo(Calibration)] = None

    def __post_init__(self) -> None:
        self.calibration = Calibration(**(self.calibrate or {}))
        self._loaded = load_schedule(_needed(self.schedule), self.strict)

    def check(self, run: Run) -> None:
        """Refuse a schedule for other parameters than the model's."""
        check_extension(run, self._loaded.bound(plain_twin(run), self.strict))

    def run(self, run: Run, path: str) -> None:
        """Prune, and record the sparsity of every tensor."""
        fold_first(run, path)
        schedule = bind(run, path, self._loaded, self.strict)
        before = complete(run.mask, run.model, prunable(run.model))
        memory, wanted = FirstStatistics(), self.calibration.total_sparsity
        factor = 1.0 if wanted is None else factor_for(schedule, run.model, wanted, memory)
        hook = ScheduleHook(scaled(schedule, factor))
        kept = hook.prune_once(run.model)
        run.mask = run.mask.intersect(kept) if run.mask is not None else kept
        run.mask.apply_(run.model)
        run.codebooks = None
        facts = {
            "schedule": _name(self.schedule),
            "prunings": 1,
            "factor": factor,
            "calibrate": vars(self.calibration),
        }
        record_iteration(run, path, before, facts)
        if schedule.of("extension"):
            Trim().run(run, f"{path}/trim")


def check_extension(run: Run, schedule: Schedule) -> None:
    """Refuse a schedule that takes units out of a model that lists none."""
    if schedule.of("extension"):
        Trim().check(run)


def bind(run: Run, path: str, loaded: Schedule, strict: bool) -> Schedule:
    """Give a schedule the parameter names of a run's model, and say what was left out."""
    schedule = loaded.bound(run.model, strict)
    for note in schedule.notes:
        print(f"{path}: {note}", file=sys.stderr, flush=True)
    return schedule


def record_prunings(run: Run, path: str, hook: ScheduleHook) -> None:
    """Record the sparsity after every pruning, as results and in ``schedule.csv``."""
    names = prunable(run.model)  # a resumed history has lost the order of its names
    found = []
    for row in hook.history:
        tensors = {name: row["tensors"][name] for name in names}
        facts = {
            "epoch": row["epoch"],
            "total_sparsity": row["total"],
            "sparsity_per_tensor": tensors,
        }
        found.append(
            {
                "key": f"{path}/epoch/{row['epoch']:05d}",
                "kind": "pruning",
                "label": run.label,
                **facts,
            }
        )
    run.results.put(*found)
    rows = [
        (row["epoch"], row["total"], *(row["tensors"][name] for name in names))
        for row in hook.history
    ]
    write_csv(run.folder / "schedule.csv", ("epoch", "total", *names), rows)


def tell_what_is_missing(run: Run, path: str, schedule: Schedule, hook: ScheduleHook) -> None:
    """Say on the terminal where a training ended with less than the schedule asks for."""
    planned = len(schedule.pruning_epochs())
    if len(hook.history) < planned:
        told = (
            f"{len(hook.history)} of {planned} prunings were reached before training ended; "
            f"raise training.steps"
        )
        print(f"{path}: {told}", file=sys.stderr, flush=True)
    held: Mapping[str, Tensor] = run.mask or {}
    loose = [name for name in hook.masks if name not in held]
    if loose:
        told = (
            f"{', '.join(loose[:5])} end unmasked because of mask_on_forward_only; keep_mask: "
            f"true makes the last masks permanent"
        )
        print(f"{path}: {told}", file=sys.stderr, flush=True)


def _needed(source: str | Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    if source is None:
        raise ConfigError(
            "pipeline.schedule: expected a schedule file or the name of a shipped one, got "
            "none; give pipeline.schedule=FILE"
        )
    return source


def _name(source: str | Mapping[str, Any] | None) -> str:
    return source if isinstance(source, str) else "values"


def _at_the_last_pruning(
    schedule: Schedule, wanted: float
) -> Callable[[int, nn.Module, ScheduleHook], Schedule | None]:
    last = schedule.pruning_epochs()[-1]

    def rescale(epoch: int, model: nn.Module, hook: ScheduleHook) -> Schedule | None:
        if epoch != last:
            return None
        hook.facts["factor"] = factor_for(schedule, model, wanted, hook.statistics)
        return scaled(schedule, hook.facts["factor"])

    return rescale

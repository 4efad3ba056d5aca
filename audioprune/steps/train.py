"""How a pipeline trains or fine-tunes: the training loop with the run's mask and a regulariser."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from torch import nn

from audioprune.compress.penalties import L1Penalty, SparseGroupLasso
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.weight_groups import GroupKinds, unit_groups, weight_groups
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.rows import TrainRow
from audioprune.experiment.run import Run
from audioprune.protocols import HasMonitors
from audioprune.protocols.work import TRAINING_STEP, VALIDATED_ITEM, Work
from audioprune.ranges import PassedTo, Range
from audioprune.steps.needs import above_zero, need_loss, not_negative, units_of, whole
from audioprune.steps.ramp import RampedPenalty, check_ramp, first_whole_epoch
from audioprune.steps.shared_training import once
from audioprune.training.batch_norm import planned_sizes
from audioprune.training.loop import Fit
from audioprune.training.outcome import Outcome
from audioprune.training.settings import Settings


@dataclass
class Train:
    """Train or fine-tune the model, with the run's mask re-applied after every optimiser step.

    Attributes:
        lambda_1: Strength of the l1 regulariser.
        lambda_2: Strength of the group regulariser.
        groups: Kind of weight group per kind of layer, for lambda_2.
        unit_groups: Whether a group is a whole unit of the model, and a weight group only where
            there are no units.
        ramp_begin: Share of the epochs, 0..1, before which the regularisers are off.
        ramp_end: Share of the epochs from which on they are whole; in between their strength rises
            epoch by epoch. A regulariser that is whole from the first step on costs quality while
            the model still learns what to do. No epoch before is kept as the best one.
        epochs: Epochs in place of the experiment's; 0 leaves the model as it is.
        learning_rate: Learning rate in place of the experiment's.
        only_from_scratch: Do nothing when the run began from a trained checkpoint.

    Raises:
        ConfigError: A value is out of its range, or groups are wanted that the model does not
            have.
    """

    lambda_1: Annotated[float, Range(0)] = 0.0
    lambda_2: Annotated[float, Range(0)] = 0.0
    groups: Annotated[dict[str, str] | None, PassedTo(GroupKinds)] = None
    unit_groups: bool = False
    ramp_begin: Annotated[float, Range(0, 1)] = 0.0
    ramp_end: Annotated[float, Range(0, 1)] = 0.0
    epochs: int | None = None
    learning_rate: Annotated[float | None, Range(above=0)] = None
    only_from_scratch: bool = False

    def __post_init__(self) -> None:
        not_negative("lambda_1", self.lambda_1)
        not_negative("lambda_2", self.lambda_2)
        check_ramp(self.ramp_begin, self.ramp_end)
        if self.epochs is not None:
            whole("epochs", self.epochs, 0)
        above_zero("learning_rate", self.learning_rate)

    def check(self, run: Run) -> None:
        """Refuse a penalty on groups that do not exist, and a monitor that is not measured."""
        if not self._idle(run):
            check_monitor(run, run.settings)
            self._penalty(run)

    def run(self, run: Run, path: str) -> None:
        """Train to the end and record how it went."""
        if self._idle(run):
            return
        settings = with_numbers(run.settings, self.epochs, self.learning_rate)
        settings = self._kept_under_the_whole_regulariser(settings)
        parts = self._regulariser(run, settings.epochs)

        def train() -> Outcome:
            return open_fit(run, path, settings, mask=run.mask, **parts).run()

        outcome, key = once(run, path, self._facts(), settings, train, training_folder(run, path))
        run.codebooks = None
        row = train_row(run, path, outcome, settings)
        own = {"lambda_1": self.lambda_1, "lambda_2": self.lambda_2}
        run.results.put({**row, **own, **({"shared": key} if key else {})})

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints inside a repetition; the result is in the run's state."""
        if "/" in path:
            drop_checkpoints(run, path)

    def _facts(self) -> dict[str, Any]:
        """Return what decides the training beside its numbers."""
        facts = {"name": type(self).__name__, **asdict(self)}
        groups = ("groups", "unit_groups") if not self.lambda_2 else ()
        elsewhere = ("epochs", "learning_rate", "only_from_scratch")
        return {key: value for key, value in facts.items() if key not in (*elsewhere, *groups)}

    def work(self, run: Run) -> list[Work]:
        """Count training steps and validated items."""
        settings = with_numbers(run.settings, self.epochs, self.learning_rate)
        return [] if self._idle(run) else training_work(run, settings)

    def _idle(self, run: Run) -> bool:
        return (self.only_from_scratch and run.from_checkpoint) or self.epochs == 0

    def _regulariser(self, run: Run, epochs: int) -> dict[str, Any]:
        """Return the penalty of a training, or the hook that lets it rise."""
        penalty = self._penalty(run)
        if penalty is None or self.ramp_end == 0:
            return {"penalty": penalty}
        return {"hooks": [RampedPenalty(penalty, self.ramp_begin, self.ramp_end, epochs)]}

    def _kept_under_the_whole_regulariser(self, settings: Settings) -> Settings:
        """Return numbers by which no epoch before the end of the ramp can be the best one.

        Validation tends to be best before the regulariser is whole: keeping those weights would
        undo it.
        """
        if self.ramp_end == 0 or not (self.lambda_1 or self.lambda_2):
            return settings
        return kept_from(settings, first_whole_epoch(self.ramp_end, settings.epochs))

    def _penalty(self, run: Run) -> L1Penalty | SparseGroupLasso | None:
        if self.lambda_2:
            groups = chosen_groups(run.model, self.groups, self.unit_groups)
            return SparseGroupLasso(run.model, self.lambda_1, self.lambda_2, groups)
        return L1Penalty(run.model, self.lambda_1) if self.lambda_1 else None


def open_fit(run: Run, path: str, settings: Settings, **parts: Any) -> Fit:
    """Prepare a training of the run's model with the run's task, data and runtime.

    Args:
        run: The run.
        path: The step.
        settings: Training numbers.
        **parts: Further arguments of ``Fit``.
    """
    name = path.replace("/", "-")
    return Fit(
        run.model,
        run.task,
        run.data,
        settings,
        folder=training_folder(run, path),
        seed=run.seed,
        device=run.runtime["device"],
        workers=run.runtime["workers"],
        save_every_s=run.runtime["save_every_s"],
        sync_every=run.runtime.get("sync_every"),
        title=path,
        tensorboard=run.folder / "tensorboard" / name if run.runtime["tensorboard"] else None,
        **parts,
    )


def training_work(run: Run, settings: Settings) -> list[Work]:
    """Count the steps of a training on one device, and the items that its validations look at.

    Early stopping is not foreseen.
    """
    per_epoch = steps_per_epoch(run, settings)
    planned = settings.epochs * per_epoch
    steps = min(planned, settings.steps or planned)
    validations = math.ceil(math.ceil(steps / per_epoch) / settings.validate_every)
    items = validations * len(run.data.valid())
    return [Work(TRAINING_STEP, steps), Work(VALIDATED_ITEM, items)]


def steps_per_epoch(run: Run, settings: Settings) -> int:
    """Return the steps of an epoch of a training, at least 1."""
    return max(1, len(planned_sizes(run.model, len(run.data.train()), settings.batch_size)))


def check_monitor(run: Run, settings: Settings) -> None:
    """Refuse to watch a value that the task does not measure.

    Raises:
        ConfigError: The task measures nothing, or says which values it measures, and the monitor
            is none of them.
    """
    need_loss(
        run, "training", "prune with pipeline=weights or pipeline=units, which train nothing"
    )
    task, monitor = run.task, settings.monitor
    if isinstance(task, HasMonitors) and monitor not in task.monitors:
        what = f"training.monitor of {type(task).__name__}"
        raise ConfigError(unknown_name(what, monitor, task.monitors))


def with_numbers(settings: Settings, epochs: int | None, learning_rate: float | None) -> Settings:
    """Return training numbers with other epochs or another learning rate, where they are given."""
    return replace(
        settings,
        epochs=epochs or settings.epochs,
        learning_rate=learning_rate or settings.learning_rate,
    )


def kept_from(settings: Settings, epoch: int) -> Settings:
    """Return training numbers by which no epoch before this one, from 0, can be the best one."""
    return replace(settings, keep_from_epoch=max(settings.keep_from_epoch, epoch))


def train_row(
    run: Run, path: str, outcome: Outcome, settings: Settings, keep: str | None = None
) -> dict[str, Any]:
    """Return the row of a finished training: its best validation, and that of the kept weights.

    Args:
        run: The run; its task says which of two values is better.
        path: The step.
        outcome: What the training reports.
        settings: Its numbers.
        keep: Which epoch's weights were kept, ``best`` or ``last``, where the step had a rule of
            its own.
    """
    monitor, column = settings.monitor, f"valid_{settings.monitor}"
    values = {int(row["epoch"]): row[column] for row in outcome.history if column in row}
    best_epoch = next(iter(values))
    for epoch, value in values.items():
        if run.task.better(monitor, value, values[best_epoch]):
            best_epoch = epoch
    row = TrainRow(
        key=path,
        label=run.label,
        epochs=outcome.epochs,
        steps=outcome.steps,
        monitor=monitor,
        best=values[best_epoch],
        best_epoch=best_epoch,
        kept=values[outcome.kept_epoch],
        kept_epoch=outcome.kept_epoch,
        keep=keep or settings.keep,
        seconds=round(outcome.seconds, 1),
    )
    return row.as_dict()


def training_folder(run: Run, path: str) -> Path:
    """Return the folder of the checkpoints and the log of one training."""
    return run.folder / "training" / path.replace("/", "-")


def drop_checkpoints(run: Run, path: str) -> None:
    """Remove the checkpoints of a training whose result is stored elsewhere; its log stays."""
    for file in training_folder(run, path).glob("*.safetensors*"):
        file.unlink()


def group_kinds(kinds: dict[str, str] | None) -> GroupKinds:
    """Build the kinds of weight groups that a configuration names; None takes the defaults.

    Raises:
        ConfigError: A kind of layer or of group is unknown.
    """
    known = [each.name for each in fields(GroupKinds)]
    for layer in kinds or {}:
        if layer not in known:
            raise ConfigError(unknown_name("kind of layer in groups", layer, known))
    named: dict[str, Any] = dict(kinds or {})  # GroupKinds itself refuses wrong kinds
    return GroupKinds(**named)


def chosen_groups(model: nn.Module, kinds: dict[str, str] | None, units: bool) -> list[UnitSet]:
    """List the groups that a configuration names.

    They are weight groups, or units, with weight groups where there are no units.

    Raises:
        ConfigError: Units are wanted of a model that does not list its own.
    """
    if not units:
        return weight_groups(model, group_kinds(kinds))
    sets = units_of(model, "units", "set unit_groups=false")
    return unit_groups(model, sets, group_kinds(kinds))

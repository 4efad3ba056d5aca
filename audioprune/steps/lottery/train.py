"""The trainings of a lottery: ``LotteryTrain``, and the early moment whose weights it keeps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from audioprune import checkpoint
from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.protocols.work import Work
from audioprune.steps.folding import fold_first
from audioprune.steps.shared_training import once
from audioprune.steps.train import (
    check_monitor,
    drop_checkpoints,
    open_fit,
    steps_per_epoch,
    train_row,
    training_folder,
    training_work,
)
from audioprune.training.outcome import Outcome
from audioprune.training.settings import Settings

REWIND_FILE = "rewind.safetensors"
"""The early weights, in the run folder."""


@dataclass
class LotteryTrain:
    """Train to completion.

    The first training keeps the weights of an early moment; later ones take what is left of the
    training after that moment. Optimiser, learning-rate rule and order of the batches begin anew
    every time.

    Attributes:
        rewind: The moment k: ``500it`` after 500 steps, ``7ep`` after 7 epochs, ``0ep`` before the
            first step.

    Raises:
        ConfigError: The moment cannot be read or lies at or behind the end of the training.

    Source: Esling et al., Sec. 2.2.2, steps 2 and 5.
    """

    rewind: str = "0ep"

    def __post_init__(self) -> None:
        self._moment = Moment.parse(self.rewind)

    def check(self, run: Run) -> None:
        """Refuse a moment that lies at or behind the end of the training."""
        check_monitor(run, self._rest(run))

    def run(self, run: Run, path: str) -> None:
        """Train to the end; the model gets the weights of the best validation."""
        found = run.findings.lottery
        first = found.round == 0
        fold_first(run, path)  # the early weights must have the names of the pruned ones
        settings = run.settings if first else self._rest(run)
        file = run.folder / REWIND_FILE
        hooks = (Snapshot(self._moment, file),) if first else ()

        def train() -> Outcome:
            outcome = open_fit(run, path, settings, mask=run.mask, hooks=hooks).run()
            if not file.exists():
                raise ConfigError(
                    f"training ended after {outcome.steps} steps, before "
                    f"pipeline.rewind={self.rewind}; give an earlier moment"
                )
            return outcome

        facts = {"name": type(self).__name__, "rewind": self.rewind}
        folder = training_folder(run, path)
        outcome, key = once(run, path, facts, settings, train, folder, files=(REWIND_FILE,))
        run.codebooks = None
        found.rewind, found.trained = self.rewind, train_row(run, path, outcome, settings)
        shared = {"shared": key} if key else {}
        run.results.put({**found.trained, "round": found.round, **shared})

    def work(self, run: Run) -> list[Work]:
        """Count training steps and validated items, of what is left after the first training."""
        later = run.findings.lottery.round > 0
        return training_work(run, self._rest(run) if later else run.settings)

    def rehearsed(self) -> LotteryTrain:
        """Return the step with the earliest moment that is no beginning."""
        return replace(self, rewind="0ep" if self._moment.count == 0 else "1it")

    def _rest(self, run: Run) -> Settings:
        """Return the training numbers of what is left after the moment."""
        return self._moment.after(run.settings, steps_per_epoch(run, run.settings))

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints; the result is in the run's state."""
        drop_checkpoints(run, path)


@dataclass(frozen=True)
class Moment:
    """A moment within a training: after so many steps, or after so many epochs."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read ``500it`` or ``7ep``.

        Raises:
            ConfigError: It is neither.
        """
        match = re.fullmatch(r"(\d+)(it|ep)", str(text))
        if match is None:
            raise ConfigError(
                f"pipeline.rewind: expected steps or epochs such as 500it, 7ep or 0ep, got "
                f"{text!r}; correct it"
            )
        return cls(int(match.group(1)), match.group(2))

    def after(self, settings: Settings, per_epoch: int) -> Settings:
        """Return the training numbers of what is left after this moment.

        Raises:
            ConfigError: Nothing is left.
        """
        planned = min(settings.epochs * per_epoch, settings.steps or settings.epochs * per_epoch)
        done = self.count if self.unit == "it" else self.count * per_epoch
        if done >= planned:
            raise ConfigError(
                f"pipeline.rewind: expected a moment before the last of {planned} steps, got "
                f"{done} steps; lower it"
            )
        left = planned - done
        whole_epochs = self.unit == "ep" and settings.steps is None
        epochs, steps = math.ceil(left / per_epoch), None if whole_epochs else left
        return replace(settings, epochs=epochs, steps=steps)


class Snapshot:
    """A hook that stores the model once, at one moment of its training.

    Args:
        moment: When.
        file: Where to; written anew when a resumed training passes the moment again, with the same
            bits.
    """

    def __init__(self, moment: Moment, file: Path) -> None:
        self.moment, self.file, self.steps = moment, file, 0

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Store after so many epochs."""
        if self.moment.unit == "ep" and epoch == self.moment.count:
            self._store(model)

    def on_step_begin(self, model: nn.Module) -> None:
        """Store after so many steps."""
        if self.moment.unit == "it" and self.steps == self.moment.count:
            self._store(model)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps begun."""
        return {"facts": {"steps": self.steps}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps = int(state["facts"]["steps"])

    def _store(self, model: nn.Module) -> None:
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        checkpoint.write(self.file, tensors, {"moment": f"{self.moment.count}{self.moment.unit}"})

"""How a pipeline trains with rounded weights: ``FinetuneQuantized``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from audioprune.compress.quantize.contract import Quantized, Quantizer, forms_of
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.run import Run
from audioprune.protocols.work import Work
from audioprune.ranges import OneOf, Range
from audioprune.steps.needs import above_zero, whole
from audioprune.steps.quantize.choose import Quantize
from audioprune.steps.quantize.straight_through import SharedValues, StraightThrough
from audioprune.steps.train import (
    check_monitor,
    drop_checkpoints,
    open_fit,
    train_row,
    training_work,
    with_numbers,
)
from audioprune.training.settings import Settings

LEARNS = ("weights", "values")


@dataclass
class FinetuneQuantized(Quantize):
    """Quantise like ``Quantize``, and then train the model with its weights rounded in every pass.

    The grid or codebook of each tensor is that of the weights before. The weights of the best
    validation are kept, all of whose quantised tensors hold allowed values. Biases and
    normalisations are trained as they are; the run's mask holds.

    Attributes:
        epochs: Epochs of it; 0 only quantises.
        learning_rate: Learning rate in place of the experiment's.
        learn: ``weights``: which allowed value a weight has, by the straight-through estimator;
            ``values``: the shared values of k-means, while each weight keeps its own.

    Raises:
        ConfigError: A value is out of its range, or does not fit another.
    """

    epochs: Annotated[int, Range(0)] = 0
    learning_rate: Annotated[float | None, Range(above=0)] = None
    learn: Annotated[str, OneOf(*LEARNS)] = "weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("epochs", self.epochs, 0)
        above_zero("learning_rate", self.learning_rate)
        if self.learn not in LEARNS:
            raise ConfigError(unknown_name("learn", self.learn, LEARNS))
        if self.learn == "values" and self.quantizer != "kmeans":
            raise ConfigError(
                "learn: expected weights for a uniform grid, whose steps stay equal, got values; "
                "set quantizer=kmeans or learn=weights"
            )

    def check(self, run: Run) -> None:
        """Refuse a loss or a monitor that the task does not measure."""
        super().check(run)
        if self.epochs:
            check_monitor(run, self._settings(run))

    def work(self, run: Run) -> list[Work]:
        """Count what ``Quantize`` counts, and the training."""
        trained = training_work(run, self._settings(run)) if self.epochs else []
        return [*super().work(run), *trained]

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints inside a repetition; the result is in the run's state."""
        if "/" in path:
            drop_checkpoints(run, path)

    def _apply(self, run: Run, path: str, ways: Mapping[str, Quantizer]) -> dict[str, Quantized]:
        """Train with rounded weights, and return the form of each tensor."""
        if not self.epochs:
            return super()._apply(run, path, ways)
        forms = forms_of(run.model, run.mask, ways)
        weights = {name: run.model.get_parameter(name).detach() for name in forms}
        keeps = {name: self._kept(run, name, weight) for name, weight in weights.items()}
        hook: StraightThrough | SharedValues = StraightThrough(forms, keeps)
        if self.learn == "values":
            hook = SharedValues({name: form.codes for name, form in forms.items()}, keeps)
        settings = self._settings(run)
        outcome = open_fit(run, path, settings, mask=run.mask, hooks=(hook,)).run()
        facts: dict[str, Any] = {"quantizer": self.quantizer, "learn": self.learn}
        run.results.put({**train_row(run, path, outcome, settings), **facts})
        weights = {name: run.model.get_parameter(name).detach() for name in forms}
        return {
            name: forms[name].recoded(weight, self._kept(run, name, weight))
            for name, weight in weights.items()
        }

    def _settings(self, run: Run) -> Settings:
        return with_numbers(run.settings, self.epochs, self.learning_rate)

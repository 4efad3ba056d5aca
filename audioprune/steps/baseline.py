"""The comparison with a small model that is trained at once: ``SameSizeBaseline``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from audioprune.checkpoint import seeded
from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import build_model
from audioprune.experiment.run import Run
from audioprune.protocols import Resizable
from audioprune.protocols.work import Work
from audioprune.steps.evaluate import Evaluate
from audioprune.steps.train import Train, training_work


@dataclass
class SameSizeBaseline:
    """Train and score an unpruned model of the same kind and nearly the size of the pruned one.

    It is trained in a branch: the run's model, task and generator stay as they are. The file is
    named after the step.

    Attributes:
        width: ``auto`` for the nearest width, or a width.
        metrics: Metrics in place of ``scoring.metrics``.

    Raises:
        ConfigError: The model cannot choose a width.

    Source: Tan & Wang, Table 1: pruned models against comparably sized unpruned ones.
    """

    width: str | float = "auto"
    metrics: list[str] | None = None
    changes_state: bool = field(default=False, init=False)

    def check(self, run: Run) -> None:
        """Refuse a model that has no such width, and metrics that cannot be measured."""
        self._built(run)
        Train().check(run)
        self._evaluation("baseline").check(run)

    def run(self, run: Run, path: str) -> None:
        """Build, train and score the baseline beside the run."""
        config, model = self._built(run)
        with run.branch(model, path, model_config=config, new_task=True) as side:
            Train().run(side, path)
            self._evaluation(path).run(side, path)

    def work(self, run: Run) -> list[Work]:
        """Count the training from scratch and the scored items."""
        return [*training_work(run, run.settings), *self._evaluation("baseline").work(run)]

    def _evaluation(self, path: str) -> Evaluate:
        return Evaluate(
            "baseline",
            file=f"{path.replace('/', '-')}.safetensors",
            metrics=self.metrics,
            audio=False,
        )

    def _built(self, run: Run) -> tuple[dict[str, Any], nn.Module]:
        """Build the small network; its weights are a function of the seed alone."""
        config = {**run.model_config, "width": self._width(run)}
        with seeded(run.seed):
            return config, build_model(config, trusted=True)

    def _width(self, run: Run) -> Any:
        if self.width != "auto":
            return self.width
        model = run.model
        if not isinstance(model, Resizable):
            raise ConfigError(
                f"{type(model).__name__}: expected a method width_for(params); give "
                f"pipeline.baseline_width as a number"
            )
        return model.width_for(remaining_parameters(run), **_arguments(model, run.model_config))


def _arguments(model: Resizable, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's other arguments that decide its size: those that width_for knows."""
    known = inspect.signature(model.width_for).parameters
    return {key: value for key, value in config.items() if key in known}


def remaining_parameters(run: Run) -> int:
    """Count the parameters that are left: kept weights and everything that is never pruned."""
    names = set(prunable(run.model))
    sizes = {name: each.numel() for name, each in run.model.named_parameters()}
    never_pruned = sum(size for name, size in sizes.items() if name not in names)
    if run.mask is not None:
        return run.mask.kept() + never_pruned
    return sum(sizes.values())

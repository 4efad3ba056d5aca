"""How a pipeline compares pruning with training a small model at once: a dense model of the size of the pruned one."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from audioprune.checkpoint import seeded
from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import build_model
from audioprune.experiment.run import Run
from audioprune.steps.evaluate import Evaluate
from audioprune.steps.train import Train


@dataclass
class SameSizeBaseline:
    """Train an unpruned model of the same kind whose size is nearest to the pruned one's, and score it.

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
        if not hasattr(run.model, "width_for"):
            raise ConfigError(
                f"{type(run.model).__name__}: expected a method width_for(params); give "
                f"pipeline.baseline_width as a number"
            )
        return type(run.model).width_for(remaining_parameters(run), **_arguments(run))


def remaining_parameters(run: Run) -> int:
    """Count the parameters that are left: kept weights and everything that is never pruned."""
    names = set(prunable(run.model))
    kept = (
        run.mask.kept()
        if run.mask is not None
        else sum(p.numel() for n, p in run.model.named_parameters() if n in names)
    )
    return kept + sum(
        parameter.numel() for name, parameter in run.model.named_parameters() if name not in names
    )


def _arguments(run: Run) -> dict[str, Any]:
    """Return the model's other arguments that decide its size: those that its width_for knows."""
    known = inspect.signature(type(run.model).width_for).parameters
    return {key: value for key, value in run.model_config.items() if key in known}

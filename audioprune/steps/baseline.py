"""How a pipeline compares pruning with training a small model at once: a dense model of the size of the pruned one."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError
from audioprune.loading import build_model
from audioprune.run import Run
from audioprune.steps.evaluate import Evaluate
from audioprune.steps.train import Train


@dataclass
class SameSizeBaseline:
    """Train an unpruned model of the same kind whose size is nearest to the pruned one's, and score it.

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

    def run(self, run: Run, path: str) -> None:
        """Build, train and score the baseline beside the run, whose model is untouched."""
        config = {**run.model_config, "width": self._width(run)}
        torch.manual_seed(run.seed)
        small = replace(run, model=build_model(config, trusted=True), model_config=config, mask=None, codebooks=None, from_checkpoint=False)
        small.results = run.results
        Train().run(small, path)
        Evaluate("baseline", file="baseline.safetensors", metrics=self.metrics, audio=False).run(small, path)

    def _width(self, run: Run) -> Any:
        if self.width != "auto":
            return self.width
        if not hasattr(run.model, "width_for"):
            raise ConfigError(f"{type(run.model).__name__}: expected a method width_for(params); give pipeline.baseline_width as a number")
        return type(run.model).width_for(remaining_parameters(run), **_arguments(run))


def remaining_parameters(run: Run) -> int:
    """Count the parameters that are left: kept weights and everything that is never pruned."""
    names = set(prunable(run.model))
    kept = run.mask.kept() if run.mask is not None else sum(p.numel() for n, p in run.model.named_parameters() if n in names)
    return kept + sum(parameter.numel() for name, parameter in run.model.named_parameters() if name not in names)


def _arguments(run: Run) -> dict[str, Any]:
    """Return the model's other arguments that decide its size: those that its width_for knows."""
    known = inspect.signature(type(run.model).width_for).parameters
    return {key: value for key, value in run.model_config.items() if key in known}

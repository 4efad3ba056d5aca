"""How weight normalisation leaves a model before it is compressed: ``fold_first``."""

from __future__ import annotations

import sys

import torch
from torch import nn

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.experiment.cost import arguments_of, require_example
from audioprune.experiment.model_io import build_model
from audioprune.experiment.run import Run


def fold_first(run: Run, path: str) -> None:
    """Turn weight-normalised weights of the run's model into plain ones.

    How far the outputs differ is recorded and said on the terminal. Nothing happens where there
    are none, so that every step that compresses may call it.

    Args:
        run: The run; the names of its model's parameters change.
        path: Path of the step that is about to compress.
    """
    if not is_normed(run.model):
        return
    before = _output(run.model)
    folded = fold_weight_norm_(run.model)
    difference = float((_output(run.model) - before).abs().max())
    told = f"the weight normalisation of {len(folded)} weights is folded into plain weights"
    print(
        f"{path}: {told}; outputs differ by {difference:.2g} at most", file=sys.stderr, flush=True
    )
    row = {"key": f"{path}/fold", "kind": "fold", "label": run.label, "weights": folded}
    run.results.put({**row, "max_difference": difference})


def plain_twin(run: Run) -> nn.Module:
    """Return the run's model, or one of the same names whose weights are plain."""
    if not is_normed(run.model):
        return run.model
    twin = build_model(run.model_config, trusted=True)
    fold_weight_norm_(twin)
    return twin


def _output(model: nn.Module) -> torch.Tensor:
    """Return the outputs of a model for its example."""
    example = arguments_of(require_example(model).example_input())
    with torch.no_grad(), evaluating(model):
        output: torch.Tensor = model(*example)
    return output

"""How weight normalisation leaves a model before it is compressed: ``fold_first``."""

from __future__ import annotations

import sys

from torch import nn

from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.experiment.foreign.trial import example_outputs
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
    before = example_outputs(run.model, run.device)
    folded = fold_weight_norm_(run.model)
    pairs = zip(example_outputs(run.model, run.device), before, strict=True)
    difference = max(float((now - was).abs().max()) for now, was in pairs)
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

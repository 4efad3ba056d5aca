"""How a pipeline quantises: k-means with a fixed or a chosen number of levels per tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from audioprune.compress import kmeans, levels
from audioprune.compress.masks import prunable
from audioprune.files import read_lines
from audioprune.results import write_csv
from audioprune.run import Run
from audioprune.steps.folding import fold_first
from audioprune.steps.prune import store_finding


@dataclass
class Quantize:
    """Replace each tensor's kept weights by the centroids of one-dimensional k-means.

    Attributes:
        levels: Clusters K of every tensor, or None for the smallest K within the tolerance.
        alpha_2: Tolerated increase of the validation loss, absolute; None takes ``alpha_2_relative``.
        alpha_2_relative: Tolerated increase as a fraction of the current validation loss.
        items: Validation items that the choice of K uses, or None for all.

    Source: Tan & Wang, clustering-based quantization. How K is chosen is not in the slides: the smallest power of two whose
    loss increase, one tensor at a time, stays within the tolerance.
    """

    levels: int | None = None
    alpha_2: float | None = None
    alpha_2_relative: float = 0.005
    items: int | None = None

    def run(self, run: Run, path: str) -> None:
        """Choose K per tensor, quantise, and write quantization.csv."""
        fold_first(run, path)
        names = prunable(run.model)
        if self.levels is not None:
            chosen, rows = dict.fromkeys(names, self.levels), []
        else:
            chosen, rows = self._choose(run, path, names)
        run.codebooks = kmeans.quantize_(run.model, run.mask, chosen)
        if not rows:
            rows = [(name, book.levels, None, math.log2(max(1, book.levels)), True) for name, book in run.codebooks.items()]
        write_csv(run.folder / "quantization.csv", ("tensor", "levels", "loss_increase", "bits", "chosen"), rows)

    def _choose(self, run: Run, path: str, names: list[str]) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        oracle = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)
        alpha = self.alpha_2 if self.alpha_2 is not None else self.alpha_2_relative * oracle.base()
        weights = {name: weight for name, weight in run.model.named_parameters() if name in names}
        originals = {name: weight.detach().clone() for name, weight in weights.items()}
        keeps = {name: run.mask[name] if run.mask is not None else originals[name] != 0 for name in names}
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = levels.choose_levels(
            weights,
            lambda name, count: kmeans.cluster(originals[name], count, keeps[name]).restore(keeps[name]),
            oracle,
            alpha,
            finished={row["tensor"]: levels.TensorLevels.from_dict(row["found"]) for row in read_lines(log)},
            on_tensor=lambda name, found: store_finding(log, name, found),
        )
        rows = [(row["tensor"], row["levels"], row["increase"], math.log2(row["levels"]), row["chosen"]) for row in result.rows()]
        return {name: found.levels for name, found in result.tensors.items()}, rows

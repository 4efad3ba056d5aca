"""How a pipeline quantises: k-means with a fixed or a chosen number of levels per tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from audioprune.compress.masks import prunable
from audioprune.compress.quantize import kmeans
from audioprune.compress.quantize.kmeans import Codebook
from audioprune.compress.search import cluster_counts as levels
from audioprune.experiment.results import write_csv
from audioprune.experiment.run import Run
from audioprune.files import read_lines
from audioprune.protocols.work import CLUSTERED, SEARCHED_ITEM, Work, some_of
from audioprune.ranges import Range
from audioprune.steps.folding import fold_first
from audioprune.steps.needs import check_items, need_loss, not_negative, whole
from audioprune.steps.prune import items_of, store_finding

Tried = tuple[str, int, float | None, bool]
COLUMNS = ("tensor", "levels", "loss_increase", "bits", "chosen", "kept", "asked")


@dataclass
class Quantize:
    """Replace each tensor's kept weights by the centroids of one-dimensional k-means.

    ``quantization.csv`` says of every number of clusters that was tried how many are really used,
    which are no more than the tensor has different kept weights, the bits of a code, and how many
    weights are kept; ``asked`` is the number that was tried.

    Attributes:
        levels: Clusters K of every tensor, or None for the smallest K within the tolerance.
        alpha_2: Tolerated increase of the validation loss, absolute; None takes
            ``alpha_2_relative``.
        alpha_2_relative: Tolerated increase as a fraction of the current validation loss.
        items: Validation items that the choice of K uses, or None for all.

    Raises:
        ConfigError: A value is out of its range.

    Source: Tan & Wang, clustering-based quantization. How K is chosen is not in the slides: the
    smallest power of two whose loss increase, one tensor at a time, stays within the tolerance.
    """

    levels: Annotated[int | None, Range(1, 65_536)] = None
    alpha_2: Annotated[float | None, Range(0)] = None
    alpha_2_relative: Annotated[float, Range(0)] = 0.005
    items: Annotated[int | None, Range(1)] = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            whole("levels", self.levels, 1, kmeans.MAX_LEVELS)
        not_negative("alpha_2", self.alpha_2)
        not_negative("alpha_2_relative", self.alpha_2_relative)
        check_items("items", self.items)

    def check(self, run: Run) -> None:
        """Refuse to choose K by a loss that the task does not measure."""
        if self.levels is None:
            need_loss(run, "the choice of levels", "fix them with pipeline.levels=64")

    def run(self, run: Run, path: str) -> None:
        """Choose K per tensor, quantise, and write quantization.csv."""
        fold_first(run, path)
        names = prunable(run.model)
        if self.levels is not None:
            chosen = dict.fromkeys(names, self.levels)
            tried: list[Tried] = [(name, self.levels, None, True) for name in names]
        else:
            chosen, tried = self._choose(run, path, names)
        different = _different(run, names)
        run.codebooks = kmeans.quantize_(run.model, run.mask, chosen)
        rows = [
            _row(name, asked, increase, chosen, run.codebooks[name], different[name])
            for name, asked, increase, chosen in tried
        ]
        write_csv(run.folder / "quantization.csv", COLUMNS, rows)

    def work(self, run: Run) -> list[Work]:
        """Count the items of the search, if every tensor tries every K, and clustered weights."""
        sizes = {name: each.numel() for name, each in run.model.named_parameters()}
        sizes = {name: sizes[name] for name in prunable(run.model)}
        searched = {} if self.levels is not None else some_of(sizes, run.few_tensors)
        tries = len(levels.LEVELS)
        items = items_of(run, self.items)
        clustered = sum(sizes.values()) + tries * sum(searched.values())
        return [
            Work(SEARCHED_ITEM, tries * len(searched) * items),
            Work(CLUSTERED, clustered / 1e6),
        ]

    def _choose(self, run: Run, path: str, names: list[str]) -> tuple[dict[str, int], list[Tried]]:
        oracle = run.task.validation_loss(
            run.model, run.data.valid(), run.data.collate, self.items
        )
        alpha = self.alpha_2 if self.alpha_2 is not None else self.alpha_2_relative * oracle.base()
        weights = {name: weight for name, weight in run.model.named_parameters() if name in names}
        weights = some_of(weights, run.few_tensors)
        originals = {name: weight.detach().clone() for name, weight in weights.items()}
        keeps = {name: _kept(run, name, weight) for name, weight in originals.items()}
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = levels.choose_levels(
            weights,
            lambda name, count: kmeans.cluster(originals[name], count, keeps[name]).restore(
                keeps[name]
            ),
            oracle,
            alpha,
            finished={
                row["tensor"]: levels.TensorLevels.from_dict(row["found"])
                for row in read_lines(log)
            },
            on_tensor=lambda name, found: store_finding(log, name, found),
        )
        tried = [
            (row["tensor"], row["levels"], row["increase"], row["chosen"]) for row in result.rows()
        ]
        chosen = {name: found.levels for name, found in result.tensors.items()}
        # a rehearsal looks at some tensors only; the others get as many levels as those need
        most = max(chosen.values())
        return {name: chosen.get(name, most) for name in names}, tried


def _different(run: Run, names: list[str]) -> dict[str, int]:
    """Count the different kept weights of every tensor: no clustering of it has more clusters."""
    weights = dict(run.model.named_parameters())
    found = {}
    for name in names:
        weight = weights[name].detach()
        found[name] = len(torch.unique(weight[_kept(run, name, weight)]))
    return found


def _kept(run: Run, name: str, weight: Tensor) -> Tensor:
    """Return the kept positions of a tensor; where it is not masked, its zeros stay zero."""
    return run.mask[name] if run.mask is not None and name in run.mask else weight != 0


def _row(
    name: str, asked: int, increase: float | None, chosen: bool, book: Codebook, different: int
) -> tuple[Any, ...]:
    used = book.levels if chosen else min(asked, different)
    return name, used, increase, math.log2(max(1, used)), chosen, book.codes.numel(), asked

"""How a pipeline quantises: ``Quantize``, by k-means or uniform grids of fixed or chosen size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from audioprune.compress.masks import prunable
from audioprune.compress.quantize import kmeans
from audioprune.compress.quantize.contract import (
    PER,
    Quantized,
    Quantizer,
    channels_of,
    entry,
    quantize_with_,
)
from audioprune.compress.quantize.uniform import LEAST_BITS, MOST_BITS, SCALES, Uniform
from audioprune.compress.search import cluster_counts as levels
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.run import Run
from audioprune.files import read_lines
from audioprune.protocols.work import CLUSTERED, SEARCHED_ITEM, Work, some_of
from audioprune.ranges import OneOf, Range
from audioprune.records import write_csv
from audioprune.steps.folding import fold_first
from audioprune.steps.needs import check_items, need_loss, not_negative, whole
from audioprune.steps.prune import items_of, store_finding

Tried = tuple[str, int, float | None, bool]
COLUMNS = ("tensor", "levels", "loss_increase", "bits", "chosen", "kept", "asked")
QUANTIZERS = ("kmeans", "uniform")
_BITS = tuple(range(LEAST_BITS, MOST_BITS + 1))


@dataclass
class Quantize:
    """Replace each tensor's kept weights by few values: k-means centroids, or a uniform grid.

    ``quantization.csv`` says of every number of clusters that was tried how many are really used,
    which are no more than the tensor has different kept weights, the bits of a code, and how many
    weights are kept; ``asked`` is the number that was tried, of a uniform grid its bits. Removed
    weights stay exactly zero, which every uniform grid has among its values.

    Attributes:
        levels: Clusters K of every tensor, or None for the smallest K within the tolerance.
        alpha_2: Tolerated increase of the validation loss, absolute; None takes
            ``alpha_2_relative``.
        alpha_2_relative: Tolerated increase as a fraction of the current validation loss.
        items: Validation items that the choice of K uses, or None for all.
        quantizer: ``kmeans``, shared values where the weights are; or ``uniform``, equal steps.
        bits: Bits of a code in every tensor, 2..8, for k-means instead of ``levels``; None chooses
            them by the tolerance.
        symmetric: Whether a uniform grid reaches equally far to both sides; otherwise each scale
            has a zero point.
        per: What shares a scale of a uniform grid: a ``tensor``, a ``gate`` of a recurrent layer,
            or an output ``channel`` (a row of a recurrent matrix). Codebooks are per tensor.
        scale: How a uniform grid gets its scale: ``least_squares``, or ``max``, which clips
            nothing.

    Raises:
        ConfigError: A value is out of its range, or one is given that the quantizer does not have.

    Source: Tan & Wang, clustering-based quantization. How K is chosen is not in the slides: the
    smallest power of two whose loss increase, one tensor at a time, stays within the tolerance.
    """

    levels: Annotated[int | None, Range(1, 65_536)] = None
    alpha_2: Annotated[float | None, Range(0)] = None
    alpha_2_relative: Annotated[float, Range(0)] = 0.005
    items: Annotated[int | None, Range(1)] = None
    quantizer: Annotated[str, OneOf(*QUANTIZERS)] = "kmeans"
    bits: Annotated[int | None, Range(LEAST_BITS, MOST_BITS)] = None
    symmetric: bool = True
    per: Annotated[str, OneOf(*PER)] = "tensor"
    scale: Annotated[str, OneOf(*SCALES)] = "least_squares"

    def __post_init__(self) -> None:
        if self.levels is not None:
            whole("levels", self.levels, 1, kmeans.MAX_LEVELS)
        if self.bits is not None:
            whole("bits", self.bits, LEAST_BITS, MOST_BITS)
        named = {
            "quantizer": (self.quantizer, QUANTIZERS),
            "per": (self.per, PER),
            "scale": (self.scale, SCALES),
        }
        for name, (value, choices) in named.items():
            if value not in choices:
                raise ConfigError(unknown_name(name, value, choices))
        self._check_together()
        not_negative("alpha_2", self.alpha_2)
        not_negative("alpha_2_relative", self.alpha_2_relative)
        check_items("items", self.items)

    def check(self, run: Run) -> None:
        """Refuse to choose K by a loss that the task does not measure."""
        if self._fixed is None:
            remedy = "levels=64" if self.quantizer == "kmeans" else "bits=4"
            need_loss(run, "the choice of levels", f"fix them with pipeline.{remedy}")

    def run(self, run: Run, path: str) -> None:
        """Choose K per tensor, quantise, and write quantization.csv."""
        fold_first(run, path)
        names, fixed = prunable(run.model), self._fixed
        if fixed is not None:
            chosen = dict.fromkeys(names, fixed)
            tried: list[Tried] = [(name, fixed, None, True) for name in names]
        else:
            chosen, tried = self._choose(run, path, names)
        different = self._different(run, names) if self.quantizer == "kmeans" else {}
        ways = {name: self._quantizer(number) for name, number in chosen.items()}
        forms = self._apply(run, path, ways)
        run.codebooks = forms
        rows = [
            self._row(name, asked, increase, taken, forms[name], different.get(name, asked))
            for name, asked, increase, taken in tried
        ]
        write_csv(run.folder / "quantization.csv", COLUMNS, rows)

    def work(self, run: Run) -> list[Work]:
        """Count the items of the search, if every tensor tries every K, and clustered weights."""
        sizes = {name: each.numel() for name, each in run.model.named_parameters()}
        sizes = {name: sizes[name] for name in prunable(run.model)}
        searched = {} if self._fixed is not None else some_of(sizes, run.few_tensors)
        tries = len(self._numbers)
        items = items_of(run, self.items)
        clustered = sum(sizes.values()) + tries * sum(searched.values())
        return [
            Work(SEARCHED_ITEM, tries * len(searched) * items),
            Work(CLUSTERED, clustered / 1e6),
        ]

    @property
    def _fixed(self) -> int | None:
        """The number of every tensor, clusters or bits; None where it is chosen."""
        if self.quantizer == "uniform":
            return self.bits
        return self.levels if self.bits is None else int(2**self.bits)

    @property
    def _numbers(self) -> Sequence[int]:
        """The numbers that a choice tries, ascending."""
        return levels.LEVELS if self.quantizer == "kmeans" else _BITS

    def _check_together(self) -> None:
        """Refuse settings that the quantizer does not have."""
        if self.quantizer == "uniform" and self.levels is not None:
            raise ConfigError(
                f"levels: expected none for a uniform grid, whose bits say how many it has, got "
                f"{self.levels}; set levels=null and give bits"
            )
        if self.quantizer == "uniform":
            return
        if self.levels is not None and self.bits is not None:
            raise ConfigError(
                f"expected levels or bits, got levels={self.levels} and bits={self.bits}; set "
                f"one to null"
            )
        own = {"symmetric": True, "per": "tensor", "scale": "least_squares"}
        for name, only in own.items():
            if getattr(self, name) != only:
                raise ConfigError(
                    f"{name}: expected {str(only).lower()} for k-means, which has one codebook a "
                    f"tensor, got {str(getattr(self, name)).lower()}; set quantizer=uniform"
                )

    def _quantizer(self, number: int) -> Quantizer:
        """Return what quantises a tensor to so many clusters, or to so many bits."""
        if self.quantizer == "kmeans":
            return kmeans.KMeans(number)
        return Uniform(number, self.symmetric, self.per, self.scale)

    def _apply(self, run: Run, path: str, ways: Mapping[str, Quantizer]) -> dict[str, Quantized]:
        """Quantise the model, and return the form of each tensor."""
        return quantize_with_(run.model, run.mask, ways)

    def _kept(self, run: Run, name: str, weight: Tensor) -> Tensor:
        """Return the positions of a tensor that are coded; without a mask its zeros stay zero."""
        given = entry(run.mask, name)
        return self._quantizer(LEAST_BITS).kept(weight) if given is None else given

    def _different(self, run: Run, names: Sequence[str]) -> dict[str, int]:
        """Count the different kept weights: no clustering of a tensor has more clusters."""
        weights = {name: run.model.get_parameter(name).detach() for name in names}
        return {
            name: len(torch.unique(weight[self._kept(run, name, weight)]))
            for name, weight in weights.items()
        }

    def _row(
        self,
        name: str,
        asked: int,
        increase: float | None,
        chosen: bool,
        form: Quantized,
        different: int,
    ) -> tuple[Any, ...]:
        """Return the line of quantization.csv of one number that was tried."""
        kept = form.codes.numel()
        if self.quantizer == "uniform":
            steps = Uniform(asked, self.symmetric).steps
            return name, steps, increase, float(asked), chosen, kept, asked
        used = form.levels if chosen else min(asked, different)
        return name, used, increase, math.log2(max(1, used)), chosen, kept, asked

    def _choose(self, run: Run, path: str, names: list[str]) -> tuple[dict[str, int], list[Tried]]:
        oracle = run.task.validation_loss(
            run.model, run.data.valid(), run.data.collate, self.items
        )
        alpha = self.alpha_2 if self.alpha_2 is not None else self.alpha_2_relative * oracle.base()
        weights = {name: weight for name, weight in run.model.named_parameters() if name in names}
        weights = some_of(weights, run.few_tensors)
        originals = {name: weight.detach().clone() for name, weight in weights.items()}
        keeps = {name: self._kept(run, name, weight) for name, weight in originals.items()}
        channels = {name: channels_of(run.model, name, self.per) for name in originals}

        def rounded(name: str, number: int) -> Tensor:
            way = self._quantizer(number)
            return way.quantize(originals[name], channels[name], keeps[name]).restore(keeps[name])

        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = levels.choose_levels(
            weights,
            rounded,
            oracle,
            alpha,
            levels=self._numbers,
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

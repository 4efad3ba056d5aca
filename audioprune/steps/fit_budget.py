"""The smallest file whose score drops no further than stated: ``FitBudget``.

How candidates are chosen is in audioprune.compress.search.budget; here they are built, packed,
read back and measured.
"""

from __future__ import annotations

import copy
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from audioprune.compress.masks import Mask
from audioprune.compress.quantize import kmeans
from audioprune.compress.search.budget import (
    Candidate,
    Measured,
    Plan,
    Solution,
    TensorCurves,
    level_curves,
    solve,
)
from audioprune.compress.search.candidates import Removable
from audioprune.compress.search.cluster_counts import LEVELS
from audioprune.compress.select import share_of
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.weight_groups import GroupKinds
from audioprune.compress.units.zero import dead_units
from audioprune.errors import ConfigError
from audioprune.experiment.foreign.trial import example_outputs
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import save_model
from audioprune.experiment.results import clean
from audioprune.experiment.run import Run
from audioprune.files import append_line, read_lines
from audioprune.interrupts import check_stop
from audioprune.metrics import METRICS
from audioprune.protocols.work import CANDIDATE, Work
from audioprune.ranges import OneOf, PassedTo, Range
from audioprune.records import write_csv
from audioprune.steps.curves import (
    candidates_of,
    check_units,
    curve_work,
    log_of,
    mask_of,
    measured_curves,
    number,
    whole_sets,
)
from audioprune.steps.folding import fold_first
from audioprune.steps.needs import ascending, check_items, not_negative, whole
from audioprune.steps.prune import take_out
from audioprune.steps.train import Train, group_kinds
from audioprune.steps.validation import LOSS, Validation


@dataclass
class FitBudget:
    """Compress the model to the smallest packed file whose score drops no further than stated.

    The score is that of the validation set. Every candidate is pruned, fine-tuned where asked,
    quantised, packed, read back and measured. ``budget.csv`` lists all of them,
    ``budget_plan.csv`` what the chosen one does to each tensor.
    If no pruned one fits, the model stays unpruned, quantised where that fits, and the ``budget``
    row and a line on the terminal say so.

    Attributes:
        metric: ``loss``, or a name of audioprune.metrics such as ``stoi``, ``pesq_wb``,
            ``si_sdr``, ``lsd``, ``l1``.
        max_drop: Allowed drop of the mean over the validation items, at least 0, absolute, in the
            metric's unit; STOI and ESTOI are fractions, and a drop of the loss, or of a distance
            such as LSD, is its increase.
        candidates: Largest number of common tolerances to try, each of which is a model to build.
        items: Validation items to use, or None for all.
        betas: Removed fractions ascending from 0, or None for 0, 0.05 .. 1.
        levels: Numbers of shared values to choose from, ascending, or None for 2, 4 .. 256.
        structured: Whether weight groups are removed rather than single weights.
        groups: Kind of weight group per kind of layer, for structured pruning.
        finetune_epochs: Epochs of fine-tuning between pruning and quantisation of every candidate;
            0 for none.
        finetune_learning_rate: Learning rate of the fine-tuning in place of the experiment's.
        lambda_1: Strength of the l1 regulariser in the fine-tuning.
        whole_units: Whether whole units are removed, and leave every candidate for real, in place
            of single weights or groups; ``groups`` then holds for the rest.

    Source: ours; Tan & Wang choose tolerances of the loss by hand.
    """

    metric: Annotated[str, OneOf(LOSS, *METRICS)] = "loss"
    max_drop: Annotated[float, Range(0)] = 0.0
    candidates: Annotated[int, Range(1)] = 10
    items: Annotated[int | None, Range(1)] = None
    betas: Annotated[list[float] | None, Range(0, 1)] = None
    levels: Annotated[list[int] | None, Range(1, 65_536)] = None
    structured: bool = False
    groups: Annotated[dict[str, str] | None, PassedTo(GroupKinds)] = None
    finetune_epochs: Annotated[int, Range(0)] = 0
    finetune_learning_rate: Annotated[float | None, Range(above=0)] = None
    lambda_1: Annotated[float, Range(0)] = 0.0
    whole_units: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < math.inf:
            raise ConfigError(
                f"max_drop: expected a finite number >= 0 in the unit of {self.metric}, got "
                f"{self.max_drop}; correct it"
            )
        whole("candidates", self.candidates, 1)
        check_items("items", self.items)
        ascending("betas", self.betas, 0, 1)
        ascending("levels", self.levels, 1, kmeans.MAX_LEVELS)
        not_negative("lambda_1", self.lambda_1)
        whole("finetune_epochs", self.finetune_epochs, 0)
        self._kinds = group_kinds(self.groups)

    def check(self, run: Run) -> None:
        """Refuse a metric that cannot be measured, and whole units of a model without any."""
        Validation(run, [self.metric], self.items)
        check_units(run, self.whole_units)
        self.finetuning().check(run)

    def finetuning(self) -> Train:
        """Return the step that fine-tunes a candidate."""
        return Train(
            lambda_1=self.lambda_1,
            epochs=self.finetune_epochs,
            learning_rate=self.finetune_learning_rate,
        )

    def run(self, run: Run, path: str) -> None:
        """Measure the curves, search, and take over the model that was chosen."""
        started = time.monotonic()
        fold_first(run, path)
        sets = whole_sets(run, self.whole_units, said_by=path)
        candidates = candidates_of(run, self.structured, self._kinds, sets)
        with Validation(run, [self.metric], self.items) as validation:
            base = validation.of(run.model)[self.metric]
            counted = validation.counted(run.model)
            if not math.isfinite(base):
                raise ConfigError(
                    f"{self.metric}: expected a finite value of the model before compression, "
                    f"got {base}; train it first"
                )
            curves = self._curves(run, path, validation, candidates, base)
            builder = _Builder(self, run, path, validation, candidates, sets, base)
            solution = solve(
                curves,
                builder.build,
                self.max_drop,
                most=self.candidates,
                finished=builder.finished(),
                on_candidate=builder.store,
            )
        file = builder.file(solution.chosen.name)
        chosen = load_model_file(file, run.model_config, run.task_config)
        run.model, run.mask, run.codebooks = chosen.model, chosen.mask, chosen.codebooks
        _write_tables(run, solution)
        row = self._row(run, path, solution, base)
        seconds = round(time.monotonic() - started, 1)
        run.results.put(
            {**row, "seconds": seconds, **counted, "scale": run.scale, "seed": run.seed}
        )
        if row["note"]:
            print(f"{path}: {row['note']}", file=sys.stderr, flush=True)

    def work(self, run: Run) -> list[Work]:
        """Count the items of the curves, and the candidates that are built and measured."""
        sets = whole_sets(run, self.whole_units)
        candidates = candidates_of(run, self.structured, self._kinds, sets)
        curves = curve_work(run, self.items, self.betas, candidates)
        finetuning = self.finetuning().work(run)
        trained = [Work(each.unit, self.candidates * each.count) for each in finetuning]
        return [curves, *trained, Work(CANDIDATE, self.candidates)]

    def rehearsed(self) -> FitBudget:
        """Return the step with one candidate."""
        return replace(self, candidates=1)

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the packed candidates; the chosen one is in the run's state."""
        shutil.rmtree(_folder(run, path), ignore_errors=True)

    def _curves(
        self,
        run: Run,
        path: str,
        validation: Validation,
        candidates: Mapping[str, Removable],
        base: float,
    ) -> dict[str, TensorCurves]:
        """Measure how the score falls with pruning, and for every tensor with fewer levels."""
        log = log_of(run, path, "-prune")
        pruned = measured_curves(run, log, validation, candidates, self.betas)
        quantised = self._level_curves(run, log_of(run, path, "-levels"), validation, base)
        found = {}
        # a set of units is no tensor
        for name in dict.fromkeys([*candidates, *(quantised if self.whole_units else ())]):
            curve = pruned.get(name, ())
            points = tuple((each.beta, each.degradation[self.metric]) for each in curve)
            found[name] = TensorCurves(points or ((0.0, 0.0),), quantised.get(name, ()))
        return found

    def _level_curves(
        self, run: Run, log: Path, validation: Validation, base: float
    ) -> dict[str, tuple[tuple[int, float], ...]]:
        """Measure the degradation by every number of shared values, and write it as CSV."""

        def worse(name: str | None) -> float:
            value = validation.with_tensor(run.model, name)[self.metric]
            return validation.worse(self.metric, value, base)

        def store(name: str, curve: Sequence[tuple[int, float]]) -> None:
            append_line(log, clean({"tensor": name, "curve": curve}))

        tensors, quantise = _quantiser(run)
        found = level_curves(
            tensors,
            quantise,
            worse,
            levels=self.levels or LEVELS,
            finished={row["tensor"]: _pairs(row["curve"]) for row in read_lines(log)},
            on_tensor=store,
        )
        rows = [(name, *pair) for name, curve in found.items() for pair in curve]
        file = run.folder / f"level-curves-{self.metric}.csv"
        write_csv(file, ("tensor", "levels", "degradation"), rows)
        return found

    def _row(self, run: Run, path: str, solution: Solution, base: float) -> dict[str, Any]:
        best, dense = solution.chosen, solution.candidates[0].measured
        return {
            "key": path,
            "kind": "budget",
            "label": run.label,
            "model": run.model_config.get("name"),
            "metric": self.metric,
            "max_drop": self.max_drop,
            "value_before": base,
            "drop": best.measured.drop,
            "candidate": best.name,
            "tau": best.tolerance,
            "bytes_file": best.measured.file_bytes,
            "bytes_before": dense.file_bytes,
            "sparsity": best.measured.sparsity,
            "candidates": len(solution.candidates),
            "pruned_fits": solution.pruned_fits,
            "note": _note(solution),
        }


def _write_tables(run: Run, solution: Solution) -> None:
    """Write ``budget.csv``, a line a candidate, and ``budget_plan.csv``, a line a tensor."""
    best = solution.chosen
    rows = []
    for each in solution.candidates:
        found = each.measured
        numbers = (each.tolerance, found.drop, found.file_bytes, found.sparsity)
        rows.append((each.name, *numbers, each.fits, each is best))
    header = ("candidate", "tau", "drop", "bytes", "sparsity", "fits", "chosen")
    write_csv(run.folder / "budget.csv", header, rows)
    plan = [(name, setting.beta, setting.levels) for name, setting in best.plan.items()]
    write_csv(run.folder / "budget_plan.csv", ("tensor", "beta", "levels"), plan)


def _note(solution: Solution) -> str:
    """Say what a user should know of the choice: nothing pruned fits, or tensors are gone."""
    best = solution.chosen
    if not solution.pruned_fits:
        return f"no pruned model fits; the smallest that fits is unpruned ({best.name})"
    gone = [name for name, setting in best.plan.items() if setting.beta == 1]
    names = ", ".join(gone)
    return f"all weights of {names} are gone, the score does not need them" if gone else ""


class _Builder:
    """Builds, packs and measures the candidates of a budget, each once, also over interruptions.

    Args:
        step: The step.
        run: Its run, which stays as it is.
        path: Its path.
        validation: Measures models.
        candidates: What can be removed of every tensor or set of units.
        sets: Sets of the units that leave every candidate, or None where units stay.
        base: Value of the metric before compression.
    """

    def __init__(
        self,
        step: FitBudget,
        run: Run,
        path: str,
        validation: Validation,
        candidates: Mapping[str, Removable],
        sets: Sequence[UnitSet] | None,
        base: float,
    ) -> None:
        self._step, self._run, self._path = step, run, path
        self._validation, self._base = validation, base
        self._candidates, self._sets = candidates, sets
        self._log = log_of(run, path)

    def file(self, name: str) -> Path:
        """Return the packed file of a candidate."""
        return _folder(self._run, self._path) / f"{name}.apz"

    def finished(self) -> dict[str, Measured]:
        """Return what earlier attempts measured, as far as the files are still there."""
        stored = [row for row in read_lines(self._log) if self.file(row["name"]).exists()]
        return {row["name"]: Measured.from_dict(row["measured"]) for row in stored}

    def store(self, candidate: Candidate) -> None:
        """Store what was measured of a candidate."""
        append_line(self._log, {"name": candidate.name, "measured": candidate.measured.as_dict()})
        check_stop()

    def build(self, name: str, plan: Plan) -> Measured:
        """Build a candidate in a branch of the run, from the run's model as it is."""
        run, path = self._run, f"{self._path}/{name}"
        with run.branch(copy.deepcopy(run.model), path, mask=run.mask) as side:
            sparsity = self._compress(side, path, plan)
            return self._measured(side, name, sparsity)

    def _compress(self, side: Run, path: str, plan: Plan) -> float:
        """Prune, fine-tune and quantise the model of a branch; return its removed fraction."""
        sparsity = side.mask.sparsity() if side.mask is not None else 0.0
        if any(setting.beta for setting in plan.values()):
            side.mask = self._mask(plan)
            side.mask.apply_(side.model)
            sparsity = side.mask.sparsity()
            if self._sets is not None:
                # units that are taken out are in no mask
                keep = dead_units(side.model, self._sets, mask=side.mask)
                outputs = example_outputs(side.model, side.device)
                take_out(side, f"{path}/trim", self._sets, keep, outputs)
            if self._step.finetune_epochs:
                train = self._step.finetuning()
                train.run(side, path)
                train.cleanup(side, path)
        if plan:
            wanted = {tensor: setting.levels for tensor, setting in plan.items()}
            levels = {tensor: count for tensor, count in wanted.items() if count is not None}
            side.codebooks = kmeans.quantize_(side.model, side.mask, levels)
        return sparsity

    def _measured(self, side: Run, name: str, sparsity: float) -> Measured:
        """Pack the model of a branch, read it back and measure that."""
        metric, file = self._step.metric, self.file(name)
        save_model(side, file)
        loaded = load_model_file(file, side.model_config, side.task_config)
        value = self._validation.of(loaded.model)[metric]
        drop = self._validation.worse(metric, value, self._base)
        return Measured(drop, file.stat().st_size, sparsity)

    def _mask(self, plan: Plan) -> Mask:
        keeps: dict[str, Tensor] = {}
        for name, each in self._candidates.items():
            count = share_of(plan[name].beta, each.count())
            for tensor, kept in each.keeps(name, count).items():
                keeps[tensor] = keeps[tensor] & kept if tensor in keeps else kept
        return mask_of(self._run).updated(keeps)


def _quantiser(run: Run) -> tuple[dict[str, Tensor], Callable[[str, int], Tensor]]:
    """Return the prunable weights, and what quantises one of them without changing it."""
    mask = mask_of(run)
    tensors: dict[str, Tensor] = {}
    originals: dict[str, Tensor] = {}
    for name, weight in run.model.named_parameters():
        if name in mask:
            tensors[name], originals[name] = weight, weight.detach().clone()

    def quantise(name: str, count: int) -> Tensor:
        return kmeans.cluster(originals[name], count, mask[name]).restore(mask[name])

    return tensors, quantise


def _pairs(rows: Sequence[Sequence[Any]]) -> tuple[tuple[int, float], ...]:
    """Rebuild a curve of levels from the log, where null is what was infinite."""
    return tuple((levels, number(value)) for levels, value in rows)


def _folder(run: Run, path: str) -> Path:
    return run.folder / "training" / f"{path.replace('/', '-')}-candidates"

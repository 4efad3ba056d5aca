"""How a pipeline analyses a model against any validation score: sensitivity curves, and the smallest file within a stated drop.

The curves stand in audioprune.compress.search.sensitivity, the search in
audioprune.compress.search.budget; how a score is measured in validation.py.
"""

from __future__ import annotations

import copy
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from audioprune.compress.masks import Mask, complete, prunable
from audioprune.compress.quantize import kmeans
from audioprune.compress.search import sensitivity
from audioprune.compress.search.budget import (
    Candidate,
    Measured,
    Plan,
    Solution,
    TensorCurves,
    level_curves,
    solve,
)
from audioprune.compress.search.candidates import (
    Candidates,
    group_candidates,
    weight_candidates,
)
from audioprune.compress.search.cluster_counts import LEVELS
from audioprune.compress.search.sensitivity import BETAS, CurvePoint
from audioprune.compress.select import share_of
from audioprune.compress.units.weight_groups import INPUTS, OUTPUTS, GroupKinds, weight_groups
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import save_model
from audioprune.experiment.results import clean, write_csv
from audioprune.experiment.run import Run
from audioprune.files import append_line, read_lines
from audioprune.interrupts import check_stop
from audioprune.metrics import METRICS
from audioprune.ranges import OneOf, PassedTo, Range
from audioprune.steps.folding import fold_first
from audioprune.steps.needs import ascending, check_items, not_negative, whole
from audioprune.steps.train import Train, group_kinds
from audioprune.steps.validation import LOSS, Validation

Curves = dict[str, tuple[CurvePoint, ...]]
_GROUPS = {"element": OUTPUTS, "filter": OUTPUTS, "channel": INPUTS}


@dataclass
class SensitivityCurves:
    """Measure how scores of the validation set fall while one tensor alone is pruned more and more; the model stays as it is.

    Each metric gets a ``curves-<metric>.csv`` in the run folder; ``sensitivity.csv`` holds all of
    them side by side, with the columns parameter, sparsity, the metrics in their order, and the
    loss last.

    Attributes:
        metrics: ``loss``, or names of audioprune.metrics such as ``stoi``, ``pesq_wb``,
            ``si_sdr``, ``lsd``, ``l1``.
        items: Validation items to use, or None for all.
        betas: Removed fractions ascending from 0, or None for 0, 0.05 .. 1.
        structured: Whether weight groups are removed rather than single weights.
        groups: Kind of weight group per kind of layer, for structured pruning.
        group: ``element``, ``filter`` or ``channel`` in place of the two, as Distiller's analysis
            names them.
        sense_range: First fraction, end (exclusive) and step in place of ``betas``; the unpruned
            model is measured in any case.

    Raises:
        ConfigError: ``group`` is unknown, or ``sense_range`` is no range within 0..1 or stands
            beside ``betas``.

    Source: the analyses of Tan & Wang, Algorithms 1 and 2, which know the loss only; scores in its
    place are ours. Plain & Biswas, "Sensitivity Analysis", for groups and range.
    """

    metrics: Annotated[list[str], OneOf(LOSS, *METRICS)] = field(default_factory=lambda: ["loss"])
    items: Annotated[int | None, Range(1)] = None
    betas: Annotated[list[float] | None, Range(0, 1)] = None
    structured: bool = False
    groups: Annotated[dict[str, str] | None, PassedTo(GroupKinds)] = None
    group: Annotated[str | None, OneOf(*_GROUPS)] = None
    sense_range: Annotated[list[float] | None, Range(0, 1)] = None
    changes_state: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.group is not None and self.group not in _GROUPS:
            raise ConfigError(unknown_name("group", self.group, _GROUPS))
        if self.sense_range is not None:
            if self.betas is not None:
                raise ConfigError("expected betas or sense_range, got both; leave one out")
            self.betas = fractions_of(self.sense_range)
        ascending("betas", self.betas, 0, 1)
        check_items("items", self.items)
        self._kinds = group_kinds(self.groups) if self.group is None else _GROUPS[self.group]

    def check(self, run: Run) -> None:
        """Refuse metrics that cannot be measured."""
        Validation(run, self.metrics, self.items)

    def run(self, run: Run, path: str) -> None:
        """Measure every tensor, going on behind what an interrupted analysis stored."""
        fold_first(run, path)
        structured = self.structured if self.group is None else self.group != "element"
        candidates = _candidates(run, structured, self._kinds)
        with Validation(run, self.metrics, self.items) as validation:
            found = _measured_curves(run, _log(run, path), validation, candidates, self.betas)
            counted = validation.counted(run.model)
        metrics = sorted(self.metrics, key=LOSS.__eq__)  # the loss last, the others as they stand
        rows = [
            (name, point.beta, *(_cell(point.values[metric]) for metric in metrics))
            for name, curve in found.items()
            for point in curve
        ]
        write_csv(run.folder / "sensitivity.csv", ("parameter", "sparsity", *metrics), rows)
        row = {
            "key": path,
            "kind": "curves",
            "label": run.label,
            "model": run.model_config.get("name"),
            "metrics": metrics,
        }
        run.results.put({**row, **counted, "scale": run.scale, "seed": run.seed})


def fractions_of(sense_range: Sequence[float]) -> list[float]:
    """Turn start, end (exclusive) and step into ascending fractions from 0.

    Raises:
        ConfigError: The three are no range within 0..1.
    """
    numbers = list(sense_range)
    if (
        len(numbers) != 3
        or not (0 <= numbers[0] < numbers[1] <= 1 + numbers[2])
        or not 0 < numbers[2] <= 1
    ):
        raise ConfigError(
            f"sense_range: expected start, end and step with 0 <= start < end and 0 < step <= "
            f"1, got {numbers}; correct it"
        )
    start, end, step = numbers
    count = math.ceil((end - start) / step - 1e-9)
    found = [round(start + index * step, 10) for index in range(count)]
    return [0.0, *(each for each in found if 0 < each <= 1)]


@dataclass
class FitBudget:
    """Compress the model to the smallest packed file whose validation score drops no further than stated.

    Every candidate is pruned, fine-tuned where asked, quantised, packed, read back and measured.
    ``budget.csv`` lists all of them, ``budget_plan.csv`` what the chosen one does to each tensor.
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
    finetune_epochs: int = 0
    finetune_learning_rate: Annotated[float | None, Range(above=0)] = None
    lambda_1: Annotated[float, Range(0)] = 0.0

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
        """Refuse a metric that cannot be measured."""
        Validation(run, [self.metric], self.items)
        self._finetuning().check(run)

    def run(self, run: Run, path: str) -> None:
        """Measure the curves, search, and take over the model that was chosen."""
        started = time.monotonic()
        fold_first(run, path)
        candidates = _candidates(run, self.structured, self._kinds)
        with Validation(run, [self.metric], self.items) as validation:
            base = validation.of(run.model)[self.metric]
            counted = validation.counted(run.model)
            if not math.isfinite(base):
                raise ConfigError(
                    f"{self.metric}: expected a finite value of the model before compression, "
                    f"got {base}; train it first"
                )
            curves = self._curves(run, path, validation, candidates, base)
            builder = _Builder(self, run, path, validation, candidates, base)
            solution = solve(
                curves,
                builder.build,
                self.max_drop,
                most=self.candidates,
                finished=builder.finished(),
                on_candidate=builder.store,
            )
        chosen = load_model_file(builder.file(solution.chosen.name), run.model_config)
        run.model, run.mask, run.codebooks = chosen.model, chosen.mask, chosen.codebooks
        self._record(run, path, solution, base, counted, round(time.monotonic() - started, 1))

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the packed candidates; the chosen one is in the run's state."""
        shutil.rmtree(_folder(run, path), ignore_errors=True)

    def _curves(
        self,
        run: Run,
        path: str,
        validation: Validation,
        candidates: dict[str, Candidates],
        base: float,
    ) -> dict[str, TensorCurves]:
        pruned = _measured_curves(
            run, _log(run, path, "-prune"), validation, candidates, self.betas
        )
        log = _log(run, path, "-levels")
        tensors, quantise = _quantiser(run)
        quantised = level_curves(
            tensors,
            quantise,
            lambda name: validation.worse(
                self.metric, validation.with_tensor(run.model, name)[self.metric], base
            ),
            levels=self.levels or LEVELS,
            finished={
                row["tensor"]: tuple((k, _number(value)) for k, value in row["curve"])
                for row in read_lines(log)
            },
            on_tensor=lambda name, curve: append_line(
                log, clean({"tensor": name, "curve": curve})
            ),
        )
        rows = [
            (name, count, value) for name, curve in quantised.items() for count, value in curve
        ]
        write_csv(
            run.folder / f"level-curves-{self.metric}.csv",
            ("tensor", "levels", "degradation"),
            rows,
        )
        return {
            name: TensorCurves(
                tuple((point.beta, point.degradation[self.metric]) for point in pruned[name]),
                quantised[name],
            )
            for name in candidates
        }

    def _finetuning(self) -> Train:
        return Train(
            lambda_1=self.lambda_1,
            epochs=self.finetune_epochs,
            learning_rate=self.finetune_learning_rate,
        )

    def _record(
        self,
        run: Run,
        path: str,
        solution: Solution,
        base: float,
        counted: dict[str, Any],
        seconds: float,
    ) -> None:
        best = solution.chosen
        dense = solution.candidates[0].measured
        rows = [
            (
                each.name,
                each.tolerance,
                each.measured.drop,
                each.measured.file_bytes,
                each.measured.sparsity,
                each.fits,
                each is best,
            )
            for each in solution.candidates
        ]
        header = ("candidate", "tau", "drop", "bytes", "sparsity", "fits", "chosen")
        write_csv(run.folder / "budget.csv", header, rows)
        plan = [(name, setting.beta, setting.levels) for name, setting in best.plan.items()]
        write_csv(run.folder / "budget_plan.csv", ("tensor", "beta", "levels"), plan)
        note = _note(solution)
        row = {
            "key": path,
            "kind": "budget",
            "label": run.label,
            "model": run.model_config.get("name"),
            "metric": self.metric,
        }
        row |= {
            "max_drop": self.max_drop,
            "value_before": base,
            "drop": best.measured.drop,
            "candidate": best.name,
            "tau": best.tolerance,
        }
        row |= {
            "bytes_file": best.measured.file_bytes,
            "bytes_before": dense.file_bytes,
            "sparsity": best.measured.sparsity,
        }
        row |= {
            "candidates": len(rows),
            "pruned_fits": solution.pruned_fits,
            "note": note,
            "seconds": seconds,
        }
        run.results.put({**row, **counted, "scale": run.scale, "seed": run.seed})
        if note:
            print(f"{path}: {note}", file=sys.stderr, flush=True)


def _note(solution: Solution) -> str:
    """Say what a user should know of the choice: nothing pruned fits, or whole tensors are gone."""
    best = solution.chosen
    if not solution.pruned_fits:
        return f"no pruned model fits; the smallest that fits is unpruned ({best.name})"
    gone = [name for name, setting in best.plan.items() if setting.beta == 1]
    return (
        f"all weights of {', '.join(gone)} are gone, the score does not need them" if gone else ""
    )


class _Builder:
    """Builds, packs and measures the candidates of a budget, each once, also over interruptions."""

    def __init__(
        self,
        step: FitBudget,
        run: Run,
        path: str,
        validation: Validation,
        candidates: dict[str, Candidates],
        base: float,
    ) -> None:
        self._step, self._run, self._path, self._validation, self._base = (
            step,
            run,
            path,
            validation,
            base,
        )
        self._candidates = candidates
        self._log = _log(run, path)

    def file(self, name: str) -> Path:
        """Return the packed file of a candidate."""
        return _folder(self._run, self._path) / f"{name}.apz"

    def finished(self) -> dict[str, Measured]:
        """Return what earlier attempts measured, as far as the files are still there."""
        return {
            row["name"]: Measured.from_dict(row["measured"])
            for row in read_lines(self._log)
            if self.file(row["name"]).exists()
        }

    def store(self, candidate: Candidate) -> None:
        """Store what was measured of a candidate."""
        append_line(self._log, {"name": candidate.name, "measured": candidate.measured.as_dict()})
        check_stop()

    def build(self, name: str, plan: Plan) -> Measured:
        """Build a candidate in a branch of the run, from the run's model and task as they were before the search."""
        run, path = self._run, f"{self._path}/{name}"
        with run.branch(copy.deepcopy(run.model), path, mask=run.mask) as side:
            return self._measured(side, path, name, plan)

    def _measured(self, side: Run, path: str, name: str, plan: Plan) -> Measured:
        step = self._step
        if any(setting.beta for setting in plan.values()):
            side.mask = self._mask(plan)
            side.mask.apply_(side.model)
            if step.finetune_epochs:
                train = step._finetuning()
                train.run(side, path)
                train.cleanup(side, path)
        if plan:
            levels = {
                tensor: setting.levels
                for tensor, setting in plan.items()
                if setting.levels is not None
            }
            side.codebooks = kmeans.quantize_(side.model, side.mask, levels)
        save_model(side, self.file(name))
        loaded = load_model_file(self.file(name), side.model_config)
        value = self._validation.of(loaded.model)[step.metric]
        drop = self._validation.worse(step.metric, value, self._base)
        return Measured(
            drop,
            self.file(name).stat().st_size,
            side.mask.sparsity() if side.mask is not None else 0.0,
        )

    def _mask(self, plan: Plan) -> Mask:
        keeps = {}
        for name, setting in plan.items():
            each = self._candidates[name]
            keeps[name] = each.kept & ~each.removed(
                each.ranks(), share_of(setting.beta, each.count())
            )
        return _mask_of(self._run).updated(keeps)


def _measured_curves(
    run: Run,
    log: Path,
    validation: Validation,
    candidates: dict[str, Candidates],
    betas: list[float] | None,
) -> Curves:
    """Measure the curves of all metrics, storing them tensor by tensor, and write one CSV a metric."""
    found = sensitivity.curves(
        candidates,
        lambda name: validation.with_tensor(run.model, name),
        larger_is_better=validation.larger_is_better(),
        betas=betas or BETAS,
        finished={
            row["tensor"]: tuple(_point(point) for point in row["curve"])
            for row in read_lines(log)
        },
        on_tensor=lambda name, curve: append_line(
            log, clean({"tensor": name, "curve": [vars(point) for point in curve]})
        ),
    )
    for metric in validation.metrics:
        rows = [
            (
                name,
                point.beta,
                point.removed,
                *(_cell(numbers[metric]) for numbers in (point.values, point.degradation)),
            )
            for name, curve in found.items()
            for point in curve
        ]
        write_csv(
            run.folder / f"curves-{metric}.csv",
            ("tensor", "beta", "removed", "value", "degradation"),
            rows,
        )
    return found


def _quantiser(run: Run) -> tuple[dict[str, Tensor], Any]:
    """Return the prunable weights, and what quantises one of them without changing it."""
    mask = _mask_of(run)
    tensors = {name: weight for name, weight in run.model.named_parameters() if name in mask}
    originals = {name: weight.detach().clone() for name, weight in tensors.items()}
    return tensors, lambda name, count: kmeans.cluster(originals[name], count, mask[name]).restore(
        mask[name]
    )


def _candidates(run: Run, structured: bool, kinds: GroupKinds) -> dict[str, Candidates]:
    mask = _mask_of(run)
    if structured:
        return group_candidates(run.model, mask, weight_groups(run.model, kinds))
    return weight_candidates(run.model, mask)


def _mask_of(run: Run) -> Mask:
    return complete(run.mask, run.model, prunable(run.model))


def _folder(run: Run, path: str) -> Path:
    return run.folder / "training" / f"{path.replace('/', '-')}-candidates"


def _log(run: Run, path: str, part: str = "") -> Path:
    return run.folder / "training" / f"{path.replace('/', '-')}{part}.jsonl"


def _point(row: dict[str, Any]) -> CurvePoint:
    values, worse = (
        {name: _number(value, math.nan) for name, value in row[part].items()}
        for part in ("values", "degradation")
    )
    return CurvePoint(row["beta"], row["removed"], values, worse)


def _number(value: float | None, missing: float = math.inf) -> float:
    return missing if value is None else value


def _cell(value: float) -> float | None:
    return value if math.isfinite(value) else None

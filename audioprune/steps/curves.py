"""Sensitivity curves: how scores fall while one tensor alone is pruned (``SensitivityCurves``).

The curves are computed in audioprune.compress.search.sensitivity, scores in validation.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from audioprune.compress.masks import Mask, complete, prunable
from audioprune.compress.search import sensitivity
from audioprune.compress.search.candidates import (
    Removable,
    group_candidates,
    unit_candidates,
    weight_candidates,
)
from audioprune.compress.search.sensitivity import BETAS, CurvePoint
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.weight_groups import (
    INPUTS,
    OUTPUTS,
    GroupKinds,
    unit_groups,
    weight_groups,
)
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.results import clean
from audioprune.experiment.run import Run
from audioprune.files import append_line, read_lines
from audioprune.metrics import METRICS
from audioprune.protocols.work import SEARCHED_ITEM, Work, some_of
from audioprune.ranges import OneOf, PassedTo, Range
from audioprune.records import write_csv
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.needs import ascending, check_items, units_of
from audioprune.steps.prune import items_of
from audioprune.steps.train import group_kinds
from audioprune.steps.validation import LOSS, Validation

Curves = dict[str, tuple[CurvePoint, ...]]
_UNITS_REMEDY = "set pipeline.whole_units=false"
_GROUPS = {"element": OUTPUTS, "filter": OUTPUTS, "channel": INPUTS}


@dataclass
class SensitivityCurves:
    """Measure how scores of the validation set fall while one tensor alone is pruned.

    The model stays as it is. Each metric gets a ``curves-<metric>.csv`` in the run folder;
    ``sensitivity.csv`` holds all of them side by side, with the columns parameter, sparsity, the
    metrics in their order, and the loss last.

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
        whole_units: Whether whole units are removed, with all that writes and reads them, in
            place of single weights or groups; ``groups`` then holds for the rest.

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
    whole_units: bool = False
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
        """Refuse metrics that cannot be measured, and whole units of a model without any."""
        Validation(run, self.metrics, self.items)
        check_units(run, self.whole_units)

    def run(self, run: Run, path: str) -> None:
        """Measure every tensor, going on behind what an interrupted analysis stored."""
        fold_first(run, path)
        candidates = self._candidates(run)
        with Validation(run, self.metrics, self.items) as validation:
            found = measured_curves(run, log_of(run, path), validation, candidates, self.betas)
            counted = validation.counted(run.model)
        metrics = sorted(self.metrics, key=LOSS.__eq__)  # the loss last, the others as they stand
        _write_side_by_side(run, found, metrics)
        row = {
            "key": path,
            "kind": "curves",
            "label": run.label,
            "model": run.model_config.get("name"),
            "metrics": metrics,
        }
        run.results.put({**row, **counted, "scale": run.scale, "seed": run.seed})

    def work(self, run: Run) -> list[Work]:
        """Count the validation items of all passes."""
        return [curve_work(run, self.items, self.betas, self._candidates(run))]

    def _candidates(self, run: Run) -> dict[str, Removable]:
        structured = self.structured if self.group is None else self.group != "element"
        return candidates_of(run, structured, self._kinds, whole_sets(run, self.whole_units))


def curve_work(
    run: Run,
    items: int | None,
    betas: Sequence[float] | None,
    candidates: Mapping[str, Removable],
) -> Work:
    """Count the validation items that the curves of all candidates look at."""
    tries = len(candidates) * (len(betas or BETAS) - 1)
    return Work(SEARCHED_ITEM, tries * items_of(run, items))


def _write_side_by_side(run: Run, curves: Curves, metrics: Sequence[str]) -> None:
    """Write ``sensitivity.csv``."""
    rows = []
    for name, curve in curves.items():
        for point in curve:
            values = [finite(point.values[metric]) for metric in metrics]
            rows.append((name, point.beta, *values))
    write_csv(run.folder / "sensitivity.csv", ("parameter", "sparsity", *metrics), rows)


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


def measured_curves(
    run: Run,
    log: Path,
    validation: Validation,
    candidates: Mapping[str, Removable],
    betas: Sequence[float] | None,
) -> Curves:
    """Measure the curves of all metrics, and write one CSV a metric.

    Args:
        run: The run, whose model stays as it is.
        log: Where every tensor is stored as soon as it is measured.
        validation: Measures the model.
        candidates: What can be removed of every tensor or set of units.
        betas: Removed fractions, or None for 0, 0.05 .. 1.
    """

    def store(name: str, curve: Sequence[CurvePoint]) -> None:
        points = [vars(point) for point in curve]
        append_line(log, clean({"tensor": name, "curve": points}))

    found = sensitivity.curves(
        candidates,
        lambda name: validation.with_tensor(run.model, name),
        larger_is_better=validation.larger_is_better(),
        betas=betas or BETAS,
        finished={row["tensor"]: _curve(row["curve"]) for row in read_lines(log)},
        on_tensor=store,
    )
    for metric in validation.metrics:
        _write_curves(run.folder / f"curves-{metric}.csv", found, metric)
    return found


def _write_curves(file: Path, curves: Curves, metric: str) -> None:
    rows = []
    for name, curve in curves.items():
        for point in curve:
            value, worse = finite(point.values[metric]), finite(point.degradation[metric])
            rows.append((name, point.beta, point.removed, value, worse))
    write_csv(file, ("tensor", "beta", "removed", "value", "degradation"), rows)


def _curve(rows: Sequence[dict[str, Any]]) -> tuple[CurvePoint, ...]:
    """Rebuild a curve from the log, where null is what was not finite."""
    return tuple(
        CurvePoint(
            row["beta"],
            row["removed"],
            {name: number(value, math.nan) for name, value in row["values"].items()},
            {name: number(value, math.nan) for name, value in row["degradation"].items()},
        )
        for row in rows
    )


def candidates_of(
    run: Run, structured: bool, kinds: GroupKinds, sets: Sequence[UnitSet] | None
) -> dict[str, Removable]:
    """Return what can be removed: whole units, or weight groups or weights of every tensor.

    Args:
        run: The run.
        structured: Whether weight groups are removed rather than single weights.
        kinds: Kinds of the groups; beside whole units, those of the rest.
        sets: Sets of the whole units, or None where none is removed.
    """
    mask = mask_of(run)
    found: dict[str, Removable] = {}
    if sets is not None:
        found |= unit_candidates(run.model, mask, unit_groups(run.model, sets, kinds))
    elif structured:
        found |= group_candidates(run.model, mask, weight_groups(run.model, kinds))
    else:
        found |= weight_candidates(run.model, mask)
    return some_of(found, run.few_tensors)


def whole_sets(run: Run, whole_units: bool, said_by: str | None = None) -> list[UnitSet] | None:
    """Return the sets of a model of which whole units are removed, otherwise None."""
    return units_of(run.model, "units", _UNITS_REMEDY, said_by) if whole_units else None


def check_units(run: Run, whole_units: bool) -> None:
    """Refuse whole units of a model that has none."""
    if whole_units:
        units_of(plain_twin(run), "units", _UNITS_REMEDY)


def mask_of(run: Run) -> Mask:
    """Return the mask of all prunable tensors."""
    return complete(run.mask, run.model, prunable(run.model))


def log_of(run: Run, path: str, part: str = "") -> Path:
    """Return the file in which an analysis stores what is done."""
    return run.folder / "training" / f"{path.replace('/', '-')}{part}.jsonl"


def number(value: float | None, missing: float = math.inf) -> float:
    """Return a value of a log, where null stands for ``missing``."""
    return missing if value is None else value


def finite(value: float) -> float | None:
    """Return a value as a cell of a CSV, which is empty where it is not finite."""
    return value if math.isfinite(value) else None

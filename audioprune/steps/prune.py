"""How a pipeline removes weights by magnitude or sensitivity, and units for real.

The steps are ``Prune``, ``SensitivityPrune``, ``PruneUnits`` and ``Trim``; the algorithms are in
audioprune.compress.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from torch import Tensor

from audioprune.compress import lottery, select
from audioprune.compress.criteria.importance import SCALINGS, criterion
from audioprune.compress.masks import Mask, complete, prunable
from audioprune.compress.schedule import Cubic
from audioprune.compress.search import sensitivity
from audioprune.compress.search.candidates import (
    Removable,
    unit_candidates,
    weight_candidates,
)
from audioprune.compress.search.perturbed_loss import TensorLoss
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_, trim_state
from audioprune.compress.units.weight_groups import GroupKinds
from audioprune.compress.units.zero import dead_units, zero_units_
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.foreign.trial import example_outputs
from audioprune.experiment.rows import SparsityRow
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import state_path
from audioprune.files import append_line, read_lines
from audioprune.interrupts import check_stop
from audioprune.protocols.work import SEARCHED_ITEM, Work, some_of
from audioprune.ranges import OneOf, PassedTo, Range
from audioprune.records import write_csv
from audioprune.steps.control import say_enough
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.needs import (
    check_items,
    fraction,
    need_loss,
    not_negative,
    units_of,
    whole,
)
from audioprune.steps.train import chosen_groups
from audioprune.training.processes import processes

SCOPES = {"local": select.local, "global": select.globally}
OF_WEIGHTS = ("magnitude", "normalization")
"""Criteria of units that look at weights alone."""
_WEIGHTS_REMEDY = "take single weights out with pipeline=weights"
METHODS = ("first_violation", "bisection", "checked_bisection")

_LOG = logging.getLogger(__name__)


@dataclass
class Rounds:
    """What a gradual pruning remembers: how many of its rounds are done."""

    done: int = 0


@dataclass
class Prune:
    """Remove the weights of smallest magnitude up to a target sparsity of all prunable weights.

    Attributes:
        sparsity: Removed fraction after the last round, 0 to 1.
        scope: ``local`` prunes each tensor alike, ``global`` ranks all weights together.
        rounds: Rounds over which the sparsity rises by the cubic schedule; 1 prunes at once. A
            step goes on with its own rounds when it is run again in a repetition; another
            step begins with its first.

    Raises:
        ConfigError: A value is out of its range, or the scope unknown.
    """

    sparsity: Annotated[float, Range(0, 1)]
    scope: Annotated[str, OneOf(*SCOPES)] = "global"
    rounds: Annotated[int, Range(1)] = 1

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ConfigError(unknown_name("scope", self.scope, SCOPES))
        fraction("sparsity", self.sparsity)
        whole("rounds", self.rounds, 1)

    def run(self, run: Run, path: str) -> None:
        """Prune one round."""
        fold_first(run, path)
        state = run.states.of(state_path(path), Rounds)
        now = min(state.done, self.rounds - 1)
        target = self.sparsity
        if self.rounds > 1:
            target = Cubic(0, self.rounds + 1, 1, 0.0, self.sparsity).sparsity(now + 1)
        names = prunable(run.model)
        mask = complete(run.mask, run.model, names)
        weights = dict(run.model.named_parameters())
        scores = {name: weights[name].detach().abs() for name in names}
        run.mask = mask.updated(SCOPES[self.scope](scores, target, mask))
        run.mask.apply_(run.model)
        run.codebooks = None
        state.done += 1
        record_iteration(run, path, mask, {"sparsity": target})


@dataclass
class SensitivityPrune:
    """Prune every tensor by the ratio that its sensitivity analysis allows.

    Attributes:
        alpha_1: Tolerated increase of the validation loss, absolute; None takes
            ``alpha_1_relative``.
        alpha_1_relative: Tolerated increase as a fraction of the current validation loss.
        method: ``first_violation`` (the paper's), ``bisection`` or ``checked_bisection``, which
            agrees with the paper's unless the loss jumps by half the tolerance.
        items: Validation items that the analysis uses, or None for all.
        min_removed: Pruning stops when an iteration removes less than this fraction of the
            remaining weights.
        structured: Whether weight groups are removed (Algorithm 2) rather than single weights
            (Algorithm 1).
        groups: Kind of weight group per kind of layer, for structured pruning.
        unit_groups: Whether a group is a whole unit of the model, so that it can be trimmed;
            ``groups`` then holds for the rest.

    Raises:
        ConfigError: A value is out of its range, the method unknown, or groups are wanted that the
            model does not have.

    Source: Tan & Wang, Algorithms 1 and 2. The stopping rule is not in the paper.
    """

    alpha_1: Annotated[float | None, Range(0)] = None
    alpha_1_relative: Annotated[float, Range(0)] = 0.01
    method: Annotated[str, OneOf(*METHODS)] = "first_violation"
    items: Annotated[int | None, Range(1)] = None
    min_removed: Annotated[float, Range(0, 1)] = 0.01
    structured: bool = False
    groups: Annotated[dict[str, str] | None, PassedTo(GroupKinds)] = None
    unit_groups: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(unknown_name("method", self.method, METHODS))
        not_negative("alpha_1", self.alpha_1)
        not_negative("alpha_1_relative", self.alpha_1_relative)
        fraction("min_removed", self.min_removed)
        check_items("items", self.items)

    def check(self, run: Run) -> None:
        """Refuse groups that the model does not have, and a task that measures no loss."""
        need_loss(run, "pruning by sensitivity", "prune with pipeline=weights or pipeline=units")
        if self.structured:
            chosen_groups(plain_twin(run), self.groups, self.unit_groups)

    def run(self, run: Run, path: str) -> None:
        """Analyse every tensor alone, then prune all of them together."""
        started = time.monotonic()
        fold_first(run, path)
        mask = complete(run.mask, run.model, prunable(run.model))
        candidates = self._candidates(run, mask)
        oracle = self._oracle(run)
        alpha = self.alpha_1 if self.alpha_1 is not None else self.alpha_1_relative * oracle.base()
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        stored = {row["tensor"]: row["found"] for row in read_lines(log)}
        finished = {
            name: sensitivity.TensorSensitivity.from_dict(found) for name, found in stored.items()
        }
        # each of several processes searches its share of the tensors
        left = processes().part(name for name in candidates if name not in finished)
        own = {name: each for name, each in candidates.items() if name in {*left, *finished}}
        result = sensitivity.search(
            own,
            oracle,
            alpha,
            method=cast("sensitivity.Method", self.method),  # one of METHODS
            finished=finished,
            on_tensor=lambda name, found: store_finding(log, name, found),
        )
        result = replace(result, tensors=processes().merged(result.tensors, candidates))
        run.mask = mask.updated(sensitivity.keeps(candidates, result))
        run.mask.apply_(run.model)
        run.codebooks = None
        iteration = run.findings.iterations + 1
        columns = ("tensor", "beta", "increase", "chosen")
        rows = [(iteration, *(row[name] for name in columns)) for row in result.rows()]
        header = ("iteration", "tensor", "beta", "loss_increase", "chosen")
        write_csv(run.folder / f"sensitivity-{iteration}.csv", header, rows)
        facts = {
            "loss_base": result.base,
            "loss_valid": oracle.base(),
            "alpha_1": alpha,
            "passes": sum(found.passes for found in result.tensors.values()),
            "seconds": round(time.monotonic() - started, 1),
        }
        removed = record_iteration(run, path, mask, facts)
        if removed < self.min_removed:
            reason = (
                f"iteration {iteration} removed {removed:.2%} of the remaining weights, less "
                f"than {self.min_removed:.2%}"
            )
            say_enough(run, path, reason, at_once=removed == 0.0)

    def _candidates(self, run: Run, mask: Mask) -> Mapping[str, Removable]:
        if self.structured:
            groups = chosen_groups(run.model, self.groups, self.unit_groups)
            return some_of(unit_candidates(run.model, mask, groups), run.few_tensors)
        return some_of(weight_candidates(run.model, mask), run.few_tensors)

    def work(self, run: Run) -> list[Work]:
        """Count the validation items of all passes, if every tensor tries every fraction."""
        tensors = len(self._candidates(run, complete(run.mask, run.model, prunable(run.model))))
        tries = len(sensitivity.BETAS) - 1
        if self.method == "bisection":
            tries = math.ceil(math.log2(tries)) + 1
        items = items_of(run, self.items)
        return [Work(SEARCHED_ITEM, tensors * tries * items)]

    def _oracle(self, run: Run) -> TensorLoss:
        return run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)


@dataclass
class Trim:
    """Take units out of the model for real that nothing writes or nothing reads any more.

    Source: the structured pipeline of Tan & Wang stops at zeros; removal is what makes them pay.
    """

    def check(self, run: Run) -> None:
        """Refuse a model that does not list its units."""
        units_of(plain_twin(run), "units", "prune by masks only")

    def run(self, run: Run, path: str) -> None:
        """Trim the model and its mask, and record how far masked and trimmed outputs differ."""
        fold_first(run, path)
        sets = units_of(run.model, "units", "prune by masks only", said_by=path)
        keep = dead_units(run.model, sets, mask=run.mask)
        take_out(run, path, sets, keep, example_outputs(run.model, run.device))


@dataclass
class PruneUnits:
    """Take the weakest units out for real, by the model's own weights: no data are needed.

    Attributes:
        criterion: ``magnitude``, the sum of a unit's weights, or ``normalization``, the scale of
            the normalisation that follows it.
        scope: ``local`` takes the same share of every set of units, ``global`` ranks all together.
        scaling: ``max``, ``dimension`` or ``none``, which makes the scores of several sets
            comparable.
        counted: What ``fraction`` counts, ``weights`` or ``units``.
        fraction: Share that is taken out.
        min_units: Units that every set keeps.

    Raises:
        ConfigError: A value is out of its range, or the criterion unknown.
    """

    criterion: Annotated[str, OneOf(*OF_WEIGHTS)] = "magnitude"
    scope: Annotated[str, OneOf(*lottery.SCOPES)] = "global"
    scaling: Annotated[str, OneOf(*SCALINGS)] = "max"
    counted: Annotated[str, OneOf(*lottery.COUNTED)] = "weights"
    fraction: Annotated[float, Range(above=0, below=1)] = 0.3
    min_units: Annotated[int, Range(1)] = 1

    def __post_init__(self) -> None:
        if self.criterion not in OF_WEIGHTS:
            raise ConfigError(unknown_name("criterion", self.criterion, OF_WEIGHTS))
        whole("min_units", self.min_units, 1)
        self._selection = lottery.Selection(
            self.criterion, self.scope, self.scaling, self.counted, self.fraction, self.min_units
        )

    def check(self, run: Run) -> None:
        """Refuse a model without units, or without the normalisations that are to be ranked."""
        model = plain_twin(run)
        sets = units_of(model, "units", _WEIGHTS_REMEDY)
        if self.criterion == "normalization":
            criterion("unit", self.criterion)(model, sets)

    def run(self, run: Run, path: str) -> None:
        """Choose units, zero them in a copy, take them out, and compare the outputs."""
        fold_first(run, path)
        sets = units_of(run.model, "units", _WEIGHTS_REMEDY, said_by=path)
        origin = lottery.Origin.of(run.model, sets)
        keep = lottery.choose_units(run.model, sets, self._selection, 1, origin)
        masked = copy.deepcopy(run.model)
        zero_units_(masked, sets, keep)
        run.codebooks = None
        take_out(run, path, sets, keep, example_outputs(masked, run.device))


def take_out(
    run: Run,
    path: str,
    sets: Sequence[UnitSet],
    keep: Mapping[str, Tensor],
    before: Sequence[Tensor],
) -> None:
    """Trim the run's model and its mask, and record what is left and how far outputs differ.

    Args:
        run: The run.
        path: The step.
        sets: Unit sets of its model.
        keep: Set name -> kept units, bool, shape (U,).
        before: Outputs for the example with the other units masked.
    """
    params = _parameters(run)
    trimmed = trim_(run.model, sets, keep)
    if run.mask is not None:
        run.mask = Mask.from_state_dict(trim_state(run.mask.state_dict(), trimmed))
    pairs = zip(example_outputs(run.model, run.device), before, strict=True)
    sizes = {each.name: each.size for each in sets}
    kept = {name: int(alive.sum()) for name, alive in keep.items()}
    run.results.put(
        {
            "key": path,
            "kind": "trim",
            "label": run.label,
            "params_before": params,
            "params_after": _parameters(run),
            "units_before": sizes,
            "units_after": {name: kept.get(name, size) for name, size in sizes.items()},
            "max_difference": max(float((now - was).abs().max()) for now, was in pairs),
        }
    )


def record_iteration(run: Run, path: str, before: Mask, extra: dict[str, Any]) -> float:
    """Record one pruning, counted from 1 over the whole run.

    Iteration 0 is the model before the first pruning.

    Returns:
        The fraction of the remaining weights that it removed.
    """
    after = run.mask or before
    kept_before, kept = before.kept(), after.kept()
    original = run.findings.original_params
    unprunable = _parameters(run) - before.total()
    removed = (kept_before - kept) / max(1, kept_before)
    run.findings.iterations += 1
    row = SparsityRow(
        key=path,
        label=run.label,
        iteration=run.findings.iterations,
        remaining_share=(kept + unprunable) / original,
        nonzero=kept + unprunable,
        removed_share=removed,
        density_per_tensor=after.per_tensor(),
        more=extra,
    )
    run.results.put(row)
    _warn_of_emptied(path, before, after)
    return removed


def _warn_of_emptied(path: str, before: Mask, after: Mask) -> None:
    """Name the tensors of which nothing is left: what they feed is constant from now on."""
    had = before.per_tensor()
    emptied = [name for name, share in after.per_tensor().items() if not share and had.get(name)]
    if emptied:
        more = f" and {len(emptied) - 3} more" if len(emptied) > 3 else ""
        _LOG.warning("%s: no weight is left in %s%s", path, ", ".join(emptied[:3]), more)


def _parameters(run: Run) -> int:
    return sum(parameter.numel() for parameter in run.model.parameters())


def items_of(run: Run, items: int | None) -> int:
    """Return how many validation items an analysis uses: the first ``items``, or all."""
    size = len(run.data.valid())
    return min(size, items or size)


def store_finding(log: Path, tensor: str, found: Any) -> None:
    """Store what an analysis found for one tensor; an interrupted one goes on behind it."""
    append_line(log, {"tensor": tensor, "found": found.as_dict()})
    check_stop()

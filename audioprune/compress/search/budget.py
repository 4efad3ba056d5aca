"""Which sparsity and how many shared values each tensor gets under a budget.

``solve`` finds the smallest file while a score drops no further than the budget allows. It takes
sensitivity curves of single tensors, and a function that builds and measures a model. It decides
only: it prunes, measures and packs nothing itself. The method is ours, not one of Tan & Wang.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioprune.compress.search.cluster_counts import LEVELS
from audioprune.compress.search.perturbed_loss import restored, resumable
from audioprune.errors import ConfigError
from audioprune.progress import progress

DENSE, QUANTISED = "dense", "quantised"
_FINEST = 1000  # tolerances below this part of the allowed drop are not told apart


@dataclass(frozen=True)
class TensorCurves:
    """How much worse a model gets when one tensor alone is changed.

    Positive is worse; NaN counts as infinitely worse.

    Attributes:
        prune: (removed fraction 0..1, degradation), ascending from the fraction 0.
        levels: (number of shared values K, degradation), ascending.
    """

    prune: tuple[tuple[float, float], ...]
    levels: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Setting:
    """What is done to one tensor.

    Attributes:
        beta: Removed fraction of its candidates, 0..1.
        levels: Number of shared values K, or None for no quantisation.
    """

    beta: float
    levels: int | None


Plan = Mapping[str, Setting]


@dataclass(frozen=True)
class Measured:
    """What was measured of a built candidate.

    Attributes:
        drop: How much worse the whole model is than the untouched one, in the unit of the metric;
            negative is better.
        file_bytes: Bytes of its packed file.
        sparsity: Removed fraction of all prunable weights, 0..1.
    """

    drop: float
    file_bytes: int
    sparsity: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a drop that is not finite becomes None."""
        return {**asdict(self), "drop": self.drop if isfinite(self.drop) else None}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Measured:
        """Rebuild what ``as_dict`` returned."""
        return cls(
            inf if plain["drop"] is None else plain["drop"], plain["file_bytes"], plain["sparsity"]
        )


@dataclass(frozen=True)
class Candidate:
    """One model that was built.

    Attributes:
        name: ``dense`` (untouched), ``quantised`` (unpruned, most levels) or ``tau-<place on the
            grid>``.
        tolerance: The common tolerance of its tensors, or None for the first two.
        plan: What was done to each tensor; empty for ``dense``.
        measured: What was measured of it.
        fits: Whether its measured drop is within the allowed one.
    """

    name: str
    tolerance: float | None
    plan: Plan
    measured: Measured
    fits: bool

    def prunes(self) -> bool:
        """Tell whether the plan removes anything."""
        return any(setting.beta > 0 for setting in self.plan.values())


@dataclass(frozen=True)
class Solution:
    """What a search found.

    Attributes:
        chosen: The smallest file among the candidates that fit.
        candidates: All candidates in the order of building.
        pruned_fits: Whether any candidate fits from which something was removed; if not,
            ``chosen`` is unpruned.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    pruned_fits: bool


def level_curves(
    tensors: Mapping[str, Tensor],
    quantise: Callable[[str, int], Tensor],
    degradation: Callable[[str], float],
    *,
    levels: Sequence[int] = LEVELS,
    finished: Mapping[str, tuple[tuple[int, float], ...]] | None = None,
    on_tensor: Callable[[str, tuple[tuple[int, float], ...]], None] | None = None,
) -> dict[str, tuple[tuple[int, float], ...]]:
    """Measure every number of levels of every tensor by itself, without a tolerance.

    Args:
        tensors: Tensor name -> parameter; it is modified in place and restored bit for bit.
        quantise: (name, K) -> the values of that tensor with at most K distinct non-zero ones; it
            must not modify it.
        degradation: How much worse the model is while the named tensor is modified.
        levels: Numbers of levels, ascending.
        finished: Curves of an interrupted call, which are taken over.
        on_tensor: Called after each tensor, so that the curve can be stored.

    Raises:
        ConfigError: The levels are not as described.
    """
    if not levels or levels[0] < 1 or list(levels) != sorted(set(levels)):
        raise ConfigError(
            f"levels: expected ascending numbers from 1, got {list(levels)}; for example 2, 4, 8"
        )

    def find(name: str) -> tuple[tuple[int, float], ...]:
        points = []
        with restored(tensors[name]) as before:
            for count in levels:
                tensors[name].copy_(before)
                tensors[name].copy_(quantise(name, count))
                same = torch.equal(tensors[name], before)  # nothing to measure
                points.append((count, 0.0 if same else degradation(name)))
        return tuple(points)

    return resumable("level curves", tensors, find, finished, on_tensor)


def plan_at(curves: Mapping[str, TensorCurves], tolerance: float) -> dict[str, Setting]:
    """Return the strongest compression of each tensor that, alone, is within a tolerance.

    The fraction is the last one before the first violation, K the smallest one such that no larger
    K violates either: the curves are read through their monotone envelope, so that a larger
    tolerance never compresses a tensor less. A tensor whose largest K violates gets that K all the
    same: what 256 levels do to a score such as PESQ is mostly chance.

    Args:
        curves: Tensor name -> its curves.
        tolerance: Largest degradation, at least 0, in the unit of the metric.
    """
    plan = {}
    for name, each in curves.items():
        betas = [beta for beta, worst in _rising(each.prune) if worst <= tolerance]
        # from the most levels downwards, so that the last one within the tolerance is the fewest
        counts = [count for count, worst in _rising(each.levels[::-1]) if worst <= tolerance]
        beta = betas[-1] if betas else 0.0
        levels = counts[-1] if counts else _most_levels(each)
        plan[name] = Setting(beta, levels)
    return plan


def tolerances(
    curves: Mapping[str, TensorCurves], max_drop: float, points: int = 64
) -> list[float]:
    """Return the tolerances that are worth a look, ascending.

    These are 0 and a logarithmic grid over the degradations of the curves.

    Args:
        curves: Tensor name -> its curves.
        max_drop: Allowed drop; tolerances below a thousandth of it are not told apart.
        points: Points of the grid.
    """
    degradations: list[float] = []
    for each in curves.values():
        for curve in (_rising(each.prune), _rising(each.levels[::-1])):
            degradations += [worst for _, worst in curve if 0 < worst < inf]
    if not degradations:
        return [0.0]
    high = max(degradations)
    low = min(high, max(min(degradations), max_drop / _FINEST))
    below = np.geomspace(low, high, points)[:-1].tolist() if low < high else []
    return [0.0, *below, high]


def solve(
    curves: Mapping[str, TensorCurves],
    build: Callable[[str, Plan], Measured],
    max_drop: float,
    *,
    most: int = 12,
    points: int = 64,
    finished: Mapping[str, Measured] | None = None,
    on_candidate: Callable[[Candidate], None] | None = None,
) -> Solution:
    """Find the smallest file whose measured drop is within the allowed one.

    One tolerance is common to all tensors; what it allows each of them is read off the curves
    (``plan_at``) and done to all of them together. Their joint effect is not the sum of the single
    ones, so every candidate is really built and measured. The tolerance is bisected on a
    logarithmic grid, under the assumption that larger tolerances give larger drops. Where they do
    not, a smaller file may be missed, but the drop of what is returned was always measured and is
    always within the allowed one.

    The untouched model and the unpruned one with the most levels are candidates in any case.

    Args:
        curves: Tensor name -> its curves, in the metric of the drop.
        build: (name of the candidate, plan) -> what was measured of it; an empty plan is the
            untouched model.
        max_drop: Allowed drop, at least 0, absolute, in the unit of the metric.
        most: Largest number of tolerances that are tried.
        points: Points of the grid.
        finished: Candidates that an interrupted search measured, by name; they are taken over.
        on_candidate: Called after each candidate that was built, so that it can be stored.

    Raises:
        ConfigError: There are no curves, or a number is out of its range.

    Source: ours; neither the slides nor the algorithms of Tan & Wang allocate a budget.
    """
    if not curves or most < 1 or points < 2 or not 0 <= max_drop < inf:
        given = f"{len(curves)} curves, max_drop={max_drop}, candidates={most}, points={points}"
        raise ConfigError(
            f"budget: expected curves, a finite max_drop >= 0, candidates >= 1 and points >= 2, "
            f"got {given}"
        )
    search = _Search(build, max_drop, dict(finished or {}), on_candidate)
    ladder = _ladder(curves, tolerances(curves, max_drop, points))
    with progress("budget", min(most, len(ladder).bit_length()) + 2) as display:
        search.try_(DENSE, None, {})
        search.try_(QUANTISED, None, _unpruned(curves))
        display.advance(2, QUANTISED)
        # low fits or does not exist, high violates or does not exist
        low, high, tried = -1, len(ladder), 0
        while high - low > 1 and tried < most:
            middle = (low + high) // 2
            place, tolerance, plan = ladder[middle]
            candidate = search.try_(f"tau-{place}", tolerance, plan)
            tried += 1
            if candidate.fits:
                low = middle
            else:
                high = middle
            measured = candidate.measured
            display.advance(1, f"drop {measured.drop:.3g}, {measured.file_bytes:,} bytes")
    pruned_fits = any(candidate.fits and candidate.prunes() for candidate in search.built)
    return Solution(search.smallest(), tuple(search.built), pruned_fits)


class _Search:
    """The candidates so far; none is built twice."""

    def __init__(
        self,
        build: Callable[[str, Plan], Measured],
        max_drop: float,
        finished: dict[str, Measured],
        on_candidate: Callable[[Candidate], None] | None,
    ) -> None:
        self._build, self._max_drop = build, max_drop
        self._finished, self._on_candidate = finished, on_candidate
        self.built: list[Candidate] = []

    def try_(self, name: str, tolerance: float | None, plan: Plan) -> Candidate:
        known = self._finished.get(name)
        measured = known or self._build(name, plan)
        candidate = Candidate(name, tolerance, plan, measured, measured.drop <= self._max_drop)
        self.built.append(candidate)
        if known is None and self._on_candidate:
            self._on_candidate(candidate)
        return candidate

    def smallest(self) -> Candidate:
        """Return the smallest that fits; of equal ones the one that drops less.

        The untouched model, built first, needs no proof.
        """
        fitting = [candidate for candidate in self.built if candidate.fits]
        if not fitting:
            return self.built[0]
        return min(fitting, key=lambda each: (each.measured.file_bytes, each.measured.drop))


def _ladder(
    curves: Mapping[str, TensorCurves], grid: Sequence[float]
) -> list[tuple[int, float, dict[str, Setting]]]:
    """Return (place, tolerance, plan) of each tolerance whose plan differs from the one before.

    The first plan differs from that of the candidate ``quantised``.
    """
    steps: list[tuple[int, float, dict[str, Setting]]] = []
    before = _unpruned(curves)
    for place, tolerance in enumerate(grid):
        plan = plan_at(curves, tolerance)
        if plan != before:
            steps.append((place, tolerance, plan))
            before = plan
    return steps


def _unpruned(curves: Mapping[str, TensorCurves]) -> dict[str, Setting]:
    return {name: Setting(0.0, _most_levels(each)) for name, each in curves.items()}


def _most_levels(curves: TensorCurves) -> int | None:
    return curves.levels[-1][0] if curves.levels else None


def _rising(curve: Sequence[tuple[Any, float]]) -> list[tuple[Any, float]]:
    """Replace each degradation by the largest one up to there."""
    worst, points = -inf, []
    for value, degradation in curve:
        worst = max(worst, inf if isnan(degradation) else degradation)
        points.append((value, worst))
    return points

"""How much of each tensor can go before the validation loss rises too far, tensor by tensor.

``search`` takes candidates by name and a ``TensorLoss`` and finds the removable fraction of each
(Tan & Wang's sensitivity analysis); ``curves`` measures every fraction without a tolerance. It
prunes nothing for good: weights come back bit for bit, and ``keeps`` gives the masks to apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, Literal

from torch import Tensor

from audioprune.compress.search.candidates import Removable
from audioprune.compress.search.perturbed_loss import (
    TensorLoss,
    base_of,
    check_alpha,
    increase_of,
    resumable,
)
from audioprune.compress.select import share_of
from audioprune.errors import ConfigError, unknown_name

Method = Literal["first_violation", "bisection", "checked_bisection"]
METHODS = ("first_violation", "bisection", "checked_bisection")
BETAS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Point:
    """One evaluation of a search.

    Attributes:
        beta: Removed fraction of the candidates, 0..1.
        removed: Number of candidates removed.
        increase: Loss minus base loss, signed; above the tolerance it is a lower bound, because
            evaluation stops early.
    """

    beta: float
    removed: int
    increase: float


@dataclass(frozen=True)
class TensorSensitivity:
    """What the search found for one tensor.

    Attributes:
        beta: Removable fraction of the candidates, 0..1.
        removed: The number of candidates that this is.
        candidates: Number of candidates.
        curve: All fractions that were looked at, ascending.
        passes: Number of loss evaluations.
    """

    beta: float
    removed: int
    candidates: int
    curve: tuple[Point, ...]
    passes: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an increase that is not finite becomes None."""
        plain = asdict(self)
        for point in plain["curve"]:
            point["increase"] = point["increase"] if isfinite(point["increase"]) else None
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TensorSensitivity:
        """Rebuild what ``as_dict`` returned."""
        curve = tuple(
            Point(p["beta"], p["removed"], inf if p["increase"] is None else p["increase"])
            for p in plain["curve"]
        )
        return cls(plain["beta"], plain["removed"], plain["candidates"], curve, plain["passes"])


@dataclass(frozen=True)
class SensitivityResult:
    """What a search found for all tensors.

    Attributes:
        base: Loss of the untouched model.
        alpha: The tolerance, in units of the loss.
        tensors: Tensor name -> finding.
    """

    base: float
    alpha: float
    tensors: dict[str, TensorSensitivity]

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per tensor and fraction: tensor, beta, removed, increase, chosen."""
        return [
            {
                "tensor": name,
                "beta": point.beta,
                "removed": point.removed,
                "increase": point.increase,
                "chosen": point.beta == found.beta,
            }
            for name, found in self.tensors.items()
            for point in found.curve
        ]


def search(
    tensors: Mapping[str, Removable],
    loss: TensorLoss,
    alpha: float,
    *,
    betas: Sequence[float] = BETAS,
    method: Method = "first_violation",
    finished: Mapping[str, TensorSensitivity] | None = None,
    on_tensor: Callable[[str, TensorSensitivity], None] | None = None,
) -> SensitivityResult:
    """Find for each tensor by itself the largest fraction that can go within a loss tolerance.

    The fractions ascend until the loss increase exceeds alpha for the first time; the one before
    is the answer, or the last one where none exceeds it. All other tensors are intact meanwhile,
    and each tensor is restored bit for bit. A fraction of the candidates is rounded to the nearest
    count, halves up (the paper does not say). A loss that is NaN exceeds every finite alpha.

    Args:
        tensors: Tensor name -> candidates, in the order of the search.
        loss: The validation loss.
        alpha: Largest allowed increase, at least 0, in units of the loss; exceeding is strict.
        betas: Fractions of the currently kept candidates, ascending from 0.
        method: ``"bisection"`` needs fewer evaluations but finds the paper's answer only where the
            loss rises monotonically. ``"checked_bisection"`` begins near the fraction to expect,
            looks between the fractions that it measured wherever these come near the tolerance
            or the loss falls, and searches fraction by fraction if it finds a violation there.
        finished: Findings of an interrupted search, which are taken over.
        on_tensor: Called after each tensor, so that the finding can be stored.

    Raises:
        ConfigError: Alpha, the fractions or the method is not as described.
        DivergedError: The base loss is not finite.

    Source: Tan & Wang, ICASSP 2021, Algorithms 1 and 2; both bisections are extensions.
    """
    _check_search(alpha, betas, method)
    probe = {
        "first_violation": _first_violation,
        "bisection": _bisection,
        "checked_bisection": _checked_bisection,
    }[method]
    base = base_of(loss)

    def find(name: str) -> TensorSensitivity:
        with tensors[name].restored() as undo:
            return probe(_Trial(name, tensors[name], undo, loss, base, alpha), betas)

    found = resumable("sensitivity", tensors, find, finished, on_tensor)
    return SensitivityResult(base, alpha, found)


def keeps(tensors: Mapping[str, Removable], result: SensitivityResult) -> dict[str, Tensor]:
    """Turn a finding into kept positions of every tensor, as ``Mask.updated`` takes them.

    Nothing is regained.

    Args:
        tensors: The candidates that were searched; their weights must not have changed since.
        result: What the search found.
    """
    kept: dict[str, Tensor] = {}
    for name, found in result.tensors.items():
        for tensor, keep in tensors[name].keeps(name, found.removed).items():
            kept[tensor] = kept[tensor] & keep if tensor in kept else keep
    return kept


@dataclass(frozen=True)
class CurvePoint:
    """Scores of a model with a fraction of one tensor removed.

    Attributes:
        beta: Removed fraction of the candidates, 0..1.
        removed: Number of candidates removed.
        values: Metric name -> value.
        degradation: Metric name -> how much worse than the untouched model, positive is worse.
    """

    beta: float
    removed: int
    values: dict[str, float]
    degradation: dict[str, float]


def curves(
    tensors: Mapping[str, Removable],
    evaluate: Callable[[str | None], Mapping[str, float]],
    *,
    larger_is_better: Iterable[str] = (),
    betas: Sequence[float] = BETAS,
    finished: Mapping[str, tuple[CurvePoint, ...]] | None = None,
    on_tensor: Callable[[str, tuple[CurvePoint, ...]], None] | None = None,
) -> dict[str, tuple[CurvePoint, ...]]:
    """Evaluate every fraction of every tensor by itself, without a tolerance, for figures.

    Args:
        tensors: Tensor name -> candidates.
        evaluate: Returns the metrics while the named tensor is modified in place, or of the
            untouched model for None.
        larger_is_better: Names of the metrics of which a larger value is better.
        betas: Fractions of the currently kept candidates, ascending from 0.
        finished: Curves of an interrupted call, which are taken over.
        on_tensor: Called after each tensor, so that the curve can be stored.

    Returns:
        Tensor name -> one point per fraction; fractions that round to the same count share one
        evaluation.

    Raises:
        ConfigError: The fractions are not ascending from 0, or a name in ``larger_is_better`` is
            no metric.
    """
    _check_betas(betas)
    base = dict(evaluate(None))
    better = set(larger_is_better)
    for metric in better - set(base):
        raise ConfigError(unknown_name("metric", metric, base))

    def find(name: str) -> tuple[CurvePoint, ...]:
        with tensors[name].restored():
            return _curve(name, tensors[name], evaluate, base, better, betas)

    return resumable("sensitivity curves", tensors, find, finished, on_tensor)


class _Trial:
    """One tensor under test: removes candidates in place and measures the loss increase.

    No number of candidates is measured twice.
    """

    def __init__(
        self,
        name: str,
        candidates: Removable,
        undo: Callable[[], Any],
        loss: TensorLoss,
        base: float,
        alpha: float,
    ) -> None:
        self.name, self.candidates, self.undo = name, candidates, undo
        self.loss, self.base, self.alpha = loss, base, alpha
        self.count = candidates.count()
        self.passes = 0
        self._increases = {0: 0.0}
        self._ranked: Tensor | None = None

    def increase(self, removed: int) -> float:
        if removed in self._increases:
            return self._increases[removed]
        if self._ranked is None:  # one sort serves all fractions
            self._ranked = self.candidates.ranks()
        if removed < max(self._increases):
            self.undo()
        self.candidates.remove_(self._ranked, removed)
        self.passes += 1
        self._increases[removed] = increase_of(self.loss, self.name, self.base, self.alpha)
        return self._increases[removed]

    def point(self, beta: float) -> Point:
        removed = share_of(beta, self.count)
        return Point(beta, removed, self.increase(removed))


def _first_violation(trial: _Trial, betas: Sequence[float]) -> TensorSensitivity:
    points: list[Point] = []
    for beta in betas:
        points.append(trial.point(beta))
        if points[-1].increase > trial.alpha:
            return _finding(trial, points[-2], points)
    return _finding(trial, points[-1], points)


def _bisection(trial: _Trial, betas: Sequence[float]) -> TensorSensitivity:
    low, points = _halved(trial, betas)
    return _finding(trial, points[low], [points[index] for index in sorted(points)])


def _checked_bisection(trial: _Trial, betas: Sequence[float]) -> TensorSensitivity:
    low, points = _halved(trial, betas, guesses=3)
    while (index := _doubtful(trial.alpha, points, low)) is not None:
        points[index] = trial.point(betas[index])
        if points[index].increase > trial.alpha:
            return _first_violation(trial, betas)
    return _finding(trial, points[low], [points[index] for index in sorted(points)])


def _doubtful(alpha: float, points: Mapping[int, Point], low: int) -> int | None:
    """Return a fraction below ``low`` that may exceed the tolerance, or None.

    Between two measured fractions the loss is trusted where the larger of their increases, with
    the largest fall seen anywhere added, is within half the tolerance.
    """
    within = [index for index in sorted(points) if index <= low]
    pairs = list(zip(within, within[1:], strict=False))
    fall = max((points[a].increase - points[b].increase for a, b in pairs), default=0.0)
    for a, b in pairs:
        top = max(points[a].increase, points[b].increase)
        if b - a > 1 and top + max(fall, 0.0) > alpha / 2:
            return (a + b) // 2
    return None


def _halved(
    trial: _Trial, betas: Sequence[float], guesses: int = 0
) -> tuple[int, dict[int, Point]]:
    """Return a fraction within the tolerance whose next one exceeds it, and what was measured.

    After the first measurement, and after each that is within the tolerance, the next is guessed
    while ``guesses`` last; the others halve what is left.
    """
    points = {0: trial.point(betas[0])}
    low, high = 0, len(betas)  # low is within the tolerance, high is not or does not exist
    rising = True
    while high - low > 1:
        middle = (low + high) // 2
        if rising and 1 < len(points) <= 1 + guesses:
            middle = _expected(trial.alpha, betas, points, low, high)
        rising = len(points) == 1
        points[middle] = trial.point(betas[middle])
        if points[middle].increase > trial.alpha:
            high = middle
        else:
            low, rising = middle, True
    return low, points


def _expected(
    alpha: float, betas: Sequence[float], points: Mapping[int, Point], low: int, high: int
) -> int:
    """Guess the last fraction within the tolerance, between low and high.

    Removed squares, and with them the loss, grow with the cube of the fraction where weights are
    spread evenly around 0.
    """
    measured = [points[index] for index in (low, high) if index in points]
    reached = [
        point.beta * (alpha / point.increase) ** (1 / 3)
        for point in measured
        if point.beta > 0 and 0 < point.increase < inf
    ]
    if not reached:
        return (low + high) // 2
    most = min(reached)
    within = len([beta for beta in betas if beta <= most]) - 1
    return min(max(within, low + 1), high - 1)


def _finding(trial: _Trial, chosen: Point, points: list[Point]) -> TensorSensitivity:
    return TensorSensitivity(chosen.beta, chosen.removed, trial.count, tuple(points), trial.passes)


def _curve(
    name: str,
    candidates: Removable,
    evaluate: Callable[[str | None], Mapping[str, float]],
    base: dict[str, float],
    better: set[str],
    betas: Sequence[float],
) -> tuple[CurvePoint, ...]:
    ranked, count = candidates.ranks(), candidates.count()
    done, values = 0, base
    points = []
    for beta in betas:
        removed = share_of(beta, count)
        if removed != done:
            candidates.remove_(ranked, removed)
            done, values = removed, dict(evaluate(name))
        points.append(CurvePoint(beta, removed, values, _worse(values, base, better)))
    return tuple(points)


def _worse(
    values: Mapping[str, float], base: Mapping[str, float], better: set[str]
) -> dict[str, float]:
    """Return by how much each metric is worse than the base; ``better`` names gains."""
    worse = {}
    for metric, value in values.items():
        gain = metric in better
        worse[metric] = base[metric] - value if gain else value - base[metric]
    return worse


def _check_search(alpha: float, betas: Sequence[float], method: str) -> None:
    check_alpha(alpha)
    _check_betas(betas)
    if method not in METHODS:
        raise ConfigError(unknown_name("method of the sensitivity search", method, METHODS))


def _check_betas(betas: Sequence[float]) -> None:
    ascending = all(low < high for low, high in zip(betas, betas[1:], strict=False))
    if not betas or betas[0] != 0 or not ascending or not betas[-1] <= 1:
        raise ConfigError(
            f"betas: expected ascending fractions from 0 up to 1, got {list(betas)}; for "
            f"example 0, 0.05, 0.1"
        )

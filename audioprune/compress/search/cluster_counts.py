"""How many shared values each tensor needs when it is quantised.

``choose_levels`` finds for each tensor by itself the smallest number K that the validation loss
tolerates. The caller says how weights are quantised, such as with ``quantize.kmeans``; every
tensor comes back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor

from audioprune.compress.search.perturbed_loss import (
    TensorLoss,
    base_of,
    check_alpha,
    increase_of,
    restored,
    resumable,
)
from audioprune.errors import ConfigError

LEVELS = (2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class LevelPoint:
    """Loss with one tensor quantised to so many levels, minus base loss.

    Attributes:
        levels: Number of shared values K.
        increase: Signed; above the tolerance it is a lower bound.
    """

    levels: int
    increase: float


@dataclass(frozen=True)
class TensorLevels:
    """What the search for levels found for one tensor.

    Attributes:
        levels: The chosen number of levels K.
        within: False where no tested K stayed within the tolerance; then K is the largest one
            tested.
        curve: All K that were looked at, ascending.
    """

    levels: int
    within: bool
    curve: tuple[LevelPoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an increase that is not finite becomes None."""
        plain = asdict(self)
        for point in plain["curve"]:
            point["increase"] = point["increase"] if isfinite(point["increase"]) else None
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TensorLevels:
        """Rebuild what ``as_dict`` returned."""
        curve = tuple(
            LevelPoint(p["levels"], inf if p["increase"] is None else p["increase"])
            for p in plain["curve"]
        )
        return cls(plain["levels"], plain["within"], curve)


@dataclass(frozen=True)
class LevelsResult:
    """Base loss, tolerance and the finding per tensor name of a search for levels."""

    base: float
    alpha: float
    tensors: dict[str, TensorLevels]

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per tensor and K: tensor, levels, increase, chosen."""
        return [
            {
                "tensor": name,
                "levels": point.levels,
                "increase": point.increase,
                "chosen": point.levels == found.levels,
            }
            for name, found in self.tensors.items()
            for point in found.curve
        ]


def choose_levels(
    tensors: Mapping[str, Tensor],
    quantise: Callable[[str, int], Tensor],
    loss: TensorLoss,
    alpha: float,
    *,
    levels: Sequence[int] = LEVELS,
    finished: Mapping[str, TensorLevels] | None = None,
    on_tensor: Callable[[str, TensorLevels], None] | None = None,
) -> LevelsResult:
    """Find for each tensor by itself the smallest number of levels within a loss tolerance.

    Args:
        tensors: Tensor name -> parameter; it is modified in place and restored bit for bit.
        quantise: (name, K) -> the values of that tensor with at most K distinct non-zero ones; it
            must not modify it.
        loss: The validation loss.
        alpha: Largest allowed increase (alpha_2), at least 0, in units of the loss.
        levels: Numbers of levels to try, ascending.
        finished: Findings of an interrupted search, which are taken over.
        on_tensor: Called after each tensor, so that the finding can be stored.

    Raises:
        ConfigError: Alpha or the levels are not as described.
        DivergedError: The base loss is not finite.

    Source: our Algorithm 3, in the manner of Tan & Wang's Algorithm 1; their slides do not say how
    K is chosen.
    """
    check_alpha(alpha)
    if not levels or levels[0] < 1 or list(levels) != sorted(set(levels)):
        raise ConfigError(
            f"levels: expected ascending numbers from 1, got {list(levels)}; for example 2, 4, 8"
        )
    base = base_of(loss)

    def find(name: str) -> TensorLevels:
        with restored(tensors[name]) as before:
            return _fewest(name, tensors[name], before, quantise, loss, base, alpha, levels)

    return LevelsResult(base, alpha, resumable("levels", tensors, find, finished, on_tensor))


def _fewest(
    name: str,
    tensor: Tensor,
    before: Tensor,
    quantise: Callable[[str, int], Tensor],
    loss: TensorLoss,
    base: float,
    alpha: float,
    levels: Sequence[int],
) -> TensorLevels:
    points: list[LevelPoint] = []
    for count in levels:
        tensor.copy_(before)
        tensor.copy_(quantise(name, count))
        same = torch.equal(tensor, before)  # nothing to evaluate
        increase = 0.0 if same else increase_of(loss, name, base, alpha)
        points.append(LevelPoint(count, increase))
        if points[-1].increase <= alpha:
            return TensorLevels(count, True, tuple(points))
    return TensorLevels(levels[-1], False, tuple(points))

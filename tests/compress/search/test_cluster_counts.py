"""The search for levels: the smallest K within the tolerance, tensor by tensor, resumable."""

import pytest
import torch
from torch import Tensor

from audioprune.compress.search.cluster_counts import (
    LEVELS,
    LevelPoint,
    LevelsResult,
    TensorLevels,
    choose_levels,
)
from audioprune.errors import ConfigError


class _Distance:
    """Loss = base + squared distance of the tensors from their start; records every evaluation."""

    def __init__(self, tensors: dict[str, Tensor], base: float = 0.0) -> None:
        self.tensors, self.start = (
            tensors,
            {name: tensor.clone() for name, tensor in tensors.items()},
        )
        self.value, self.asked = base, []

    def base(self) -> float:
        return self._now()

    def with_tensor(self, name: str, limit: float) -> float:
        changed = [
            other
            for other, tensor in self.tensors.items()
            if not torch.equal(tensor, self.start[other])
        ]
        assert changed == [name]
        self.asked.append(name)
        return self._now()

    def _now(self) -> float:
        return self.value + sum(
            float((tensor - self.start[name]).double().square().sum())
            for name, tensor in self.tensors.items()
        )


def _rounder(tensors: dict[str, Tensor]):
    """Quantise to a grid of K values; lossless from as many K as there are distinct values on."""

    def quantise(name: str, k: int) -> Tensor:
        tensor = tensors[name]
        if k >= len(tensor.unique()):
            return tensor.clone()
        low, step = tensor.min(), (tensor.max() - tensor.min()) / max(1, k - 1)
        return low + ((tensor - low) / step).round() * step

    return quantise


def _tensors() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(200, generator=draw), torch.randn(200, generator=draw).sign()
    return {
        "fine": fine,
        "coarse": coarse,
        "mid": torch.randint(0, 9, (50,), generator=draw).float(),
    }


def _naive(tensors: dict[str, Tensor], alpha: float) -> dict[str, int]:
    chosen = {}
    for name, tensor in tensors.items():
        errors = {
            k: float((_rounder(tensors)(name, k) - tensor).double().square().sum()) for k in LEVELS
        }
        chosen[name] = next((k for k in LEVELS if errors[k] <= alpha), LEVELS[-1])
    return chosen


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 5.0, float("inf")])
def test_smallest_k_within_the_tolerance(alpha: float) -> None:
    tensors = _tensors()
    loss = _Distance(tensors, 0.0)
    result = choose_levels(tensors, _rounder(tensors), loss, alpha)
    assert {name: found.levels for name, found in result.tensors.items()} == _naive(
        _tensors(), alpha
    )
    assert all(torch.equal(tensors[name], loss.start[name]) for name in tensors)
    for found in result.tensors.values():
        ks = [point.levels for point in found.curve]
        assert ks == list(LEVELS[: len(ks)]) and all(
            point.increase > alpha for point in found.curve[:-1]
        )
        assert found.within == (found.curve[-1].increase <= alpha)


def test_first_k_counts_even_if_a_larger_one_is_worse() -> None:
    tensors = {"w": torch.arange(4.0)}
    errors = {2: 3.0, 4: 0.1, 8: 3.0}
    result = choose_levels(
        tensors,
        lambda name, k: torch.arange(4.0) + (errors[k] / 4) ** 0.5,
        _Distance(tensors),
        0.2,
        levels=(2, 4, 8),
    )
    assert result.tensors["w"].levels == 4 and len(result.tensors["w"].curve) == 2


def test_lossless_levels_need_no_evaluation_and_hopeless_ones_are_marked() -> None:
    tensors = {"two": torch.tensor([1.0, -1.0, 0.0])}
    loss = _Distance(tensors)
    lossless = choose_levels(tensors, lambda name, k: tensors[name].clone(), loss, 0.0).tensors[
        "two"
    ]
    assert lossless == TensorLevels(2, True, (LevelPoint(2, 0.0),)) and loss.asked == []
    hopeless = choose_levels(
        tensors, lambda name, k: tensors[name] + 1, _Distance(tensors), 0.0, levels=(2, 4)
    ).tensors["two"]
    assert (hopeless.levels, hopeless.within) == (4, False)


def test_resumed_search_is_the_same() -> None:
    tensors = _tensors()
    stored: dict[str, dict] = {}

    def store(name: str, found: TensorLevels) -> None:
        stored[name] = found.as_dict()

    whole = choose_levels(tensors, _rounder(tensors), _Distance(tensors), 0.5, on_tensor=store)
    assert list(stored) == list(tensors)
    finished = {name: TensorLevels.from_dict(stored[name]) for name in ("fine", "coarse")}
    loss = _Distance(tensors)
    assert choose_levels(tensors, _rounder(tensors), loss, 0.5, finished=finished) == whole
    assert set(loss.asked) == {"mid"}


def test_rows() -> None:
    result = LevelsResult(
        1.0, 0.1, {"w": TensorLevels(4, True, (LevelPoint(2, 0.3), LevelPoint(4, 0.1)))}
    )
    assert result.rows() == [
        {"tensor": "w", "levels": 2, "increase": 0.3, "chosen": False},
        {"tensor": "w", "levels": 4, "increase": 0.1, "chosen": True},
    ]
    assert (
        TensorLevels(2, False, (LevelPoint(2, float("inf")),)).as_dict()["curve"][0]["increase"]
        is None
    )


def test_bad_arguments() -> None:
    for levels in ((), (4, 2), (2, 2), (0, 2)):
        with pytest.raises(ConfigError, match="levels: expected ascending numbers from 1"):
            choose_levels({}, lambda name, k: torch.zeros(0), _Distance({}), 0.1, levels=levels)
    with pytest.raises(ConfigError, match="tolerance alpha"):
        choose_levels({}, lambda name, k: torch.zeros(0), _Distance({}), -0.1)

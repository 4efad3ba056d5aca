"""Which single weights pruners keep, against closed forms and numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.distiller.context import FirstStatistics, PruningContext, TrainingPosition
from audioprune.distiller.pruners import (
    AutomatedGradualPruner,
    BaiduRNNPruner,
    MagnitudeParameterPruner,
    SensitivityPruner,
    SparsityLevelParameterPruner,
    SplicingPruner,
    gradual,
    level_keep,
)
from audioprune.errors import ConfigError

W = torch.tensor([[0.1, -0.2, 0.0], [0.4, -0.5, 0.6]])


def _context(
    epoch: int = 0,
    statistics: FirstStatistics | None = None,
    masks: dict[str, torch.Tensor] | None = None,
    start: int = 0,
    end: int = 30,
    frequency: int | None = 2,
) -> PruningContext:
    position = TrainingPosition(epoch, start, end, frequency)
    return PruningContext(nn.Linear(3, 2), position, masks or {}, statistics or FirstStatistics())


@pytest.mark.parametrize(("draw", "expected"), [("normal", 0.2358), ("uniform", 0.1732)])
def test_the_share_that_a_sensitivity_of_three_tenths_removes(draw: str, expected: float) -> None:
    generator = torch.Generator().manual_seed(0)
    w = (
        torch.randn(10**6, generator=generator)
        if draw == "normal"
        else torch.rand(10**6, generator=generator) * 2 - 1
    )
    keep = SensitivityPruner({"w": 0.3}).keep("w", w, _context())
    assert 1 - float(keep.float().mean()) == pytest.approx(expected, abs=0.002)


def test_the_threshold_stays_that_of_the_first_pruning() -> None:
    statistics, pruner = FirstStatistics(), SensitivityPruner({"w": 1.0})
    pruner.keep("w", W, _context(statistics=statistics))
    assert statistics.sigmas == {"w": pytest.approx(float(W.std()))}
    assert torch.equal(
        pruner.keep("w", 10 * W, _context(2, statistics)), (10 * W).abs() > float(W.std())
    )


def test_what_equals_the_threshold_goes_and_zero_removes_zeros_only() -> None:
    pruner = SensitivityPruner({"w": 0.5, "*": 0})
    assert pruner.keep("w", W, _context(statistics=FirstStatistics({"w": 1.0}))).tolist() == [
        [False, False, False],
        [False, False, True],
    ]
    assert torch.equal(pruner.keep("other", W, _context()), W != 0)
    assert SensitivityPruner({"w": 0.5}).keep("other", W, _context()) is None


def test_magnitudes_and_levels() -> None:
    thresholds = MagnitudeParameterPruner({"w": 0.4, "*": 0.0})
    assert (
        int(thresholds.keep("w", W, _context()).sum()) == 2
        and int(thresholds.keep("b", W, _context()).sum()) == 5
    )
    levels = SparsityLevelParameterPruner({"w": 0.5, "z": 0})
    assert levels.keep("w", W, _context()).tolist() == [[False, False, False], [True, True, True]]
    assert levels.keep("z", W, _context()) is None and levels.keep("other", W, _context()) is None


def test_levels_count_downwards_and_take_ties_along() -> None:
    assert int(level_keep(W, 0.99).sum()) == 1 and int(level_keep(W, 1.0).sum()) == 0
    assert level_keep(W, 0.1).all() and level_keep(W, 0.0).all()
    assert int(level_keep(torch.ones(10), 0.1).sum()) == 0
    assert int(level_keep(torch.tensor([0.0, 0.0, 0.0, 1.0]), 0.25).sum()) == 1


def test_the_gradual_schedule_of_the_worked_example() -> None:
    reached = {
        epoch: gradual(TrainingPosition(epoch, 0, 30, 2), 0.05, 0.6) for epoch in (0, 2, 14, 28)
    }
    assert reached == {
        0: pytest.approx(0.05),
        2: pytest.approx(0.1596, abs=5e-5),
        14: pytest.approx(0.5312, abs=5e-5),
        28: 0.6,
    }
    pruner = AutomatedGradualPruner(0.05, 0.6, ["w"])
    w = torch.randn(1000, generator=torch.Generator().manual_seed(2))
    assert int((~pruner.keep("w", w, _context(28))).sum()) == 600
    assert pruner.keep("v", w, _context(28)) is None
    with pytest.raises(ConfigError, match="starting_epoch, ending_epoch and frequency"):
        pruner.keep("w", w, _context(28, frequency=None))
    assert AutomatedGradualPruner(0.0, 0.5, ["w"]).keep("w", w, _context()).all()


def test_splicing_brings_weights_back_between_two_thresholds() -> None:
    statistics = FirstStatistics(magnitudes={"w": (0.3, 0.1)})
    pruner = SplicingPruner(
        {"w": 1.0}, low_thresh_mult=0.9, hi_thresh_mult=1.1, sensitivity_multiplier=0.5
    )
    w = torch.tensor([0.35, 0.40, 0.40, 0.45])
    masks = {"w": torch.tensor([True, True, False, False])}
    assert pruner.keep("w", w, _context(0, statistics, masks)).tolist() == [
        False,
        True,
        False,
        True,
    ]
    # two epochs later the bound is 0.3 + 0.1 * 2
    assert pruner.keep(
        "w", w, _context(2, statistics, {"w": torch.ones(4, dtype=torch.bool)})
    ).tolist() == [False, False, False, True]
    assert pruner.keep("v", w, _context()) is None
    fresh = FirstStatistics()
    SplicingPruner({"*": 0.0}, 1.0, 1.0).keep("w", w, _context(statistics=fresh))
    assert fresh.magnitudes["w"] == (pytest.approx(float(w.mean())), pytest.approx(float(w.std())))


def test_the_recurrent_ramp_of_two_slopes() -> None:
    pruner = BaiduRNNPruner(0.05, 0.5, q=0.17, ramp_epoch=8, ramp_slope_mult=2, weights=["w"])
    slope = 2 * 0.17 / (2 * (8 - 4) + 3 * (20 - 8))
    at = [pruner.threshold(TrainingPosition(epoch, 4, 20, 1)) for epoch in (4, 7, 8, 19)]
    assert at == pytest.approx(
        [slope, 4 * slope, 5 * slope + 2 * slope, 5 * slope + 2 * slope * 12]
    )
    w = torch.tensor([at[0], at[0] * 1.01], dtype=torch.float64)
    assert pruner.keep("w", w, _context(4, start=4, end=20, frequency=1)).tolist() == [False, True]
    assert pruner.keep("v", w, _context(4)) is None

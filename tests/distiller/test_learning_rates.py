"""Learning-rate rules by their names, at absolute epochs."""

from __future__ import annotations

import pytest
import torch

from audioprune.distiller.learning_rates import Rule, advance, known_rules
from audioprune.errors import ConfigError


def _rates(
    kind: str, numbers: dict, epochs: list[int], metrics: dict | None = None
) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    rule = Rule(kind, numbers).build(optimizer)
    found = []
    for epoch in epochs:
        optimizer.step()
        advance(rule, epoch, metrics or {"valid_loss": 1.0})
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.1}, [0.1, 0.01, 0.01, 0.001]),
        ("ExponentialLR", {"gamma": 0.5}, [0.05, 0.025, 0.0125, 0.00625]),
        ("MultiStepLR", {"milestones": [2, 3], "gamma": 0.1}, [0.1, 0.01, 0.001, 0.001]),
        ("PolynomialLR", {"T_max": 4, "power": 2}, [0.1 * (1 - t / 4) ** 2 for t in (1, 2, 3, 4)]),
        ("PolynomialLR", {"total_iters": 4, "power": 1}, [0.075, 0.05, 0.025, 0.0]),
        (
            "MultiStepMultiGammaLR",
            {"milestones": [2, 4], "gammas": [0.1, 0.5]},
            [0.1, 0.01, 0.01, 0.005],
        ),
        ("CosineAnnealingLR", {"T_max": 4}, [0.08535534, 0.05, 0.01464466, 0.0]),
    ],
)
def test_rates_of_the_epochs(kind: str, numbers: dict, expected: list[float]) -> None:
    assert _rates(kind, numbers, [1, 2, 3, 4]) == pytest.approx(expected, abs=1e-8)


def test_the_epoch_is_absolute_whatever_came_before() -> None:
    assert _rates("ExponentialLR", {"gamma": 0.9}, [25]) == [pytest.approx(0.1 * 0.9**25)]


def test_the_plateau_rule_follows_the_loss_or_the_score() -> None:
    numbers = {"patience": 0, "factor": 0.5}
    assert _rates("ReduceLROnPlateau", numbers, [1, 2, 3]) == [0.1, 0.05, 0.025]
    score = {"valid_loss": 1.0, "valid_stoi": 0.9}
    assert _rates("ReduceLROnPlateau", {**numbers, "mode": "max"}, [1, 2], score) == [0.1, 0.05]
    assert _rates("ReduceLROnPlateau", numbers, [1, 2], {"loss": 3.0}) == [0.1, 0.1]
    with pytest.raises(ConfigError, match="set training.monitor"):
        _rates("ReduceLROnPlateau", {**numbers, "mode": "max"}, [1])


@pytest.mark.parametrize(
    "kind", ["ConstantLR", "LinearLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]
)
def test_the_other_rules_of_torch_build(kind: str) -> None:
    numbers = {
        "CosineAnnealingWarmRestarts": {"T_0": 2},
        "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": False},
    }
    numbers |= {"OneCycleLR": {"max_lr": 0.1, "total_steps": 8, "cycle_momentum": False}}
    assert all(rate >= 0 for rate in _rates(kind, numbers.get(kind, {}), [1, 2]))


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("StepLr", {}, "unsupported class: unknown lr_scheduler 'StepLr'; closest: StepLR"),
        ("LambdaLR", {"lr_lambda": 1}, "unsupported class"),
        ("StepLR", {"step": 1}, "StepLR does not accept step; it accepts step_size, gamma"),
        ("StepLR", {"gamma": 0.1}, "StepLR: expected step_size"),
        ("PolynomialLR", {"T_max": 4}, "PolynomialLR: expected power"),
        (
            "MultiStepMultiGammaLR",
            {"milestones": [3, 1], "gammas": [1, 1]},
            "expected ascending milestones",
        ),
    ],
)
def test_wrong_rules_are_refused(kind: str, numbers: dict, message: str) -> None:
    assert kind not in known_rules() or "StepLR" in known_rules()
    with pytest.raises(ConfigError, match=message):
        Rule(kind, numbers)


def test_arguments_out_of_range_are_refused_when_built() -> None:
    with pytest.raises(
        ConfigError, match="CosineAnnealingWarmRestarts: Expected positive integer T_0"
    ):
        _rates("CosineAnnealingWarmRestarts", {"T_0": 0}, [1])

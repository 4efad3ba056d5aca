"""The factor with which one pruning reaches a stated total."""

from __future__ import annotations

import pytest
import torch
from distiller_toys import Zoo, hook_of, one
from torch import nn

from audioprune.distiller import factor_for, load_schedule, scaled
from audioprune.distiller.context import FirstStatistics
from audioprune.errors import ConfigError


def _bound(sensitivities: dict[str, float], model: nn.Module):
    return load_schedule(one("SensitivityPruner", {"sensitivities": sensitivities})).bound(model)


@pytest.mark.parametrize("total", [0.01, 0.1, 0.2])
def test_one_pruning_reaches_the_total_to_a_weight(total: float) -> None:
    model = Zoo()
    schedule = _bound({"rnn.weight_ih_l0": 0.3, "conv.weight": 0.15, "out.weight": 0}, model)
    factor = factor_for(schedule, model, total, FirstStatistics())
    hook = hook_of(
        one(
            "SensitivityPruner",
            {"sensitivities": scaled(schedule, factor).policies[0].actor.sensitivities},
        ),
        model,
    )
    hook.prune_once(model)
    count = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    assert total <= hook.history[0]["total"] <= total + 1.5 / count
    assert hook.masks["out.weight"].all()


def test_the_gaussian_closed_form() -> None:
    model = nn.Sequential(nn.Linear(500, 400, bias=False))
    nn.init.normal_(model[0].weight, std=0.02, generator=torch.Generator().manual_seed(0))
    assert 0.3 * factor_for(
        _bound({"0.weight": 0.3}, model), model, 0.528, FirstStatistics()
    ) == pytest.approx(0.720, abs=0.01)


def test_zeros_that_are_there_count() -> None:
    model = Zoo()
    with torch.no_grad():
        model.rnn.weight_hh_l0.zero_()
    assert factor_for(_bound({"conv.weight": 0.3}, model), model, 0.05, FirstStatistics()) == 0.0


def test_what_cannot_be_reached_is_refused() -> None:
    model = Zoo()
    with pytest.raises(
        ConfigError, match="expected at most 0.1.*share of the tensors with a sensitivity above 0"
    ):
        factor_for(_bound({"conv.weight": 0.3}, model), model, 0.47, FirstStatistics())
    with pytest.raises(ConfigError, match="a sensitivity above 0, got none"):
        factor_for(_bound({"conv.weight": 0}, model), model, 0.1, FirstStatistics())
    levels = load_schedule(one("SparsityLevelParameterPruner", {"levels": {"*": 0.5}})).bound(
        model
    )
    with pytest.raises(
        ConfigError,
        match="expected pruners of class SensitivityPruner, got SparsityLevelParameterPruner",
    ):
        factor_for(levels, model, 0.1, FirstStatistics())

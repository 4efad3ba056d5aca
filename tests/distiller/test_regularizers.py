"""What regularizers add to the loss, against sums written out."""

from __future__ import annotations

import pytest
import torch
from distiller_toys import Zoo

from audioprune.distiller.regularizers import GroupLassoRegularizer, L1Regularizer
from audioprune.errors import ConfigError


def _group_lasso(model: Zoo, name: str, group_type: str) -> torch.Tensor:
    weight = dict(model.named_parameters())[name]
    return GroupLassoRegularizer({name: [0.1, group_type]}).penalty(name, weight, model)


def test_l1_is_strength_times_the_sum_of_magnitudes() -> None:
    model = Zoo()
    penalty = L1Regularizer({"out.weight": 0.3}).penalty("out.weight", model.out.weight, model)
    assert penalty.item() == pytest.approx(0.3 * model.out.weight.abs().sum().item())
    assert L1Regularizer({"out.weight": 0.3}).keep("out.weight", model.out.weight, model) is None
    keep = L1Regularizer({"out.weight": 0.3}, "hard").keep("out.weight", model.out.weight, model)
    assert torch.equal(keep, model.out.weight.detach().abs() > 0.3)


def test_group_lasso_sums_the_norms_of_structures() -> None:
    model = Zoo()
    conv, up, out = model.conv.weight, model.up.weight, model.out.weight
    expected = {
        ("conv.weight", "3D"): conv.flatten(1).norm(dim=1).sum(),
        ("conv.weight", "Channels"): conv.transpose(0, 1).flatten(1).norm(dim=1).sum(),
        ("conv.weight", "2D"): conv.norm(dim=2).sum(),
        ("conv.weight", "4D"): conv.norm(),
        ("conv.weight", "Channels+4D"): conv.transpose(0, 1).flatten(1).norm(dim=1).sum()
        + conv.norm(),
        ("up.weight", "Filters"): up.transpose(0, 1).flatten(1).norm(dim=1).sum(),
        ("out.weight", "Rows"): out.norm(dim=1).sum(),
        ("out.weight", "Rows+Cols"): out.norm(dim=1).sum() + out.norm(dim=0).sum(),
    }
    for (name, group_type), norm in expected.items():
        assert _group_lasso(model, name, group_type).item() == pytest.approx(
            0.1 * norm.item(), rel=1e-5
        ), group_type


def test_a_group_of_zeros_has_the_gradient_zero() -> None:
    model = Zoo()
    with torch.no_grad():
        model.conv.weight[2] = 0
    _group_lasso(model, "conv.weight", "3D").backward()
    assert torch.isfinite(model.conv.weight.grad).all() and (model.conv.weight.grad[2] == 0).all()


def test_thresholds_remove_whole_structures() -> None:
    model = Zoo()
    regularizer = GroupLassoRegularizer({"conv.weight": [0.15, "3D"]}, "Mean_Abs")
    keep = regularizer.keep("conv.weight", model.conv.weight, model)
    assert torch.equal(keep[:, 0, 0], model.conv.weight.abs().mean((1, 2)) > 0.15)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown structure of 'w' 'Rowz'.*Rows"):
        GroupLassoRegularizer({"w": [0.1, "Rowz"]})
    with pytest.raises(ConfigError, match="unknown threshold_criteria"):
        GroupLassoRegularizer({"w": [0.1, "3D"]}, "Min")
    with pytest.raises(ConfigError, match="expected a number >= 0, got -1"):
        L1Regularizer({"w": -1})

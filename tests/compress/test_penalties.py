"""Penalties: the formulas on worked numbers, gradients, and what is fixed when built."""

from math import sqrt

import pytest
import torch
from torch import nn

from audioprune.compress.masks import Mask
from audioprune.compress.penalties import L1Penalty, SparseGroupLasso
from audioprune.compress.units.weight_groups import GroupKinds, unit_groups, weight_groups
from audioprune.errors import ConfigError
from audioprune.models.fdnn import FDNN

W = torch.tensor([[1, -2, 0, 0.1], [0.5, 0, 0, 0.1], [-1, 2, 3, 0.1]])


def _one() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.weight.data.copy_(W)
    return layer


def _two() -> nn.Module:
    second = nn.Linear(2, 1)
    second.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    return nn.ModuleList([_one(), second])


def test_l1_worked_examples() -> None:
    assert L1Penalty(_one(), 1.0)(_one()).item() == pytest.approx(0.816667, abs=1e-6)
    assert L1Penalty(_two(), 1.0)(_two()).item() == pytest.approx(1.2, abs=1e-6)
    assert L1Penalty(_two(), 0.5)(_two()).item() == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(("kind", "expected"), [("column", 3.248302), ("row", 4.327466)])
def test_group_worked_examples(kind: str, expected: float) -> None:
    model = _one()
    penalty = SparseGroupLasso(model, 0.0, 1.0, weight_groups(model, GroupKinds(linear=kind)))
    assert penalty(model).item() == pytest.approx(expected, abs=1e-6)


def test_counts_are_of_the_whole_network() -> None:
    model = _two()
    penalty = SparseGroupLasso(model, 0.0, 1.0)
    assert (penalty.n_weights, penalty.n_groups) == (14, 6)
    assert penalty(model).item() == pytest.approx(3.332201, abs=1e-6)
    assert SparseGroupLasso(model, 1.0, 1.0)(model).item() == pytest.approx(
        1.2 + 3.332201, abs=1e-6
    )


def test_counts_stay_fixed_while_weights_are_pruned() -> None:
    model = _two()
    l1, lasso = L1Penalty(model, 1.0), SparseGroupLasso(model, 0.0, 1.0)
    Mask({"0.weight": torch.zeros(3, 4, dtype=torch.bool)}).apply_(model)
    assert l1(model).item() == pytest.approx(7 / 14) and lasso(model).item() == pytest.approx(
        7 / 6
    )


def test_biases_and_norms_are_not_penalised() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.PReLU(3))
    assert L1Penalty(model, 1.0).n_weights == 12
    (L1Penalty(model, 1.0)(model) + SparseGroupLasso(model, 1.0, 1.0)(model)).backward()
    assert (
        model[0].bias.grad is None
        and model[1].weight.grad is None
        and model[0].weight.grad is not None
    )


def test_each_weight_is_pulled_by_lambda_over_n() -> None:
    model = _one()
    L1Penalty(model, 3.0)(model).backward()
    assert torch.allclose(model.weight.grad, 3.0 / 12 * W.sign())


@pytest.mark.parametrize("kind", ["column", "row"])
def test_gradient_at_a_zero_group_is_zero(kind: str) -> None:
    model = _one()
    model.weight.data[:, 1] = 0
    model.weight.data[1] = 0
    SparseGroupLasso(model, 1.0, 1.0, weight_groups(model, GroupKinds(linear=kind)))(
        model
    ).backward()
    assert model.weight.grad.isfinite().all()
    assert (
        (model.weight.grad[:, 1] == 0).all()
        and (model.weight.grad[1] == 0).all()
        and (model.weight.grad[0, 0] != 0)
    )


@pytest.mark.parametrize(
    "kinds",
    [
        GroupKinds(),
        GroupKinds("row", "row", "filter", "filter", "kernel"),
        GroupKinds(conv1d="channel"),
    ],
)
def test_value_and_gradient_equal_a_loop_over_groups(kinds: GroupKinds) -> None:
    draw = torch.Generator().manual_seed(0)
    model = nn.ModuleList(
        [
            nn.Conv1d(4, 6, 3, groups=2),
            nn.ConvTranspose2d(4, 3, (2, 3)),
            nn.LSTM(3, 2),
            nn.Conv1d(3, 2, 1),
        ]
    ).double()
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    groups = weight_groups(model, kinds)
    value = SparseGroupLasso(model, 0.7, 0.3, groups)(model)
    value.backward()
    gradients = {each.name: model.get_parameter(each.name).grad.clone() for each in groups}
    weights = {
        each.name: model.get_parameter(each.name).detach().requires_grad_() for each in groups
    }
    l1, group, count = 0.0, 0.0, 0
    for each in groups:
        part, weight = each.slices[0], weights[each.name]
        view = weight.flatten(0, part.leading - 1).movedim(part.dim, 0)
        l1 = l1 + weight.abs().sum()
        for index in part.index:
            members = view[index].flatten()
            group, count = (
                group + members.numel() ** 0.5 * members.square().sum().sqrt(),
                count + 1,
            )
    expected = 0.7 / sum(weight.numel() for weight in weights.values()) * l1 + 0.3 / count * group
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    for name, weight in weights.items():
        assert torch.allclose(gradients[name], weight.grad, rtol=1e-10, atol=1e-14)


def test_zero_strength_is_zero() -> None:
    assert (
        L1Penalty(_one(), 0.0)(_one()).item() == 0
        and SparseGroupLasso(_one(), 0.0, 0.0)(_one()).item() == 0
    )


def test_errors() -> None:
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="lambda_1: expected a finite number >= 0"):
            L1Penalty(_one(), bad)
        with pytest.raises(ConfigError, match="lambda_2: expected a finite number >= 0"):
            SparseGroupLasso(_one(), 0.0, bad)
    with pytest.raises(ConfigError, match="unknown weight tensor 'wieght'; closest: weight"):
        L1Penalty(_one(), 1.0, ["wieght"])
    with pytest.raises(ConfigError, match="at least one weight tensor"):
        L1Penalty(nn.PReLU(), 1.0)
    with pytest.raises(ConfigError, match="at least one weight group"):
        SparseGroupLasso(_one(), 1.0, 1.0, [])
    penalty = L1Penalty(_one(), 1.0)
    with pytest.raises(
        ConfigError,
        match=r"'weight': expected shape \(3, 4\), got \(3, 2\); build the penalty anew",
    ):
        penalty(nn.Linear(2, 3))


def test_the_penalty_of_a_unit_is_that_of_all_its_weights() -> None:
    model = FDNN(bins=2, width=2, depth=1)
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    with torch.no_grad():
        weights[0].copy_(torch.tensor([[1.0, 2], [3, 0]]))
        weights[1].copy_(torch.tensor([[1.0, 0.5], [0, 0.5]]))
    value = SparseGroupLasso(model, 0.0, 1.0, unit_groups(model, model.unit_sets()))(model).item()
    assert value == pytest.approx(
        sqrt(4) * (sqrt(1 + 4 + 1) + sqrt(9 + 0.25 + 0.25)) / 2, abs=1e-6
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    SparseGroupLasso(model, 0.0, 1.0, unit_groups(model, model.unit_sets()))(model).backward()
    assert all(
        p.grad is None or torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters()
    )

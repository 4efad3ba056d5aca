"""The reach of a regulariser and which groups lie within it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError
from audioprune.optim import OBProxSG, ProxSG, reachability, regulariser_reach


def test_reach_is_lambda_times_the_sum_of_learning_rates() -> None:
    """The schedule of the slides: 350 epochs of 468 batches, from 1e-4 to 5e-6 by epoch 250."""
    lrs = [
        1e-4 if e < 50 else 5e-6 if e >= 250 else 1e-4 - (1e-4 - 5e-6) * (e - 50) / 200
        for e in range(350)
        for _ in range(468)
    ]
    assert (
        regulariser_reach(1e-3, lrs)
        == pytest.approx(1e-3 * sum(lrs), rel=1e-12)
        == pytest.approx(0.0075, abs=1e-4)
    )
    assert regulariser_reach(0.0, lrs) == regulariser_reach(1.0, []) == 0.0
    for lmbda, lr in ((-1.0, [0.1]), (0.1, [-0.1]), (0.1, [float("nan")])):
        with pytest.raises(ConfigError):
            regulariser_reach(lmbda, lr)


def test_no_norm_loses_more_than_the_reach_to_the_regulariser() -> None:
    param = nn.Parameter(torch.arange(1, 9, dtype=torch.float64).reshape(4, 2))
    reach = reachability([param], regulariser_reach(0.5, [0.3] * 20), units="rows")
    optimizer = ProxSG([param], 0.3, lmbda=0.5, units="rows")
    for _ in range(20):
        param.grad = torch.zeros_like(param)
        optimizer.step()
    assert reach.reach == pytest.approx(3.0) and reach.reachable == 1 == round(
        4 * optimizer.group_sparsity()
    )


def test_report_names_share_and_quantiles() -> None:
    values = torch.arange(1.0, 12.0)
    reach = reachability([nn.Parameter(values)], 3.0, units="rows")
    assert (reach.groups, reach.reachable, reach.zero, reach.warning) == (
        11,
        3,
        0,
        None,
    ) and reach.share == 3 / 11
    assert reach.quantiles[0.0] == 1 and reach.quantiles[0.5] == 6 and reach.quantiles[1.0] == 11
    assert (
        "at most 27.3 % of 11 groups" in reach.lines()[0]
        and "50 %: 6" in reach.lines()[1]
        and len(reach.lines()) == 2
    )


def test_warning_when_shrinkage_reaches_nothing() -> None:
    values = torch.tensor([0.0, 0.0, 4.0, 5.0])
    reach = reachability([nn.Parameter(values)], 0.01, units="rows")
    assert (
        reach.zero == reach.reachable == 2
        and "400 times as much" in reach.warning
        and "2 are zero already" in reach.lines()[0]
    )
    assert reach.lines()[-1] == reach.warning and "\n" not in reach.warning
    assert "any" in reachability([nn.Parameter(values)], 0.0, units="rows").warning


def test_the_warning_of_a_single_group_left_is_whole() -> None:
    reach = reachability([nn.Parameter(torch.tensor([0.0, 4.0]))], 0.5, units="rows")
    assert reach.warning == (
        "no group can reach zero by shrinkage alone: reach 0.5 is below the norm of every "
        "group left, 4 at least; "
        "lmbda * sum(lr) would need at least 8 times as much"
    )
    nothing = reachability([nn.Parameter(torch.tensor([0.0, 4.0]))], 0.0, units="rows")
    assert nothing.warning.endswith("lmbda * sum(lr) would need any as much")


def test_no_warning_where_every_group_is_zero_already() -> None:
    reach = reachability([nn.Parameter(torch.zeros(3))], 0.5, units="rows")
    assert (reach.zero, reach.reachable, reach.share, reach.warning) == (3, 3, 1.0, None)
    assert reach.lines()[0] == (
        "reach lmbda * sum(lr) = 0.5: at most 100.0 % of 3 groups can reach zero by "
        "shrinkage alone (3 are zero already)"
    )


def test_the_l1_norm_takes_the_reach_off_every_entry() -> None:
    """Of four rows of norm 2.8 and more, two have no entry above the reach: those become zero."""
    param = nn.Parameter(
        torch.tensor([[2.0, -2.0], [-2.5, 2.9], [1.0, 3.1], [9.0, 0.1]], dtype=torch.float64)
    )
    limit = regulariser_reach(0.5, [0.3] * 20)
    reach = reachability([param], limit, units="rows", entrywise=True)
    assert (
        reach.reachable == 2
        and reach.quantiles[0.0] == 2.0
        and reach.quantiles[1.0] == 9.0
        and reach.warning is None
    )
    assert (
        reachability([param], limit, units="rows").reachable == 1
    )  # the group norms lie at 2.83, 3.83, 3.26 and 9
    optimizer = OBProxSG([param], 0.3, lmbda=0.5, units="rows", prox_steps=20)
    for _ in range(20):
        param.grad = torch.zeros_like(param)
        optimizer.step()
    assert optimizer.group_sparsity() == reach.share == 0.5
    assert "largest entries of the groups" in reach.lines()[1]
    low = reachability([nn.Parameter(torch.ones(2, 2))], 0.1, units="rows", entrywise=True)
    assert "below the largest entry of every group left, 1 at least" in low.warning


def test_entries_of_no_group_are_not_compared() -> None:
    weight = nn.Parameter(torch.tensor([[7.0, 7.0], [1.0, 2.0]]))
    units = [UnitSet("u", (Slice("w", 0, rows(1, 1)),))]
    assert reachability([("w", weight)], 5.0, units, entrywise=True).quantiles[1.0] == 2.0


def test_param_groups_and_units_are_read_as_an_optimiser_reads_them() -> None:
    weight, bias = nn.Parameter(torch.full((2, 2), 3.0)), nn.Parameter(torch.tensor([4.0, 0.0]))
    units = [UnitSet("u", (Slice("w", 0, rows(0, 2)), Slice("b", 0, rows(0, 2))))]
    joined = reachability([("w", weight), ("b", bias)], 5.0, units)
    assert (
        joined.groups == 2
        and joined.quantiles[1.0] == pytest.approx(34**0.5)
        and joined.reachable == 1
    )
    assert (
        reachability(
            [
                {"params": [("w", weight), ("b", bias)], "units": units},
                {"params": [("c", nn.Parameter(torch.ones(3)))]},
            ],
            5.0,
        )
        == joined
    )
    for params, limit in (([weight], 1.0), ([], 1.0), ([weight], -1.0)):
        with pytest.raises(ConfigError):
            reachability(params, limit)

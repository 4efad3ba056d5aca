"""The base class: what an optimiser with a rule of its own gets from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from audioprune.errors import CheckpointError, ConfigError
from audioprune.optim.directions import Work
from audioprune.optim.group_optimizer import Group, GroupOptimizer
from audioprune.optim.group_steps import group_norms, keep_groups

COMMON: dict[str, Any] = {
    "lr": 0.1,
    "lmbda": 0.5,
    "base": "sgd",
    "momentum": 0.0,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "fused": None,
    "maximize": False,
}


class Threshold(GroupOptimizer):
    """Zeroes every group whose norm is below a least one."""

    def __init__(self, params: Any, units: Any = "rows", least: float = 1.0, **changes: Any):
        super().__init__(params, units, **{**COMMON, **changes}, least=least)

    def _step_group(self, group: Group, work: Work) -> None:
        xs = work.params[: work.split]
        keep_groups(work.plan, xs, group_norms(work.plan, xs) >= group["least"])


def _param() -> nn.Parameter:
    param = nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 2.0]]))
    param.grad = torch.zeros_like(param)
    return param


def test_a_rule_gets_counts_steps_and_the_closure() -> None:
    param = _param()
    optimizer = Threshold([param])
    assert (optimizer.group_sparsity(), optimizer.entry_sparsity()) == (0.0, 1 / 6)
    assert optimizer.objective_penalty() == pytest.approx(0.5 * (5 + 0.5 + 2))

    def closure() -> torch.Tensor:
        assert torch.is_grad_enabled()
        return torch.tensor(7.0)

    assert optimizer.step(closure) == 7.0 and optimizer.param_groups[0]["steps"] == 1
    assert param.tolist() == [[3, 4], [0, 0], [0, 2]]
    assert (optimizer.group_sparsity(), optimizer.entry_sparsity()) == (1 / 3, 0.5)
    param.grad = None
    assert optimizer.step() is None and optimizer.param_groups[0]["steps"] == 1


def test_its_own_options_are_those_of_param_groups_and_of_the_state() -> None:
    param, other = _param(), _param()
    optimizer = Threshold([param], least=0.1)
    optimizer.add_param_group({"params": [other], "least": 9.0})
    optimizer.step()
    assert int(param.count_nonzero()) == 5 and int(other.count_nonzero()) == 0
    again = Threshold([_param()])
    again.add_param_group({"params": [_param()]})
    again.load_state_dict(optimizer.state_dict())
    assert [group["least"] for group in again.param_groups] == [0.1, 9.0]
    state = optimizer.state_dict()
    del state["param_groups"][0]["least"]
    with pytest.raises(CheckpointError, match="expected a state of Threshold, got one without le"):
        again.load_state_dict(state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Threshold([_param()], None), "expected at least one regularised group, got 0"),
        (lambda: Threshold(_param()), "expected an iterable of parameters, got one tensor"),
        (lambda: Threshold([]), "expected at least one parameter, got none"),
        (lambda: Threshold([_param()], lr=-1.0), "expected a finite number lr >= 0"),
        (
            lambda: Threshold([{"params": [_param()], "lest": 1.0}]),
            "unknown option of a param group 'lest'; closest: least",
        ),
        (
            lambda: Threshold([nn.Parameter(torch.ones(2, dtype=torch.long), False)]),
            "expected real floating-point parameters, got one of torch.int64",
        ),
    ],
)
def test_what_fits_no_optimiser_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()

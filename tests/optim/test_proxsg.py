"""ProxSG: options per param group."""

from __future__ import annotations

import pytest
import torch
from optim_toys import seeded_param
from torch import nn

from audioprune.errors import ConfigError
from audioprune.optim import ProxSG


def test_each_param_group_has_its_own_options() -> None:
    params = [seeded_param(1), seeded_param(1), seeded_param(1)]
    groups = [
        {"params": params[:1], "units": "rows"},
        {"params": params[1:2], "units": "rows", "lmbda": 0.2},
        {"params": params[2:]},
    ]
    optimizer = ProxSG(groups, 0.1, lmbda=0.1)
    for param in params:
        param.grad = torch.zeros_like(param)
    start = params[0].detach().norm(dim=1)
    optimizer.step()
    torch.testing.assert_close(
        start - params[0].norm(dim=1),
        torch.full((20,), 0.01, dtype=torch.float64),
        atol=1e-14,
        rtol=0,
    )
    torch.testing.assert_close(
        start - params[1].norm(dim=1),
        torch.full((20,), 0.02, dtype=torch.float64),
        atol=1e-14,
        rtol=0,
    )
    torch.testing.assert_close(start, params[2].norm(dim=1), atol=0, rtol=0)


def test_norm_may_differ_between_param_groups() -> None:
    params = [nn.Parameter(torch.tensor([[3.0, 4.0]])) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "norm": "l1"}]
    optimizer = ProxSG(groups, 1.0, lmbda=1.0, units="rows")
    assert optimizer.objective_penalty() == 5.0 + 7.0
    for param in params:
        param.grad = torch.zeros_like(param)
    optimizer.step()
    torch.testing.assert_close(params[0].detach(), torch.tensor([[2.4, 3.2]]))
    torch.testing.assert_close(params[1].detach(), torch.tensor([[2.0, 3.0]]))


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown norm 'l2'"):
        ProxSG([seeded_param()], 0.1, lmbda=0.1, units="rows", norm="l2")

"""ADMM: its three updates, its residuals and the sparse model it yields."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError
from audioprune.optim import ADMM


def _drive(optimizer: ADMM, param: nn.Parameter, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        param.grad = torch.randn(param.shape, generator=generator, dtype=param.dtype)
        optimizer.step()


def _start() -> torch.Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("target", [None, 0.5])
def test_updates_follow_the_formulas_and_leave_free_rows_alone(target: float | None) -> None:
    param = nn.Parameter(_start())
    units = [UnitSet("first", (Slice("w", 0, rows(0, 10)),))]
    optimizer = ADMM(
        [("w", param)],
        0.1,
        lmbda=2.4,
        rho=0.4,
        inner_steps=3,
        units=units,
        target_group_sparsity=target,
    )
    x, z, u = _start(), _start(), torch.zeros(12, 4, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    free = torch.tensor([[0.0]] * 10 + [[1.0]] * 2, dtype=torch.float64)
    for step in range(1, 13):
        g = torch.randn(12, 4, generator=generator, dtype=torch.float64)
        param.grad = g.clone()
        optimizer.step()
        x = x - 0.1 * (g + 0.4 * (1 - free) * (x - z + u))
        if step % 3 == 0:
            v, before = x + u, z
            norms = v.norm(dim=1, keepdim=True)
            if target is None:
                z = torch.where(free > 0, v, v * (1 - 6.0 / norms).clamp(min=0))
            else:
                z = v.clone()
                z[norms[:10, 0].argsort()[:5]] = 0
            u = u + x - z
            assert optimizer.primal_residual() == pytest.approx(float((x - z).norm()), rel=1e-10)
            assert optimizer.dual_residual() == pytest.approx(
                float(0.4 * (z - before).norm()), rel=1e-10
            )
        torch.testing.assert_close(param.detach(), x, atol=1e-13, rtol=0)
    torch.testing.assert_close(optimizer.state[param]["z"], z, atol=1e-13, rtol=0)
    dead = ~z[:10].any(dim=1)
    assert (
        optimizer.group_sparsity("z") == float(dead.double().mean()) > 0.2
        and optimizer.group_sparsity() == 0
    )
    assert target is None or optimizer.group_sparsity("z") == target
    expected = x.clone()
    expected[:10][dead] = 0
    torch.testing.assert_close(optimizer.consensus()["w"], expected, atol=1e-13, rtol=0)
    assert optimizer.group_sparsity("x") == 0
    optimizer.project_()
    torch.testing.assert_close(param.detach(), expected, atol=1e-13, rtol=0)
    assert optimizer.group_sparsity("x") == optimizer.group_sparsity("z")


def test_before_the_first_step_z_is_x() -> None:
    param = nn.Parameter(_start())
    optimizer = ADMM([param], 0.1, lmbda=0.8, rho=0.4, inner_steps=3, units="rows")
    assert torch.equal(optimizer.consensus()["0.0"], param) and optimizer.group_sparsity("z") == 0
    assert (
        optimizer.objective_penalty("z")
        == optimizer.objective_penalty("x")
        == pytest.approx(0.8 * float(_start().norm(dim=1).sum()))
    )
    assert optimizer.primal_residual() == 0 == optimizer.dual_residual()


def test_fused_z_step_equals_the_plain_one() -> None:
    found = []
    for fused in (False, True):
        param = nn.Parameter(_start())
        optimizer = ADMM(
            [param], 0.1, lmbda=2.4, rho=0.4, inner_steps=2, units="rows", base="adam", fused=fused
        )
        _drive(optimizer, param, 10)
        found.append((param.detach(), optimizer.state[param]["z"]))
    assert (found[0][1] == 0).any()
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, atol=1e-13, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rho": 0.0},
        {"rho": -1},
        {"inner_steps": 0},
        {"inner_steps": 1.5},
        {"inner_steps": float("inf")},
        {"target_group_sparsity": 2},
    ],
    ids=str,
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        ADMM(
            [nn.Parameter(_start())],
            0.1,
            **{"lmbda": 0.1, "rho": 0.1, "inner_steps": 2, "units": "rows", **wrong},
        )


def test_unknown_variable_is_refused() -> None:
    optimizer = ADMM(
        [nn.Parameter(_start())], 0.1, lmbda=0.1, rho=0.1, inner_steps=2, units="rows"
    )
    with pytest.raises(ConfigError, match="variable of ADMM"):
        optimizer.group_sparsity("u")

"""HSPG: stages, cap, guard, moments, closures and schedulers."""

from __future__ import annotations

import pytest
import torch
from optim_toys import drive, seeded_param
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.optim import HSPG, OBProxSG


def test_single_entries_make_hspg_and_obproxsg_the_same() -> None:
    ours, theirs = seeded_param(shape=(50,)), seeded_param(shape=(50,))
    drive(HSPG([ours], 0.1, lmbda=0.5, units="rows", prox_steps=4), [ours], 30)
    drive(OBProxSG([theirs], 0.1, lmbda=0.5, units="rows", prox_steps=4), [theirs], 30)
    torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)
    assert torch.equal(ours == 0, theirs == 0) and (ours == 0).any() and (ours != 0).any()


def test_zero_groups_revive_in_the_prox_stage_and_never_in_the_half_space_stage() -> None:
    param = seeded_param()
    with torch.no_grad():
        param[:4] = 0
    optimizer = HSPG([param], 0.1, lmbda=0.01, units="rows", prox_steps=1, epsilon=0.3)
    drive(optimizer, [param], 1)
    assert optimizer.stage == "half-space" and bool(param[:4].any(dim=1).all())
    dead = torch.zeros(20, dtype=torch.bool)
    for step in range(40):
        drive(optimizer, [param], 1, seed=100 + step)
        now = ~param.detach().any(dim=1)
        assert bool((now | ~dead).all())
        dead = now
    assert 0 < int(dead.sum()) < 20


def test_without_regulariser_it_is_sgd_until_a_step_reverses_a_group() -> None:
    ours, theirs = seeded_param(), seeded_param()
    drive(HSPG([ours], 0.01, lmbda=0.0, units="rows", prox_steps=3), [ours], 20, scale=0.1)
    drive(torch.optim.SGD([theirs], 0.01), [theirs], 20, scale=0.1)
    torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)
    ours.grad = 200 * ours.detach()
    HSPG([ours], 0.01, lmbda=0.0, units="rows", prox_steps=0).step()
    assert not ours.any()


@pytest.mark.parametrize("stage", ["prox", "subgradient"])
def test_regulariser_inside_the_moments_joins_the_gradient(stage: str) -> None:
    ours, theirs = seeded_param(3), seeded_param(3)
    optimizer = HSPG(
        [ours],
        0.01,
        lmbda=0.3,
        units="rows",
        prox_steps=5,
        first_stage=stage,
        momentum=0.5,
        regularizer_inside_moments=True,
    )
    generator, buffer = torch.Generator().manual_seed(1), torch.zeros_like(theirs)
    guard = 1e-6 if stage == "subgradient" else 0.0
    for step in range(9):
        ours.grad = torch.randn(20, 5, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            norms = theirs.norm(dim=1, keepdim=True)
            proximal = stage == "prox" and step < 5
            buffer = (
                0.5 * buffer + ours.grad + (0.0 if proximal else 0.3 * theirs / (norms + guard))
            )
            moved = theirs - 0.01 * buffer
            if proximal:
                moved *= (1 - 0.003 / moved.norm(dim=1, keepdim=True)).clamp(min=0)
            theirs.copy_(moved)
        optimizer.step()
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("cap", "most"), [(0.3, 6), (0.34, 6), (0.35, 7), (1.0, 20)])
def test_cap_is_never_exceeded_and_is_reached(cap: float, most: int, fused: bool) -> None:
    param = seeded_param()
    optimizer = HSPG(
        [param],
        0.1,
        lmbda=8.0,
        units="rows",
        prox_steps=2,
        epsilon=0.9,
        target_group_sparsity=cap,
        fused=fused,
    )
    for step in range(30):
        drive(optimizer, [param], 1, seed=step)
        assert round(20 * optimizer.group_sparsity()) <= most
    assert round(20 * optimizer.group_sparsity()) == most


@pytest.mark.parametrize("fused", [False, True])
def test_cap_takes_the_groups_that_turned_back_most_ties_by_position(fused: bool) -> None:
    param = nn.Parameter(torch.eye(6, dtype=torch.float64))
    share = torch.tensor([0.5, 0.1, 0.3, 0.1, 0.9, 0.1], dtype=torch.float64)
    param.grad = torch.diag(1 - share)  # <x+, x> / ||x||^2 is the share
    HSPG(
        [param],
        1.0,
        lmbda=0.0,
        units="rows",
        prox_steps=0,
        epsilon=0.6,
        target_group_sparsity=0.34,
        fused=fused,
    ).step()
    assert (~param.any(dim=1)).tolist() == [False, True, False, True, False, False]
    torch.testing.assert_close(param.detach().diagonal()[[5, 0]], share[[5, 0]])


def test_a_start_that_would_freeze_zero_groups_is_refused() -> None:
    param = seeded_param()
    with torch.no_grad():
        param[5:8] = 0
    param.grad = torch.ones_like(param)
    before = param.detach().clone()
    with pytest.raises(ConfigError, match="got 3 of 20, which would stay zero"):
        HSPG([param], 0.1, lmbda=0.1, units="rows", prox_steps=0).step()
    with pytest.raises(ConfigError, match="got 15 of 100, which would stay zero"):
        OBProxSG([param], 0.1, lmbda=0.1, units="rows", prox_steps=0).step()
    assert torch.equal(param, before)
    HSPG([param], 0.1, lmbda=0.1, units="rows", prox_steps=1).step()


def test_closure_scheduler_and_a_later_param_group() -> None:
    first, second = seeded_param(1), seeded_param(2)
    optimizer = HSPG([first], 0.1, lmbda=0.5, units="rows", prox_steps=3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = first.square().sum() + second.square().sum()
        loss.backward()
        return loss

    for _ in range(4):
        assert optimizer.step(closure).requires_grad
        schedule.step()
    optimizer.add_param_group({"params": [second], "lmbda": 0.0, "prox_steps": 1, "lr": 0.01})
    held = second.detach().clone()
    optimizer.step(closure)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(1e-3), 0.01]
    assert [group["steps"] for group in optimizer.param_groups] == [5, 1]
    torch.testing.assert_close(second.detach(), 0.98 * held, atol=1e-14, rtol=0)
    assert optimizer.objective_penalty() == pytest.approx(
        0.5 * float(first.detach().norm(dim=1).sum())
    )

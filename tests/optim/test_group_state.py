"""Saving, loading, copying: a resumed optimiser continues to the same bits."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import CheckpointError
from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG

UNITS = [UnitSet("hidden", (Slice("0.weight", 0, rows(0, 8)), Slice("0.bias", 0, rows(0, 8))))]
MAKERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "proxsg": lambda m: ProxSG(m.named_parameters(), 0.05, lmbda=2.5, units=UNITS, momentum=0.9),
    "obproxsg": lambda m: OBProxSG(
        m.named_parameters(), 0.05, lmbda=0.4, units=UNITS, prox_steps=4, orthant_steps=3
    ),
    "hspg": lambda m: HSPG(
        m.named_parameters(),
        0.1,
        lmbda=0.5,
        units=UNITS,
        prox_steps=10,
        epsilon=0.9,
        base="adam",
        regularizer_inside_moments=True,
    ),
    "hspg released": lambda m: HSPG(
        m.named_parameters(),
        0.05,
        lmbda=0.8,
        units="rows",
        prox_steps=5,
        first_stage="subgradient",
        momentum=0.5,
    ),
    "hspg without first stage": lambda m: HSPG(
        m.named_parameters(), 0.05, lmbda=1.0, units=UNITS, prox_steps=0, epsilon=0.95
    ),
    "hspg fused": lambda m: HSPG(
        m.named_parameters(),
        0.05,
        lmbda=1.0,
        units=UNITS,
        prox_steps=6,
        epsilon=0.9,
        base="adamw",
        weight_decay=0.1,
        target_group_sparsity=0.6,
        fused=True,
    ),
    "admm": lambda m: ADMM(
        m.named_parameters(), 0.05, lmbda=1.0, rho=0.1, inner_steps=3, units=UNITS, momentum=0.5
    ),
}


def _model() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in net.parameters():
            param.copy_(torch.randn(param.shape, generator=generator))
    return net


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    first: int,
    last: int,
) -> None:
    for step in range(first, last):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x[:, :2]).square().mean().backward()
        optimizer.step()
        schedule.step()


def _same(left: nn.Module, right: nn.Module) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    )


@functools.cache
def _whole(name: str) -> tuple[nn.Module, Optimizer]:
    """Return a model after 25 steps without a stop, and its optimiser."""
    whole = _model()
    optimizer = MAKERS[name](whole)
    _train(whole, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999), 0, 25)
    return whole, optimizer


@pytest.mark.parametrize("cut", [2, 11])
@pytest.mark.parametrize("name", MAKERS)
def test_resume_is_bit_exact(name: str, cut: int) -> None:
    (whole, optimizer), start = _whole(name), _model()
    first = MAKERS[name](start)
    schedule = torch.optim.lr_scheduler.ExponentialLR(first, 0.999)
    _train(start, first, schedule, 0, cut)
    stored = io.BytesIO()
    torch.save(
        {
            "model": start.state_dict(),
            "optimizer": first.state_dict(),
            "schedule": schedule.state_dict(),
        },
        stored,
    )

    stored.seek(0)
    read = torch.load(stored, weights_only=True)
    fresh = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    fresh.load_state_dict(read["model"])
    resumed = MAKERS[name](fresh)
    schedule = torch.optim.lr_scheduler.ExponentialLR(resumed, 0.999)
    resumed.load_state_dict(read["optimizer"])
    schedule.load_state_dict(read["schedule"])
    _train(fresh, resumed, schedule, cut, 25)

    assert _same(whole, fresh)
    assert (
        resumed.group_sparsity() == optimizer.group_sparsity()
        and resumed.objective_penalty() == optimizer.objective_penalty()
    )
    assert resumed.param_groups[0]["steps"] == 25
    zeros = optimizer.entry_sparsity("z") if name == "admm" else optimizer.entry_sparsity()
    assert 0.1 < zeros < 1, "the comparison must cover zero and live groups"


@pytest.mark.parametrize("name", MAKERS)
def test_copies_and_pickles_go_on_alike(name: str) -> None:
    model = _model()
    optimizer = MAKERS[name](model)
    _train(model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999), 0, 7)
    clones = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    _train(model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 1.0), 7, 12)
    for other, theirs in clones:
        _train(other, theirs, torch.optim.lr_scheduler.ExponentialLR(theirs, 1.0), 7, 12)
        assert _same(model, other) and theirs.group_sparsity() == optimizer.group_sparsity()


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_can_be_loaded_again_and_after_a_copy(name: str) -> None:
    model = _model()
    optimizer = copy.deepcopy((model, MAKERS[name](model)))[1]
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": [("later", nn.Parameter(torch.ones(3)))], "units": None})
    later = MAKERS[name](_model())
    later.add_param_group({"params": [("later", nn.Parameter(torch.ones(3)))], "units": None})
    later.load_state_dict(optimizer.state_dict())
    later.load_state_dict(later.state_dict())
    assert later.group_sparsity() == 0 and len(later.param_groups) == 2


def test_a_state_of_another_optimiser_model_or_grouping_is_refused() -> None:
    model = _model()
    hspg = MAKERS["hspg"](model)
    _train(model, hspg, torch.optim.lr_scheduler.ExponentialLR(hspg, 0.97), 0, 2)
    state = hspg.state_dict()
    before = copy.deepcopy(state)
    other = HSPG(model.named_parameters(), 0.1, lmbda=0.1, units="rows", prox_steps=1)
    wide = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    two = HSPG(
        [{"params": model[0].parameters()}, {"params": model[2].parameters()}],
        0.1,
        lmbda=0.1,
        units="rows",
        prox_steps=1,
    )
    for optimizer, said in (
        (MAKERS["admm"](model), "expected a state of ADMM, got one without"),
        (other, "8 groups|groups in a param group"),
        (two, "2 param groups"),
        (MAKERS["hspg"](wide), "exp_avg of shape"),
    ):
        with pytest.raises(CheckpointError, match=said) as caught:
            optimizer.load_state_dict(state)
        assert "\n" not in str(caught.value)
    assert str(before) == str(hspg.state_dict())

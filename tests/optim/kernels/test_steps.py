"""Compiled steps against torch operations: a hundred steps, a third of the groups at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.optim import ADMM, HSPG, ProxSG

SHAPES = {"conv": (12, 4, 3), "scale": (12,), "shift": (12,), "free": (7, 4), "tail": (40,)}
UNITS = [
    UnitSet(
        "channel",
        (
            Slice("conv", 0, rows(0, 12)),
            Slice("scale", 0, rows(0, 12), "norm"),
            Slice("shift", 0, rows(0, 12), "norm"),
        ),
    ),
    UnitSet("part", (Slice("free", 0, rows(0, 3, repeat=2, stride=3)),)),
]
HALF = {"prox_steps": 5, "epsilon": 0.7, "lmbda": 1.0}
MOMENTUM = {"momentum": 0.9, "weight_decay": 0.02, "lmbda": 20.0}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "momentum": (HSPG, {**HALF, **MOMENTUM}),
    "decay": (HSPG, {**HALF, "weight_decay": 0.02}),
    "adam": (HSPG, {**HALF, "base": "adam", "weight_decay": 0.02}),
    "adamw": (HSPG, {**HALF, "base": "adamw", "weight_decay": 0.02}),
    "capped": (HSPG, {**HALF, "target_group_sparsity": 0.4}),
    "capped adam": (HSPG, {**HALF, "base": "adam", "target_group_sparsity": 0.4}),
    "capped momentum": (HSPG, {**HALF, **MOMENTUM, "target_group_sparsity": 0.4}),
    "prox adam": (ProxSG, {"lmbda": 6.0, "base": "adam"}),
    "l1 momentum": (ProxSG, {"lmbda": 2.0, "norm": "l1", "momentum": 0.9}),
    "admm": (ADMM, {"lmbda": 0.6, "rho": 0.3, "inner_steps": 3}),
    "admm adamw": (
        ADMM,
        {"lmbda": 0.6, "rho": 0.3, "inner_steps": 3, "base": "adamw", "weight_decay": 0.1},
    ),
}


def _trained(kind: Any, options: Mapping[str, Any], fused: bool, units: Any) -> tuple[Any, ...]:
    draw = torch.Generator().manual_seed(1)
    params = {
        name: nn.Parameter(0.5 * torch.randn(shape, generator=draw, dtype=torch.float64))
        for name, shape in SHAPES.items()
    }
    optimizer = kind(params.items(), 0.05, units=units, fused=fused, **options)
    shares = []
    for _ in range(100):
        for param in params.values():
            noise = torch.randn(param.shape, generator=draw, dtype=torch.float64)
            param.grad = 0.3 * param.detach() + 0.5 * noise
        optimizer.step()
        shares.append(optimizer.group_sparsity(*(["z"] if kind is ADMM else [])))
    states = [optimizer.state[param] for param in params.values()]
    return params, states, shares


@pytest.mark.parametrize("units", ["rows", UNITS], ids=["rows", "units"])
@pytest.mark.parametrize("name", CASES)
def test_a_hundred_steps_equal_those_of_torch(name: str, units: Any) -> None:
    kind, options = CASES[name]
    params, states, shares = _trained(kind, options, True, units)
    others, plain, expected = _trained(kind, options, False, units)
    assert shares == expected and (max(shares) >= 0.3 or options.get("norm") == "l1")
    if "target_group_sparsity" in options:
        assert max(shares) <= 0.4
    for mine, other in zip(params.values(), others.values(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=0)
    for mine, other in zip(states, plain, strict=True):
        assert mine.keys() == other.keys()
        for key, value in mine.items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, other[key], atol=1e-9, rtol=0)
            else:
                assert value == other[key]


def test_long_rows_of_no_group_are_stepped_in_parts() -> None:
    found = []
    for fused in (False, True):
        wide = nn.Parameter(torch.linspace(-1, 1, 20_000, dtype=torch.float64).view(4, -1))
        many = nn.Parameter(torch.linspace(-1, 1, 40_000, dtype=torch.float64))
        units = [UnitSet("row", (Slice("wide", 0, rows(0, 2)),))]
        pairs = [("wide", wide), ("many", many)]
        for each in (units, "rows"):
            optimizer = HSPG(
                pairs, 0.1, lmbda=0.1, units=each, prox_steps=1, momentum=0.5, fused=fused
            )
            for param in (wide, many):
                param.grad = param.detach().cos()
            optimizer.step(), optimizer.step()
        found.append((wide.detach(), many.detach()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)

"""Training goes on after a trim: moments follow the kept units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError
from audioprune.optim import ADMM, HSPG, ProxSG, kept_units, sliced_state


def _units(width: int) -> list[UnitSet]:
    unit = rows(0, width)
    return [
        UnitSet(
            "hidden",
            (
                Slice("0.weight", 0, unit),
                Slice("0.bias", 0, unit),
                Slice("2.weight", 1, unit, "in"),
            ),
        )
    ]


def _net(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x[:, :2]).square().mean().backward()
        optimizer.step()


def _cut(model: nn.Sequential, keep: torch.Tensor) -> nn.Sequential:
    small = _net(int(keep.sum()))
    state = model.state_dict()
    small.load_state_dict(
        {
            "0.weight": state["0.weight"][keep],
            "0.bias": state["0.bias"][keep],
            "2.weight": state["2.weight"][:, keep],
            "2.bias": state["2.bias"],
        }
    )
    return small


@pytest.mark.parametrize("base", [{"momentum": 0.9}, {"base": "adam"}], ids=["sgd", "adam"])
def test_trimmed_and_masked_training_go_on_alike(base: dict) -> None:
    torch.manual_seed(0)
    model = _net(10)
    options = {"lr": 0.05, "lmbda": 1.0, "prox_steps": 5, "epsilon": 0.8, **base}
    masked = HSPG(model.named_parameters(), units=_units(10), **options)
    _train(model, masked, 0, 12)
    keep = kept_units(model.named_parameters(), _units(10))
    count = int(keep["hidden"].sum())
    assert 2 < count < 10
    state = sliced_state(masked, _units(10), keep)
    small = _cut(model, keep["hidden"])
    trimmed = HSPG(small.named_parameters(), units=_units(count), **options)
    trimmed.load_state_dict(state)
    _train(model, masked, 12, 20)
    _train(small, trimmed, 12, 20)
    assert trimmed.stage == "half-space" and trimmed.param_groups[0]["steps"] == 20
    for left, right in zip(
        _cut(model, keep["hidden"]).parameters(), small.parameters(), strict=True
    ):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)


def test_rows_and_admm_states_are_sliced_too() -> None:
    torch.manual_seed(0)
    for make in (
        lambda m: ProxSG(m.named_parameters(), 0.1, lmbda=0.1, units="rows", momentum=0.9),
        lambda m: ADMM(m.named_parameters(), 0.1, lmbda=0.1, rho=0.1, inner_steps=2, units="rows"),
    ):
        model = _net(6)
        optimizer = make(model)
        _train(model, optimizer, 0, 4)
        keep = torch.tensor([True, False, True, True, False, True])
        small = _cut(model, keep)
        other = make(small)
        other.load_state_dict(sliced_state(optimizer, _units(6), {"hidden": keep}))
        _train(small, other, 4, 6)
        assert other.param_groups[0]["groups"] == 4 + 4 + 2 + 2
        assert optimizer.param_groups[0]["groups"] == 6 + 6 + 2 + 2, (
            "the old optimiser is untouched"
        )


def test_what_cannot_be_sliced_is_refused() -> None:
    model = _net(6)
    optimizer = ProxSG(model.named_parameters(), 0.1, lmbda=0.1, units="rows")
    kernels = [UnitSet("k", (Slice("0.weight", 0, rows(0, 24), leading=2),), removable=False)]
    for sets, keep in (
        (_units(6), {"other": torch.ones(6, dtype=torch.bool)}),
        (_units(6), {"hidden": torch.ones(5, dtype=torch.bool)}),
        (_units(6), {"hidden": torch.ones(6)}),
        (kernels, {"k": torch.ones(24, dtype=torch.bool)}),
    ):
        with pytest.raises(ConfigError):
            sliced_state(optimizer, sets, keep)
    with pytest.raises(ConfigError, match="named parameters"):
        sliced_state(ProxSG(model.parameters(), 0.1, lmbda=0.1, units="rows"), _units(6), {})

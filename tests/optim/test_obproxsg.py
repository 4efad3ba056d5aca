"""OBProxSG: its phases and options."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.optim import OBProxSG


def _stages(**phases: object) -> str:
    param = nn.Parameter(torch.ones(3))
    optimizer = OBProxSG([param], 0.0, lmbda=0.1, units="rows", **phases)
    found = ""
    for _ in range(8):
        found += optimizer.stage[0]
        param.grad = torch.ones(3)
        optimizer.step()
    return found


def test_phases_are_counted_in_steps() -> None:
    assert _stages(prox_steps=2, orthant_steps=3) == "ppoooppo"
    assert _stages(prox_steps=2) == _stages(prox_steps=2, orthant_steps=math.inf) == "ppoooooo"
    assert _stages(prox_steps=math.inf) == "pppppppp"
    assert _stages(prox_steps=0, orthant_steps=3) == "oooooooo"


def test_an_orthant_step_freezes_zeros_and_stops_at_zero() -> None:
    param = nn.Parameter(torch.tensor([1.0, -1.0, 0.0, 1.0, 0.5]))
    optimizer = OBProxSG([param], 0.1, lmbda=1.0, units="rows", prox_steps=1)
    param.grad = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.tensor([0.9, -0.9, 0.0, 0.9, 0.4]))
    param.grad = torch.tensor([20.0, -20.0, 9.0, -1.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.tensor([0.0, 0.0, 0.0, 0.9, 0.3]))


@pytest.mark.parametrize(
    "wrong",
    [{"orthant_steps": 0}, {"orthant_steps": 1.5}, {"prox_steps": -1}, {"prox_steps": None}],
    ids=str,
)
def test_wrong_phases_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        OBProxSG(
            [nn.Parameter(torch.ones(3))],
            0.1,
            **{"lmbda": 0.1, "units": "rows", "prox_steps": 2, **wrong},
        )

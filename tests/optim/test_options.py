"""Every number and word of an optimiser is checked before any step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.optim import HSPG


def _param(seed: int = 0, shape: tuple[int, ...] = (20, 5), dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype))


GOOD = {"lr": 0.1, "lmbda": 0.1, "units": "rows", "prox_steps": 5}
BAD = [
    *({"lr": value} for value in (-1, math.nan, math.inf, "fast", None, True)),
    *({"lmbda": value} for value in (-1e-9, math.nan)),
    *({"epsilon": value} for value in (-0.1, 1.0, math.nan)),
    *({"prox_steps": value} for value in (-1, 2.5, "x", math.nan, True)),
    *({"target_group_sparsity": value} for value in (0.0, 1.1, -1)),
    *({"betas": value} for value in ((0.9,), (0.9, 1.0), 0.9)),
    *({"momentum": value} for value in (1.0, -0.1)),
    {"base": "adam", "momentum": 0.9}, {"base": "rmsprop"}, {"eps": 0.0}, {"weight_decay": -1}, {"first_stage": "proximal"},
    {"regularizer_inside_moments": 1}, {"fused": "yes"}, {"maximize": True}, {"units": "columns"}, {"units": None}, {"units": [3]},
]


@pytest.mark.parametrize("wrong", BAD, ids=str)
def test_wrong_options_are_one_line_errors(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        HSPG([_param()], **{**GOOD, **wrong})
    assert "\n" not in str(caught.value)


def test_wrong_param_groups_are_refused_and_leave_the_optimiser_as_it_was() -> None:
    optimizer = HSPG([_param()], **GOOD)
    for wrong in ({"lamda": 0.1}, {"lr": -1}, {"maximize": True}, {"units": "colums"}, {"norm": "l1"}):
        with pytest.raises(ConfigError):
            optimizer.add_param_group({"params": [_param(5)], **wrong})
        assert len(optimizer.param_groups) == len(optimizer.unit_groups.layouts) == 1
    with pytest.raises(ConfigError, match="floating-point"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)]})
    with pytest.raises(ConfigError, match="closest: lmbda"):
        optimizer.add_param_group({"params": [_param(5)], "lambda": 0.1})
    for nothing in ([], _param()):
        with pytest.raises(ConfigError):
            HSPG(nothing, **GOOD)

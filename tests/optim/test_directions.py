"""Base optimisers against those of torch, and gradients that are missing or sparse."""

from __future__ import annotations

import pytest
import torch
from optim_toys import drive, seeded_param
from torch import nn

from audioprune.errors import ConfigError
from audioprune.optim import HSPG, ProxSG


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_bases_equal_those_of_torch(name: str, decay: float) -> None:
    makers = {
        "sgd": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=decay),
        "adam": lambda p: torch.optim.Adam(
            p, 0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay
        ),
        "adamw": lambda p: torch.optim.AdamW(
            p, 0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay
        ),
    }
    options = {"momentum": 0.9} if name == "sgd" else {"betas": (0.8, 0.95), "eps": 1e-6}
    ours, theirs = (
        [seeded_param(1), seeded_param(2, (6,))],
        [seeded_param(1), seeded_param(2, (6,))],
    )
    groups = [{"params": ours[:1], "units": "rows"}, {"params": ours[1:]}]
    drive(ProxSG(groups, 0.02, lmbda=0.0, base=name, weight_decay=decay, **options), ours, 15)
    drive(makers[name](theirs), theirs, 15)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)


def test_a_parameter_without_gradient_is_left_alone() -> None:
    params = [seeded_param(1), seeded_param(2)]
    optimizer = HSPG(params, 0.1, lmbda=0.5, units="rows", prox_steps=1)
    optimizer.step()
    assert optimizer.param_groups[0]["steps"] == 0
    params[0].grad = torch.zeros_like(params[0])
    held = params[1].detach().clone()
    optimizer.step()
    assert torch.equal(params[1], held) and not torch.equal(params[0], seeded_param(1))


def test_sparse_gradients_are_refused() -> None:
    layer = nn.Embedding(5, 3, sparse=True)
    optimizer = HSPG(layer.parameters(), 0.1, lmbda=0.1, units="rows", prox_steps=1)
    layer(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ConfigError, match="sparse=False"):
        optimizer.step()

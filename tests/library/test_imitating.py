"""A pruned network learns to give the outputs of its original."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import audioprune
from audioprune.errors import ConfigError, DataError, DivergedError


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def _inputs(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(32, 6, generator=generator) for _ in range(count)]


def test_a_smaller_network_comes_near_its_original() -> None:
    original, small = _net(), _net()
    example = torch.randn(4, 6)
    audioprune.trim(audioprune.prune(small, example, sparsity=0.5), example)
    audioprune.prune(small, sparsity=0.3, units=None)
    zeros = audioprune.mask(small)
    before = copy.deepcopy(original.state_dict())
    losses = audioprune.imitate(small, original, _inputs(4), steps=80, learning_rate=0.01)
    assert len(losses) == 80 and losses[-1] < losses[0] / 3
    assert audioprune.mask(small) == zeros and not small.training
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())


class Two(nn.Module):
    """Two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, values: Tensor) -> dict[str, Tensor]:
        return {"a": self.layer(values), "b": values}


def test_outputs_are_chosen_by_name() -> None:
    batch, original = _inputs(1), Two()
    small = copy.deepcopy(original)
    with torch.no_grad():
        small.layer.bias += 1
    wanted = original.layer(batch[0]).abs().mean()
    (first,) = audioprune.imitate(small, original, batch, steps=1, losses={"a": "l1"})
    assert first == pytest.approx(1 / float(wanted.detach()), rel=1e-5)
    with pytest.raises(ConfigError, match="depend on trained parameters"):
        audioprune.imitate(Two(), Two(), batch, steps=1, losses={"b": "l1"})
    with pytest.raises(ConfigError, match="expected outputs c of both"):
        audioprune.imitate(Two(), Two(), _inputs(1), steps=1, losses={"c": "l1"})


def test_what_cannot_be_learned_is_told() -> None:
    with pytest.raises(ConfigError, match="closest: mse"):
        audioprune.imitate(_net(), _net(), _inputs(1), steps=1, loss="msee")
    with pytest.raises(ConfigError, match="at least 1"):
        audioprune.imitate(_net(), _net(), _inputs(1), steps=0)
    with pytest.raises(ConfigError, match="shape of the original"):
        audioprune.imitate(_net()[:1], _net(), _inputs(1), steps=1)
    with pytest.raises(ConfigError, match="requires_grad"):
        audioprune.imitate(_net().requires_grad_(False), _net(), _inputs(1), steps=1)
    with pytest.raises(DataError, match="for 3 steps, got 2 batches"):
        audioprune.imitate(_net(), _net(), iter(_inputs(2)), steps=3)
    with pytest.raises(DivergedError, match="step 0"):
        audioprune.imitate(_net(), _net(), [torch.full((2, 6), float("nan"))], steps=1)

"""Ranges of activations: by hand, widened to zero, by extremes or averages, and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.quantize.activations import ActivationRange, activation_ranges
from audioprune.errors import ConfigError, DivergedError


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.spare = nn.Linear(1, 2), nn.GRU(2, 3), nn.Linear(1, 1)
        self.drop = nn.Dropout(0.5)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[2.0], [-3.0]]))
            self.first.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.first(x)))[0]


def test_ranges_by_hand() -> None:
    model = Two().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [4.0]])]
    found = activation_ranges(model, batches)
    assert list(found) == ["first", "last"]  # no input reached the spare one
    assert found["first"].reads == ActivationRange(0.0, 4.0)
    assert found["first"].makes == found["last"].reads == ActivationRange(-12.0, 8.0)
    assert -1 <= found["last"].makes.low <= 0 <= found["last"].makes.high <= 1
    mean = activation_ranges(model, iter(batches), by="average")["first"]
    assert mean.reads == ActivationRange(0.0, 3.0) and mean.makes == ActivationRange(-9.0, 6.0)
    assert model.training and model.drop.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(each._forward_hooks for each in model.modules())


def test_scale_and_zero_point_hold_the_ends() -> None:
    ranges = ActivationRange(-1.0, 3.0)
    assert ranges.scale() == 4 / 255 and ranges.zero_point() == 64
    assert (ranges.scale(2), ranges.zero_point(2)) == (4 / 3, 1)
    assert (ActivationRange(0.0, 0.0).scale(), ActivationRange(0.0, 0.0).zero_point()) == (1, 0)
    assert ActivationRange(-2.0, 0.0).zero_point() == 255


def test_wrong_calibration_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one calibration input, got none"):
        activation_ranges(Two(), [])
    with pytest.raises(ConfigError, match="closest: average"):
        activation_ranges(Two(), [torch.ones(1, 1)], by="averages")
    model = Two()
    with pytest.raises(DivergedError, match="^first: expected finite activations"):
        activation_ranges(model, [(torch.tensor([[float("nan")]]),)])
    assert not any(each._forward_hooks for each in model.modules())

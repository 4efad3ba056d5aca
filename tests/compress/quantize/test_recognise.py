"""Grids are found again in weights alone, exactly, and nothing else is taken for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.quantize.contract import Channels
from audioprune.compress.quantize.kmeans import cluster
from audioprune.compress.quantize.recognise import grid_of
from audioprune.compress.quantize.uniform import Uniform
from audioprune.library.stored_form import stored_form


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_was_rounded_is_a_grid_again(bits: int, symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(bits)
    weight = torch.randn(12, 60, generator=generator) * torch.logspace(-9, 3, 12)[:, None]
    weight[3] = 0
    keep = torch.rand(weight.shape, generator=generator) < 0.8
    for channels in (Channels(0, 12), Channels(1, 60)):
        rounded = Uniform(bits, symmetric).quantize(weight, channels, keep).restore(keep)
        found = grid_of(rounded, channels, keep)
        assert found is not None and torch.equal(found.restore(keep), rounded)
        assert found.steps <= 2**bits and found.scales.numel() == channels.count


def test_other_weights_are_no_grid() -> None:
    weight = torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
    keep = torch.ones_like(weight) > 0
    assert grid_of(weight, Channels(0, 8), keep) is None
    shared = cluster(weight, 6).restore(keep)
    assert grid_of(shared, Channels(), keep) is None
    rounded = Uniform(8).quantize(weight, None, keep).restore(keep)
    assert grid_of(rounded, Channels(), keep) is not None
    rounded[3, 3] = torch.nextafter(rounded[3, 3], torch.tensor(9.0))
    assert grid_of(rounded, Channels(), keep) is None
    assert grid_of(rounded.double(), Channels(), keep) is None
    assert grid_of(weight[:, :1], Channels(0, 8), keep[:, :1]) is None  # a scale for each weight
    far = torch.tensor([[1.0, 2.0**40, 3.0, 4.0]])
    assert grid_of(far, Channels(), far > 0) is None
    assert grid_of(torch.tensor([[1.0, float("inf"), 3.0]]), Channels(), far[:, :3] > 0) is None


def test_a_network_is_stored_by_the_fewest_scales() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 16), nn.GRU(16, 8), nn.Linear(8, 6), nn.Linear(6, 4))
    with torch.no_grad():
        for name, per in (("0.weight", 1), ("1.weight_ih_l0", 3), ("1.weight_hh_l0", 24)):
            weight = model.get_parameter(name)
            grid = Uniform(4).quantize(weight, Channels(0, per))
            weight.copy_(grid.restore(torch.ones_like(weight) > 0))
        model[2].weight.copy_(cluster(model[2].weight, 4).restore(model[2].weight != 0))
    mask, forms = stored_form(model)
    scales = {name: len(form.tensors()["scales"]) for name, form in forms.items() if form.has_zero}
    assert scales == {"0.weight": 1, "1.weight_ih_l0": 3, "1.weight_hh_l0": 24}
    assert forms["2.weight"].levels == 4 and "3.weight" not in forms
    assert mask is not None and set(mask) == set(scales)  # zeros count as removed
    for name, form in forms.items():
        weight = model.get_parameter(name).detach()
        assert torch.equal(form.restore(weight != 0), weight)

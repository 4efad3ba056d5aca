"""Whether networks that are drawn to keep the variance of their input keep it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.models.parts.initialisation import keep_variance_, smooth_over_
from audioprune.models.sing import SING, WindowedConv1d, WindowedConvTranspose1d


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dim", [0, 1])
def test_smooth_tensors_change_little_from_neighbour_to_neighbour(dim: int) -> None:
    torch.manual_seed(0)
    weight = 0.3 * torch.randn(256, 256)
    smooth_over_(weight, dim)
    steps = weight.diff(dim=dim).std()
    assert float(weight.std()) == pytest.approx(0.3, rel=0.02)
    assert steps < 0.05 * weight.std() < weight.diff(dim=1 - dim).std()


def test_relu_networks_keep_the_variance() -> None:
    torch.manual_seed(0)
    layers = [
        WindowedConv1d(1, 400, 64, 16),
        nn.ReLU(),
        nn.Conv1d(400, 400, 3),
        nn.ReLU(),
        WindowedConvTranspose1d(400, 1, 64, 16),
    ]
    model = nn.Sequential(*layers)
    keep_variance_(model)
    with torch.no_grad():
        values = _noise(4, 1, 4096)
        power = [values.square().mean()]
        for layer in layers:
            values = layer(values)
            power.append(values.square().mean())
    # The windowed analysis of noise and the layer behind each rectifier double the power, which
    # the rectifier halves again.
    assert [float(each) for each in power[1:]] == pytest.approx([2.0, 1.0, 2.0, 1.0, 2.0], rel=0.2)
    assert all(not layer.bias.any() for layer in layers[::2])


def test_a_narrow_network_hears_its_input() -> None:
    """Two inputs give outputs that differ about as much as they are loud.

    With torch's own initialisation they do not.
    """

    def heard(init: str) -> float:
        torch.manual_seed(0)
        model = SING(channels=8, dimension=4, kernel_size=64, stride=16, context=5, init=init)
        with torch.no_grad():
            one, other = model(0.1 * _noise(2, 1600))
        return float((one - other).square().mean() / (one.square() + other.square()).mean())

    assert heard("kaiming") > 0.1 and heard("torch") < 1e-5

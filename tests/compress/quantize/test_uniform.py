"""Uniform grids: values by hand, zeros that stay, channels of their own, refusals in one line."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.quantize.contract import Channels, Quantized, channels_of, quantize_with_
from audioprune.compress.quantize.kmeans import KMeans
from audioprune.compress.quantize.stored import as_tensors, from_tensors
from audioprune.compress.quantize.uniform import Grid, Uniform, rounded_scale
from audioprune.errors import ConfigError, DivergedError

ALL = [
    (bits, symmetric, scale)
    for bits, symmetric, scale in itertools.product(
        range(2, 9), (True, False), ("max", "least_squares")
    )
]


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def whole(tensor: Tensor) -> Tensor:
    return torch.ones_like(tensor, dtype=torch.bool)


def test_a_symmetric_grid_by_hand() -> None:
    tensor = torch.tensor([[-3.0, 0.4, 0.6, 0.0, 2.5, 1.49]])
    grid = Uniform(3, scale="max").quantize(tensor)
    assert grid.scales.tolist() == [1.0] and grid.zeros.tolist() == [3] and grid.steps == 7
    assert grid.restore(whole(tensor)).tolist() == [[-3.0, 0.0, 1.0, 0.0, 2.0, 1.0]]
    assert grid.codes.tolist() == [0, 3, 4, 3, 5, 4]


def test_a_grid_with_a_zero_point_by_hand() -> None:
    tensor = torch.tensor([-1.0, 0.0, 1.9, 2.0])
    grid = Uniform(2, symmetric=False, scale="max").quantize(tensor)
    assert grid.scales.tolist() == [1.0] and grid.zeros.tolist() == [1] and grid.steps == 4
    assert grid.restore(whole(tensor)).tolist() == [-1.0, 0.0, 2.0, 2.0]
    one_sided = Uniform(2, symmetric=False, scale="max").quantize(torch.tensor([1.0, 3.0]))
    assert one_sided.zeros.tolist() == [0] and one_sided.scales.tolist() == [1.0]


@pytest.mark.parametrize(("bits", "symmetric", "scale"), ALL)
def test_every_grid_has_zero_and_the_nearest_values(
    bits: int, symmetric: bool, scale: str
) -> None:
    tensor = weights(6, 40)
    tensor[0] = 0
    tensor[1].abs_()
    keep = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    for count in (1, 3, 6):
        grid = Uniform(bits, symmetric, scale=scale).quantize(tensor, Channels(0, count), keep)
        found = grid.restore(keep)
        assert (found[~keep] == 0).all() and not torch.signbit(found[found == 0]).any()
        assert grid.codes.numel() == int(keep.sum()) and grid.scales.numel() == count
        assert grid.steps == 2**bits - symmetric and int(grid.codes.max()) < grid.steps
        for channel in range(count):
            rows = slice(channel * 6 // count, (channel + 1) * 6 // count)
            points = grid.scales[channel] * (torch.arange(grid.steps) - grid.zeros[channel].int())
            assert 0 in points.tolist()
            own, kept = tensor[rows][keep[rows]], found[rows][keep[rows]]
            distances = (own[:, None] - points).abs()
            assert torch.equal((own - kept).abs(), distances.amin(1))
        # what is on the grid stays as it is, bit for bit, and so do its codes
        assert torch.equal(grid.project(found, keep), found)
        assert torch.equal(grid.recoded(found, keep).codes, grid.codes)
        assert torch.equal(grid.project(tensor, keep), found)


@pytest.mark.parametrize(("bits", "symmetric"), [(2, True), (4, True), (3, False), (8, True)])
def test_least_squares_is_no_worse_than_any_other_scale(bits: int, symmetric: bool) -> None:
    tensor = weights(1, 500, seed=bits)
    best = Uniform(bits, symmetric).quantize(tensor)
    error = float((best.restore(whole(tensor)) - tensor).square().sum())
    for share in np.linspace(0.3, 1.1, 60):
        step = rounded_scale(share * float(tensor.abs().max()) / (2**bits - 1) * 2)
        for zero in [2 ** (bits - 1) - 1] if symmetric else range(2**bits):
            other = Grid(
                torch.tensor([step]), torch.tensor([zero]).byte(), best.steps, 0, best.codes
            ).project(tensor, whole(tensor))
            assert error <= float((other - tensor).square().sum()) * (1 + 1e-4)


def test_a_scale_has_twelve_bits_and_its_products_are_exact() -> None:
    for value in (0.1, 1e-20, 3.0, 12345.678):
        scale = rounded_scale(value)
        assert scale == pytest.approx(value, rel=2.0**-12)
        assert (np.float32(scale).view(np.uint32) & 0xFFF) == 0
        exact = [scale * code for code in range(256)]
        assert exact == [float(np.float32(scale) * np.float32(code)) for code in range(256)]
    assert rounded_scale(0.0) == 1.0 and rounded_scale(1e-60) == 2.0**-100


def test_channels_are_output_channels_gates_or_the_whole() -> None:
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(6, 4),
            "conv": nn.Conv2d(2, 8, 3),
            "back": nn.ConvTranspose1d(6, 4, 3, groups=2),
            "lstm": nn.LSTM(3, 5),
            "gru": nn.GRU(3, 5),
        }
    )
    wanted = {
        "linear.weight": (Channels(0, 4), Channels()),
        "conv.weight": (Channels(0, 8), Channels()),
        "back.weight": (Channels(1, 2), Channels()),
        "lstm.weight_hh_l0": (Channels(0, 20), Channels(0, 4)),
        "gru.weight_ih_l0": (Channels(0, 15), Channels(0, 3)),
    }
    for name, (channel, gate) in wanted.items():
        assert channels_of(model, name, "channel") == channel
        assert channels_of(model, name, "gate") == gate
        assert channels_of(model, name, "tensor") == Channels()
    with pytest.raises(ConfigError, match="per"):
        channels_of(model, "linear.weight", "row")


def test_a_row_depends_on_its_own_weights_alone() -> None:
    tensor = weights(4, 30)
    one = Uniform(4).quantize(tensor, Channels(0, 4)).restore(whole(tensor))
    other = tensor.clone()
    other[2] *= 100
    found = Uniform(4).quantize(other, Channels(0, 4)).restore(whole(tensor))
    assert torch.equal(found[[0, 1, 3]], one[[0, 1, 3]]) and not torch.equal(found[2], one[2])


def test_gradients_pass_within_the_grid_alone() -> None:
    grid = Uniform(2, scale="max").quantize(torch.tensor([1.0, -1.0]))
    assert grid.passes(torch.tensor([1.49, 1.6, -1.6, 0.2])).tolist() == [True, False, False, True]


def test_a_model_is_quantised_in_place_by_both_ways() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3))
    mask = {"0.weight": torch.rand(6, 8) < 0.5}
    with torch.no_grad():
        model[0].weight *= mask["0.weight"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    forms = quantize_with_(model, mask, {"0.weight": Uniform(3), "1.weight": KMeans(4)})
    assert [type(form).__name__ for form in forms.values()] == ["Grid", "Codebook"]
    assert all(isinstance(form, Quantized) for form in forms.values())
    assert torch.equal(forms["0.weight"].restore(mask["0.weight"]), model[0].weight)
    assert (model[0].weight[~mask["0.weight"]] == 0).all()
    assert torch.equal(model[0].bias, before["0.bias"])
    assert len(model[1].weight.unique()) == 4
    again = from_tensors(as_tensors(forms) | {"model/0.weight": model[0].weight})
    for name, form in forms.items():
        assert again[name].tensors().keys() == form.tensors().keys()
        for part, tensor in form.tensors().items():
            assert torch.equal(again[name].tensors()[part], tensor)


def test_nothing_changes_where_one_tensor_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    before = model[0].weight.clone()
    with pytest.raises(DivergedError, match=r"^1.weight: expected finite .* got 1 of 16"):
        quantize_with_(model, None, dict.fromkeys(("0.weight", "1.weight"), Uniform(4)))
    assert torch.equal(model[0].weight, before)
    with pytest.raises(ConfigError, match="closest: 0.weight"):
        quantize_with_(model, None, {"0.weigt": Uniform(4)})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bits": 1}, "bits: expected a whole number from 2 to 8"),
        ({"bits": 9}, "bits: expected a whole number from 2 to 8"),
        ({"bits": True}, "bits: expected a whole number from 2 to 8"),
        ({"bits": 4.0}, "bits: expected a whole number from 2 to 8"),
        ({"per": "row"}, "per"),
        ({"scale": "mse"}, "scale"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Uniform(**options)


def test_wrong_tensors_are_refused() -> None:
    with pytest.raises(ConfigError, match="float32 weights"):
        Uniform(4).quantize(torch.ones(2, dtype=torch.float64))
    with pytest.raises(ConfigError, match="bool mask of shape"):
        Uniform(4).quantize(torch.ones(2), None, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ConfigError, match="keeps 2 weights, got 1"):
        Uniform(4).quantize(torch.ones(2)).restore(torch.tensor([True, False]))
    with pytest.raises(DivergedError, match="below 2\\^100"):
        Uniform(4).quantize(torch.tensor([2.0**101]))


def test_sizes_count_codes_scales_and_zero_points() -> None:
    tensor = weights(4, 10)
    grid = Uniform(3).quantize(tensor, Channels(0, 4))
    assert (grid.bits, grid.side_bits, grid.levels, grid.told) == (
        40 * 3 + 4 * 32,
        4 * 32,
        7,
        "uniform, 3 bits",
    )
    grid = Uniform(3, symmetric=False).quantize(tensor)
    assert (grid.bits, grid.levels) == (40 * 3 + 32 + 3, 8)
    assert grid.told == "uniform, 3 bits with zero point"

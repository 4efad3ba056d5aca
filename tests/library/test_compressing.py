"""Networks are pruned, trimmed and quantized in place, exactly as much as was asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toys import ToyModel

import audioprune
from audioprune import packing
from audioprune.errors import ConfigError

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Deep(nn.Module):
    """Two hidden layers, the second with a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Linear(4, 8),
            nn.ReLU(),
            nn.Linear(8, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 2),
        )

    def forward(self, values: Tensor) -> Tensor:
        return self.layers(values)


def test_units_are_zeroed_then_taken_out() -> None:
    model = Deep().eval()
    weights = model.layers[0].weight.detach().clone()
    assert audioprune.prune(model, X, sparsity=0.25) is model
    gone = model.layers[0].weight.abs().sum(1) == 0
    assert gone.sum() == 2
    assert set(weights.abs().sum(1).argsort()[:2].tolist()) == set(gone.nonzero()[:, 0].tolist())
    before = model(X)
    audioprune.trim(model, X)
    assert model.layers[0].out_features == 6 and model.layers[2].out_features == 4
    assert torch.allclose(model(X), before, atol=1e-6)


@pytest.mark.parametrize("by", ["magnitude", "normalization", "activation"])
def test_units_are_chosen_by_an_importance(by: str) -> None:
    model = Deep().eval()
    audioprune.prune(model, X, sparsity=0.5, by=by, units=audioprune.units(model, X).sets[1:])
    assert (model.layers[2].weight.abs().sum(1) == 0).sum() == 3
    assert not (model.layers[0].weight == 0).any()


def test_all_units_may_compete() -> None:
    model = Deep().eval()
    with torch.no_grad():
        model.layers[0].weight[1:] *= 1e-3
        model.layers[0].bias[1:] *= 1e-3
    audioprune.prune(model, X, sparsity=0.5, scope="all")
    assert (model.layers[0].weight.abs().sum(1) == 0).sum() == 7


def test_single_weights_go_exactly() -> None:
    model = ToyModel(8)
    audioprune.prune(model, sparsity=0.25, units=None)
    assert [int((each.weight == 0).sum()) for each in (model.first, model.last)] == [8, 4]
    audioprune.prune(model, sparsity=0.5, units=None, scope="all", by="magnitude_over_sigma")
    mask = audioprune.mask(model)
    assert mask.total() - mask.kept() == 24
    with torch.no_grad():
        model.first.weight += 1
    mask.apply_(model)
    assert audioprune.mask(model) == mask


def test_values_are_shared_and_zeros_stay() -> None:
    model = audioprune.prune(ToyModel(8), sparsity=0.5, units=None)
    audioprune.quantize(model, bits=2)
    assert len(model.first.weight.unique()) == 5 and (model.first.weight == 0).sum() == 16
    audioprune.quantize(model, levels={"last.weight": 2})
    assert len(model.last.weight.unique()) == 3 and len(model.first.weight.unique()) == 5


def test_a_grid_has_channels_of_its_own_and_comes_back_from_a_file(tmp_path: Path) -> None:
    model = audioprune.prune(ToyModel(8), sparsity=0.5, units=None)
    zeros = model.first.weight == 0
    audioprune.quantize(model, bits=3, per="channel")
    assert (model.first.weight[zeros] == 0).all()
    assert all(len(row.unique()) <= 7 for row in model.first.weight)
    assert len(model.first.weight.unique()) > 7
    before = model.first.weight.detach().clone()
    audioprune.quantize(model, bits={"last.weight": 2}, quantizer="uniform", symmetric=False)
    assert all(len(row.unique()) <= 4 for row in model.last.weight)
    assert torch.equal(model.first.weight, before)
    audioprune.save(model, tmp_path / "m.apz")
    forms = packing.unpack(tmp_path / "m.apz").codebooks
    told = [form.told for form in forms.values()]
    assert told[0] == "uniform, 3 bits" and told[1].startswith("uniform, 2 bits")
    again = audioprune.load(tmp_path / "m.apz", model=ToyModel(8))
    assert torch.equal(again.first.weight, model.first.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 9, "per": "channel"}, "from 2 to 8"),
        ({"levels": 4, "quantizer": "uniform"}, "levels: expected none"),
        ({"per": "channel", "quantizer": "kmeans"}, "one codebook a tensor"),
        ({"symmetric": False}, "one codebook a tensor"),
        ({"quantizer": "grid"}, "unknown quantizer"),
        ({"per": "row"}, "per"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        audioprune.quantize(Deep(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 2.0}, "fraction 0..1"),
        ({"sparsity": 0.5, "by": "magnitud"}, "closest: magnitude"),
        ({"sparsity": 0.5, "scope": "both"}, "unknown scope"),
        ({"sparsity": 0.5, "units": None, "by": "activation"}, "unknown importance of weights"),
    ],
)
def test_what_is_unknown_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        audioprune.prune(Deep(), X, **options)


def test_what_cannot_be_pruned_is_told() -> None:
    with pytest.raises(ConfigError, match="example input"):
        audioprune.prune(Deep(), sparsity=0.5)
    with pytest.raises(ConfigError, match="units=None"):
        audioprune.prune(nn.Linear(4, 2), X, sparsity=0.5)
    with pytest.raises(ConfigError, match="requires_grad"):
        audioprune.prune(nn.Linear(4, 2).requires_grad_(False), sparsity=0.5, units=None)
    with pytest.raises(ConfigError, match="1 to 16"):
        audioprune.quantize(Deep(), bits=17)
    with pytest.raises(ConfigError, match="unknown weight"):
        audioprune.quantize(Deep(), levels={"layers.9.weight": 4})

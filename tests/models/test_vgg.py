"""Whether VGG has the layers, sizes and operations of its description."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.models.vgg import VGG


@pytest.mark.parametrize(("classes", "size"), [(10, 1_442_772), (15, 1_445_342)])
def test_sizes(classes, size):
    with torch.device("meta"):
        model = VGG(classes=classes)
    assert sum(p.numel() for p in model.parameters()) == size
    assert sum(each.size for each in model.unit_sets()) == 1728


def test_layer_shapes_and_operations():
    with torch.device("meta"):
        model = VGG()
    shapes, macs = [], 0
    for layer in model.layers:
        layer.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    assert model(model.example_input()).shape == (1, 10)
    assert shapes[:4] == [(32, 128, 216)] * 2 + [(64, 64, 108)] * 2
    assert shapes[4:8] == [(128, 32, 54)] * 4
    assert shapes[8:] == [(512, 14, 25)] * 2 + [(10, 14, 25)]
    for layer, (_, bands, frames) in zip(model.layers, shapes, strict=True):
        macs += layer.conv.weight.numel() * bands * frames
    assert round(macs / 1e9, 2) == 1.87


def test_units_are_the_filters_of_the_hidden_layers():
    sets = VGG(width=2).unit_sets()
    assert [each.name for each in sets] == [f"layers.{i}" for i in range(10)]
    assert [each.size for each in sets] == [2, 2, 4, 4, 8, 8, 8, 8, 32, 32]
    owned = [(part.tensor, part.role) for part in sets[0].slices]
    assert owned == [
        ("layers.0.conv.weight", "out"),
        *[
            (f"layers.0.norm.{kind}", "norm")
            for kind in ("weight", "bias", "running_mean", "running_var")
        ],
        ("layers.1.conv.weight", "in"),
    ]


def test_scores_are_averages_of_rectified_maps():
    model = VGG(width=1).eval()
    with torch.no_grad():
        model.layers[-1].norm.bias.copy_(torch.arange(10.0) - 4)
        model.layers[-1].norm.weight.zero_()
        scores = model(model.example_input(60))
    torch.testing.assert_close(scores[0], (torch.arange(10.0) - 4).clamp(min=0))


def test_dropout_acts_in_training_only():
    model = VGG(width=2).eval()
    scene = model.example_input(60)
    assert torch.equal(model(scene), model(scene))
    dropped = VGG(width=2, pool_dropout=0.9, head_dropout=0.0).train()
    values = dropped._layer(1, torch.rand(1, 2, 32, 32))
    assert 0.8 < float((values == 0).float().mean()) < 1.0
    assert float((dropped._layer(9, torch.rand(1, 32, 8, 8)) == 0).float().mean()) < 0.7


@pytest.mark.parametrize(
    "wrong",
    [{"pool_dropout": 1.0}, {"head_dropout": -0.5}, {"head_dropout": float("nan")}, {"mels": 46}],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        VGG(**wrong)

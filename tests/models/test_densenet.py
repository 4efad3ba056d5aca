"""Whether the densely connected network is DenseNet-121, counted from its table."""

from __future__ import annotations

import pytest
import torch

from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import removable
from audioprune.errors import ConfigError
from audioprune.models.densenet import DenseNet


def _counted(
    classes: int, channels: int, growth: int = 32, depths: tuple[int, ...] = (6, 12, 24, 16)
) -> int:
    """Add up filters and two numbers of each normalised channel, layer by layer."""
    size = 2 * growth
    total = 7 * 7 * channels * size + 2 * size
    for block, depth in enumerate(depths):
        for _ in range(depth):
            total += 2 * size + size * 4 * growth + 2 * 4 * growth + 9 * 4 * growth * growth
            size += growth
        if block < len(depths) - 1:
            total += 2 * size + size * (size // 2)
            size //= 2
    return total + 2 * size + size * classes + classes


@pytest.mark.parametrize(
    ("classes", "channels", "size"), [(1000, 3, 7_978_856), (10, 2, 6_960_970), (15, 2, 6_966_095)]
)
def test_size_is_that_of_densenet_121(classes, channels, size):
    with torch.device("meta"):
        model = DenseNet(classes=classes, channels=channels)
    assert sum(p.numel() for p in model.parameters()) == _counted(classes, channels) == size
    assert sum(p.dim() == 4 for p in model.parameters()) + 1 == 121


@pytest.mark.slow
def test_shapes_of_ten_seconds():
    with torch.device("meta"):
        model = DenseNet()
    shapes = []
    for part in (*model.transitions, model.norm):
        part.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    assert model(model.example_input()).shape == (1, 10)
    assert shapes == [(128, 32, 54), (256, 16, 27), (512, 8, 13), (1024, 8, 13)]


def test_every_filter_is_a_unit():
    with torch.device("meta"):
        model = DenseNet()
    sets = model.unit_sets()
    filters = sum(p.shape[0] for p in model.parameters() if p.dim() == 4)
    assert sum(each.size for each in sets) == filters == 10_240
    assert len(sets) == 120


def test_a_channel_owns_the_normalisations_of_all_its_consumers():
    model = DenseNet(width=4, growth=3, depths=(3, 2))
    sets = {each.name: each for each in model.unit_sets()}
    scales = {
        part.tensor: part.index.flatten().tolist()
        for part in sets["blocks.0.1"].slices
        if part.tensor.endswith("norm.weight")
    }
    assert scales == {"blocks.0.2.norm.weight": [7, 8, 9], "transitions.0.norm.weight": [7, 8, 9]}
    readers = {
        part.tensor: part.index.flatten().tolist()
        for part in sets["transitions.0"].slices
        if part.role == "in"
    }
    entering = list(range(6))  # half of 4 + 3 * 3 channels
    assert readers == {
        name: entering
        for name in (
            "blocks.1.0.squeeze.conv.weight",
            "blocks.1.1.squeeze.conv.weight",
            "classifier.weight",
        )
    }
    last = [part.tensor for part in sets["blocks.1.1"].slices if part.role == "in"]
    assert last == ["classifier.weight"]


def test_one_live_shift_at_any_consumer_keeps_a_channel():
    model = DenseNet(width=4, growth=3, depths=(3, 2))
    sets = {each.name: each for each in model.unit_sets()}
    each = sets["blocks.0.0"]
    model.blocks[0][0].grow.weight.data[1] = 0
    consumers = [model.blocks[0][1].norm, model.blocks[0][2].norm, model.transitions[0].norm]
    for norm in consumers:
        norm.weight.data[5] = norm.bias.data[5] = 0
    assert removable(model, [each])["blocks.0.0"].tolist() == [False, True, False]
    for norm in consumers:
        norm.bias.data[5] = 1e-3
        assert not removable(model, [each])["blocks.0.0"].any()
        norm.bias.data[5] = 0


def test_offsets_follow_a_trim():
    model = DenseNet(width=4, growth=3, depths=(3, 2))
    trim_(
        model,
        model.unit_sets(),
        {
            "stem": torch.tensor([True, False, False, True]),
            "blocks.0.0": torch.tensor([False, True, True]),
        },
    )
    sets = {each.name: each for each in model.unit_sets()}
    positions = {part.tensor: part.index.flatten().tolist() for part in sets["blocks.0.1"].slices}
    assert (
        positions["transitions.0.norm.bias"]
        == positions["blocks.0.2.squeeze.conv.weight"]
        == [4, 5, 6]
    )


@pytest.mark.parametrize(
    "wrong",
    [{"growth": 0}, {"growth": 257}, {"depths": []}, {"depths": (6, 12, 24, 16, 1)}, {"mels": 28}],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        DenseNet(**wrong)

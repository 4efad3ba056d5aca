"""Whether the bottleneck network is ResNet-50, counted from its published table."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.models.resnet import ResNet

STAGES = (
    (64, 3),
    (128, 4),
    (256, 6),
    (512, 3),
)  # width and number of blocks of the published table


def _counted(classes: int, channels: int) -> int:
    """Add up filters and two numbers of each normalised channel, block by block."""
    total, inputs = 7 * 7 * channels * 64 + 2 * 64, 64
    for width, depth in STAGES:
        for block in range(depth):
            total += (
                inputs * width
                + 2 * width
                + 9 * width * width
                + 2 * width
                + width * 4 * width
                + 2 * 4 * width
            )
            total += inputs * 4 * width + 2 * 4 * width if block == 0 else 0
            inputs = 4 * width
    return total + inputs * classes + classes


@pytest.mark.parametrize(
    ("classes", "channels", "size"),
    [(1000, 3, 25_557_032), (10, 2, 23_525_386), (15, 2, 23_535_631)],
)
def test_size_is_that_of_resnet_50(classes, channels, size):
    with torch.device("meta"):
        model = ResNet(classes=classes, channels=channels)
    assert sum(p.numel() for p in model.parameters()) == _counted(classes, channels) == size
    assert (
        sum(p.dim() == 4 for p in model.parameters()) + 1 - len(STAGES) == 50
    )  # shortcuts are not counted as layers


def test_shapes_of_ten_seconds():
    with torch.device("meta"):
        model = ResNet()
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    assert model(model.example_input()).shape == (1, 10)
    expected = (
        [(256, 64, 108)] * 3 + [(512, 32, 54)] * 4 + [(1024, 16, 27)] * 6 + [(2048, 8, 14)] * 3
    )
    assert shapes == expected


def test_units_and_filters():
    with torch.device("meta"):
        model = ResNet()
    sizes = {each.name: each.size for each in model.unit_sets()}
    assert [sizes[f"stream.{i}"] for i in range(5)] == [64, 256, 512, 1024, 2048]
    assert (
        sum(size for name, size in sizes.items() if name.startswith("blocks"))
        == 2 * sum(w * d for w, d in STAGES)
        == 7552
    )
    assert len(sizes) == 5 + 2 * 16 and sum(sizes.values()) == 11_456
    filters = sum(p.shape[0] for p in model.parameters() if p.dim() == 4)
    assert filters == 26_560


def test_a_stream_owns_all_that_adds_to_it():
    model = ResNet(width=1, depths=(2, 1))
    stream = next(each for each in model.unit_sets() if each.name == "stream.1")
    filters = [part.tensor for part in stream.slices if part.role == "out"]
    assert filters == [
        f"blocks.{name}.conv.weight" for name in ("0.shortcut", "0.branch.2", "1.branch.2")
    ]
    readers = [part.tensor for part in stream.slices if part.role == "in"]
    assert readers == [
        f"blocks.{name}.conv.weight" for name in ("1.branch.0", "2.branch.0", "2.shortcut")
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"depths": ()},
        {"depths": (3, 4, 6, 3, 1)},
        {"depths": (3, 0)},
        {"depths": 4},
        {"width": 513},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        ResNet(**wrong)

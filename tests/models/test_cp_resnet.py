"""Whether CP-ResNet has the published sizes and receptive fields at every rho."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.zero import dead_units, removable
from audioprune.errors import ConfigError
from audioprune.models.cp_resnet import CPResNet

PUBLISHED = {  # rho: receptive field, parameters
    0: (23, 2_911_252),
    1: (31, 3_042_324),
    2: (39, 3_173_396),
    3: (55, 3_304_468),
    4: (71, 3_435_540),
    5: (87, 3_566_612),
    6: (103, 3_697_684),
    7: (135, 3_959_828),
    8: (167, 4_484_116),
    9: (199, 5_008_404),
    10: (231, 5_532_692),
    11: (263, 6_056_980),
    12: (295, 6_581_268),
    13: (327, 7_105_556),
    14: (359, 7_629_844),
    15: (391, 8_678_420),
    16: (423, 10_775_572),
    17: (455, 12_872_724),
    18: (487, 14_969_876),
    19: (519, 17_067_028),
    20: (551, 19_164_180),
    21: (583, 21_261_332),
}


@pytest.mark.parametrize(("rho", "expected"), PUBLISHED.items(), ids=str)
def test_published_fields_sizes_and_units(rho, expected):
    with torch.device("meta"):
        model = CPResNet(rho=rho)
    assert (model.receptive_field(), sum(p.numel() for p in model.parameters())) == expected
    filters = sum(
        p.shape[0]
        for name, p in model.named_parameters()
        if p.dim() == 4 and not name.startswith("head")
    )
    assert filters == 8064
    assert sum(each.size for each in model.unit_sets()) == 4480


@pytest.mark.parametrize("rho", [0, 1, 2, 5, 7, 12, 15, 21])
def test_one_place_of_the_score_map_sees_its_receptive_field(rho):
    """The gradient of one output is above 0 just on its field.

    For this the weights are positive and every pooling is a mean.
    """
    model = CPResNet(rho=rho, width=1, classes=2, init="he").double().eval()
    for parameter in model.parameters():
        parameter.data.abs_().add_(0.01)
    model.pool = nn.AvgPool2d(2)
    size = model.receptive_field() + 48
    scene = torch.ones(1, 2, size, size, dtype=torch.float64, requires_grad=True)
    scores = model.score_map(scene)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = scene.grad[0].sum(0) > 0
    for axis in (0, 1):
        places = seen.any(axis).nonzero().flatten()
        assert int(places[0]) > 0 and int(places[-1]) < size - 1
        assert int(places[-1] - places[0]) + 1 == len(places) == PUBLISHED[rho][0]


@pytest.mark.parametrize(
    ("width", "size", "gmacs"),
    [(128, 3_566_612, 8.414), (32, 228_116, 0.559), (8, 15_572, 0.043), (4, 4340, 0.0136)],
)
def test_sizes_and_operations_of_other_widths(width, size, gmacs):
    with torch.device("meta"):
        model = CPResNet(rho=5, width=width)
    macs = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda conv, inputs, output: macs.append(
                    conv.weight.numel() * output[0, 0].numel()
                )
            )
    model(model.example_input())
    assert sum(p.numel() for p in model.parameters()) == size
    assert sum(macs) / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert sum(each.size for each in model.unit_sets()) == 35 * width


def test_shapes_of_ten_seconds():
    with torch.device("meta"):
        model = CPResNet()
    shapes = []
    for part in (model.stem, *model.blocks, model.head):
        part.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    assert model(model.example_input()).shape == (1, 10)
    assert shapes[0] == (128, 127, 215) and shapes[4] == (128, 31, 53)
    assert shapes[5:] == [(256, 15, 26)] * 4 + [(512, 15, 26)] * 4 + [(10, 15, 26)]


def test_one_more_convolution_becomes_3x3_with_each_rho():
    def kernels(rho: int) -> list[int]:
        with torch.device("meta"):
            blocks = CPResNet(rho=rho, width=1).blocks
        return [layer.conv.weight.shape[2] for block in blocks for layer in block.branch]

    assert kernels(0) == [3] + [1] * 23
    assert kernels(5) == [3, 1] + [3] * 5 + [1] * 17
    assert kernels(21) == [3, 1] + [3] * 21 + [1]


def test_units_are_inner_channels_and_three_streams():
    sizes = {each.name: each.size for each in CPResNet(width=4).unit_sets()}
    assert [sizes[f"stream.{i}"] for i in range(3)] == [4, 8, 16]
    assert [sizes[f"blocks.{i}.branch.0"] for i in range(12)] == [4] * 4 + [8] * 4 + [16] * 4
    assert len(sizes) == 15


def test_the_first_stream_owns_the_stem_and_all_that_adds_to_it():
    stream = next(each for each in CPResNet(width=2).unit_sets() if each.name == "stream.0")
    filters = [part.tensor for part in stream.slices if part.role == "out"]
    assert filters == ["stem.conv.weight", *[f"blocks.{i}.branch.1.conv.weight" for i in range(4)]]
    readers = [part.tensor for part in stream.slices if part.role == "in"]
    assert readers == [
        *[f"blocks.{i}.branch.0.conv.weight" for i in range(5)],
        "blocks.4.shortcut.conv.weight",
    ]


def test_fixup_starts_with_the_published_zeros():
    model = CPResNet()
    weights = {name: p for name, p in model.named_parameters() if p.dim() == 4}
    zero = {name: int((p.flatten(1) == 0).all(1).sum()) for name, p in weights.items()}
    assert (sum(zero.values()), sum(p.shape[0] for p in weights.values())) == (3594, 8074)
    assert {name for name, count in zero.items() if count} == {
        "head.conv.weight",
        *[f"blocks.{i}.branch.1.conv.weight" for i in range(12)],
    }
    assert all(zero[name] in (0, len(p)) for name, p in weights.items())
    for i, block in enumerate(model.blocks):
        first = block.branch[0].conv
        spread = (2 / (first.kernel_size[0] ** 2 * first.out_channels) / 12) ** 0.5
        assert float(first.weight.detach().std()) == pytest.approx(spread, rel=0.05), i
    assert float(model.blocks[4].shortcut.conv.weight.detach().std()) == pytest.approx(
        (2 / 256) ** 0.5, rel=0.05
    )
    assert float(model.stem.conv.weight.detach().std()) == pytest.approx((2 / 50) ** 0.5, rel=0.05)


def test_no_unit_is_silent_after_fixup_but_inner_ones_are_unread():
    model = CPResNet(width=2)
    assert not any(part.any() for part in removable(model, model.unit_sets()).values())
    keep = dead_units(model, model.unit_sets())
    assert all(int(part.sum()) == 1 for name, part in keep.items() if name.startswith("blocks"))


def test_he_leaves_no_zero():
    assert all(p.all() for p in CPResNet(width=4, init="he").parameters() if p.dim() == 4)


@pytest.mark.parametrize(
    "wrong", [{"rho": -1}, {"rho": 22}, {"rho": 5.0}, {"rho": None}, {"width": 1025}, {"mels": 16}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        CPResNet(**wrong)


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ConfigError, match="unknown initialisation 'fixop'; closest: fixup"):
        CPResNet(init="fixop")

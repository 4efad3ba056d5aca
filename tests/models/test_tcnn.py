"""Whether TCNN has the published size and layer shapes and hears only the past."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.models.tcnn import TCNN, TransposedConv


def test_published_size():
    with torch.device("meta"):
        params = list(TCNN().parameters())
    assert sum(p.numel() for p in params) == 5_053_682
    assert round(sum(p.numel() for p in params) * 4 / 2**20, 2) == 19.28
    weights = [p.numel() for p in params if p.dim() > 1]
    assert len(weights) == 68 and sum(weights) == 4_992_480


def test_published_layer_shapes():
    with torch.device("meta"):
        model = TCNN()
    shapes: list[tuple[int, ...]] = []
    for layer in (*model.encoder, *model.blocks, *model.decoder):
        layer.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(output.shape))
        )
    model(model.example_input(3))
    encoder, blocks, decoder = shapes[:7], shapes[7:25], shapes[25:]
    assert encoder == [
        (1, c, 3, s)
        for c, s in zip((16, 16, 16, 32, 32, 64, 64), (320, 160, 79, 39, 19, 9, 4), strict=True)
    ]
    assert blocks == [(1, 256, 3)] * 18
    assert decoder == [
        (1, c, 3, s)
        for c, s in zip((64, 32, 32, 16, 16, 16, 1), (9, 19, 39, 79, 160, 320, 320), strict=True)
    ]
    assert [layer.conv.weight.shape[0] for layer in model.decoder] == [
        128,
        128,
        64,
        64,
        32,
        32,
        32,
    ]


def test_dilations_repeat_three_times():
    with torch.device("meta"):
        model = TCNN(width=1 / 16)
    assert [block.depthwise.dilation[0] for block in model.blocks] == [1, 2, 4, 8, 16, 32] * 3


@pytest.mark.parametrize("width", [1 / 16, 0.5, 1.0, 4.0])
def test_width_for_inverts_the_size(width):
    with torch.device("meta"):
        params = sum(p.numel() for p in TCNN(width=width).parameters())
    assert TCNN.width_for(params) == width


def test_only_later_frames_hear_a_change():
    model = TCNN(width=1 / 16).eval()
    x = model.example_input(40)
    other = x.clone()
    other[:, 25:] = 0
    difference = (model(x) - model(other)).abs().amax((0, 2))
    assert difference[:25].max() == 0 and difference[25] > 0


def test_the_oldest_frame_is_heard_through_all_dilations():
    model = TCNN(width=1 / 16).eval().double()
    for block in model.blocks:
        block.depthwise.weight.data.fill_(1.0)
    x = model.example_input(200).double()
    other = x.clone()
    other[:, 0] += 10
    assert (model(x) - model(other))[:, 199].abs().max() > 0


def test_the_last_layer_is_linear():
    model = TCNN(width=1 / 16).eval()
    x, outputs = model.example_input(10), []
    for bias in (5.0, -5.0):
        model.decoder[-1].conv.bias.data.fill_(bias)
        outputs.append(model(x))
    assert outputs[0].shape == (1, 10, 320)
    torch.testing.assert_close(outputs[0] - outputs[1], torch.full((1, 10, 320), 10.0))


def test_dropout_acts_in_training_only():
    model = TCNN(width=1 / 16, dropout=0.5).eval()
    x = model.example_input(4)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    steady = TCNN(width=1 / 16, dropout=0.0)
    torch.testing.assert_close(steady(x), steady(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 0.3},
        {"width": 5},
        {"dropout": 1},
        {"dropout": -0.1},
        {"dropout": "0.3"},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        TCNN(**wrong)


@pytest.mark.parametrize(("stride", "padding"), [(1, 2), (1, 0), (2, 1)])
def test_transposed_convolutions_are_the_same_with_and_without_gradients(
    stride: int, padding: int
):
    layer = TransposedConv(3, 2, (2, 5), (1, stride), (0, padding))
    plain = nn.ConvTranspose2d(3, 2, (2, 5), (1, stride), (0, padding))
    plain.load_state_dict(layer.state_dict())
    values = torch.randn(2, 3, 4, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(values), plain(values))
    with torch.no_grad():
        torch.testing.assert_close(layer(values), plain(values), rtol=1e-5, atol=1e-6)

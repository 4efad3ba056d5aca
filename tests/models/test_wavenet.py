"""Whether WaveNet has the published sizes, cost and receptive field, and hears only the past."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from audioprune.errors import ConfigError, DataError
from audioprune.experiment.cost import cost
from audioprune.models.parts.wavenet_layers import CausalConv, ClassConv
from audioprune.models.wavenet import WaveNet

TINY = {"residual": 8, "gate": 8, "skip": 16, "end": 16, "classes": 64, "layers": 6}


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 2_486_784),
        ({"conditioning": 80}, 2_901_504),
        ({"layers": 40, "cycles": 4}, 4_793_344),
        ({"layers": 40, "cycles": 4, "conditioning": 80}, 5_622_784),
        (TINY, 5_168),
    ],
)
def test_published_sizes(arguments, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in WaveNet(**arguments).parameters()) == count


def test_tables_may_be_smooth():
    torch.manual_seed(0)
    smooth, drawn = WaveNet(**TINY, tables="smooth"), WaveNet(**TINY)
    for model, low, high in ((smooth, 0, 0.3), (drawn, 1, 2)):
        for weight, dim in ((model.first.weight, 1), (model.out2.weight, 0)):
            assert low <= float(weight.detach().diff(dim=dim).std() / weight.std()) < high
    with pytest.raises(ConfigError, match="unknown model.tables 'smoth'; closest: smooth"):
        WaveNet(tables="smoth")


def test_published_layers():
    with torch.device("meta"):
        model = WaveNet(conditioning=80)
    sizes = [
        sum(p.numel() for p in module.parameters())
        for module in (model.first, *model.blocks, model.out1, model.out2)
    ]
    assert sizes == [65_664, *[136_064] * 19, 119_552, 65_536, 65_536]


@pytest.mark.parametrize(
    ("layers", "cycles", "field"), [(20, 2, 2048), (40, 4, 4094), (6, 2, 16), (3, 1, 9)]
)
def test_receptive_field(layers, cycles, field):
    """The oldest class that moves the last logits is as far away as the model says."""
    torch.manual_seed(0)
    model = WaveNet(
        residual=2, gate=2, skip=2, end=2, classes=4, layers=layers, cycles=cycles
    ).double()
    for parameter in model.parameters():
        parameter.data.abs_().mul_(0.1)  # no rectifier is closed, no gate is full
    assert model.receptive_field == field
    heard = []
    model.first.register_forward_hook(
        lambda module, args, output: heard.append(output.retain_grad() or output)
    )
    model(torch.zeros(1, field + 20, dtype=torch.long))[0, :, -1].square().sum().backward()
    oldest = (
        int(heard[0].grad[0].abs().sum(0).nonzero()[0]) - 1
    )  # the first layer hears one class before each position
    assert field + 20 - oldest == field


def test_only_later_logits_hear_a_change():
    model, tokens = WaveNet(**TINY), torch.randint(64, (2, 60))
    other = tokens.clone()
    other[:, 40:] = (other[:, 40:] + 7) % 64
    difference = (model(tokens) - model(other)).abs().amax((0, 1))
    assert difference[:40].max() == 0 and difference[40] > 0


def test_class_conv_is_a_convolution_of_one_hot_classes():
    layer, tokens = ClassConv(5, 3), torch.randint(5, (2, 9))
    one_hot = F.pad(F.one_hot(tokens, 5).transpose(1, 2).float(), (1, 0))
    torch.testing.assert_close(layer(tokens), F.conv1d(one_hot, layer.weight, layer.bias))


def test_causal_conv_of_one_position_equals_that_of_all():
    layer, values = CausalConv(3, 4, 5), torch.randn(2, 3, 12)
    whole = layer(values)
    torch.testing.assert_close(layer(values[:, :, 9:10], values[:, :, 4:5]), whole[:, :, 9:10])
    torch.testing.assert_close(layer(values[:, :, :1], torch.zeros(2, 3, 1)), whole[:, :, :1])


def test_one_second_costs_what_its_layers_multiply():
    model = WaveNet()
    found = cost(model, model.example_input(4), model.example_seconds(4))
    # 20 dilated, 19 residual and 20 skip layers and two output layers; the first layer looks its
    # 65,536 weights up.
    macs = 20 * 2 * 128 * 256 + 19 * 128 * 128 + 20 * 128 * 256 + 2 * 256 * 256
    assert found.flops_per_second == 2 * 16_000 * macs and not found.uncounted
    assert round(found.flops_per_second / 1e10, 2) == 7.71
    step = cost(model, model.step_input(), 1 / 16_000, forward=model.step)
    assert math.isclose(step.macs_per_second, found.macs_per_second)
    assert round(step.written_bytes / 1e4, 1) == 5.3
    biases_and_weights = 4 * 2_486_784
    # a step reads two positions of each queue, not all between them
    inputs = 2 + 20 * 2 * 128 + 39 * 128 + 2 * 256
    assert step.read_bytes == biases_and_weights + 4 * inputs
    assert model.state_bytes() == 4 * 2046 * 128


def test_macs_equal_the_operator_counter():
    model = WaveNet(**TINY, conditioning=3).eval()
    example = model.example_input(20)
    counter = FlopCounterMode(display=False)
    with torch.backends.mkldnn.flags(enabled=False), torch.no_grad(), counter:
        model(*example)
    found = cost(model, example, model.example_seconds(20))
    assert math.isclose(found.macs_per_second * 20 / 16_000, counter.get_total_flops() / 2)
    first = next(layer for layer in found.layers if layer.name == "first")
    assert (
        first.macs_per_second == first.effective_macs_per_second == 0
        and first.params == model.first.weight.numel() + 8
    )


@torch.no_grad()
def test_steps_equal_the_forward_pass():
    model = WaveNet(**TINY, conditioning=3).eval()
    tokens, cond = torch.randint(64, (2, 50)), torch.randn(2, 3, 50)
    state = model.initial_state(2)
    found = torch.stack(
        [model.step(tokens[:, t], state, cond[:, :, t : t + 1]) for t in range(50)], 2
    )
    torch.testing.assert_close(found, model(tokens, cond), rtol=0, atol=1e-5)


def test_the_conditioning_is_heard():
    model, tokens = WaveNet(**TINY, conditioning=3), torch.randint(64, (1, 30))
    cond = torch.randn(1, 3, 30)
    cond.requires_grad_()
    model(tokens, cond)[0, :, 20].sum().backward()
    touched = cond.grad[0].abs().sum(0).nonzero().flatten()
    assert touched.max() == 20 and touched.min() == 20 - sum(model.dilations[1:])


@pytest.mark.parametrize(
    "wrong",
    [
        {"residual": 0},
        {"gate": 0},
        {"skip": 0},
        {"end": 0},
        {"classes": 1},
        {"layers": 0},
        {"cycles": 4},
        {"conditioning": -1},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        WaveNet(**{**TINY, **wrong})


def test_the_literal_reading_of_the_text_is_refused():
    """A cycle of 20 layers would hear 131 s."""
    with pytest.raises(ConfigError, match="parts of 1 to 16"):
        WaveNet(layers=40, cycles=2)


def test_wrong_inputs_are_refused():
    plain, conditional = WaveNet(**TINY), WaveNet(**TINY, conditioning=3)
    tokens = torch.zeros(1, 8, dtype=torch.long)
    with pytest.raises(DataError, match="int64 classes"):
        plain(torch.zeros(1, 8))
    with pytest.raises(DataError, match=r"shape none, got \(1, 3, 8\)"):
        plain(tokens, torch.zeros(1, 3, 8))
    with pytest.raises(DataError, match=r"shape \(1, 3, 8\), got none"):
        conditional(tokens)
    with pytest.raises(DataError, match=r"shape \(1, 3, 8\), got \(1, 3, 7\)"):
        conditional(tokens, torch.zeros(1, 3, 7))

"""Whether DCAE has the sizes of its table, its layer names, and noise that can be repeated."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.masks import prunable
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.compress.units.declare import check_unit_sets, tensors_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.compress.units.zero import dead_units, zero_units_
from audioprune.errors import ConfigError
from audioprune.experiment.cost import cost
from audioprune.experiment.model_io import restore_model
from audioprune.models.dcae import CHANNELS, DCAE
from audioprune.packing import pack, unpack

SEGAN = (*CHANNELS[:-1], 1024)
FLAT = (32, 32, 64, 64, 128, 128, 256, 256, 256, 512, 512)
LAYERS = [
    (16, 1),
    (32, 16),
    (32, 32),
    (64, 32),
    (64, 64),
    (128, 64),
    (128, 128),
    (256, 128),
    (256, 256),
    (512, 256),
    (64, 512),
    (128, 512),
    (1024, 256),
    (512, 256),
    (512, 128),
    (256, 128),
    (256, 64),
    (128, 64),
    (128, 32),
    (64, 32),
    (64, 16),
    (32, 1),
]


def _sizes(**arguments: object) -> tuple[int, int]:
    with torch.device("meta"):
        model = DCAE(**arguments)
    weights = dict(model.named_parameters())
    return sum(weights[name].numel() for name in prunable(model)), sum(
        value.numel() for value in weights.values()
    )


def _small(**arguments: object) -> DCAE:
    torch.manual_seed(0)
    model = DCAE(**{"channels": (6, 8, 4), "kernel_size": 5, **arguments})
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def _frame(count: int = 2, samples: int = 64) -> Tensor:
    return torch.randn(count, 1, samples, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("arguments", "weights", "parameters"),
    [
        ({}, 27_380_688, 27_388_257),
        ({"channels": CHANNELS[:-1]}, 24_333_264, 24_339_169),
        ({"width": 0.5}, 6_845_544, 6_849_329),
        ({"width": 0.25}, 1_711_572, 1_713_465),
        ({"width": 0.125}, 427_986, 428_933),
        ({"channels": SEGAN}, 73_092_048, 73_101_537),
        ({"channels": FLAT}, 54_761_376, 54_771_041),
    ],
)
def test_sizes(arguments: dict[str, object], weights: int, parameters: int) -> None:
    assert _sizes(**arguments) == (weights, parameters)


def test_one_layer_less_is_eleven_percent_less() -> None:
    for width in (1.0, 0.5, 0.125):
        whole, less = _sizes(width=width)[0], _sizes(width=width, channels=CHANNELS[:-1])[0]
        assert 1 - less / whole == pytest.approx(0.1113, abs=5e-5)


def test_weights_have_the_names_and_shapes_of_the_schedule() -> None:
    with torch.device("meta"):
        model = DCAE()
    names = [f"enc_blocks.{i}.conv.weight" for i in range(11)] + [
        f"dec_blocks.{i}.deconv.weight" for i in range(11)
    ]
    weights = {
        name: tuple(value.shape)
        for name, value in model.named_parameters()
        if name in prunable(model)
    }
    assert weights == {name: (*shape, 31) for name, shape in zip(names, LAYERS, strict=True)}
    chosen = [f"enc_blocks.{i}.conv.weight" for i in (7, 8, 9)] + [
        f"dec_blocks.{i}.deconv.weight" for i in range(5)
    ]
    share = sum(dict(model.named_parameters())[name].numel() for name in chosen) / _sizes()[0]
    assert share == pytest.approx(0.8904, abs=5e-5)


def test_multiplications_of_a_frame() -> None:
    with torch.device("meta"):
        model = DCAE()
        x, uses = model.example_input(), []
        for block in model.enc_blocks:
            block.conv.register_forward_hook(
                lambda layer, inputs, output: uses.append(layer.weight.numel() * output.shape[2])
            )
        for block in model.dec_blocks:
            block.deconv.register_forward_hook(
                lambda layer, inputs, output: uses.append(
                    layer.weight.numel() * inputs[0].shape[2]
                )
            )
        model(x)
    assert sum(uses) == pytest.approx(1.79e9, rel=2e-3) and len(uses) == 22
    small = DCAE(width=1 / 16)
    card = cost(small, small.example_input(), small.frame_length / small.frames_per_second)
    assert card.uncounted == tuple(f"alphas.{i}" for i in range(10))
    assert small.frame_length / small.frames_per_second == 1.024


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = DCAE(width=0.5)
    conv, deconv = model.enc_blocks[8].conv, model.dec_blocks[2].deconv
    assert (
        float(conv.weight.detach().std()) == pytest.approx(0.02, rel=0.02) and not conv.bias.any()
    )
    bound = (deconv.weight.shape[1] * 31) ** -0.5  # the library counts fan-in on the second axis
    assert float(deconv.weight.detach().abs().max()) <= bound and float(
        deconv.weight.detach().std()
    ) == pytest.approx(bound / 3**0.5, rel=0.02)
    slopes = [module.weight for module in model.modules() if isinstance(module, nn.PReLU)]
    assert len(slopes) == 21 and not any(slope.any() for slope in slopes)
    assert all((alpha == 1).all() for alpha in model.alphas) and len(model.alphas) == 10


@pytest.mark.parametrize(("init", "alive"), [("segan", False), ("kaiming", True)])
def test_a_narrow_model_hears_its_noise_only_if_its_weights_are_drawn_for_its_width(
    init: str, alive: bool
) -> None:
    torch.manual_seed(0)
    model = DCAE(width=0.125, init=init).eval()
    x = model.example_input()
    first = model(x)
    first.abs().mean().backward()
    model.z_seed = 1
    with torch.no_grad():
        assert (float((model(x) - first).abs().mean()) > 1e-3) == alive
    weight = model.enc_blocks[8].conv.weight
    share = weight.grad.norm() / weight.detach().norm()
    assert (float(share) > 1e-5) == alive


def test_kaiming_keeps_the_variance() -> None:
    torch.manual_seed(0)
    model = DCAE(width=0.5, init="kaiming", z=False)
    x = torch.randn(1, 256, 64)
    middle = model.enc_blocks[9].linear(x[:, :128])
    assert float(middle.detach().square().mean()) == pytest.approx(
        2.0, rel=0.1
    )  # ReLU will halve it
    longer = model.dec_blocks[1].deconv(torch.cat((x, x), 1)[:, :512])[..., 16:-16]
    assert float(longer.detach().square().mean()) == pytest.approx(2.0, rel=0.1)
    last = [
        DCAE(width=0.5, init="kaiming", residual=residual).dec_blocks[-1].deconv.weight
        for residual in (False, True)
    ]
    assert float(last[1].detach().std() / last[0].detach().std()) == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize("channels", [CHANNELS, CHANNELS[:-1], CHANNELS[:4]])
def test_output_has_the_shape_of_the_input(channels: tuple[int, ...]) -> None:
    model = DCAE(channels=channels, width=1 / 16).eval()
    example = model.example_input()
    assert example.shape == (1, 1, 16384)
    both = torch.cat((example, example[..., :8192].repeat(1, 1, 2)))
    assert model(both).shape == both.shape and float(model(10 * both).detach().abs().max()) <= 1


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 2), (5, 3), (31, 4), (7, 4)])
def test_kernels_and_strides_keep_the_length(kernel_size: int, stride: int) -> None:
    model = DCAE(channels=(3, 4), kernel_size=kernel_size, stride=stride, z=False)
    frame = torch.randn(1, 1, model.frame_length)
    assert model(frame).shape == frame.shape


def test_equals_the_written_out_network() -> None:
    model = _small(channels=(6, 4)).eval()
    x, z = _frame(), torch.randn(2, 4, 16)
    first, second = model.enc_blocks
    a = nn.functional.conv1d(
        nn.functional.pad(x, (1, 2), mode="reflect"), first.conv.weight, first.conv.bias, 2
    )
    c = nn.functional.conv1d(
        nn.functional.pad(
            torch.where(a > 0, a, first.act.weight[:, None] * a), (1, 2), mode="reflect"
        ),
        second.conv.weight,
        second.conv.bias,
        2,
    )
    c = torch.where(c > 0, c, second.act.weight[:, None] * c)
    inner, outer = model.dec_blocks
    d = nn.functional.conv_transpose1d(
        torch.cat((z, c), 1), inner.deconv.weight, inner.deconv.bias, 2, 1
    )[..., :-1]
    d = torch.where(d > 0, d, inner.act.weight[:, None] * d)
    joined = torch.cat((d, model.alphas[0][:, None] * a), 1)
    y = nn.functional.conv_transpose1d(joined, outer.deconv.weight, outer.deconv.bias, 2, 1)[
        ..., :-1
    ].tanh()
    torch.testing.assert_close(model(x, z), y)
    torch.testing.assert_close(_residual_twin(model)(x, z), x + y)


def _residual_twin(model: DCAE) -> DCAE:
    twin = copy.deepcopy(model)
    twin.residual = True
    return twin


def test_noise_decides_the_output() -> None:
    model = _small().eval()
    x, z = _frame(), torch.randn(2, 4, 8)
    assert torch.equal(model(x, z), model(x, z)) and not torch.equal(model(x, z), model(x, z + 1))
    assert torch.equal(model(x, z[:1]), model(x, z[:1].expand(2, -1, -1)))
    with pytest.raises(
        ConfigError, match=r"expected z of shape \(2 or 1, 4, 8\), got \(2, 4, 9\)"
    ):
        model(x, torch.randn(2, 4, 9))


def test_noise_of_training_follows_the_global_generator() -> None:
    model, x = _small().train(), _frame()
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(model(x[:1].expand(2, -1, -1))[0], model(x[:1].expand(2, -1, -1))[1])


def test_noise_of_evaluation_follows_its_seed_alone() -> None:
    model, x = _small().eval(), _frame()
    state = torch.get_rng_state()
    first = model(x)
    assert torch.equal(model(x), first) and torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model(x[1:]), first[1:])  # whatever else is in the batch
    model.z_seed = 1
    assert not torch.equal(model(x), first)


def test_without_noise_nothing_is_random() -> None:
    model, x = _small(z=False).train(), _frame()
    assert torch.equal(model(x), model(x)) and model.dec_blocks[0].deconv.weight.shape[0] == 4


def test_masked_equals_trimmed() -> None:
    for arguments in (
        {},
        {"residual": True},
        {"z": False},
        {"bias": False, "output": "linear"},
        {"channels": (6,)},
    ):
        model = _small(**arguments)
        check_unit_sets(model, model.unit_sets())
        assert verify_units(model, model.unit_sets(), _frame()) <= 1e-5


def test_units_own_every_channel_but_the_signals_own() -> None:
    model = _small()
    owned = {(part.tensor, part.dim): set() for each in model.unit_sets() for part in each.slices}
    for each in model.unit_sets():
        for part in each.slices:
            owned[part.tensor, part.dim] |= set(part.index.flatten().tolist())
    for name, tensor in tensors_of(model).items():
        for dim in range(min(2, tensor.dim())):
            ends = {
                ("enc_blocks.0.conv.weight", 1),
                ("dec_blocks.2.deconv.weight", 1),
                ("dec_blocks.2.deconv.bias", 0),
            }
            assert (name, dim) in ends or owned[name, dim] == set(range(tensor.shape[dim])), name


def test_a_trimmed_model_hears_the_same_noise_and_comes_back_from_a_file(tmp_path) -> None:
    model = _small().eval()
    sets = model.unit_sets()
    assert [each.name for each in sets if each.name == "z"] == ["z"]
    keep = {
        "z": torch.tensor([True, False, False, True]),
        "enc_blocks.2": torch.tensor([False, True, True, True]),
    }
    masked = copy.deepcopy(model)
    zero_units_(masked, sets, keep)
    assert {
        name: kept.tolist() for name, kept in dead_units(masked, sets).items() if not kept.all()
    } == {name: kept.tolist() for name, kept in keep.items()}
    trim_(model, sets, keep)
    assert model.z_index.tolist() == [0, 3] and model.dec_blocks[0].deconv.in_channels == 5
    torch.testing.assert_close(model(_frame()), masked(_frame()))
    pack(tmp_path / "m.apz", model.state_dict(), mask=None, codebooks=None, config={}, meta={})
    stored = unpack(tmp_path / "m.apz")
    back = restore_model(_small(), stored.state).eval()
    assert torch.equal(back(_frame()), model(_frame()))


def test_stages_compose_to_the_forward_pass() -> None:
    for model in (_small().eval(), _small(residual=True, z=False).eval()):
        values = _frame()
        for _, run in model.stages():
            values = run(values)
        assert torch.equal(values, model(_frame()))
        oracle = BatchLoss(model, [(_frame(), lambda output: output.square().mean(), 1.0)])
        base = oracle.base()
        for name in ("enc_blocks.1.conv.weight", "alphas.1", "dec_blocks.1.deconv.bias"):
            with torch.no_grad():
                tensor = dict(model.named_parameters())[name]
                before = tensor.clone()
                tensor.mul_(0.5)
                assert (
                    oracle.with_tensor(name, float("inf"))
                    == pytest.approx(float(model(_frame()).square().mean()), rel=1e-6)
                    != base
                )
                tensor.copy_(before)


@pytest.mark.parametrize("width", [1 / 16, 0.5, 1.0, 4.0])
def test_width_for_inverts_the_size(width: float) -> None:
    assert DCAE.width_for(_sizes(width=width)[1]) == width


@pytest.mark.parametrize(
    "shape", [(1, 1, 2047), (1, 2048), (1, 2, 16384), (1, 1, 14336), (1, 1, 17000)]
)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ConfigError,
        match="T a multiple of 2048 from 16384 on, got .*; cut frames of 16384 samples",
    ):
        DCAE(width=1 / 16)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0.3}, "expected width"),
        ({"width": 1 / 16, "channels": (8, 16)}, "whole numbers"),
        ({"channels": ()}, "1 to 16 channel counts"),
        ({"channels": (16, 0)}, "expected channels"),
        ({"kernel_size": 4}, "odd number, got 4"),
        ({"kernel_size": 3, "stride": 4}, "kernel_size as a whole number from 4"),
        ({"stride": 1}, "expected stride"),
        ({"output": "tan"}, "closest: tanh"),
        ({"init": "kaimin"}, "closest: kaiming"),
        ({"sample_rate": 0}, "expected sample_rate"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DCAE(**wrong)

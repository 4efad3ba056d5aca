"""What holds for every generative model: exact units, readable costs, trimmed models that run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet, check_unit_sets, tensors_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.compress.units.weight_groups import expand
from audioprune.compress.units.zero import dead_units
from audioprune.experiment.cost import cost, require_example
from audioprune.experiment.model_io import restore_model
from audioprune.models.ddsp import DDSP
from audioprune.models.sing import SING
from audioprune.models.wavenet import WaveNet

MODELS: dict[str, Callable[[], nn.Module]] = {
    "wavenet": lambda: WaveNet(
        layers=6, cycles=2, residual=8, gate=6, skip=12, end=10, classes=16
    ),
    "wavenet-features": lambda: WaveNet(
        layers=4, cycles=1, residual=7, gate=5, skip=12, end=12, classes=12, conditioning=3
    ),
    "sing": lambda: SING(channels=12, dimension=4, kernel_size=64, stride=16, context=5),
    "ddsp": lambda: DDSP(
        hidden=8, latent=4, encoder_width=6, partials=10, filter_size=16, reverb_length=500
    ),
    "ddsp-0": lambda: DDSP(
        hidden=6, depth=2, latent=0, partials=5, filter_size=8, reverb_length=100
    ),
    "ddsp-deterministic": lambda: DDSP(
        hidden=6, depth=1, latent=3, latent_kind="deterministic", encoder_width=4, partials=5
    ),
}
COUNTS = {
    "wavenet": 9,
    "wavenet-features": 7,
    "sing": 6,
    "ddsp": 13,
    "ddsp-0": 7,
    "ddsp-deterministic": 7,
}
every_model = pytest.mark.parametrize("name", MODELS)


def _made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name]().eval()


def _example(model: nn.Module) -> tuple[Any, ...]:
    example = model.example_input()
    return (example,) if isinstance(example, Tensor) else example


def _without(each: UnitSet, unit: int) -> dict[str, Tensor]:
    keep = torch.ones(each.size, dtype=torch.bool)
    keep[unit] = False
    return {each.name: keep}


def _overwrite_(
    model: nn.Module, each: UnitSet, unit: int, roles: tuple[str, ...], value: float
) -> None:
    """Set every position of one unit in slices of some roles."""
    tensors = tensors_of(model)
    rest = _without(each, unit)[each.name]
    with torch.no_grad():
        for part in each.slices:
            if part.role in roles:
                tensors[part.tensor].masked_fill_(
                    ~expand(part, rest, tensors[part.tensor].shape), value
                )


@every_model
def test_the_contract_of_generative_models(name):
    model = _made(name)
    require_example(model)
    assert model.sample_rate == 16_000
    found = cost(model, model.example_input(), model.example_seconds())
    assert found.params == sum(p.numel() for p in model.parameters()) and found.macs_per_second > 0
    step = cost(model, model.step_input(), 1.0, forward=model.step)
    assert 0 < step.read_bytes <= found.read_bytes and step.written_bytes > 0


@every_model
def test_units_are_complete(name):
    model = _made(name)
    sets = model.unit_sets()
    check_unit_sets(model, sets)
    assert len(sets) == COUNTS[name]
    assert verify_units(model, sets, model.example_input(), atol=1e-6) <= 1e-6


@every_model
def test_layer_normalisation_alone_makes_sets_inexact(name):
    model = _made(name)
    norms = {
        f"{key}.weight"
        for key, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
    }
    for each in model.unit_sets():
        assert each.exact == (not norms & {part.tensor for part in each.slices})


@every_model
@torch.no_grad()
def test_a_unit_that_nothing_reads_can_be_trimmed(name):
    for number, each in enumerate(_made(name).unit_sets()):
        model, unit = _made(name), number % each.size
        _overwrite_(model, each, unit, ("in",), 0.0)
        before = model(*_example(model))
        assert bool(dead_units(model, [each], inexact=True)[each.name][unit]) is (each.size == 1)
        if each.exact:
            trim_(model, [each], _without(each, unit))
            assert (model(*_example(model)) - before).abs().max() <= 1e-6, each.name


@every_model
@torch.no_grad()
def test_a_trim_takes_everything_of_a_unit(name):
    """A unit full of NaN leaves no trace."""
    for number, each in enumerate(_made(name).unit_sets()):
        model, unit = _made(name), number % each.size
        _overwrite_(model, each, unit, ("out", "norm", "in"), float("nan"))
        assert model(*_example(model)).isnan().any(), each.name
        trim_(model, [each], _without(each, unit))
        assert model(*_example(model)).isfinite().all(), each.name
        assert all(value.isfinite().all() for value in tensors_of(model).values())


@every_model
@torch.no_grad()
def test_freed_parameters_are_those_of_the_slices(name):
    for each in _made(name).unit_sets():
        model = _made(name)
        parameters = dict(model.named_parameters())
        owned: dict[str, Tensor] = {}
        for part in each.slices:
            if part.tensor in parameters:
                mine = ~expand(part, _without(each, 0)[each.name], parameters[part.tensor].shape)
                owned[part.tensor] = owned.get(part.tensor, torch.zeros_like(mine)) | mine
        before = sum(p.numel() for p in model.parameters())
        trim_(model, [each], _without(each, 0))
        assert before - sum(p.numel() for p in model.parameters()) == sum(
            int(mask.sum()) for mask in owned.values()
        ), each.name


def _smallest(model: nn.Module) -> nn.Module:
    sets = model.unit_sets()
    trim_(
        model,
        sets,
        {each.name: torch.arange(each.size) >= each.size - each.min_units for each in sets},
    )
    return model


@every_model
def test_the_smallest_model_runs_and_learns(name):
    model = _smallest(_made(name))
    assert all(each.size == each.min_units for each in model.unit_sets())
    model.train()
    found = model(*_example(model))
    found.square().mean().backward()
    assert found.isfinite().all() and all(
        p.grad is not None and p.grad.isfinite().all() for p in model.parameters()
    )


@every_model
def test_sizes_of_modules_follow_the_trim(name):
    model = _smallest(_made(name))
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            sizes = (module.in_channels, module.out_channels)
            assert tuple(module.weight.shape[:2]) == (sizes if module.transposed else sizes[::-1])
        elif isinstance(module, nn.Linear):
            assert tuple(module.weight.shape) == (module.out_features, module.in_features)
        elif isinstance(module, nn.LayerNorm):
            assert tuple(module.weight.shape) == tuple(module.normalized_shape)
        elif isinstance(module, nn.BatchNorm1d):
            assert len(module.weight) == len(module.running_var) == module.num_features
        elif isinstance(module, nn.GRU):
            assert tuple(module.weight_ih_l0.shape) == (3 * module.hidden_size, module.input_size)
            assert tuple(module.weight_hh_l0.shape) == (3 * module.hidden_size, module.hidden_size)


def _some(sets: list[UnitSet]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    keep = {each.name: torch.rand(each.size, generator=generator) > 0.4 for each in sets}
    for kept in keep.values():
        kept[-1] = True
    return keep


@every_model
@torch.no_grad()
def test_a_trimmed_model_is_stored_and_restored(name):
    model = _made(name)
    trim_(model, model.unit_sets(), _some(model.unit_sets()))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    again = restore_model(MODELS[name](), state).eval()
    torch.testing.assert_close(again(*_example(model)), model(*_example(model)), rtol=0, atol=0)
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert [each.size for each in again.unit_sets()] == [each.size for each in model.unit_sets()]


@every_model
@torch.no_grad()
def test_a_trimmed_model_can_be_trimmed_again(name):
    model = _made(name)
    trim_(model, model.unit_sets(), _some(model.unit_sets()))
    assert verify_units(model, model.unit_sets(), model.example_input(), atol=1e-6) <= 1e-6


@every_model
def test_every_inner_axis_belongs_to_units(name):
    """Inputs, outputs and the latent stay; every other axis of every weight is owned in full."""
    whole = {
        "sing": {
            ("encoder.0.weight", 1),
            ("encoder.6.weight", 0),
            ("encoder.6.bias", 0),
            ("decoder.0.weight", 1),
            ("decoder.6.weight", 1),
        },
    }
    for features in ("wavenet", "wavenet-features"):
        whole[features] = {
            ("first.weight", 1),
            ("out2.weight", 0),
            *((f"blocks.{i}.cond.weight", 1) for i in range(4)),
        }
    model = _made(name)
    owned: dict[tuple[str, int], int] = {}
    for part in itertools.chain.from_iterable(each.slices for each in model.unit_sets()):
        owned[part.tensor, part.dim] = owned.get((part.tensor, part.dim), 0) + part.index.numel()
    latent = model.latent if isinstance(model, DDSP) else 0
    for tensor, values in model.named_parameters():
        for dim in range(min(2, values.dim())):
            fixed = (tensor, dim) in whole.get(name, set()) or _is_end(tensor, dim)
            length = values.shape[dim] - (
                latent if tensor == "decoder.gru.weight_ih_l0" and dim == 1 else 0
            )
            assert owned.get((tensor, dim), 0) == (
                0 if fixed or values.shape[dim] == 1 else length
            ), (tensor, dim)


def _is_end(tensor: str, dim: int) -> bool:
    """Tell whether an axis is an output of DDSP's heads or encoder."""
    return dim == 0 and tensor.startswith(
        ("decoder.amplitude", "decoder.partials", "decoder.noise", "encoder.9.")
    )


def test_gates_of_a_recurrent_unit_are_chosen_together():
    model = _made("ddsp")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    keep = torch.tensor([True, False, True, True, False, False, True, True])
    trim_(model, model.unit_sets(), {"decoder.gru": keep})
    rows = torch.cat([keep.nonzero().flatten() + 8 * gate for gate in range(3)])
    for key in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        assert torch.equal(getattr(model.decoder.gru, key), before[f"decoder.gru.{key}"][rows])
    assert torch.equal(
        model.decoder.gru.weight_hh_l0, before["decoder.gru.weight_hh_l0"][rows][:, keep]
    )
    assert torch.equal(
        model.decoder.out_mlp[0].weight, before["decoder.out_mlp.0.weight"][:, keep]
    )

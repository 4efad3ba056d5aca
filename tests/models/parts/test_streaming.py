"""What holds for every causal model: frames equal the batch, stages compose, masks trim."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toys import some_units

from audioprune.compress.units.declare import tensors_of
from audioprune.compress.units.trim import resize_, trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.parts.streaming import stream
from audioprune.models.tcnn import TCNN

MODELS: dict[str, Callable[[], nn.Module]] = {
    "fdnn": lambda: FDNN(width=24),
    "lstm": lambda: LSTM(width=16, depth=3),
    "tcnn": lambda: TCNN(width=1 / 8),
    "gcrn": lambda: GCRN(width=1 / 8),
    "gcrn-1": lambda: GCRN(groups=1, width=1 / 16),
    "gcrn-4": lambda: GCRN(groups=4, width=1 / 8),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


class NormWithoutStatistics(nn.LayerNorm):
    """A layer normalisation of which only scale and shift are left.

    With it masking and trimming must agree.
    """

    def forward(self, values: Tensor) -> Tensor:
        return values * self.weight + self.bias


def _trained(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build a model in evaluation mode whose weights and normalisations are all different."""
    model, generator = make(), torch.Generator().manual_seed(seed)
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.data.normal_(0, 2 * spread, generator=generator)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, nn.PReLU):
            module.weight.data.fill_(0.25)
    return model.eval()


def _without_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.__class__ = NormWithoutStatistics
    return model


def _close(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


@every_model
@torch.no_grad()
def test_frame_by_frame_equals_batch(make):
    model = _trained(make)
    frames = torch.cat([model.example_input(70), model.example_input(70) * 0.5])
    _close(stream(model, frames), model(frames))


@every_model
def test_the_initial_state_carries_no_gradient_and_stays_as_it_is(make):
    model = _trained(make)
    state = model.initial_state(2)
    before = [part.clone() for part in state]
    frame = torch.cat([model.example_input(1)] * 2).select(model.time_dim, 0)
    _, after = model.step(frame, state)
    assert [part.shape for part in after] == [part.shape for part in state]
    assert all(
        torch.equal(a, b) and not a.requires_grad for a, b in zip(state, before, strict=True)
    )


@every_model
@torch.no_grad()
def test_stages_compose_to_the_forward_pass(make):
    model = _trained(make)
    frames = model.example_input(5)
    values = frames
    for _, run in model.stages():
        values = run(values)
    torch.testing.assert_close(values, model(frames), rtol=0, atol=0)


@every_model
def test_every_parameter_belongs_to_one_stage(make):
    model = make()
    starts = [
        start
        for prefix, _ in model.stages()
        for start in ((prefix,) if isinstance(prefix, str) else prefix)
    ]
    for name, _ in model.named_parameters():
        assert sum(name.startswith(start) for start in starts) == 1, name


@every_model
@torch.no_grad()
def test_a_stage_depends_on_its_own_parameters_only(make):
    model = _trained(make)
    values, calls = model.example_input(3), []
    for prefix, run in model.stages():
        calls.append((prefix, run, values, run(values)))
        values = calls[-1][3]
    for prefix, run, inputs, outputs in calls:
        other = [p for name, p in model.named_parameters() if not name.startswith(prefix)]
        kept = [p.clone() for p in other]
        for p in other:
            p.zero_()
        again = run(inputs)
        for p, k in zip(other, kept, strict=True):
            p.copy_(k)
        pairs = (
            [(again, outputs)] if isinstance(again, Tensor) else zip(again, outputs, strict=True)
        )
        assert all(torch.equal(a, b) for a, b in pairs), prefix


@every_model
def test_unit_sets_name_existing_slices_once(make):
    model = make()
    tensors, sets = tensors_of(model), model.unit_sets()
    assert len({each.name for each in sets}) == len(sets)
    owned: dict[tuple[str, int], list[int]] = {}
    for each in sets:
        for part in each.slices:
            assert part.index.shape[0] == each.size >= each.min_units
            owned.setdefault((part.tensor, part.dim), []).extend(part.index.flatten().tolist())
    for (name, dim), positions in owned.items():
        assert sorted(positions) == sorted(set(positions)), name
        assert min(positions) >= 0 and max(positions) < tensors[name].shape[dim], name


def test_every_inner_axis_belongs_to_units():
    """Only the axes of inputs and outputs stay whole; all others can be trimmed."""
    ends = {
        (f"{part}.output.{kind}", dim)
        for part in ("real", "imag")
        for kind, dim in (("weight", 0), ("weight", 1), ("bias", 0))
    }
    whole = {
        "fdnn": {("layers.0.weight", 1), ("layers.3.weight", 0), ("layers.3.bias", 0)},
        "lstm": {("layers.0.weight_ih_l0", 1), ("output.weight", 0), ("output.bias", 0)},
        "tcnn": {
            ("encoder.0.conv.weight", 1),
            ("decoder.6.conv.weight", 1),
            ("decoder.6.conv.bias", 0),
        },
        "gcrn": {("encoder.0.value.weight", 1), ("encoder.0.gate.weight", 1)} | ends,
    }
    for name, expected in whole.items():
        model = MODELS[name]()
        owned: dict[tuple[str, int], int] = {}
        for part in itertools.chain.from_iterable(each.slices for each in model.unit_sets()):
            owned[part.tensor, part.dim] = (
                owned.get((part.tensor, part.dim), 0) + part.index.numel()
            )
        for tensor, values in model.named_parameters():
            for dim in range(min(2, values.dim())):
                if values.shape[dim] > 1 and (tensor, dim) not in expected:
                    assert owned.get((tensor, dim)) == values.shape[dim], (name, tensor, dim)
        assert not set(owned) & expected


@every_model
@torch.no_grad()
def test_masked_equals_trimmed(make):
    model = _without_statistics(_trained(make))
    masked, trimmed, frames = copy.deepcopy(model), copy.deepcopy(model), model.example_input(40)
    sets = model.unit_sets()
    keep = some_units(sets)
    zero_units_(masked, sets, keep)
    trim_(trimmed, sets, keep)
    assert sum(p.numel() for p in trimmed.parameters()) < 0.75 * sum(
        p.numel() for p in model.parameters()
    )
    assert (model(frames) - masked(frames)).abs().max() > 1e-3
    _close(trimmed(frames), masked(frames))
    _close(stream(trimmed, frames), masked(frames))


@pytest.mark.parametrize(
    "make",
    # TCNN has so many sets that it takes as long as the others together.
    [pytest.param(MODELS[name], marks=[pytest.mark.slow] * (name == "tcnn")) for name in MODELS],
    ids=MODELS,
)
@torch.no_grad()
def test_every_exact_set_alone_is_exact(make):
    model = _trained(make)
    frames = model.example_input(4)
    for each in model.unit_sets():
        # what is trimmed is the masked model itself, for a second copy takes longer than all else
        cut, keep = copy.deepcopy(model), some_units([each])
        zero_units_(cut, [each], keep)
        masked = cut(frames) if each.exact else None
        trim_(cut, [each], keep)
        trimmed = cut(frames)
        if masked is not None:
            _close(trimmed, masked)
        assert trimmed.isfinite().all()


@every_model
@torch.no_grad()
def test_a_trimmed_model_can_be_trimmed_again(make):
    model = _without_statistics(_trained(make))
    trim_(model, model.unit_sets(), some_units(model.unit_sets()))
    masked, frames, sets = copy.deepcopy(model), model.example_input(6), model.unit_sets()
    keep = some_units(sets, seed=2)
    zero_units_(masked, sets, keep)
    trim_(model, sets, keep)
    _close(model(frames), masked(frames))


@every_model
@torch.no_grad()
def test_one_unit_of_each_set_is_enough(make):
    model = _trained(make)
    sets = model.unit_sets()
    trim_(model, sets, some_units(sets, share=1.0))
    assert all(each.size == 1 for each in model.unit_sets())
    assert model(model.example_input(3)).isfinite().all()


@every_model
def test_a_trimmed_model_is_saved_loaded_and_trained(make):
    model = _trained(make)
    trim_(model, model.unit_sets(), some_units(model.unit_sets()))
    frames = model.example_input(4)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = make().eval()
    resize_(again, {name: tuple(tensor.shape) for name, tensor in state.items()})
    again.load_state_dict(state)
    torch.testing.assert_close(again(frames), model(frames), rtol=0, atol=0)
    again.train()
    optimizer = torch.optim.Adam(again.parameters(), lr=1e-3)
    again(frames).square().mean().backward()
    optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in again.parameters())
    assert any(not torch.equal(p, state[name]) for name, p in again.named_parameters())

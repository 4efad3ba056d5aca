"""Whether the units of all scene classifiers are complete and exact, as their docstrings say."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toys import some_units

from audioprune.compress.units.declare import UnitSet, check_unit_sets, tensors_of
from audioprune.compress.units.trim import resize_, trim_
from audioprune.compress.units.verify import verify_units
from audioprune.compress.units.zero import dead_units, removable, zero_units_
from audioprune.errors import ConfigError, DataError
from audioprune.models.cp_resnet import CPResNet
from audioprune.models.densenet import DenseNet
from audioprune.models.parts.scenes import check_depths, check_share
from audioprune.models.resnet import ResNet
from audioprune.models.vgg import VGG
from audioprune.optim.groups import kept_units
from audioprune.optim.hspg import HSPG
from audioprune.optim.proxsg import ProxSG

MODELS: dict[str, Callable[[], nn.Module]] = {
    "vgg": lambda: VGG(width=3, mels=48),
    "resnet": lambda: ResNet(width=4, depths=(2, 1, 2), mels=48),
    "cp_resnet": lambda: CPResNet(width=4, rho=7, mels=48),
    "densenet": lambda: DenseNet(width=6, growth=3, depths=(2, 3, 2), mels=48),
}
ENDS = {
    "vgg": {
        ("layers.0.conv.weight", 1),
        ("layers.10.conv.weight", 0),
        ("layers.10.norm.weight", 0),
        ("layers.10.norm.bias", 0),
    },
    "resnet": {("stem.conv.weight", 1), ("classifier.weight", 0), ("classifier.bias", 0)},
    "cp_resnet": {
        ("stem.conv.weight", 1),
        ("head.conv.weight", 0),
        ("head.norm.weight", 0),
        ("head.norm.bias", 0),
    },
    "densenet": {("stem.conv.weight", 1), ("classifier.weight", 0), ("classifier.bias", 0)},
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def _trained(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build a model in evaluation mode whose numbers are all different.

    They are weights, scales, shifts and running statistics.
    """
    model, generator = make(), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.normal_(
                0, (2 / module.weight[0].numel()) ** 0.5, generator=generator
            )
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0.1, 0.2, generator=generator)
    return model.eval()


def _scenes(model: nn.Module, count: int = 2) -> Tensor:
    return torch.randn(count, 2, model.mels, 50, generator=torch.Generator().manual_seed(7))


def _close(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


def _fill(
    model: nn.Module, each: UnitSet, units: Tensor, roles: tuple[str, ...], value: float
) -> None:
    for part in each.slices:
        if part.role in roles:
            tensors_of(model)[part.tensor].data.index_fill_(
                part.dim, part.index[units].flatten(), value
            )


@every_model
@torch.no_grad()
def test_scenes_of_any_size_become_scores(make):
    model = _trained(make)
    assert model.time_dim == 3 and model.frames_per_second == pytest.approx(43.066, abs=1e-3)
    assert model.example_input(60).shape == (1, 2, 48, 60)
    assert model(_scenes(model)).shape == (2, 10)
    assert model(torch.zeros(3, 2, 70, 64)).isfinite().all()
    assert torch.equal(model.example_input(50), model.example_input(50))
    assert model.double().example_input(50).dtype == torch.float64


def test_the_example_is_ten_seconds_of_256_mels():
    for build in (VGG, ResNet, CPResNet, DenseNet):
        with torch.device("meta"):
            model = build(width=1)
        assert model.example_input().shape == (1, 2, 256, 431)


@every_model
@torch.no_grad()
def test_stages_compose_to_the_forward_pass(make):
    model = _trained(make)
    values = _scenes(model)
    for _, run in model.stages():
        values = run(values)
    torch.testing.assert_close(values, model(_scenes(model)), rtol=0, atol=0)


@every_model
def test_every_parameter_belongs_to_one_stage(make):
    model = make()
    for name, _ in model.named_parameters():
        assert sum(name.startswith(prefix) for prefix, _ in model.stages()) == 1, name


@every_model
@torch.no_grad()
def test_a_stage_depends_on_its_own_parameters_only(make):
    model = _trained(make)
    values, calls = _scenes(model), []
    for prefix, run in model.stages():
        calls.append((prefix, run, values, run(values)))
        values = calls[-1][3]
    for prefix, run, inputs, outputs in calls:
        others = {
            name: p.clone() for name, p in model.named_parameters() if not name.startswith(prefix)
        }
        for name, p in model.named_parameters():
            p.mul_(0 if name in others else 1)
        assert torch.equal(run(inputs), outputs), prefix
        model.load_state_dict(others, strict=False)


@every_model
def test_unit_sets_fit_and_are_exact(make):
    model = make()
    sets = model.unit_sets()
    check_unit_sets(model, sets)
    assert all(each.exact and each.removable and each.min_units == 1 for each in sets)
    assert verify_units(model, sets, _scenes(model)) <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_every_inner_axis_belongs_to_units(name):
    """Only input channels and classes stay whole.

    Every position of all other axes belongs to one unit.
    """
    model = MODELS[name]()
    owned: dict[tuple[str, int], int] = {}
    for part in itertools.chain.from_iterable(each.slices for each in model.unit_sets()):
        owned[part.tensor, part.dim] = owned.get((part.tensor, part.dim), 0) + part.index.numel()
    for tensor, values in tensors_of(model).items():
        for dim in range(min(2, values.dim())):
            whole = (
                tensor.replace("running_mean", "weight").replace("running_var", "weight"),
                dim,
            ) in ENDS[name]
            assert owned.get((tensor, dim), 0) == (0 if whole else values.shape[dim]), (
                tensor,
                dim,
            )


@every_model
@torch.no_grad()
def test_masked_equals_trimmed(make):
    model = _trained(make)
    masked, trimmed, scenes = copy.deepcopy(model), copy.deepcopy(model), _scenes(model)
    sets = model.unit_sets()
    keep = some_units(sets)
    zero_units_(masked, sets, keep)
    trim_(trimmed, sets, keep)
    assert sum(p.numel() for p in trimmed.parameters()) < 0.7 * sum(
        p.numel() for p in model.parameters()
    )
    assert (model(scenes) - masked(scenes)).abs().max() > 1e-2
    _close(trimmed(scenes), masked(scenes))


@every_model
@torch.no_grad()
def test_every_set_alone_is_exact(make):
    model = _trained(make)
    scenes = _scenes(model, 1)
    for each in model.unit_sets():
        cut, keep = copy.deepcopy(model), some_units([each], share=0.5)
        zero_units_(cut, [each], keep)
        masked = cut(scenes)
        trim_(cut, [each], keep)
        _close(cut(scenes), masked)


@every_model
@torch.no_grad()
def test_one_channel_of_each_set_is_enough(make):
    model = _trained(make)
    masked, sets, scenes = copy.deepcopy(model), model.unit_sets(), _scenes(model)
    keep = some_units(sets, share=1.0)
    zero_units_(masked, sets, keep)
    trim_(model, sets, keep)
    assert all(each.size == 1 for each in model.unit_sets())
    _close(model(scenes), masked(scenes))


@every_model
@torch.no_grad()
def test_a_set_that_is_dead_as_a_whole_keeps_one_zero_unit(make):
    """What the next normalisation makes of the silence is kept, for every unit set alone."""
    scenes = _scenes(make(), 1)
    for number in range(len(make().unit_sets())):
        model = _trained(make)
        each = model.unit_sets()[number]
        zero_units_(model, [each], {each.name: torch.zeros(each.size, dtype=torch.bool)})
        expected, keep = model(scenes), removable(model, [each])[each.name]
        assert bool(keep.all())
        chosen = dead_units(model, [each])
        assert int(chosen[each.name].sum()) == 1
        trim_(model, [each], chosen)
        assert model.unit_sets()[number].size == 1
        _close(model(scenes), expected)


@every_model
@torch.no_grad()
def test_trimming_takes_every_trace_of_a_unit(make):
    """NaN in all slices of units that go reaches the output before the trim, not after it."""
    model = _trained(make)
    clean, sets, scenes = copy.deepcopy(model), model.unit_sets(), _scenes(model)
    keep = some_units(sets)
    for each in sets:
        _fill(model, each, ~keep[each.name], ("out", "norm", "in"), float("nan"))
    assert model(scenes).isnan().all()
    trim_(model, sets, keep)
    trim_(clean, sets, keep)
    assert all(tensor.isfinite().all() for tensor in tensors_of(model).values())
    torch.testing.assert_close(model(scenes), clean(scenes), rtol=0, atol=0)


@every_model
@torch.no_grad()
def test_what_reads_a_zero_unit_does_not_matter(make):
    model = _trained(make)
    sets, scenes = model.unit_sets(), _scenes(model)
    keep = some_units(sets)
    zero_units_(model, sets, keep)
    expected = model(scenes)
    for each in sets:
        _fill(model, each, ~keep[each.name], ("in",), 100.0)
    # A filter that goes as well is read at 0 by its own normalisation, so only the readers that
    # stay are tested.
    zero_units_(model, sets, keep)
    _close(model(scenes), expected)


@every_model
@torch.no_grad()
def test_a_zero_filter_with_a_live_normalisation_is_never_dropped(make):
    model = _trained(make)
    for each in model.unit_sets():
        changed, first = copy.deepcopy(model), torch.tensor([0])
        _fill(changed, each, first, ("out",), 0.0)
        assert not removable(changed, [each])[each.name].any()
        assert dead_units(changed, [each])[each.name].all()
        scales = [
            part
            for part in each.slices
            if part.role == "norm" and not part.tensor.endswith(("mean", "var"))
        ]
        for part in scales[:-1]:
            tensors_of(changed)[part.tensor][part.index[0]] = 0.0
        assert not removable(changed, [each])[each.name].any(), (
            f"the last shift, {scales[-1].tensor}, still lives"
        )
        tensors_of(changed)[scales[-1].tensor][scales[-1].index[0]] = 0.0
        assert removable(changed, [each])[each.name].tolist() == [True] + [False] * (each.size - 1)


@every_model
@torch.no_grad()
def test_a_trimmed_model_can_be_trimmed_again(make):
    model = _trained(make)
    trim_(model, model.unit_sets(), some_units(model.unit_sets()))
    masked, scenes, sets = copy.deepcopy(model), _scenes(model), model.unit_sets()
    keep = some_units(sets, seed=2)
    zero_units_(masked, sets, keep)
    trim_(model, sets, keep)
    _close(model(scenes), masked(scenes))


@every_model
def test_a_trimmed_model_is_saved_loaded_and_trained(make, tmp_path):
    model = _trained(make)
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    trim_(model, model.unit_sets(), some_units(model.unit_sets()))
    torch.save(model.state_dict(), tmp_path / "trimmed.pt")
    assert (tmp_path / "trimmed.pt").stat().st_size < (tmp_path / "whole.pt").stat().st_size
    state, scenes = torch.load(tmp_path / "trimmed.pt"), _scenes(model)
    again = make().eval()
    resize_(again, {name: tuple(tensor.shape) for name, tensor in state.items()})
    again.load_state_dict(state)
    torch.testing.assert_close(again(scenes), model(scenes), rtol=0, atol=0)
    again.train()
    optimizer = torch.optim.Adam(again.parameters(), lr=1e-3)
    nn.functional.cross_entropy(again(scenes), torch.tensor([0, 1])).backward()
    optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in again.parameters())
    assert any(not torch.equal(p, state[name]) for name, p in again.named_parameters())


@every_model
def test_the_groups_of_the_optimiser_are_the_units(make):
    """What ProxSG makes zero is what a trim can take: training groups are pruning groups."""
    model = _trained(make).train()
    sets, scenes = model.unit_sets(), _scenes(model)
    optimizer = ProxSG(model.named_parameters(), lr=1e-2, lmbda=170.0, units=sets)
    assert optimizer.layouts[0].size == sum(each.size for each in sets)
    nn.functional.cross_entropy(model(scenes), torch.tensor([0, 1])).backward()
    optimizer.step()
    silent = removable(model, sets)
    share = float(torch.cat([silent[each.name] for each in sets]).float().mean())
    assert 0 < share < 1 and optimizer.group_sparsity() == pytest.approx(share)
    kept = kept_units(model.named_parameters(), sets)
    assert all(torch.equal(kept[name], ~silent[name]) for name in silent)
    model.eval()
    with torch.no_grad():
        expected = model(scenes)
        trim_(model, sets, dead_units(model, sets))
        _close(model(scenes), expected)


@every_model
def test_half_space_steps_take_the_units(make):
    model = _trained(make).train()
    sets = model.unit_sets()
    optimizer = HSPG(
        model.named_parameters(), lr=1e-2, lmbda=20.0, units=sets, prox_steps=0, epsilon=0.9
    )
    nn.functional.cross_entropy(model(_scenes(model)), torch.tensor([0, 1])).backward()
    optimizer.step()
    silent = removable(model, sets)
    count = sum(int(part.sum()) for part in silent.values())
    total = sum(each.size for each in sets)
    assert 0 < count < total
    assert optimizer.group_sparsity() == pytest.approx(count / total)


@pytest.mark.parametrize("build", [VGG, ResNet, CPResNet, DenseNet])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", 1),
        ("classes", 2.5),
        ("channels", 0),
        ("channels", True),
        ("mels", 0),
        ("mels", 5000),
        ("width", 4096),
    ],
)
def test_wrong_arguments_are_refused(build, name, value):
    with pytest.raises(ConfigError, match=f"expected {name}.*change model"):
        build(**{name: value})


@pytest.mark.parametrize(
    ("name", "least"), [("vgg", 47), ("resnet", 1), ("cp_resnet", 17), ("densenet", 13)]
)
@torch.no_grad()
def test_the_smallest_scene_is_taken_and_less_is_refused(name, least):
    model = _trained(MODELS[name])
    assert model(torch.ones(1, 2, least, least)).isfinite().all()
    for shape in ((1, 2, least, least - 1), (1, 2, least - 1, least), (1, 3, 64, 64), (2, 64, 64)):
        with pytest.raises(
            DataError,
            match=rf"expected scenes of shape \(B, 2, mels, frames\) with at least {least} ",
        ):
            model(torch.ones(shape))


@pytest.mark.parametrize("wrong", [(), (1, 2, 3, 4, 5), 3, "34", (3, 0), (3, 129), [2.0]])
def test_wrong_depths_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"expected depths.*change model\.depths"):
        check_depths("depths", wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1, 1.5, float("nan"), True, "0.3", None])
def test_wrong_shares_are_refused(wrong):
    with pytest.raises(
        ConfigError, match=r"expected dropout as a number from 0 to below 1.*change model\.dropout"
    ):
        check_share("dropout", wrong)

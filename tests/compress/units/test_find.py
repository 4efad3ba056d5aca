"""The units of any model: declared or derived and proved, and why layers are left out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.find import has_units, needed_units, unit_sets_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.errors import ConfigError


def _convs() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(1, 8, 5, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Conv1d(8, 6, 3, bias=False),
        nn.ReLU(),
        nn.Conv1d(6, 2, 1, bias=False),
    )


class Fixed(nn.Module):
    """A number in the code says how many positions the flattened channels have."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 5)
        self.conv, self.last = nn.Conv1d(1, channels, 1), nn.Linear(30, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(torch.relu(self.first(x)))
        return self.last(self.conv(hidden[:, None]).reshape(-1, 30))

    def example_input(self) -> Tensor:
        return torch.zeros(2, 3)


class Residual(nn.Module):
    """The first two layers are summed, so that their units leave together; one is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.forgotten = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        return self.last(hidden + self.second(hidden))


def test_a_plain_chain_is_masked_and_trimmed_alike() -> None:
    model = _convs().eval()
    inputs = torch.randn(2, 1, 20, generator=torch.Generator().manual_seed(0))
    found = unit_sets_of(model, inputs)
    assert found.source == "derived" and [each.size for each in found.sets] == [8, 6]
    assert found.left_out == ("'5': its output leaves the model",)
    keep = {each.name: torch.arange(each.size) % 2 == 0 for each in found.sets}
    masked, trimmed = copy.deepcopy(model), copy.deepcopy(model)
    zero_units_(masked, found.sets, keep)
    trim_(trimmed, found.sets, keep)
    assert trimmed[3].in_channels == 4 and trimmed[3].out_channels == 3
    assert torch.allclose(masked(inputs), trimmed(inputs), atol=1e-6)
    assert not torch.allclose(masked(inputs), model(inputs), atol=1e-3)


def test_the_model_and_the_random_numbers_stay_as_they_are() -> None:
    class Noisy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(1)

    model = Noisy(*_convs())
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert len(unit_sets_of(model, torch.ones(2, 1, 20)).sets) == 2
    assert model.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_silence_proves_nothing_so_that_noise_takes_its_place() -> None:
    model = _convs()
    model[1] = nn.Identity()  # without any bias, silence in is silence out
    assert [each.name for each in unit_sets_of(model, torch.zeros(1, 1, 20)).sets] == ["0", "3"]


def test_a_set_that_the_proof_refutes_is_left_out_with_its_reason() -> None:
    found = unit_sets_of(Fixed())
    assert [each.name for each in found.sets] == ["first"]
    told = "; ".join(found.left_out)
    assert "'conv': the masked and the trimmed model do not agree (" in told
    assert "'last': its output leaves the model" in told


def test_every_layer_left_out_has_a_reason() -> None:
    found = unit_sets_of(Residual(), torch.ones(1, 3))
    assert [(each.name, each.size) for each in found.sets] == [("first", 4)]
    assert found.left_out == (
        "'last': its output leaves the model",
        "'forgotten': the forward pass does not call it",
    )


def test_declared_units_are_taken_as_they_are() -> None:
    class Declared(nn.Sequential):
        def unit_sets(self) -> list[UnitSet]:
            return chain_units(self)[:1]

    found = unit_sets_of(Declared(*_convs()))
    assert found.source == "declared" and [each.name for each in found.sets] == ["0"]
    assert found.left_out == ()


def test_models_without_units_and_example_are_refused() -> None:
    assert has_units(Fixed()) and not has_units(_convs())
    with pytest.raises(ConfigError, match="Sequential: expected an example input to derive units"):
        unit_sets_of(_convs())


def test_where_no_unit_is_found_the_reasons_are_told() -> None:
    class Sorted(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).sort()[0])

        def example_input(self) -> Tensor:
            return torch.zeros(1, 3)

    with pytest.raises(ConfigError) as caught:
        needed_units(Sorted(), "prune by masks only")
    assert str(caught.value).startswith(
        "Sorted: expected units that can be removed, got none ('first': 'sort' works along its "
    )
    assert str(caught.value).endswith("in a method unit_sets() or prune by masks only")
    assert [each.name for each in needed_units(Fixed())] == ["first"]


def test_arguments_may_be_nested_or_named() -> None:
    class Named(Fixed):
        def forward(self, x: Tensor, *, gain: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"out": super().forward(x) * gain["all"]}

    example = {"x": torch.zeros(2, 3), "gain": {"all": torch.zeros(1)}}
    assert [each.name for each in unit_sets_of(Named(), example).sets] == ["first"]


def test_scripts_are_answered_by_what_to_give() -> None:
    with pytest.raises(ConfigError, match="got TorchScript; give the module: build it in Python"):
        unit_sets_of(torch.jit.script(_convs()), torch.ones(1, 1, 20))

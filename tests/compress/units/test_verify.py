"""verify_units finds what is wrong with unit sets and leaves the model alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.builders import linear_in, linear_out
from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet, rows
from audioprune.compress.units.find import unit_sets_of
from audioprune.compress.units.verify import refuted_units, verify_units
from audioprune.errors import ConfigError


def _model() -> nn.Sequential:
    torch.manual_seed(
        0
    )  # some initialisations leave so few units alive that a wrong reader changes nothing
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))


def test_good_sets_pass_even_where_an_initialisation_is_zero() -> None:
    model = _model().train()
    nn.init.zeros_(model[4].weight)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert verify_units(model, chain_units(model), torch.ones(2, 3)) <= 1e-5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and torch.equal(state, torch.get_rng_state())


def test_a_wrong_reader_is_named_and_only_that_one() -> None:
    model = _model()
    good, bad = chain_units(model)
    swapped = tuple(
        replace(part, index=part.index.flip(0)) if part.role == "in" else part
        for part in bad.slices
    )
    with pytest.raises(
        ConfigError,
        match=r"within 1e-05, got a difference of .*; correct '2' \(a difference of \d.*\)$",
    ):
        verify_units(model, [good, replace(bad, slices=swapped)], torch.ones(2, 3), seed=1)


def test_a_forgotten_slice_and_a_trimmed_output_are_named() -> None:
    model = _model()
    writers = UnitSet("writers", linear_out("0", model[0]))
    with pytest.raises(
        ConfigError, match=r"correct 'writers' \(mat1 and mat2 shapes cannot be multiplied"
    ):
        verify_units(model, [writers], torch.ones(2, 3))
    outputs = UnitSet("outputs", linear_out("4", model[4]))
    with pytest.raises(ConfigError, match=r"correct 'outputs' \(another shape of the output\)"):
        verify_units(model, [outputs], torch.ones(2, 3))


def test_a_constant_that_masking_leaves_makes_a_set_inexact() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.Sigmoid(), nn.Linear(6, 2))
    hidden = UnitSet("hidden", linear_out("0", model[0]) + linear_in("2", model[2]))
    with pytest.raises(ConfigError, match="correct 'hidden'"):
        verify_units(model, [hidden], torch.ones(2, 3))
    assert verify_units(model, [replace(hidden, exact=False)], torch.ones(2, 3)) <= 1e-5


def test_small_outputs_are_compared_in_their_own_scale() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _model()

        def forward(self, x: Tensor) -> Tensor:
            return 1e-7 * self.layers(x)

    model = Small()
    wrong = UnitSet(
        "w",
        linear_out("layers.0", model.layers[0])
        + linear_in("layers.2", model.layers[2], index=rows(0, 6).flip(0)),
    )
    with pytest.raises(ConfigError, match="correct 'w'"):
        verify_units(model, [wrong], torch.ones(2, 3), seed=1)


def test_noise_tuples_and_weight_groups_are_no_obstacle() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _model()

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"sum": self.layers(x) + torch.rand(2), "other": y}

    model = Noisy()
    groups = UnitSet("groups", linear_in("layers.0", model.layers[0]), removable=False)
    sets = chain_units(
        [(f"layers.{name}", module) for name, module in model.layers.named_children()]
    )
    assert verify_units(model, [*sets, groups], (torch.ones(2, 3), torch.zeros(1))) <= 1e-5


def test_a_model_that_does_not_run_says_so_itself() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        verify_units(_model(), [], torch.ones(2, 4))


def test_outputs_of_zero_prove_nothing() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _model()

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.layers(x)

    with pytest.raises(ConfigError, match="outputs that are all zero, which proves nothing"):
        verify_units(Silent(), [], torch.ones(2, 3))


class ReadsWidth(nn.Module):
    """Reshapes what one layer made by the width of another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(1, 8, 3, padding=1), nn.Linear(4, 8 * 4)
        self.last = nn.Conv1d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = torch.relu(self.conv(x))
        other = self.linear(x[:, 0]).reshape(len(x), made.shape[1], 4)
        return self.last(torch.cat([made, other], 1))


def test_no_set_passes_because_another_loses_as_many() -> None:
    """Either layer alone is refused; both together are one set, whose units leave in pairs."""
    model, inputs = ReadsWidth(), torch.randn(2, 1, 4)
    (pair,) = unit_sets_of(model, inputs).sets
    assert (pair.name, pair.size) == ("conv", 8)
    written = {part.tensor: part.index.shape[1] for part in pair.slices if part.role == "out"}
    assert written == {"conv.weight": 1, "conv.bias": 1, "linear.weight": 4, "linear.bias": 4}
    for layer in ("conv", "linear"):
        slices = tuple(part for part in pair.slices if part.tensor.startswith(layer))
        alone = replace(pair, slices=slices)
        assert refuted_units(model, [alone], inputs)

"""Dead units, which nothing writes or nothing reads: their removal changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.masks import Mask
from audioprune.compress.units.builders import layer_norm, linear_in, linear_out
from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import dead_units, removable, zero_units_
from audioprune.errors import ConfigError


def _keep(*kept: int) -> Tensor:
    return torch.tensor(kept, dtype=torch.bool)


def _conv_norm() -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.Conv1d(2, 5, 3), nn.Conv1d(5, 4, 3, padding=1)
    return nn.Sequential(
        first, nn.BatchNorm1d(5), nn.ReLU(), second, nn.ReLU(), nn.Conv1d(4, 2, 1)
    ).eval()


def test_a_zero_filter_with_a_live_shift_is_not_removable() -> None:
    model = _conv_norm()
    with torch.no_grad():
        model[0].weight[[1, 2, 3]] = 0
        model[0].bias[[1, 2, 3]] = 0
        model[1].weight[[1, 2]] = 0
        model[1].bias[1] = 0
        model[1].bias[2] = 0.3
    assert removable(model, chain_units(model))["0"].tolist() == [False, True, False, False, False]
    assert dead_units(model, chain_units(model))["0"].tolist() == [True, False, True, True, True]


def test_dead_units_leave_the_output_alone_and_die_one_after_another() -> None:
    model = _conv_norm()
    with torch.no_grad():
        for layer in (model[0], model[1]):  # nothing writes 0.0
            layer.weight[0], layer.bias[0] = 0, 0
        model[3].weight[2], model[3].bias[2] = 0, 0
        model[3].weight[2, 0] = 1.0  # only the silent unit 0.0 writes 3.2
        model[5].weight[:, 1] = 0  # nothing reads 3.1
        model[3].weight[:, 4] = 0
        model[3].weight[1, 4] = 1.0  # only the unread unit 3.1 reads 0.4
    x = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(0))
    before = model(x)
    keep = dead_units(model, chain_units(model))
    assert keep["0"].tolist() == [False, True, True, True, False]
    assert keep["3"].tolist() == [True, False, False, True]
    trim_(model, chain_units(model), keep)
    assert torch.allclose(model(x), before, atol=1e-6)
    assert all(bool(kept.all()) for kept in dead_units(model, chain_units(model)).values())


def test_the_floor_keeps_the_first_dead_units() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.zeros_(model[2].weight)
    hidden = UnitSet("hidden", linear_out("0", model[0]) + linear_in("2", model[2]), min_units=2)
    assert dead_units(model, [hidden])["hidden"].tolist() == [True, True, False, False]
    with torch.no_grad():
        model[2].weight[0, 3] = 1
    assert dead_units(model, [hidden])["hidden"].tolist() == [True, False, False, True]


def test_masked_weights_count_as_zero() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    mask = Mask.ones(model, ["2.weight"]).updated({"2.weight": _keep(1, 0, 1, 1)[None]})
    sets = chain_units(model)
    assert dead_units(model, sets, mask)["0"].tolist() == [True, False, True, True]
    assert not removable(model, sets, mask)["0"].any()
    silent = {"0.weight": torch.ones(4, 2, dtype=torch.bool), "0.bias": _keep(0, 1, 1, 1)}
    silent["0.weight"][0] = False
    assert removable(model, sets, silent)["0"].tolist() == [True, False, False, False]
    with pytest.raises(ConfigError, match=r"mask of '0.bias': expected shape \(4,\), got \(3,\)"):
        dead_units(model, sets, {"0.bias": _keep(1, 1, 1)})
    with pytest.raises(ConfigError, match="unknown masked parameter '0.bais'"):
        dead_units(model, sets, {"0.bais": _keep(1, 1, 1, 1)})


def test_sets_that_are_not_exact_stay_unless_asked_for() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    hidden = UnitSet(
        "h",
        linear_out("0", model[0]) + layer_norm("1", model[1]) + linear_in("2", model[2]),
        exact=False,
    )
    zero_units_(model, [hidden], {"h": _keep(1, 0, 1, 1)})
    assert dead_units(model, [hidden])["h"].all()
    assert dead_units(model, [hidden], inexact=True)["h"].tolist() == [True, False, True, True]
    trim_(model, [hidden], {"h": _keep(1, 0, 1, 1)})
    assert model[1].normalized_shape == (3,) and model(torch.ones(1, 2)).isfinite().all()


def test_a_normalisation_without_scale_makes_no_unit_silent() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 1))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    sets = chain_units(model)
    assert not removable(model, sets)["0"].any() and not sets[0].exact


def test_units_without_readers_or_writers_are_not_dead() -> None:
    model = nn.Linear(2, 3)
    assert dead_units(model, [UnitSet("out", linear_out("", model))])["out"].all()
    assert not removable(model, [UnitSet("in", linear_in("", model))])["in"].any()


def test_zero_groups_of_weights_are_found() -> None:
    conv = nn.Conv1d(3, 2, 3)
    kernels = UnitSet("kernels", (Slice("weight", 0, rows(0, 6), leading=2),), removable=False)
    zero_units_(conv, [kernels], {"kernels": _keep(1, 0, 1, 1, 0, 1)})
    assert conv.weight[:, 1].eq(0).all() and conv.weight[0, 0].ne(0).all()
    assert removable(conv, [kernels])["kernels"].nonzero().flatten().tolist() == [1, 4]
    assert dead_units(conv, [kernels]) == {}


def test_a_unit_that_one_of_its_readers_reads_is_alive() -> None:
    model = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("write", "left", "right")})
    with torch.no_grad():
        model["left"].weight[:, [0, 2]] = 0
        model["right"].weight[:, [1, 2]] = 0
    reads = linear_in("left", model["left"]) + linear_in("right", model["right"])
    hidden = UnitSet("hidden", linear_out("write", model["write"]) + reads)
    assert dead_units(model, [hidden])["hidden"].tolist() == [True, True, False, True]


class UnitLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), UnitLength()])
def test_units_that_a_norm_sums_leave_only_when_they_are_zero(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 2))
    sets, _ = derive_units(model, torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    assert [(each.exact, each.summed) for each in sets] == [(True, True)]
    with torch.no_grad():
        model[2].weight[:, 1] = 0  # unread, but the norm still counts it
    assert dead_units(model, sets)["0"].tolist() == [True] * 4
    zero_units_(model, sets, {"0": torch.arange(4) != 1})
    assert dead_units(model, sets)["0"].tolist() == [True, False, True, True]


def test_a_constant_that_writes_units_becomes_zero_with_them() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
            self.register_buffer("places", torch.ones(5, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x) + self.places)

    model = Placed()
    sets, _ = derive_units(model, torch.ones(2, 5, 3))
    keep = torch.arange(4) > 0
    with torch.no_grad():
        model.a.weight[0], model.a.bias[0] = 0, 0
    assert not removable(model, sets)["a"].any()
    zero_units_(model, sets, {"a": keep})
    assert model.places[:, 0].eq(0).all() and model.places[:, 1:].eq(1).all()
    assert removable(model, sets)["a"].tolist() == (~keep).tolist()

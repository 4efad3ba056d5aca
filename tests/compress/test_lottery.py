"""What tickets keep: exact densities, fair shares, floors, tickets cut out of full networks."""

from __future__ import annotations

import pytest
import torch
from lottery_toys import Net
from torch import nn

from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.lottery import (
    Origin,
    Selection,
    choose_units,
    choose_weights,
    cut_to_,
    fully_masked,
    maskable,
    narrowed,
    parameters_of,
    rescale_cut_,
)
from audioprune.compress.masks import Mask
from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError, DivergedError

SETS = ("0", "2", "4")


class Chain(nn.Sequential):
    """Four linear layers; the last one writes no units."""

    def __init__(self, *widths: int) -> None:
        widths = widths or (20, 40, 30, 20, 10)
        layers = [nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        super().__init__(*[module for layer in layers for module in (layer, nn.ReLU())][:-1])

    def unit_sets(self) -> list[UnitSet]:
        return chain_units(self)


@pytest.fixture
def chain() -> Chain:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Chain()


def _rounds(model: Chain, selection: Selection, count: int) -> list[tuple[int, dict[str, int]]]:
    """Trim a model again and again; return parameters and units after every round."""
    origin = Origin.of(model, model.unit_sets())
    found = []
    for number in range(1, count + 1):
        sets = model.unit_sets()
        trim_(model, sets, choose_units(model, sets, selection, number, origin))
        found.append((parameters_of(model), {each.name: each.size for each in model.unit_sets()}))
    return found


@pytest.mark.parametrize("scope", ["local", "global"])
def test_densities_follow_the_schedule_within_one_unit(chain: Chain, scope: str) -> None:
    before = parameters_of(chain)
    dearest = max(20 + 1 + 30, 40 + 1 + 20, 30 + 1 + 10)
    for number, (params, _) in enumerate(_rounds(chain, Selection("magnitude", scope), 8), 1):
        assert 0.7**number * before - dearest < params <= 0.7**number * before


def test_local_selection_keeps_the_same_share_of_every_set(chain: Chain) -> None:
    for _, units in _rounds(chain, Selection("magnitude", "local", scaling="none"), 5):
        shares = [units[name] / size for name, size in zip(SETS, (40, 30, 20), strict=True)]
        assert max(shares) - min(shares) <= 1 / 20 + 1e-9


@pytest.mark.parametrize("scope", ["local", "global"])
def test_a_budget_of_units(chain: Chain, scope: str) -> None:
    rounds = _rounds(chain, Selection("magnitude", scope, counted="units", fraction=0.5), 3)
    totals = [sum(units.values()) for _, units in rounds]
    assert totals == [45, 23, 12 if scope == "local" else 11]
    if scope == "local":
        assert [tuple(units[name] for name in SETS) for _, units in rounds] == [
            (20, 15, 10),
            (10, 8, 5),
            (5, 4, 3),
        ]


def test_global_selection_needs_scaling(chain: Chain) -> None:
    with torch.no_grad():
        chain[2].weight.mul_(1000)
    sets, origin = chain.unit_sets(), Origin.of(chain, chain.unit_sets())

    def kept(scaling: str) -> dict[str, int]:
        keep = choose_units(chain, sets, Selection("magnitude", "global", scaling), 6, origin)
        return {name: int(part.sum()) for name, part in keep.items()}

    unscaled, scaled = kept("none"), kept("max")
    assert unscaled["2"] == 30 and unscaled["0"] + unscaled["4"] <= 12
    assert scaled["2"] < 15 and min(scaled["0"] / 40, scaled["4"] / 20) > 0.05


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_end_and_ties_go_by_position(scope: str, value: float) -> None:
    model = Chain(4, 4, 4, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    sets, origin = model.unit_sets(), Origin.of(model, model.unit_sets())
    first, again = (
        choose_units(model, sets, Selection("magnitude", scope), 1, origin) for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not first["0"][0] and all(
        part.tolist() == sorted(part.tolist()) for part in first.values()
    )


def test_floors_hold_until_nothing_can_go(chain: Chain) -> None:
    rounds = _rounds(chain, Selection("magnitude", "global", min_units=3), 20)
    assert rounds[-1][1] == dict.fromkeys(SETS, 3) and rounds[-1] == rounds[-2]
    assert min(_rounds(Chain(), Selection("magnitude", "local"), 20)[-1][1].values()) == 1
    assert Chain(20, 2, 30, 10)(torch.zeros(1, 20)).shape == (1, 10)
    narrow = Chain(5, 2, 8, 3)
    assert _rounds(narrow, Selection("magnitude", "global", min_units=4), 9)[-1][1] == {
        "0": 2,
        "2": 4,
    }


def test_sets_without_a_score_stay_whole() -> None:
    model = Net()
    with torch.no_grad():
        model.norm.weight.copy_(torch.arange(12.0))
    keep = choose_units(
        model,
        model.unit_sets(),
        Selection("normalization"),
        1,
        Origin.of(model, model.unit_sets()),
    )
    assert set(keep) == {"inner"} and keep["inner"].tolist() == sorted(keep["inner"].tolist())
    assert 0 < int((~keep["inner"]).sum()) < 12


def test_masks_of_three_rounds(chain: Chain) -> None:
    names = maskable(chain, chain.unit_sets())
    assert names == ["0.weight", "2.weight", "4.weight"]  # neither biases nor the last layer
    for scope in ("local", "global"):
        mask = Mask.ones(chain, names)
        for number, wanted in enumerate((0.3, 0.51, 0.657), 1):
            after = choose_weights(chain, names, Selection("magnitude", scope), number, mask)
            assert (
                after.sparsity() == pytest.approx(wanted, abs=1e-3)
                and after.intersect(mask) == after
            )
            mask = after
        shares = mask.per_tensor()
        assert (max(shares.values()) - min(shares.values()) < 1e-3) == (scope == "local")


def test_masks_by_gradient_and_scaling(chain: Chain) -> None:
    data = CalibrationData([torch.ones(3, 20)], lambda model, batch: model(batch).square().mean())
    names = maskable(chain, chain.unit_sets())
    by_gradient = choose_weights(
        chain, names, Selection("gradient", "local"), 1, Mask.ones(chain, names), data
    )
    assert by_gradient.sparsity() == pytest.approx(0.3, abs=1e-3)
    with torch.no_grad():
        chain[2].weight.add_(1.0).mul_(1e6)
    left = {
        scaling: _global_shares(chain, names, scaling) for scaling in ("none", "max", "dimension")
    }
    assert (
        left["none"]["2.weight"] == left["dimension"]["2.weight"] == left["max"]["2.weight"] == 1
    )  # its weights are alike
    with pytest.raises(
        ConfigError,
        match="masks score single weights: expected the criterion magnitude or gradient, got "
        "information",
    ):
        choose_weights(chain, names, Selection("information"), 1, Mask.ones(chain, names))


def _global_shares(model: Chain, names: list[str], scaling: str) -> dict[str, float]:
    return choose_weights(
        model, names, Selection("magnitude", "global", scaling), 1, Mask.ones(model, names)
    ).per_tensor()


def test_output_layers_are_not_masked() -> None:
    assert maskable(Net(), Net().unit_sets()) == [
        "inner.weight",
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
    ]
    assert maskable(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), []) == ["0.weight"]


def test_fully_masked_units_have_no_written_weight_left() -> None:
    model = Net(4, 3)
    keeps = {
        name: torch.ones_like(weight, dtype=torch.bool)
        for name, weight in model.named_parameters()
        if weight.dim() == 2
    }
    del keeps["head.weight"]
    keeps["inner.weight"][1] = False
    for gate in range(3):
        keeps["gru.weight_ih_l0"][2 + 3 * gate] = False
    found = fully_masked(model.unit_sets(), Mask(keeps))
    assert found["inner"].tolist() == [False, True, False, False] and not found["gru"].any()
    for gate in range(3):
        keeps["gru.weight_hh_l0"][2 + 3 * gate] = False
    assert fully_masked(model.unit_sets(), Mask(keeps))["gru"].tolist() == [False, False, True]


def test_original_indices_are_carried_on_and_cut_a_full_network() -> None:
    model, full = Net(), Net()
    full.load_state_dict(model.state_dict())
    kept: dict[str, list[int]] = {}
    for gone in ({"inner": [0, 5], "gru": [8]}, {"inner": [1]}):
        sets = model.unit_sets()
        keep = {
            name: torch.ones(
                next(each.size for each in sets if each.name == name), dtype=torch.bool
            )
            for name in gone
        }
        for name, units in gone.items():
            keep[name][units] = False
        kept = narrowed(kept, keep, sets)
        trim_(model, sets, keep)
    assert kept == {"inner": [1, 3, 4, 6, 7, 8, 9, 10, 11], "gru": list(range(8))}
    cut_to_(full, full.unit_sets(), kept)
    assert all(
        torch.equal(value, full.state_dict()[name]) for name, value in model.state_dict().items()
    )
    assert model.gru.weight_hh_l0.shape == (24, 8)
    with pytest.raises(ConfigError, match="expected units of 'gru' within the full network"):
        cut_to_(Net(12, 4), Net(12, 4).unit_sets(), kept)


def test_both_weights_of_a_recurrent_layer_lose_the_same_units() -> None:
    model = Net()
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0"):
            getattr(model.gru, name).copy_(
                torch.arange(27.0)[:, None].expand(-1, getattr(model.gru, name).shape[1])
            )
    sets = model.unit_sets()
    keep = choose_units(model, sets, Selection("magnitude", "local"), 2, Origin.of(model, sets))
    trim_(model, sets, keep)
    assert torch.equal(model.gru.weight_ih_l0[:, 0], model.gru.weight_hh_l0[:, 0])
    assert model.gru.weight_ih_l0[:, 0].tolist() == _gate_rows(
        keep["gru"].nonzero().flatten().tolist(), 9
    )


def _gate_rows(units: list[int], size: int) -> list[int]:
    return [gate * size + unit for gate in range(3) for unit in units]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "informatio"}, "closest: information"),
        ({"scope": "globally"}, "unknown scope 'globally'"),
        ({"scaling": "maximum"}, "closest: max"),
        ({"counted": "weight"}, "closest: weights"),
        (
            {"fraction": 1.0},
            "expected a fraction between 0 and 1 and min_units >= 1, got 1.0 and 1",
        ),
        ({"min_units": 0}, "min_units >= 1, got 0.3 and 0"),
    ],
)
def test_what_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Selection(**arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_diverged_networks_are_told(chain: Chain) -> None:
    with torch.no_grad():
        chain[0].weight[0, 0] = float("nan")
    sets = chain.unit_sets()
    for scope in ("local", "global"):
        with pytest.raises(DivergedError, match="NaN"):
            choose_units(chain, sets, Selection("magnitude", scope), 1, Origin.of(chain, sets))


def test_layers_that_lost_inputs_get_their_level_back(chain: Chain) -> None:
    full = {name: value.clone() for name, value in chain.state_dict().items()}
    cut_to_(chain, chain.unit_sets(), {"0": range(10), "2": range(5, 10)})
    rescale_cut_(chain, {name: value.shape for name, value in full.items()})
    assert torch.equal(
        chain[0].weight, full["0.weight"][:10]
    )  # its inputs are those of the network
    torch.testing.assert_close(
        chain[2].weight, 2.0 * full["2.weight"][5:10, :10]
    )  # a quarter of the inputs, twice the weight
    torch.testing.assert_close(chain[4].weight, 6**0.5 * full["4.weight"][:, 5:10])
    assert torch.equal(chain[6].weight, full["6.weight"]) and torch.equal(
        chain[2].bias, full["2.bias"][5:10]
    )


def test_the_level_of_transposed_convolutions_and_recurrent_layers_too() -> None:
    class Both(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.up, self.gru = nn.ConvTranspose1d(width, 3, 4, 2), nn.GRU(5, width)

    big, small = Both(8), Both(2)
    state = {name: value.clone() for name, value in small.state_dict().items()}
    rescale_cut_(small, {name: value.shape for name, value in big.state_dict().items()})
    torch.testing.assert_close(small.up.weight, 2.0 * state["up.weight"])
    torch.testing.assert_close(small.gru.weight_hh_l0, 2.0 * state["gru.weight_hh_l0"])
    assert torch.equal(small.gru.weight_ih_l0, state["gru.weight_ih_l0"]) and torch.equal(
        small.up.bias, state["up.bias"]
    )

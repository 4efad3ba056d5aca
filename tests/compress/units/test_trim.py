"""Trimming: values against slicing by hand, twins, optimisers, shapes and every refusal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.builders import (
    batch_norm,
    conv_in,
    conv_out,
    depthwise,
    linear_in,
    linear_out,
    lstm_in,
    lstm_units,
)
from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.trim import resize_, trim_, trim_optimizer_state_, trim_state
from audioprune.compress.units.zero import zero_units_
from audioprune.compress.weight_norm import fold_weight_norm_
from audioprune.errors import CheckpointError, ConfigError


def _keep(*kept: int) -> Tensor:
    return torch.tensor(kept, dtype=torch.bool)


def _chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 6, 3),
        nn.BatchNorm1d(6),
        nn.PReLU(6),
        nn.ConvTranspose1d(6, 5, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 9, 4),
        nn.ReLU(),
        nn.Linear(4, 3),
    )


def _inputs() -> Tensor:
    return torch.randn(2, 2, 10, generator=torch.Generator().manual_seed(1))


def test_two_sets_cut_two_axes_of_one_tensor() -> None:
    model = _chain()
    before = copy.deepcopy(model.state_dict())
    trimmed = trim_(
        model, chain_units(model), {"0": _keep(1, 0, 1, 1, 0, 1), "3": _keep(0, 1, 1, 0, 1)}
    )
    first, second = [0, 2, 3, 5], [1, 2, 4]
    flat = [position for channel in second for position in range(9 * channel, 9 * channel + 9)]
    assert torch.equal(model[0].weight, before["0.weight"][first])
    assert torch.equal(model[1].running_var, before["1.running_var"][first])
    assert torch.equal(model[2].weight, before["2.weight"][first])
    assert torch.equal(model[3].weight, before["3.weight"][first][:, second])
    assert torch.equal(model[3].bias, before["3.bias"][second])
    assert torch.equal(model[6].weight, before["6.weight"][:, flat])
    assert (
        trimmed.kept["3.weight"][0].tolist() == first
        and trimmed.kept["3.weight"][1].tolist() == second
    )
    assert trimmed.shapes["3.weight"] == (6, 5, 2)
    assert (model[0].out_channels, model[1].num_features, model[2].num_parameters) == (4, 4, 4)
    assert (
        model[3].in_channels,
        model[3].out_channels,
        model[6].in_features,
        model[6].out_features,
    ) == (4, 3, 27, 4)
    assert model(_inputs()).shape == (2, 3)


def test_masked_equals_trimmed_and_masking_is_idempotent() -> None:
    model = _chain().eval()
    sets, keep = (
        chain_units(model),
        {"0": _keep(1, 0, 0, 1, 1, 1), "3": _keep(0, 1, 1, 0, 1), "6": _keep(0, 0, 1, 0)},
    )
    masked, trimmed = copy.deepcopy(model), copy.deepcopy(model)
    zero_units_(masked, sets, keep)
    once = copy.deepcopy(masked.state_dict())
    zero_units_(masked, sets, keep)
    assert all(torch.equal(value, once[name]) for name, value in masked.state_dict().items())
    assert torch.equal(masked[1].running_mean, model[1].running_mean)
    assert bool((masked[0].weight[[1, 2]] == 0).all() and (masked[1].bias[[1, 2]] == 0).all())
    trim_(trimmed, sets, keep)
    assert torch.allclose(masked(_inputs()), trimmed(_inputs()), atol=1e-6)
    assert not torch.allclose(masked(_inputs()), model(_inputs()), atol=1e-3)


def test_not_a_number_in_removed_writers_is_gone() -> None:
    model = _chain().eval()
    sets = chain_units(model)
    with torch.no_grad():
        for part in sets[1].slices:
            if part.role == "out":
                model.get_parameter(part.tensor).index_fill_(part.dim, part.index[2], float("nan"))
    assert model(_inputs()).isnan().any()
    trim_(model, sets, {"3": _keep(1, 1, 0, 1, 1)})
    assert model(_inputs()).isfinite().all()


def test_everything_but_the_floor_goes_and_the_rest_still_trains() -> None:
    model = _chain()
    sets = chain_units(model)
    keep = {each.name: torch.arange(each.size) < each.min_units for each in sets}
    trim_(model, sets, keep)
    model(_inputs()).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in model.parameters())
    assert model[3].weight.shape == (1, 1, 2)


def test_keeping_all_changes_nothing() -> None:
    model = _chain()
    parameters = dict(model.named_parameters())
    trimmed = trim_(model, chain_units(model), {"0": torch.ones(6, dtype=torch.bool)})
    assert trimmed.kept == {} and all(
        value is parameters[name] for name, value in model.named_parameters()
    )


def test_frozen_parameters_and_gradients_follow() -> None:
    model = _chain()
    model[0].weight.requires_grad_(False)
    model(_inputs()).square().sum().backward()
    gradient = model[3].weight.grad.clone()
    trim_(model, chain_units(model), {"0": _keep(0, 1, 1, 1, 1, 1)})
    assert not model[0].weight.requires_grad and model[3].weight.requires_grad
    assert torch.equal(model[3].weight.grad, gradient[1:])


def test_shared_parameters_stay_shared() -> None:
    model = nn.Sequential(
        *(nn.Linear(*sizes, bias=False) for sizes in ((3, 5), (5, 3), (3, 5), (5, 3)))
    )
    model[2].weight, model[3].weight = model[0].weight, model[1].weight
    hidden = UnitSet("hidden", linear_out("0", model[0]) + linear_in("1", model[1]))
    trimmed = trim_(model, [hidden], {"hidden": _keep(1, 0, 1, 1, 0)})
    assert (
        model[2].weight is model[0].weight
        and model[2].out_features == 3
        and model[3].in_features == 3
    )
    assert set(trimmed.replaced) == {"0.weight", "1.weight", "2.weight", "3.weight"}
    assert model(torch.zeros(1, 3)).shape == (1, 3)


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
}


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_optimiser_goes_on_as_if_the_units_had_never_been(kind: str) -> None:
    """Dead units get no gradient and change nothing, so that training without them agrees."""
    masked = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    keep = {"0": _keep(1, 0, 1, 1, 0, 1)}
    zero_units_(masked, chain_units(masked), keep)
    with torch.no_grad():
        masked[0].bias[~keep["0"]] = -1e3
    trimmed = copy.deepcopy(masked)
    optimisers = [OPTIMISERS[kind](list(model.parameters())) for model in (masked, trimmed)]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))

    def train(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for _ in range(3):
            optimiser.zero_grad()
            (model(x) - 1).square().mean().backward()
            optimiser.step()

    for model, optimiser in zip((masked, trimmed), optimisers, strict=True):
        train(model, optimiser)
    trim_optimizer_state_(optimisers[1], trim_(trimmed, chain_units(trimmed), keep))
    for model, optimiser in zip((masked, trimmed), optimisers, strict=True):
        train(model, optimiser)
    kept = keep["0"]
    assert torch.allclose(masked[0].weight[kept], trimmed[0].weight, atol=1e-6)
    assert torch.allclose(masked[2].weight[:, kept], trimmed[2].weight, atol=1e-6)
    state = optimisers[1].state[trimmed[0].weight]
    assert all(value.shape == (4, 3) for value in state.values() if value.dim())
    assert len(optimisers[1].state) == 4
    assert {id(p) for p in optimisers[1].param_groups[0]["params"]} == {
        id(p) for p in trimmed.parameters()
    }


def test_optimiser_whose_state_cannot_be_sliced_is_refused_untouched() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2))
    optimiser = torch.optim.Adafactor(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    before = list(optimiser.param_groups[0]["params"])
    trimmed = trim_(model, chain_units(model), {"0": _keep(1, 0, 1, 1, 0, 1)})
    with pytest.raises(
        ConfigError,
        match=r"optimiser state '\w+' of '0.weight': expected a scalar or shape \(6, 3\)",
    ):
        trim_optimizer_state_(optimiser, trimmed)
    assert all(a is b for a, b in zip(before, optimiser.param_groups[0]["params"], strict=True))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([torch.ones(6, 3)], "list"),
        ({"old": 1}, "dict"),
        (torch.ones(3), r"\(3,\)"),
        (torch.ones(6, 1), r"\(6, 1\)"),
    ],
)
def test_the_refusal_of_a_state_says_what_it_is(value: object, told: str) -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    optimiser.state[model[0].weight]["history"] = value
    trimmed = trim_(model, chain_units(model), {"0": _keep(1, 0, 1, 1, 0, 1)})
    message = (
        rf"^optimiser state 'history' of '0.weight': expected a scalar or shape \(6, 3\), got "
        rf"{told}; build a new SGD$"
    )
    with pytest.raises(ConfigError, match=message):
        trim_optimizer_state_(optimiser, trimmed)


def test_two_trims_join_and_slice_an_early_snapshot() -> None:
    model = _chain()
    full = copy.deepcopy(model.state_dict())
    first = trim_(
        model, chain_units(model), {"0": _keep(1, 0, 1, 1, 0, 1), "6": _keep(1, 1, 0, 1)}
    )
    second = trim_(model, chain_units(model), {"0": _keep(0, 1, 1, 1), "3": _keep(1, 1, 0, 0, 1)})
    joined = first.then(second)
    assert joined.kept["0.weight"][0].tolist() == [2, 3, 5]
    state = trim_state(full, joined)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    old, new = joined.replaced["0.weight"]
    assert old.shape == (6, 2, 3) and new is model[0].weight
    with pytest.raises(
        ConfigError,
        match=r"'0.weight': expected the shape \(6, 2, 3\) of the untrimmed model, got "
        r"\(3, 2, 3\)",
    ):
        trim_state(model.state_dict(), joined)


def test_resize_then_load_is_bit_exact() -> None:
    model = _chain()
    trim_(
        model,
        chain_units(model),
        {"0": _keep(1, 0, 1, 1, 0, 1), "3": _keep(0, 1, 1, 0, 1), "6": _keep(0, 1, 1, 1)},
    )
    state, fresh = model.state_dict(), _chain()
    resize_(fresh, {name: tuple(value.shape) for name, value in state.items()})
    fresh.load_state_dict(state)
    assert torch.equal(model.eval()(_inputs()), fresh.eval()(_inputs()))
    assert str(fresh) == str(model)
    untouched = dict(fresh.named_parameters())
    resize_(fresh, {name: tuple(value.shape) for name, value in state.items()})
    assert all(value is untouched[name] for name, value in fresh.named_parameters())


def test_resize_knows_depthwise_recurrent_norm_and_embedding_sizes() -> None:
    model = nn.ModuleDict(
        {
            "depth": nn.Conv1d(6, 12, 3, groups=6),
            "deep": nn.ConvTranspose1d(6, 6, 3, groups=6),
            "grouped": nn.Conv1d(6, 4, 3, groups=2),
            "lstm": nn.LSTM(5, 4, bidirectional=True),
            "cell": nn.GRUCell(5, 4),
            "norm": nn.LayerNorm(4),
            "rms": nn.RMSNorm(4),
            "embedding": nn.Embedding(7, 4),
            "instance": nn.InstanceNorm1d(4, affine=True),
        }
    )
    shapes = {
        "depth.weight": (8, 1, 3),
        "depth.bias": (8,),
        "deep.weight": (4, 1, 3),
        "deep.bias": (4,),
        "grouped.weight": (2, 2, 3),
        "grouped.bias": (2,),
        **{f"lstm.weight_ih_l0{end}": (12, 2) for end in ("", "_reverse")},
        **{f"lstm.weight_hh_l0{end}": (12, 3) for end in ("", "_reverse")},
        **{
            f"lstm.bias_{kind}_l0{end}": (12,) for kind in ("ih", "hh") for end in ("", "_reverse")
        },
        "cell.weight_ih": (6, 5),
        "cell.weight_hh": (6, 2),
        "cell.bias_ih": (6,),
        "cell.bias_hh": (6,),
        "norm.weight": (3,),
        "norm.bias": (3,),
        "rms.weight": (3,),
        "embedding.weight": (7, 2),
        "instance.weight": (3,),
        "instance.bias": (3,),
    }
    resize_(model, shapes)
    assert (model["depth"].groups, model["depth"].in_channels, model["depth"].out_channels) == (
        4,
        4,
        8,
    )
    assert (model["deep"].groups, model["deep"].in_channels, model["deep"].out_channels) == (
        4,
        4,
        4,
    )
    assert (
        model["grouped"].groups,
        model["grouped"].in_channels,
        model["grouped"].out_channels,
    ) == (2, 4, 2)
    assert (model["lstm"].hidden_size, model["lstm"].input_size) == (3, 2)
    assert (model["cell"].hidden_size, model["cell"].input_size) == (2, 5)
    assert (
        model["norm"].normalized_shape,
        model["rms"].normalized_shape,
        model["embedding"].embedding_dim,
    ) == ((3,), (3,), 2)
    inputs = {
        "depth": (1, 4, 5),
        "deep": (1, 4, 5),
        "grouped": (1, 4, 5),
        "lstm": (3, 1, 2),
        "cell": (1, 5),
        "norm": (1, 3),
        "rms": (3,),
    }
    for name, shape in inputs.items():
        model[name](torch.zeros(shape))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"0.weigth": (6, 2, 3)}, "unknown tensor '0.weigth'; closest: 0.weight"),
        (
            {"0.weight": (7, 2, 3)},
            r"'0.weight': expected a shape of at most \(6, 2, 3\), got \(7, 2, 3\)",
        ),
        ({"0.weight": (0, 2, 3)}, r"expected a shape of at most"),
        ({"0.weight": (6, 2)}, r"expected a shape of at most"),
        (
            {"0.weight": (5, 2, 3)},
            r"shapes do not fit Sequential: '0.bias': expected shape \(5,\) to fit",
        ),
        ({"1.weight": (5,)}, "'1.bias': expected shape"),
    ],
)
def test_resize_refuses_shapes_of_another_model(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    model = _chain()
    before = str(model)
    with pytest.raises(CheckpointError, match=message):
        resize_(model, shapes)
    assert str(model) == before and model(_inputs()).shape == (2, 3)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"O": _keep(1, 1, 1, 1, 1, 1)}, "unknown unit set 'O'"),
        (
            {"0": _keep(1, 1, 1)},
            r"units of '0' to keep: expected a bool tensor of shape \(6,\), got torch.bool \(3,\)",
        ),
        ({"0": torch.ones(6)}, "got torch.float32"),
        ({"0": [True] * 6}, "got list"),
        (
            {"0": _keep(0, 0, 0, 0, 0, 0)},
            "unit set '0': expected at least 1 of 6 units kept, got 0",
        ),
    ],
)
def test_bad_choices_are_refused_and_leave_the_model_alone(
    keep: dict[str, Tensor], message: str
) -> None:
    model = _chain()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=message) as caught:
        trim_(model, chain_units(model), keep)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_axis_may_shrink_to_one_position_but_not_to_none() -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    (hidden,) = chain_units(model)
    trim_(model, [hidden], {"0": _keep(0, 0, 1, 0)})
    assert model[0].weight.shape == model[1].weight.shape == (1, 1)
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    empty = UnitSet("0", hidden.slices, min_units=0)
    message = (
        r"^'0.weight': expected at least one position on every axis, got \(0, 1\) after the "
        r"trim; keep more units$"
    )
    with pytest.raises(ConfigError, match=message):
        trim_(model, [empty], {"0": _keep(0, 0, 0, 0)})
    assert model[0].weight.shape == (4, 1) and model[0].out_features == 4


def test_a_missing_slice_is_refused_before_anything_changes() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    forgotten = UnitSet(
        "hidden",
        (Slice("0.weight", 0, rows(0, 4)), *batch_norm("1", model[1]), *linear_in("2", model[2])),
    )
    with pytest.raises(
        ConfigError,
        match=r"'0.bias': expected shape \(3,\) to fit the other tensors of the module, got "
        r"\(4,\)",
    ):
        trim_(model, [forgotten], {"hidden": _keep(1, 1, 1, 0)})
    assert model[0].weight.shape == (4, 3) and model[2].in_features == 4


def test_weight_groups_and_fixed_groups_are_refused() -> None:
    conv = nn.Conv1d(3, 4, 3)
    kernels = UnitSet("kernels", (Slice("weight", 0, rows(0, 12), leading=2),), removable=False)
    with pytest.raises(ConfigError, match="expected removable units, got weight groups"):
        trim_(conv, [kernels], {"kernels": torch.arange(12) > 2})
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.GroupNorm(2, 4))
    both = UnitSet(
        "both",
        (
            *conv_out("0", model[0]),
            Slice("1.weight", 0, rows(0, 4), "norm"),
            Slice("1.bias", 0, rows(0, 4), "norm"),
        ),
    )
    with pytest.raises(ConfigError, match="GroupNorm joins units to fixed groups"):
        trim_(model, [replace(both, exact=False)], {"both": _keep(1, 1, 0, 1)})
    with pytest.raises(ConfigError, match="expected a multiple of 2 groups, got 3"):
        trim_(model, [both], {"both": _keep(1, 1, 0, 1)})
    with pytest.raises(ConfigError, match=r"equally many channels left in every group.*\[2, 0\]"):
        trim_(model, [both], {"both": _keep(1, 1, 0, 0)})
    assert type(model[1]) is nn.GroupNorm and model[1].num_channels == 4
    trim_(model, [both], {"both": _keep(1, 0, 0, 1)})
    assert (model[1].num_groups, model[1].num_channels) == (2, 2)


def test_directions_of_a_bidirectional_layer_must_stay_equal() -> None:
    model = nn.LSTM(3, 4, bidirectional=True)
    forward = tuple(part for part in lstm_units("", model) if not part.tensor.endswith("_reverse"))
    with pytest.raises(ConfigError, match="weight_ih_l0_reverse.*expected shape"):
        trim_(model, [UnitSet("forward", forward)], {"forward": _keep(1, 0, 1, 1)})


def test_grouped_convolutions_lose_equally_many_channels_per_group() -> None:
    def grouped() -> nn.Conv1d:
        return nn.Conv1d(4, 8, 3, groups=2)

    paired = UnitSet(
        "out", (Slice("weight", 0, rows(0, 4, 2, 4)), Slice("bias", 0, rows(0, 4, 2, 4)))
    )
    model = grouped()
    trim_(model, [paired], {"out": _keep(1, 0, 1, 1)})
    assert (model.groups, model.in_channels, model.out_channels) == (2, 4, 6)
    assert model(torch.zeros(1, 4, 5)).shape == (1, 6, 3)
    single = UnitSet("out", (Slice("weight", 0, rows(0, 8)), Slice("bias", 0, rows(0, 8))))
    with pytest.raises(
        ConfigError,
        match=r"with 2 groups: expected equally many channels left in every group.*\[4, 2\]",
    ):
        trim_(grouped(), [single], {"out": torch.arange(8) < 6})
    with pytest.raises(ConfigError, match="with 2 groups"):
        trim_(grouped(), [single], {"out": torch.arange(8) < 4})


def test_depthwise_layers_lose_groups() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 8, 3, groups=4), nn.Conv1d(8, 3, 1))
    both = rows(0, 4) * 2 + torch.arange(2)
    inner = UnitSet(
        "inner",
        conv_out("0", model[0]) + depthwise("1", model[1]) + conv_in("2", model[2], index=both),
    )
    masked = copy.deepcopy(model)
    keep = {"inner": _keep(1, 0, 0, 1)}
    zero_units_(masked, [inner], keep)
    trim_(model, [inner], keep)
    assert (model[1].groups, model[1].in_channels, model[1].out_channels) == (2, 2, 4)
    x = torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(x), masked(x), atol=1e-6)


@pytest.mark.parametrize("new_style", [True, False])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_weight_normalised_layers_must_be_folded(new_style: bool) -> None:
    wrap = nn.utils.parametrizations.weight_norm if new_style else nn.utils.weight_norm
    model = nn.Sequential(wrap(nn.Conv1d(2, 4, 3)), nn.ReLU(), wrap(nn.Conv1d(4, 3, 1)))
    with pytest.raises(
        ConfigError, match=r"weight-normalised one; fold first: fold_weight_norm_\(model\)"
    ):
        trim_(model, chain_units(model), {"0": _keep(1, 0, 1, 1)})
    x = torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(0))
    before = model(x)
    assert fold_weight_norm_(model) == ["0.weight", "2.weight"]
    assert torch.allclose(model(x), before, atol=1e-7)
    assert isinstance(model[0].weight, nn.Parameter) and model[0].weight.requires_grad
    trim_(model, chain_units(model), {"0": _keep(1, 0, 1, 1)})
    assert model(x).shape == (1, 3, 3) and fold_weight_norm_(model) == []


def test_other_parametrizations_are_named() -> None:
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4)), nn.Linear(4, 1)
    )
    with pytest.raises(ConfigError, match="parametrized by _SpectralNorm"):
        trim_(model, chain_units(model), {"0": _keep(1, 0, 1, 1)})


def test_several_sets_cut_parts_of_a_concatenation_and_one_recurrent_layer() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.lstm, self.out = (
                nn.Linear(2, 3),
                nn.Linear(2, 4),
                nn.LSTM(8, 5, batch_first=True),
                nn.Linear(5, 1),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.out(
                self.lstm(torch.cat((x[..., :1], self.a(x).relu(), self.b(x).relu()), -1))[0]
            )

    model = Joined()
    sets = [
        UnitSet("a", linear_out("a", model.a) + lstm_in("lstm", model.lstm, offset=1, count=3)),
        UnitSet("b", linear_out("b", model.b) + lstm_in("lstm", model.lstm, offset=4)),
        UnitSet("lstm", lstm_units("lstm", model.lstm) + linear_in("out", model.out)),
    ]
    keep = {"a": _keep(0, 1, 1), "b": _keep(1, 0, 0, 1), "lstm": _keep(1, 0, 1, 1, 0)}
    masked = copy.deepcopy(model)
    zero_units_(masked, sets, keep)
    trimmed = trim_(model, sets, keep)
    assert trimmed.kept["lstm.weight_ih_l0"][1].tolist() == [0, 2, 3, 4, 7]
    gates = [[0, 2, 3], [5, 7, 8], [10, 12, 13], [15, 17, 18]]
    assert trimmed.kept["lstm.bias_hh_l0"][0].tolist() == sum(gates, [])
    assert (model.lstm.input_size, model.lstm.hidden_size) == (5, 3)
    x = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(x), masked(x), atol=1e-6)
    assert all(
        a is b for a, b in zip(model.lstm._flat_weights, model.lstm.parameters(), strict=True)
    )

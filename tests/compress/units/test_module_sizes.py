"""The sizes that modules store, worked out from the shapes of their tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.module_sizes import Shape, module_sizes
from audioprune.compress.units.trim import resize_, trim_
from audioprune.errors import ConfigError


def _sizes(module: nn.Module, **shapes: Shape) -> dict[str, Any]:
    return module_sizes(
        module, {id(dict(module.named_parameters())[key]): shape for key, shape in shapes.items()}
    )[module]


def test_sizes_follow_the_shapes_and_nothing_is_changed() -> None:
    linear = nn.Linear(6, 5)
    assert _sizes(linear, weight=(3, 4), bias=(3,)) == {"in_features": 4, "out_features": 3}
    assert (linear.in_features, linear.weight.shape) == (6, (5, 6))
    assert _sizes(nn.ConvTranspose1d(6, 5, 3), weight=(4, 5, 3)) == {
        "in_channels": 4,
        "out_channels": 5,
        "groups": 1,
    }
    assert _sizes(nn.Conv1d(6, 12, 3, groups=6, bias=False), weight=(8, 1, 3)) == {
        "in_channels": 4,
        "out_channels": 8,
        "groups": 4,
    }
    assert _sizes(nn.LayerNorm((4, 6)), weight=(3, 6), bias=(3, 6)) == {"normalized_shape": (3, 6)}
    assert _sizes(nn.PReLU(6), weight=(2,)) == {"num_parameters": 2}
    assert _sizes(nn.LSTM(4, 3), weight_ih_l0=(12, 2)) == {"input_size": 2, "hidden_size": 3}


def test_only_modules_with_new_shapes_are_listed() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert list(module_sizes(model, {id(model[1].weight): (1, 2)})) == [model[1]]


@pytest.mark.parametrize(
    ("module", "shapes", "message"),
    [
        (
            nn.Linear(6, 5),
            {"weight": (3, 6)},
            r"expected shape \(3,\) to fit the other tensors of the module, got \(5,\); list "
            r"every tensor",
        ),
        (nn.LSTM(3, 4, 2), {"weight_hh_l0": (12, 3)}, "weight_ih_l0': expected shape"),
        (
            nn.LSTM(3, 4, proj_size=2),
            {"weight_ih_l0": (16, 2)},
            "with a projection cannot be trimmed",
        ),
        (
            nn.Conv1d(4, 6, 3, groups=2),
            {"weight": (3, 2, 3), "bias": (3,)},
            "expected a multiple of 2 groups on dim 0, got 3",
        ),
        (
            nn.GroupNorm(2, 4),
            {"weight": (2,), "bias": (2,)},
            "GroupNorm joins units to fixed groups",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    module: nn.Module, shapes: dict[str, Shape], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _sizes(module, **shapes)


class Named(nn.Module):
    """A module that stores sizes of its layers under their names, and one under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.hidden_size, self.width = 20, 5, 5
        self.conv, self.last = nn.Conv1d(3, 5, 1), nn.Linear(20, 6)
        self.rnn, self.out = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.conv(x).reshape(-1, self.in_features))
        state = torch.zeros(1, len(y), self.hidden_size)
        return self.out(self.rnn(y[:, None], state)[0])


def test_sizes_that_a_module_stores_under_the_name_of_its_layer_follow() -> None:
    model, x = Named(), torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    sets, _ = derive_units(model, x)
    assert [each.name for each in sets] == ["conv", "last", "rnn"]
    trim_(model, sets, {"conv": torch.arange(5) < 2, "rnn": torch.arange(5) < 3})
    assert (model.in_features, model.hidden_size, model.width) == (8, 3, 5)
    assert model(x).shape == (2, 1, 2)


def test_a_size_that_two_layers_have_and_one_keeps_stays() -> None:
    model = Named()
    model.twin = nn.GRU(6, 5)  # never called
    sets, reasons = derive_units(model, torch.randn(2, 3, 4))
    assert [each.name for each in sets] == ["conv", "last"]
    assert any(why.startswith("'rnn': the masked and the trimmed model do not") for why in reasons)


class Stated(nn.Module):
    """Begins with a state whose size it stores under a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_dim, self.n_rnn, self.rnn_layers, self.hop = 5, 5, 5, 5
        self.rnn, self.out = nn.LSTMCell(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.hidden_dim), torch.zeros(len(x), self.n_rnn)
        return self.out(self.rnn(x, state)[0])


def test_the_size_of_a_state_follows_under_any_name_that_says_so() -> None:
    model, x = Stated(), torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    sets, _ = derive_units(model, x)
    assert [(each.name, each.size) for each in sets] == [("rnn", 5)]
    trim_(model, sets, {"rnn": torch.arange(5) < 3})
    assert (model.hidden_dim, model.n_rnn, model.rnn_layers, model.hop) == (3, 3, 5, 5)
    fresh = Stated()
    resize_(fresh, {name: tuple(each.shape) for name, each in model.state_dict().items()})
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))

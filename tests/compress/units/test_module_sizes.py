"""The sizes that modules store, worked out from the shapes of their tensors."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from audioprune.compress.units.module_sizes import Shape, module_sizes
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

"""Inputs from shapes, and one output of several."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.experiment.foreign.example import Example, Pick, Seconds, shape_text


def test_one_shape_is_a_tensor_of_noise_that_is_always_the_same() -> None:
    made = Example([1, 6])()
    assert made.shape == (1, 6) and made.dtype == torch.float32 and bool(made.any())
    assert torch.equal(made, Example([1, 6])())


def test_several_inputs_types_and_plain_values() -> None:
    wish = [[1, 4], {"shape": [2, 3], "dtype": "int64"}, {"value": 16000}]
    signal, tokens, rate = Example(wish)()
    assert signal.shape == (1, 4) and rate == 16000
    assert tokens.dtype == torch.int64 and tokens.shape == (2, 3) and not tokens.any()
    assert Example({"shape": [2], "dtype": "complex64"})().dtype == torch.complex64
    assert Example({"shape": [2], "dtype": "float64"})().dtype == torch.float64


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ([], "expected a shape such as [1,16000]"),
        ("1,16000", "got '1,16000'"),
        ([1, 0], "every size is a whole number above 0"),
        ([1, 2.5], "expected a shape"),
        ([[1, 4], "x"], "got 'x'"),
        ({"shape": [1], "dtype": "float3"}, "float32"),
        ({"size": [1]}, "unknown key of model.example 'size'"),
    ],
)
def test_a_wrong_example_is_refused(wish: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Example(wish)


@pytest.mark.parametrize("seconds", [0, -1, "one", True, float("inf")])
def test_wrong_seconds_are_refused(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="model.seconds"):
        Seconds(seconds)


class Several(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return (x, {"mask": [x + 1, x + 2]})


@pytest.mark.parametrize(("wish", "added"), [(0, 0), ([1, "mask", 0], 1), ([1, "mask", -1], 2)])
def test_an_output_is_picked(wish: Any, added: int) -> None:
    model, x = Several(), torch.zeros(2)
    model.register_forward_hook(Pick(wish))
    assert torch.equal(model(x), x + added)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (2, "expected one of the 2 outputs of Several, 0 to 1, got 2"),
        ([1, "masks"], "unknown output of Several 'masks'; closest: mask"),
        ([0, 0], "Several returns (2,); leave it out"),
    ],
)
def test_an_output_that_is_not_there_is_named(wish: Any, message: str) -> None:
    model = Several()
    model.register_forward_hook(Pick(wish))
    with pytest.raises(ConfigError, match=re.escape(message)):
        model(torch.zeros(2))


def test_shapes_of_anything_as_text() -> None:
    value = (torch.zeros(1, 2), {"a": [torch.zeros(3)]}, None)
    assert shape_text(value) == "[(1, 2), {a: [(3,)]}, NoneType]"

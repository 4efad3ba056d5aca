"""The vocabulary of units and what check_unit_sets refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import (
    Slice,
    UnitSet,
    blocks,
    check_unit_sets,
    rows,
    tensors_of,
)
from audioprune.errors import ConfigError


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def _hidden(index: Tensor, name: str = "hidden", **others: object) -> UnitSet:
    slices = (
        Slice("0.weight", 0, index),
        Slice("0.bias", 0, index),
        Slice("2.weight", 1, index, "in"),
    )
    return UnitSet(name, slices, **others)


def test_rows_are_strided_and_blocks_are_neighbours() -> None:
    assert rows(1, 3, repeat=2, stride=10).tolist() == [[1, 11], [2, 12], [3, 13]]
    assert blocks(4, 2, 3).tolist() == [[4, 5, 6], [7, 8, 9]]
    assert _hidden(rows(0, 4)).size == 4


def test_tensors_are_parameters_and_buffers() -> None:
    assert set(tensors_of(_model())) == {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        "2.weight",
        "2.bias",
    }


def test_good_sets_pass() -> None:
    check_unit_sets(_model(), [_hidden(rows(0, 2), "a"), _hidden(rows(2, 2), "b")])
    kernels = UnitSet("kernels", (Slice("weight", 0, rows(0, 6), leading=2),), removable=False)
    check_unit_sets(nn.Conv1d(3, 2, 5), [kernels])


def test_sets_that_are_not_removable_may_overlap() -> None:
    check_unit_sets(
        _model(), [_hidden(rows(0, 4), "a"), _hidden(rows(0, 4), "b", removable=False)]
    )


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            [_hidden(rows(0, 4)), _hidden(rows(0, 4))],
            "expected every name once, got 'hidden' 2 times",
        ),
        ([UnitSet("empty", ())], "expected at least one slice"),
        (
            [UnitSet("u", (Slice("0.weigth", 0, rows(0, 4)),))],
            "unknown tensor of unit set 'u' '0.weigth'; closest: 0.weight",
        ),
        (
            [UnitSet("u", (Slice("0.weight", 2, rows(0, 4)),))],
            r"expected an axis of shape \(4, 3\), got dim 2",
        ),
        ([UnitSet("u", (Slice("0.weight", -1, rows(0, 4)),))], "got dim -1"),
        (
            [UnitSet("u", (Slice("1.num_batches_tracked", 0, rows(0, 1)),))],
            r"expected an axis of shape \(\)",
        ),
        (
            [_hidden(rows(1, 4))],
            "expected positions from 0 to 3 on dim 0, got 1 to 4; build the unit sets anew",
        ),
        ([_hidden(rows(-1, 2))], "got -1 to 0"),
        ([_hidden(torch.arange(4))], r"expected an int64 index of shape \(4, width\)"),
        ([_hidden(rows(0, 4).float())], "got torch.float32"),
        (
            [UnitSet("u", (Slice("0.weight", 0, rows(0, 4)), Slice("0.bias", 0, rows(0, 3))))],
            r"of shape \(4, width\), got .*\(3, 1\)",
        ),
        (
            [_hidden(rows(0, 3), "a"), _hidden(rows(2, 2), "b")],
            "unit sets 'a' and 'b' both claim position 2 on dim 0 of '0.weight'",
        ),
        (
            [_hidden(torch.tensor([[0], [1], [1]]))],
            "expected every position of dim 0 of '0.weight' once, got one twice",
        ),
    ],
)
def test_bad_sets_are_refused(sets: list[UnitSet], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_unit_sets(_model(), sets)
    assert "\n" not in str(caught.value)

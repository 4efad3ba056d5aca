"""Cards print as text, show themselves as HTML, and count as ``info`` does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toys import ToyModel

import audioprune
from audioprune.errors import ConfigError
from audioprune.models.fdnn import FDNN

X = torch.zeros(10, 4)


def test_costs_of_any_network() -> None:
    card = audioprune.cost(ToyModel(8), X, seconds=0.5)
    assert card.params == 4 * 8 + 8 + 8 * 2 + 2 and card.macs == 10 * (32 + 16) / 0.5
    assert "MACs a second" in str(card) and "first" in str(card)
    assert "MACs a example" not in str(card)
    assert "<table>" in card._repr_html_() and "960" in card._repr_html_()
    assert audioprune.cost(ToyModel(8), X).macs == 480


def test_a_model_that_knows_its_example_needs_none() -> None:
    card = audioprune.cost(FDNN(width=4, depth=1))
    assert card.unit == "second" and card.macs == 100 * (161 * 4 + 4 * 161)
    with pytest.raises(ConfigError, match="example input"):
        audioprune.cost(ToyModel(8))


def test_what_was_removed_and_shared_is_counted() -> None:
    model = audioprune.quantize(audioprune.prune(ToyModel(64), sparsity=0.9, units=None), bits=1)
    card = audioprune.cost(model, X)
    assert card.bytes_fp32 == 4 * card.params and card.bytes_ideal < card.bytes_fp32 / 2
    assert card.nonzero < card.params


def test_units_are_a_table_with_reasons() -> None:
    table = audioprune.units(ToyModel(8), X)
    assert [each.name for each in table] == ["first"] and len(table) == 1
    assert "first" in str(table) and "leaves the model" in str(table)
    html = audioprune.units(nn.Sequential(nn.Linear(4, 2)), X)._repr_html_()
    assert "<li>" in html and "<script" not in html

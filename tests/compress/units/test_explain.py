"""explain_units: which sets each layer writes and reads, and why a layer has none."""

from __future__ import annotations

import torch
from torch import nn

from audioprune.compress.units.explain import explain_units
from audioprune.compress.units.find import unit_sets_of


def test_every_layer_is_explained() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.Linear(4, 2))
    found = unit_sets_of(model, torch.ones(1, 3))
    first, second, last = explain_units(model, found.sets, found.left_out)
    assert (first.name, first.kind, first.parameters) == ("0", "Linear", 24)
    assert (first.writes, first.reads, first.units) == (("0",), (), 6)
    assert first.removable and first.exact and not first.reason and first.tied_to == ()
    assert (second.writes, second.reads) == (("2",), ("0",))
    assert not last.removable and last.reason == "its output leaves the model"


def test_without_sets_every_layer_has_a_reason() -> None:
    entries = explain_units(nn.Sequential(nn.Linear(3, 6)), [])
    assert [each.reason for each in entries] == ["no unit set names it"]


def test_a_convolution_of_one_channel_says_so_and_not_that_it_has_a_kernel() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 1, 3))
    found = unit_sets_of(model, torch.ones(1, 2, 9))
    assert explain_units(model, found.sets, found.left_out)[1].reason == (
        "it has a single output, which stays"
    )

"""Taps: which layer shows a unit, and at which positions of its output."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from audioprune.compress.criteria.activations import output_of, taps_of
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError


def _tap(module: nn.Module, *slices: Slice) -> list[list[int]]:
    (tap,) = taps_of(module, UnitSet("x", slices))
    assert tap.module is module
    return tap.index.tolist()


def test_the_positions_of_units_on_the_output_of_their_layer() -> None:
    assert _tap(nn.Linear(2, 3), Slice("weight", 0, rows(0, 3))) == [[0], [1], [2]]
    assert _tap(nn.ConvTranspose1d(2, 3, 4), Slice("weight", 1, rows(1, 2))) == [[1], [2]]
    gates = rows(0, 3, repeat=4, stride=3)
    both = [Slice(f"weight_{way}_l0", 0, gates) for way in ("ih", "hh")]
    assert _tap(nn.LSTM(2, 3), *both) == [[0], [1], [2]]
    backward = Slice("weight_ih_l0_reverse", 0, gates)
    assert _tap(nn.LSTM(2, 3, bidirectional=True), backward) == [[3], [4], [5]]


def test_the_units_come_out_on_the_last_axis() -> None:
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    conv, gru = nn.Conv1d(3, 5, 2), nn.GRU(8, 4)
    assert output_of(conv, conv(x)).shape == (2, 7, 5)
    assert output_of(gru, gru(x)).shape == (2, 3, 4)
    packed = gru(pack_sequence([x[0], x[1, :2]]))
    assert output_of(gru, packed).shape == (5, 4)


def test_outputs_that_do_not_show_the_units_are_refused() -> None:
    with pytest.raises(ConfigError, match="of Linear; use the magnitude or gradient criterion"):
        taps_of(nn.Linear(2, 2), UnitSet("x", (Slice("weight", 1, rows(0, 2)),)))
    with pytest.raises(ConfigError, match="one-layer recurrent layer"):
        taps_of(
            nn.LSTM(2, 2, num_layers=2),
            UnitSet("x", (Slice("weight_ih_l0", 0, rows(0, 2, 4, 2)),)),
        )

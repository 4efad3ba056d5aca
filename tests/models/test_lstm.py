"""Whether LSTM has the published size and shapes and hears only the past."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.errors import ConfigError
from audioprune.models.lstm import LSTM


def test_published_size():
    with torch.device("meta"):
        params = list(LSTM().parameters())
    assert sum(p.numel() for p in params) == 30_217_377
    assert round(sum(p.numel() for p in params) * 4 / 2**20, 2) == 115.27
    weights = [p.numel() for p in params if p.dim() > 1]
    assert len(weights) == 9 and sum(weights) == 30_184_448


@pytest.mark.parametrize(("width", "depth"), [(320, 4), (33, 4), (5, 1), (7, 2)])
def test_width_for_inverts_the_size(width, depth):
    with torch.device("meta"):
        params = sum(p.numel() for p in LSTM(width=width, depth=depth).parameters())
    if depth == 4:
        assert params == 28 * width**2 + 837 * width + 161
    assert LSTM.width_for(params, depth=depth) == LSTM.width_for(params - 3, depth=depth) == width


def test_published_baseline():
    assert LSTM.width_for(3_140_000) == 320
    with torch.device("meta"):
        assert sum(p.numel() for p in LSTM(width=320).parameters()) == 3_135_201


def test_values_equal_a_stacked_lstm():
    model = LSTM(bins=5, width=6, depth=2)
    stacked = nn.LSTM(5, 6, 2, batch_first=True)
    for i, layer in enumerate(model.layers):
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(stacked, f"{kind}_l{i}").data.copy_(getattr(layer, f"{kind}_l0"))
    x = model.example_input(7)
    torch.testing.assert_close(model(x), model.output(stacked(x)[0]).clamp(min=0))


def test_gru_cells_have_three_gates():
    model = LSTM(bins=5, width=6, depth=2, cell="gru")
    stacked = nn.GRU(5, 6, 2, batch_first=True)
    for i, layer in enumerate(model.layers):
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(stacked, f"{kind}_l{i}").data.copy_(getattr(layer, f"{kind}_l0"))
    x = model.example_input(7)
    with torch.no_grad():
        whole = model(x)
        torch.testing.assert_close(whole, model.output(stacked(x)[0]).clamp(min=0))
        state, frames = model.initial_state(1), []
        assert [part.shape for part in state] == [(1, 1, 6)] * 2
        for n in range(7):
            frame, state = model.step(x[:, n], state)
            frames.append(frame)
        torch.testing.assert_close(torch.stack(frames, 1), whole)
    params = sum(p.numel() for p in model.parameters())
    assert LSTM.width_for(params, bins=5, depth=2, cell="gru") == 6
    with pytest.raises(ConfigError, match=r"model.cell.*closest: gru"):
        LSTM(cell="gnu")


def test_units_of_gru_cells_leave_without_a_trace():
    torch.manual_seed(0)
    model = LSTM(bins=5, width=6, depth=2, cell="gru").eval()
    sets, x = model.unit_sets(), model.example_input(7)
    keep = {each.name: torch.tensor([True, False, True, True, False, True]) for each in sets}
    with torch.no_grad():
        zero_units_(model, sets, keep)
        masked = model(x)
        trim_(model, sets, keep)
        torch.testing.assert_close(model(x), masked)
    assert model.layers[0].weight_hh_l0.shape == (12, 4)


def test_only_later_frames_hear_a_change():
    model = LSTM(width=8, depth=2)
    x = model.example_input(9)
    other = x.clone()
    other[:, 4:] += 1
    difference = (model(x) - model(other)).abs().amax((0, 2))
    assert difference[:4].max() == 0 and difference[4] > 0


def test_state_is_one_pair_per_layer():
    model = LSTM(width=8, depth=3)
    assert [s.shape for s in model.initial_state(2)] == [(1, 2, 8)] * 6


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"width": 0}, {"width": "8"}, {"depth": 17}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        LSTM(**wrong)

"""The table of weight sparsities, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.weight_summary import COLUMNS, summary_text, weight_summary


def _model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(4, 8, 3), nn.PReLU(), nn.ConvTranspose1d(8, 6, 2), nn.Linear(5, 4)
    )
    with torch.no_grad():
        model[0].weight[:2] = 0  # two of eight filters
        model[0].weight[:, 1] = 0  # one of four channels
        model[2].weight[:, :3] = 0  # three of six filters of a transposed convolution
        model[3].weight[0] = 0
        model[3].weight[:, 2] = 0
    return model


def test_zeros_of_every_structure_are_counted() -> None:
    conv, up, out, total = weight_summary(_model())
    assert (conv["3D (%)"], conv["Ch (%)"], conv["2D (%)"]) == (
        25.0,
        25.0,
        pytest.approx(100 * (8 + 6) / 32),
    )
    assert conv["NNZ (sparse)"] == 96 - 42 and conv["Fine (%)"] == pytest.approx(100 * 42 / 96)
    assert (up["3D (%)"], up["Ch (%)"], up["Shape"]) == (50.0, 0.0, "(8, 6, 2)")
    assert (out["Rows (%)"], out["Cols (%)"], out["2D (%)"], out["3D (%)"]) == (
        25.0,
        20.0,
        25.0,
        0.0,
    )
    assert total["NNZ (dense)"] == 96 + 96 + 20 and total["NNZ (sparse)"] == 54 + 48 + 12
    assert (
        total["Fine (%)"] == pytest.approx(100 * (1 - 114 / 212))
        and total["Name"] == "Total sparsity:"
    )


def test_statistics_are_those_of_the_tensor() -> None:
    model = _model()
    row, weight = weight_summary(model)[2], model[3].weight
    assert row["Std"] == pytest.approx(weight.std().item()) and row["Mean"] == pytest.approx(
        weight.mean().item()
    )
    assert row["Abs-Mean"] == pytest.approx(weight.abs().mean().item())


def test_the_text_is_a_rectangle_with_all_columns() -> None:
    lines = summary_text(weight_summary(_model())).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 8
    assert all(column in lines[1] for column in COLUMNS) and "43.75000" in lines[3]

"""How sparse every weight of a model is, by single weights and by structures, as a table.

``weight_summary(model)`` returns the rows, ``summary_text`` lays them out. It counts exact zeros;
what a mask removed is a question to masks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from audioprune.compress.masks import prunable
from audioprune.compress.units.weight_groups import (
    INPUTS,
    KERNELS,
    OUTPUTS,
    GroupKinds,
    any_kept,
    weight_groups,
)

# fmt: off
COLUMNS = (
    "Name", "Shape", "NNZ (dense)", "NNZ (sparse)", "Cols (%)", "Rows (%)", "Ch (%)", "2D (%)",
    "3D (%)", "Fine (%)", "Std", "Mean", "Abs-Mean",
)
# fmt: on
_STRUCTURES = COLUMNS[4:9]
TOTAL = "Total sparsity:"


def weight_summary(model: nn.Module) -> list[dict[str, Any]]:
    """Return one row per prunable weight and a last one for all, with the keys ``COLUMNS``.

    ``NNZ (dense)`` counts all weights, ``NNZ (sparse)`` those that are not zero. ``Cols`` and
    ``Rows`` are the zero columns and rows of a matrix; ``Ch``, ``2D`` and ``3D`` the zero input
    channels, kernels and filters of a convolution, of one axis and transposed ones too; of a
    matrix, ``2D`` repeats its rows. ``Fine`` is the share of zeros. All shares are percent.
    """
    parameters = dict(model.named_parameters())
    rows = [_row(model, name, parameters[name].detach()) for name in prunable(model)]
    dense = sum(row["NNZ (dense)"] for row in rows)
    sparse = sum(row["NNZ (sparse)"] for row in rows)
    nothing = dict.fromkeys(COLUMNS[4:], 0.0)
    total = {"Name": TOTAL, "Shape": "-", "NNZ (dense)": dense, "NNZ (sparse)": sparse, **nothing}
    return [*rows, {**total, "Fine (%)": _percent(dense - sparse, dense)}]


def summary_text(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out as a text table with five decimals."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    head = _line(COLUMNS, widths)
    body = [_line(line, widths) for line in cells]
    return "\n".join([rule, head, rule, *body, rule]) + "\n"


def _row(model: nn.Module, name: str, weight: Tensor) -> dict[str, Any]:
    alive = weight != 0
    left = int(alive.sum())
    outputs = _zero_share(model, name, alive, OUTPUTS)
    inputs = _zero_share(model, name, alive, INPUTS)
    if weight.dim() == 2:
        structures = (inputs, outputs, 0.0, outputs, 0.0)
    else:
        structures = (0.0, 0.0, inputs, _zero_share(model, name, alive, KERNELS), outputs)
    return {
        "Name": name,
        "Shape": str(tuple(weight.shape)),
        "NNZ (dense)": weight.numel(),
        "NNZ (sparse)": left,
        **dict(zip(_STRUCTURES, structures, strict=True)),
        "Fine (%)": _percent(weight.numel() - left, weight.numel()),
        "Std": float(weight.std()) if weight.numel() > 1 else 0.0,
        "Mean": float(weight.mean()),
        "Abs-Mean": float(weight.abs().mean()),
    }


def _zero_share(model: nn.Module, name: str, alive: Tensor, kinds: GroupKinds) -> float:
    part = weight_groups(model, kinds, [name])[0].slices[0]
    kept = any_kept(part, alive)
    return _percent(int((~kept).sum()), len(kept))


def _percent(count: int, of: int) -> float:
    return 100.0 * count / max(1, of)


def _cells(row: dict[str, Any]) -> list[str]:
    values = [row[column] for column in COLUMNS]
    return [f"{value:.5f}" if isinstance(value, float) else str(value) for value in values]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [f" {cell:<{width}} " for cell, width in zip(cells, widths, strict=True)]
    return "|" + "|".join(padded) + "|"

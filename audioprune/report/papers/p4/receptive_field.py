"""The figure of CP-ResNet's receptive field: accuracy against what one output place sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, footer_of, save_figure
from audioprune.report.figures.theme import key_of
from audioprune.report.figures.views import Axis, dots, sheet, view, whiskers
from audioprune.report.figures.views import lines as drawn_lines
from audioprune.report.papers.p4.networks import RHO, Model, accuracy, percent
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

_HEADER = (
    "row",
    "rho",
    "receptive field (pixels)",
    "accuracy (%)",
    "deviation (points)",
    "seeds",
    "scale",
)
_MOST_TICKS = 8
Line = tuple[str, str]
"""Name and scale of networks that differ in rho alone."""


def receptive_field(rho: int) -> int:
    """Return how many mel bands, and frames, one place of CP-ResNet's last layer sees at most.

    The stem is 5x5 of stride 2. Of the 24 convolutions in 12 blocks the first one and those from
    the third to the (rho + 2)-th are 3x3, the others 1x1; 2x2 pooling follows the blocks 1, 2 and
    4. A layer of kernel k adds (k - 1) times the strides before it.

    Source: Koutini et al., "The receptive field as a regularizer in deep convolutional neural
    networks for acoustic scene classification", EUSIPCO 2019, and the authors' public code.
    """
    field, stride = 5, 2
    for place in range(24):
        if place == 0 or 2 <= place <= rho + 1:
            field += 2 * stride
        if place in (1, 3, 7):
            field, stride = field + stride, 2 * stride
    return field


def _rho(model: Model) -> int | None:
    rho = finite_or_none(model.entry.jobs[0].config.get(RHO))
    return int(rho) if rho is not None and model.entry.model == "cp_resnet" else None


def receptive_field_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of CP-ResNet against its receptive field, one line per method.

    None with fewer than two rho.
    """
    lines = _lines(models)
    if len({rho for group in lines.values() for rho, _ in group}) < 2:
        return None
    names = [name for name, _ in lines]
    caption = (
        "Accuracy of CP-ResNet against its receptive field, which rho sets: mean and standard "
        "deviation over the seeds."
    )
    rows: list[list[Any]] = []
    for (name, scale), group in lines.items():
        line = f"{name}, {scale}" if names.count(name) > 1 else name
        rows += [[line, *numbers, honest_scale(scale)] for numbers in _numbers(group)]
    points = [
        {
            "x": row[2],
            "y": row[3],
            "low": row[3] - row[4] if row[4] else None,
            "high": row[3] + row[4] if row[4] else None,
            "name": row[0],
            "told": f"{row[0]}\nrho {row[1]}, {row[2]} pixels: {row[3]:.1f} %",
        }
        for row in rows
    ]
    key = key_of(list(dict.fromkeys(row[0] for row in rows)))
    shown = sorted({(row[1], row[2]) for row in rows})
    ticks = {float(field): (f"{field}", f"rho {rho}") for rho, field in shown}
    x = Axis(
        "Maximum receptive field (pixels)", ticks=ticks if len(shown) <= _MOST_TICKS else None
    )
    layers = [drawn_lines(points, key), *whiskers(points, key), *dots(points, key)]
    ends = [f"{row[0]}, rho {row[1]}: {row[2]} pixels, {row[3]:.1f} %" for row in rows[:16]]
    alt = f"{caption} Points: {'; '.join(ends)}."
    drawn = view(x, Axis("Test accuracy (%)"), layers)
    chart = Chart(sheet([drawn], footer_of([scale for _, scale in lines])), alt)
    table = csv_text(list(_HEADER), rows)
    return save_figure(chart, folder, "p4_receptive_field", table, caption)


def _lines(models: Sequence[Model]) -> dict[Line, list[tuple[int, Model]]]:
    """Sort networks of CP-ResNet that have an accuracy by what else sets them apart."""
    found: dict[Line, list[tuple[int, Model]]] = {}
    for model in models:
        rho = _rho(model)
        if rho is not None and accuracy(model.entry).mean is not None:
            parts = [part for part in model.told.split(", ") if not part.startswith(f"{RHO}=")]
            name = replace(model, told=", ".join(parts)).name
            found.setdefault((name, model.entry.scale), []).append((rho, model))
    return found


def _numbers(group: Sequence[tuple[int, Model]]) -> list[list[Any]]:
    """Return rho, field, accuracy, deviation and seeds of every point, by rising rho."""
    rows: list[list[Any]] = []
    for rho, model in sorted(group, key=lambda point: point[0]):
        value = accuracy(model.entry)
        deviation = None if value.std is None else 100 * value.std
        rows.append([rho, receptive_field(rho), percent(value), deviation, value.seeds])
    return rows

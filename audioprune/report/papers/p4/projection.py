"""The picture of the projection: which steps of two weights become zero.

It is drawn from the formulas and needs no runs.
"""

from __future__ import annotations

import math
from pathlib import Path

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, save_figure
from audioprune.report.figures.theme import COLORS, INK, Key
from audioprune.report.figures.views import (
    Axis,
    dots,
    half_plane,
    outline,
    plot_width,
    segment,
    sheet,
    texts,
    view,
)
from audioprune.report.tables import csv_text

_EPSILON, _STEP = 0.4, 0.25  # of the picture of the projection
_LOW, _HIGH = (-1.6, -1.3), (1.9, 1.6)  # corners of its views
_TICKS = {-1.0: "-1", 0.0: "0", 1.0: "1"}


def projection_figure(folder: Path) -> Figure:
    """Draw for two weights which steps a proximal and a half-space step project to zero.

    Source: after Chen, "HSPG", whose panels (a) and (b) are the half-space projection and a
    projection region. The second panel here compares the proximal step, so that neither has a
    letter.
    """
    caption = (
        "Which trial points become zero, for a group of two weights at x. Half-space step: all "
        "beyond the line "
        f"<x+, x> = epsilon |x|^2 (epsilon = {_EPSILON:g}). Proximal step: the circle of radius "
        f"a * lambda alone."
    )
    x, trial = (1.2, 0.9), (-0.35, 0.45)
    square = x[0] ** 2 + x[1] ** 2

    def border(first: float) -> float:
        return (_EPSILON * square - x[0] * first) / x[1]

    last = (_EPSILON * square - x[1] * _LOW[1]) / x[0]  # where the border leaves at the bottom
    beyond = [{"x": end, "low": _LOW[1], "high": border(end)} for end in (_LOW[0], last)]
    turns = [2 * math.pi * place / 60 for place in range(61)]
    circle = [
        {"x": _STEP * math.cos(turn), "y": _STEP * math.sin(turn), "place": place}
        for place, turn in enumerate(turns)
    ]
    points = [
        {"x": x[0], "y": x[1], "name": "x"},
        {"x": trial[0], "y": trial[1], "name": "trial point"},
        {"x": 0.0, "y": 0.0, "name": "zero"},
    ]
    names = ("x", "trial point", "zero")
    key = Key(names, (COLORS[1], COLORS[2], INK), ("circle", "square", "cross"))
    areas = {"half-space step": half_plane(beyond), "proximal step": outline(circle)}
    across = Axis("first weight", _LOW[0], _HIGH[0], ticks=_TICKS)
    up = Axis("second weight", _LOW[1], _HIGH[1], ticks=_TICKS)
    told = (
        {"x": -0.7, "y": -0.8, "text": "becomes zero"},
        {"x": 0, "y": -0.45, "text": "becomes zero"},
    )
    width = plot_width(2)
    views = [
        view(
            across,
            up,
            [area, segment(x, trial), *dots(points, key), texts([text])],
            title=title,
            width=width,
            height=width * (_HIGH[1] - _LOW[1]) / (_HIGH[0] - _LOW[0]),
        )
        for (title, area), text in zip(areas.items(), told, strict=True)
    ]
    rows = [
        ["x", *x],
        ["trial", *trial],
        ["epsilon", _EPSILON, None],
        ["a * lambda", _STEP, None],
    ]
    table = csv_text(["what", "first", "second"], rows)
    spec = sheet(views, "Drawn from the formulas, not measured", columns=2)
    return save_figure(Chart(spec, caption), folder, "p4_projection", table, caption)

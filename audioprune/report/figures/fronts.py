"""How what models cost stands against how good they are: ``front_chart``.

One view for each cost and metric, the costs on logarithmic axes; a line joins the models that the
caller found to be beaten by none. Which these are is decided in pareto.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.theme import FAINT, Key, key_of, level_key, shape_key
from audioprune.report.figures.views import (
    Axis,
    dots,
    heights,
    level,
    lines,
    log_axis,
    number,
    plot_width,
    score_axis,
    sheet,
    texts,
    view,
    whiskers,
)

# Where the number of a dot may stand, in pixels from it, in the order in which places are tried.
_PLACES = ((6, -6), (6, 8), (-6, -6), (-6, 8), (0, -9), (0, 11), (9, 1), (-9, 1))
_HEIGHT = 140


@dataclass(frozen=True)
class Mark:
    """One model in a figure of costs and scores.

    Attributes:
        row: What a click on it chooses, such as the row of a table.
        name: What the mouse over it says.
        group: Name of its colour in the legend.
        kind: Name of its shape; empty where colour and shape say the same.
        text: What stands beside it, such as its number.
        hollow: Whether it is drawn hollow.
        costs: Its costs in the units of the axes, by their title.
        scores: Its scores likewise.
        spreads: Half the width of the interval of a score.
    """

    row: str
    name: str
    group: str
    kind: str = ""
    text: str = ""
    hollow: bool = False
    costs: Mapping[str, float | None] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    spreads: Mapping[str, float | None] = field(default_factory=dict)

    def at(self, cost: str, score: str) -> tuple[float, float] | None:
        """Return its place, or None where one of both is unknown."""
        x, y = self.costs.get(cost), self.scores.get(score)
        return None if x is None or y is None else (x, y)


@dataclass(frozen=True)
class Front:
    """One view of a figure of fronts.

    Attributes:
        cost: Title of the horizontal axis, with its unit.
        score: Title of the vertical axis.
        joined: Places among the marks of those that the line joins, the cheapest first.
        level: A named horizontal line.
        log: Whether the cost is on a logarithmic axis, on which one of nothing has no place.
    """

    cost: str
    score: str
    joined: Sequence[int] = ()
    level: tuple[str, float] | None = None
    log: bool = True

    def places(self, marks: Sequence[Mark]) -> dict[int, tuple[float, float]]:
        """Return where the marks are that have a place in this view, by their number."""
        found = enumerate(mark.at(self.cost, self.score) for mark in marks)
        return {number: at for number, at in found if at and (at[0] > 0 or not self.log)}


def front_chart(
    marks: Sequence[Mark],
    fronts: Sequence[Front],
    *,
    columns: int = 2,
    footer: str = "",
    alt: str,
) -> Chart:
    """Draw costs against scores.

    Args:
        marks: All models; one without a cost or score is left out of the view in question.
        fronts: One for each view, in reading order.
        columns: Views per row.
        footer: One sentence below it.
        alt: What it shows, in words.
    """
    groups = list(dict.fromkeys(mark.group for mark in marks))
    kinds = list(dict.fromkeys(mark.kind for mark in marks if mark.kind))
    key, shapes = key_of(groups), None
    if kinds:
        key = Key(key.names, key.colors)
        shapes = shape_key(kinds)
    levels = level_key(front.level[0] for front in fronts if front.level)
    columns = min(columns, len(fronts))
    width = plot_width(columns)
    views = [_view(marks, front, (key, shapes, levels), width) for front in fronts]
    return Chart(sheet(views, footer, columns=columns, marks=True), alt)


def _view(
    marks: Sequence[Mark], front: Front, keys: tuple[Key, Key | None, Key], width: float
) -> dict[str, Any]:
    key, shapes, levels = keys
    named = [front.level] if front.level else []
    placed = front.places(marks)
    rows = [_row(marks[number], front, *at) for number, at in placed.items()]
    costs = [place[0] for place in placed.values()] or [1.0]
    x = log_axis(front.cost, costs, 4) if front.log else score_axis(front.cost, costs)
    y = score_axis(front.score, heights(rows) + [value for _, value in named])
    joined = [placed[number] for number in front.joined if number in placed]
    layers = []
    if len(joined) > 1:
        path = [{"x": one, "y": other, "name": "front"} for one, other in joined]
        layers.append(lines(path, color=FAINT, width=1.3))
    layers += [*whiskers(rows, key), *dots(rows, key, shapes)]
    layers += [level(value, name, levels) for name, value in named]
    layers += numbers(rows, x, y, width, _HEIGHT)
    return view(x, y, layers, width=width, height=_HEIGHT)


def _row(mark: Mark, front: Front, x: float, y: float) -> dict[str, Any]:
    half = mark.spreads.get(front.score)
    ends = {} if half is None else {"low": y - half, "high": y + half}
    told = f"{mark.name}\n{front.cost}: {number(x)}\n{front.score}: {y:.4g}"
    row = {"x": x, "y": y, "name": mark.group, "kind": mark.kind, "text": mark.text}
    return {**row, "row": mark.row, "told": told, "hollow": mark.hollow, **ends}


def numbers(
    rows: Sequence[Mapping[str, Any]], x: Axis, y: Axis, width: float, height: float
) -> list[dict[str, Any]]:
    """Return the texts of dots where they cover neither a dot nor another text.

    A text for which there is no such place is left out.
    """
    pixels = [(_pixel(x, row["x"], width), height - _pixel(y, row["y"], height)) for row in rows]
    taken: list[tuple[float, float, float]] = [(across, down, 3.5) for across, down in pixels]
    layers = []
    for row, (across, down) in zip(rows, pixels, strict=True):
        text = str(row.get("text") or "")
        reach = 2.3 * len(text)  # pixels: half a text of 8 px
        for dx, dy in _PLACES if text else ():
            center = across + dx + math.copysign(reach, dx) * (dx != 0), down + dy
            near = any(
                abs(center[0] - one) < reach + half and abs(center[1] - other) < 7.5
                for one, other, half in taken
            )
            if not near and 0 < center[0] < width and 3 < center[1] < height - 3:
                taken.append((*center, reach))
                place = {"x": row["x"], "y": row["y"], "text": text}
                align = "left" if dx > 0 else "right" if dx < 0 else "center"
                layers.append(texts([place], align=align, dx=dx, dy=dy, baseline="middle"))
                break
    return layers


def _pixel(axis: Axis, value: float, length: float) -> float:
    low, high = axis.low or 0.0, axis.high or 1.0
    if axis.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return length * (value - low) / ((high - low) or 1.0)

"""What figures are built from: axes, lines, dots, bands, whiskers, bars, squares, texts, levels.

``view`` joins layers over one pair of axes, ``sheet`` joins views to the specification of a
figure. A datum has the fields x and y, or those that the builder names. Looks are in theme.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.report.figures.theme import (
    GROUND,
    INK,
    LEVEL_DASH,
    QUIET,
    WIDTH,
    Key,
    chosen_text,
    wrapped,
)

Row = Mapping[str, Any]
Layer = dict[str, Any]
MARKED = "marked"
"""The signal that holds the row of a page's table that charts mark."""
_LEFT, _GAP = 42, 12  # pixels: what the left axis takes, and the space between views
_PAD = 0.12  # of a logarithmic axis, beyond the outermost values
_TOLD = {"tooltip": {"field": "told"}, "description": {"field": "told"}}


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: What is on it, with the unit.
        low: Where it begins; None for where the data do.
        high: Where it ends.
        log: Whether it is logarithmic.
        ticks: Values that have a label, and the label; empty for the usual ones.
        names: Categories, for an axis without numbers.
        zero: Whether it begins at zero.
        label: An expression of Vega that makes the labels.
        angle: By how much labels are turned, in degrees.
        grid: Whether there are lines at the ticks; None for the usual.
        sides: Title and labels are shown; a view within a row or a column may need neither.
    """

    title: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    ticks: Mapping[float, str | Sequence[str]] | None = None
    names: tuple[str, ...] = ()
    zero: bool = False
    label: str = ""
    angle: float = 0.0
    grid: bool | None = None
    sides: bool = True
    count: int = 5

    def channel(self, field: str) -> dict[str, Any]:
        """Return the encoding of a field along this axis."""
        if self.names:
            scale: dict[str, Any] = {"domain": list(self.names)}
            return {"field": field, "type": "nominal", "scale": scale, "axis": self._axis()}
        scale = {"zero": self.zero, "nice": self.low is None}
        if self.log:
            scale = {"type": "log", "nice": False}
        if self.low is not None and self.high is not None:
            scale["domain"] = [self.low, self.high]
        return {"field": field, "type": "quantitative", "scale": scale, "axis": self._axis()}

    def _axis(self) -> dict[str, Any]:
        axis: dict[str, Any] = {"title": self.title if self.sides else None}
        if not self.sides:
            axis["labels"] = False
        if self.names:
            axis |= {"labelLimit": 0, "grid": bool(self.grid), "labelAngle": self.angle}
            if self.angle:
                axis |= {"labelAlign": "right", "labelBaseline": "middle"}
            axis |= {"labelOverlap": False}
        else:
            axis |= {"tickCount": self.count, "grid": self.grid is not False}
        if self.ticks is not None:
            axis["values"] = list(self.ticks)
            axis["labelExpr"] = chosen_text(self.ticks, "datum.value")
        elif self.label:
            axis["labelExpr"] = self.label
        return axis


def log_axis(title: str, values: Sequence[float], most: int = 5) -> Axis:
    """Return a logarithmic axis around some positive values, with plain numbers at 1, 2 and 5."""
    low, high = math.log10(min(values)), math.log10(max(values))
    pad = _PAD * max(high - low, 0.4)
    ends = 10 ** (low - pad), 10 ** (high + pad)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [
            step * 10.0**power
            for power in range(math.floor(low - pad), math.ceil(high + pad) + 1)
            for step in steps
            if ends[0] <= step * 10.0**power <= ends[1]
        ]
        if len(found) <= most:
            break
    else:
        found = found[:: math.ceil(len(found) / most)]
    return Axis(title, *ends, log=True, ticks={each: number(each) for each in found})


def number(value: float) -> str:
    """Print a number of an axis without needless digits."""
    return f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.0e}"


def lines(
    rows: Sequence[Row],
    key: Key | None = None,
    *,
    color: str = QUIET,
    width: float = 1.5,
    detail: str = "name",
) -> Layer:
    """Return lines from left to right, one for each name."""
    mark = {"type": "line", "strokeWidth": width, "strokeJoin": "round"}
    if key is None:
        return _layer(rows, {**mark, "color": color}, {"detail": {"field": detail}})
    return _layer(rows, mark, key.channels("color", "strokeDash"))


def dots(
    rows: Sequence[Row], key: Key, shapes: Key | None = None, *, size: float = 40
) -> list[Layer]:
    """Return one dot for each row: hollow where ``hollow`` is true.

    Args:
        rows: ``told`` is what a dot says under the mouse, ``row`` what a click on it chooses.
        key: Colours, and shapes where ``shapes`` is None.
        shapes: A key of its own for the shapes.
        size: Area in square pixels.
    """
    looks = key.channels("color") | (shapes or key).channels("shape")
    if any("row" in row for row in rows):
        test = f"{MARKED} !== '' && datum.row === {MARKED}"
        looks["size"] = {"condition": {"test": test, "value": 5 * size}, "value": size}
    else:
        looks["size"] = {"value": size}
    looks |= _TOLD if any("told" in row for row in rows) else {}
    full = [row for row in rows if not row.get("hollow")]
    hollow = [row for row in rows if row.get("hollow")]
    found = []
    if full:
        found.append(_layer(full, {"type": "point", "filled": True, "opacity": 1}, looks))
    if hollow:
        mark = {"type": "point", "fill": GROUND, "opacity": 1, "strokeWidth": 1.5}
        found.append(_layer(hollow, mark, looks))
    return found


def bands(rows: Sequence[Row], key: Key) -> Layer:
    """Return areas between ``low`` and ``high``."""
    ends = {"y": {"field": "low"}, "y2": {"field": "high"}}
    return _layer(rows, {"type": "area", "opacity": 0.14}, ends | key.channels("color"))


def whiskers(rows: Sequence[Row], key: Key, *, flat: bool = False) -> list[Layer]:
    """Return intervals from ``low`` to ``high``; a row without both has none.

    Args:
        rows: With x, or with y where the intervals are ``flat``.
        key: Colours.
        flat: Whether they lie along the x axis.
    """
    known = [row for row in rows if None not in (row.get("low"), row.get("high"))]
    if not known:
        return []
    along = "x" if flat else "y"
    ends = {along: {"field": "low"}, f"{along}2": {"field": "high"}}
    mark = {"type": "rule", "strokeWidth": 1.3, "opacity": 1}
    tick = {"type": "tick", "thickness": 1.3, "size": 5, "opacity": 1}
    tick["orient"] = "vertical" if flat else "horizontal"
    caps = [
        _layer(known, tick, {along: {"field": end}} | key.channels("color"))
        for end in ("low", "high")
    ]
    return [_layer(known, mark, ends | key.channels("color")), *caps]


def level(value: float, name: str, key: Key, *, upright: bool = False) -> Layer:
    """Return a named dashed line across the view."""
    along = "x" if upright else "y"
    row = {along: value, key.field: name}
    mark = {"type": "rule", "color": QUIET, "strokeWidth": 1.2, "opacity": 1}
    looks = key.channels("strokeDash")
    other = "y" if upright else "x"
    return _layer([row], mark, {along: {"field": along}, other: None} | looks)


def rule(value: float, *, upright: bool = False, dashed: bool = False) -> Layer:
    """Return an unnamed line across the view, such as that of zero."""
    along, other = ("x", "y") if upright else ("y", "x")
    mark: dict[str, Any] = {"type": "rule", "color": QUIET, "strokeWidth": 0.9}
    if dashed:
        mark["strokeDash"] = list(LEVEL_DASH)
    return _layer([{along: value}], mark, {along: {"field": along}, other: None})


def texts(
    rows: Sequence[Row], *, size: float = 8, color: str = INK, align: str = "center", **place: Any
) -> Layer:
    """Return the field ``text`` of each row at its place."""
    mark = {"type": "text", "fontSize": size, "color": color, "align": align, **place}
    return _layer(rows, mark, {"text": {"field": "text", "type": "nominal"}})


def bars(rows: Sequence[Row], key: Key) -> Layer:
    """Return bars from zero, beside one another where the key has several names."""
    looks = key.channels("color") | (_TOLD if any("told" in row for row in rows) else {})
    if len(key.names) > 1:
        looks["xOffset"] = {"field": key.field, "scale": {"domain": list(key.names)}}
    return _layer(rows, {"type": "bar", "opacity": 1}, looks)


def squares(rows: Sequence[Row], title: str, low: float, high: float, scheme: str) -> Layer:
    """Return squares of a grid of categories, coloured by the field ``value``."""
    scale = {"domain": [low, high], "scheme": scheme, "clamp": True}
    legend = {"title": title, "gradientLength": 120, "gradientThickness": 8, "orient": "bottom"}
    color = {"field": "value", "type": "quantitative", "scale": scale, "legend": legend}
    return _layer(rows, {"type": "rect"}, {"color": color} | _TOLD)


def _layer(rows: Sequence[Row], mark: Mapping[str, Any], encoding: Mapping[str, Any]) -> Layer:
    return {
        "data": {"values": [dict(row) for row in rows]},
        "mark": dict(mark),
        "encoding": dict(encoding),
    }


def view(
    x: Axis,
    y: Axis,
    layers: Sequence[Layer],
    *,
    title: str = "",
    width: float = WIDTH - _LEFT,
    height: float = 150,
) -> dict[str, Any]:
    """Return layers over one pair of axes.

    Args:
        x: The horizontal axis; layers with fields of their own keep them.
        y: The vertical one.
        layers: The lowest first.
        title: Above it; long ones are broken.
        width: Of the plot itself in pixels.
        height: The same.
    """
    drawn = []
    for layer in layers:
        own = dict(layer["encoding"])
        for name, axis in (("x", x), ("y", y)):
            if name in own and own[name] is None:
                del own[name]
            else:
                field = own.get(name, {}).get("field", name)
                own[name] = axis.channel(field) | {
                    key: value for key, value in own.get(name, {}).items() if key != "field"
                }
        drawn.append({**layer, "encoding": own})
    made: dict[str, Any] = {"width": width, "height": height, "layer": drawn}
    if title:
        made["title"] = {"text": wrapped(title, width + 20, 10)}
    return made


def plot_width(columns: int, left: float = _LEFT) -> float:
    """Return the width of the plots of so many views side by side."""
    return (WIDTH - columns * left - (columns - 1) * _GAP) / columns


def sheet(
    views: Sequence[Mapping[str, Any]],
    footer: str = "",
    *,
    columns: int = 1,
    marks: bool = False,
    apart: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the specification of a figure.

    Args:
        views: In reading order.
        footer: One sentence below it.
        columns: Views per row.
        marks: Whether a page may mark rows in it.
        apart: Channels whose legends are not shared by all views.
    """
    scales = {
        channel: "independent" if channel in apart else "shared"
        for channel in ("color", "shape", "strokeDash", "size")
    }
    made: dict[str, Any] = {
        "concat": [dict(each) for each in views],
        "columns": columns,
        "spacing": _GAP,
        "resolve": {"scale": scales},
    }
    if marks:
        made["params"] = [{"name": MARKED, "value": ""}]
    if footer:
        look = {"color": QUIET, "fontSize": 8, "fontWeight": "normal", "offset": 8}
        text = wrapped(footer, WIDTH, 8)
        made["title"] = {"text": text, "orient": "bottom", "anchor": "start", **look}
    return made

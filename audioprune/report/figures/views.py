"""What figures are built from: axes, lines, dots, bands, whiskers, bars, squares, texts, levels.

``view`` joins layers over one pair of axes, ``sheet`` joins views to the specification of a
figure. A datum has the fields x and y, or those that the builder names. Looks are in theme.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.report.figures.theme import (
    COLORS,
    FAINT,
    GRID,
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
_MOST_WHOLE = 7  # ticks of an axis of whole numbers
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
        count: About how many ticks there are.
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

    def channel(self, field: str, length: float = WIDTH) -> dict[str, Any]:
        """Return the encoding of a field along this axis, which is so many pixels long."""
        if self.names:
            scale: dict[str, Any] = {"domain": list(self.names)}
            return {"field": field, "type": "nominal", "scale": scale, "axis": self._axis(length)}
        scale = {"zero": self.zero, "nice": self.low is None}
        if self.log:
            scale = {"type": "log", "nice": False}
        if self.low is not None and self.high is not None:
            scale["domain"] = [self.low, self.high]
        return {"field": field, "type": "quantitative", "scale": scale, "axis": self._axis(length)}

    def _axis(self, length: float) -> dict[str, Any]:
        title = wrapped(self.title, length + 15) if self.title and self.sides else None
        axis: dict[str, Any] = {"title": title}
        if not self.sides:
            axis["labels"] = False
        if self.names:
            axis |= {"labelLimit": 0, "grid": bool(self.grid), "labelAngle": self.angle}
            if self.angle:
                axis |= {"labelAlign": "right", "labelBaseline": "middle"}
            axis |= {"labelOverlap": False}
        else:
            axis |= {"grid": self.grid is not False}
        if self.ticks is not None:
            axis |= {"values": list(self.ticks), "labelOverlap": False}
            axis["labelExpr"] = chosen_text(self.ticks, "datum.value")
        elif not self.names:
            axis["tickCount"] = self.count  # beside values it would leave some of them out
        if self.label:
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


def score_axis(title: str, values: Sequence[float]) -> Axis:
    """Return a linear axis around some values, whose ends are known beforehand."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * ((high - low) or abs(high) or 1.0)
    return Axis(title, low - room, high + room)


def heights(rows: Iterable[Row], field: str = "y") -> list[float]:
    """Return what an axis has to hold: the field of each row and the ends of its interval."""
    return [row[name] for row in rows for name in (field, "low", "high") if name in row]


def whole_axis(title: str, values: Iterable[float]) -> Axis:
    """Return an axis of whole numbers, such as epochs, with ticks at whole numbers alone."""
    found = list(values) or [0.0]
    low, high = math.floor(min(found)), math.ceil(max(found))
    steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step < _MOST_WHOLE)
    ticks = range(math.ceil(low / step) * step, high + 1, step)
    return Axis(title, low, max(high, low + 1), ticks={float(each): f"{each}" for each in ticks})


def number(value: float) -> str:
    """Print a number of an axis without needless digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    power = math.floor(math.log10(abs(value)))
    return f"{value / 10**power:.6g}e{power}"


def lines(
    rows: Sequence[Row],
    key: Key | None = None,
    *,
    color: str = QUIET,
    width: float = 1.5,
) -> Layer:
    """Return lines from left to right, one for each name."""
    mark = {"type": "line", "strokeWidth": width, "strokeJoin": "round"}
    if key is None:
        return _layer(rows, {**mark, "color": color}, {"detail": {"field": "name"}})
    return _layer(rows, mark, key.channels("color", "strokeDash"))


def dots(
    rows: Sequence[Row],
    key: Key | None = None,
    shapes: Key | None = None,
    *,
    size: float = 40,
    color: str = COLORS[0],
    opacity: float = 1.0,
) -> list[Layer]:
    """Return one dot for each row: hollow where ``hollow`` is true.

    Args:
        rows: ``told`` is what a dot says under the mouse, ``row`` what a click on it chooses.
        key: Colours, and shapes where ``shapes`` is None; without a key all are alike.
        shapes: A key of its own for the shapes.
        size: Area in square pixels.
        color: Of all dots without a key.
        opacity: 0..1.
    """
    looks = key.channels("color") if key else {}
    looks |= (shapes or key or Key(())).channels("shape")
    looks["size"] = {"value": size}
    if any("row" in row for row in rows):
        test = f"{MARKED} !== '' && datum.row === {MARKED}"
        looks["size"] = {"condition": {"test": test, "value": 5 * size}, "value": size}
    looks |= _TOLD if any("told" in row for row in rows) else {}
    shared: dict[str, Any] = {"type": "point", "opacity": opacity}
    shared |= {} if key else {"color": color}
    looked: dict[bool, dict[str, Any]] = {
        False: {"filled": True},
        True: {"filled": False, "fill": GROUND, "strokeWidth": 1.5},
    }
    found = []
    for hollow, look in looked.items():
        some = [row for row in rows if bool(row.get("hollow")) == hollow]
        if some:
            found.append(_layer(some, shared | look, looks))
    return found


def offset(layer: Layer, names: Sequence[str], *, flat: bool = False) -> Layer:
    """Return a layer whose names stand beside one another within a category."""
    shift = {"field": "name", "type": "nominal", "scale": {"domain": list(names)}}
    return {**layer, "encoding": layer["encoding"] | {"yOffset" if flat else "xOffset": shift}}


def half_plane(rows: Sequence[Row]) -> Layer:
    """Return the pale area between ``low`` and ``high``, cut off at the edges of the view."""
    mark = {"type": "area", "color": COLORS[0], "opacity": 0.2, "clip": True}
    return _layer(rows, mark, {"y": {"field": "low"}, "y2": {"field": "high"}})


def outline(rows: Sequence[Row]) -> Layer:
    """Return the pale area within a closed line, whose points rise in ``place``."""
    mark = {"type": "line", "fill": COLORS[0], "fillOpacity": 0.3, "strokeWidth": 0}
    return _layer(rows, mark, {"order": {"field": "place", "type": "quantitative"}})


def segment(start: tuple[float, float], end: tuple[float, float]) -> Layer:
    """Return a grey line from one place to another."""
    row = {"x": start[0], "y": start[1], "x2": end[0], "y2": end[1]}
    mark = {"type": "rule", "color": QUIET, "strokeWidth": 1.2}
    return _layer([row], mark, {"x2": {"field": "x2"}, "y2": {"field": "y2"}})


def stripes(ends: Sequence[tuple[float, float]]) -> Layer:
    """Return pale stripes across the view."""
    rows = [{"low": low, "high": high} for low, high in ends]
    mark = {"type": "rect", "color": GRID, "opacity": 0.45}
    return _layer(rows, mark, {"y": {"field": "low"}, "y2": {"field": "high"}, "x": None})


def beside(rows: Sequence[Row], dy: float = 0.0) -> Layer:
    """Return the field ``text`` of each row at its y, right of the view; ``dy`` pixels lower."""
    mark = {"type": "text", "x": "width", "dx": 3, "dy": dy, "align": "left"}
    mark |= {"baseline": "middle", "fontSize": 8.5, "color": QUIET}
    return _layer(rows, mark, {"text": {"field": "text", "type": "nominal"}, "x": None})


def bands(rows: Sequence[Row], key: Key) -> Layer:
    """Return areas between ``low`` and ``high``."""
    ends = {"y": {"field": "low"}, "y2": {"field": "high"}}
    return _layer(rows, {"type": "area", "opacity": 0.14}, ends | key.channels("color"))


def whiskers(rows: Sequence[Row], key: Key | None = None, *, flat: bool = False) -> list[Layer]:
    """Return intervals from ``low`` to ``high``; a row without both has none.

    Args:
        rows: With x, or with y where the intervals are ``flat``.
        key: Colours; without a key all are alike.
        flat: Whether they lie along the x axis.
    """
    known = [row for row in rows if None not in (row.get("low"), row.get("high"))]
    if not known:
        return []
    along = "x" if flat else "y"
    looks = key.channels("color") if key else {}
    shared = {"opacity": 1} | ({} if key else {"color": COLORS[0]})
    ends = {along: {"field": "low"}, f"{along}2": {"field": "high"}}
    tick = {"type": "tick", "thickness": 1.3, "size": 5} | shared
    tick["orient"] = "vertical" if flat else "horizontal"
    caps = [_layer(known, tick, {along: {"field": end}} | looks) for end in ("low", "high")]
    return [_layer(known, {"type": "rule", "strokeWidth": 1.3} | shared, ends | looks), *caps]


def level(value: float, name: str, key: Key, *, upright: bool = False) -> Layer:
    """Return a named dashed line across the view."""
    along = "x" if upright else "y"
    row = {along: value, key.field: name}
    mark = {"type": "rule", "color": QUIET, "strokeWidth": 1.2, "strokeDash": list(LEVEL_DASH)}
    looks = key.channels("opacity")
    other = "y" if upright else "x"
    return _layer([row], mark, {along: {"field": along}, other: None} | looks)


def diagonal(low: float, high: float, name: str, key: Key) -> Layer:
    """Return a named dashed line along which both axes have the same value."""
    rows = [{"x": end, "y": end, key.field: name} for end in (low, high)]
    mark = {"type": "line", "color": QUIET, "strokeWidth": 1.2, "strokeDash": list(LEVEL_DASH)}
    return _layer(rows, mark, key.channels("opacity"))


def rule(value: float, *, upright: bool = False, dashed: bool = False) -> Layer:
    """Return an unnamed line across the view, such as that of zero."""
    along, other = ("x", "y") if upright else ("y", "x")
    mark: dict[str, Any] = {"type": "rule", "color": QUIET, "strokeWidth": 0.9}
    if dashed:
        mark["strokeDash"] = list(LEVEL_DASH)
    return _layer([{along: value}], mark, {along: {"field": along}, other: None})


def rings(rows: Sequence[Row]) -> Layer:
    """Return a ring around the place of each row."""
    mark = {"type": "point", "size": 170, "stroke": INK, "strokeWidth": 1.2, "opacity": 1}
    return _layer(rows, {**mark, "filled": False}, {})


def range_of(rows: Sequence[Row]) -> Layer:
    """Return a pale area between the least and the greatest y at every x."""
    found: dict[float, list[float]] = {}
    for row in rows:
        found.setdefault(row["x"], []).append(row["y"])
    ends = [{"x": x, "low": min(found[x]), "high": max(found[x])} for x in sorted(found)]
    mark = {"type": "area", "color": FAINT, "opacity": 0.3}
    return _layer(ends, mark, {"y": {"field": "low"}, "y2": {"field": "high"}})


def texts(
    rows: Sequence[Row],
    *,
    size: float = 8.5,
    color: str = INK,
    align: str = "center",
    **place: Any,
) -> Layer:
    """Return the field ``text`` of each row at its place."""
    mark = {"type": "text", "fontSize": size, "color": color, "align": align, **place}
    return _layer(rows, mark, {"text": {"field": "text", "type": "nominal"}})


def bars(rows: Sequence[Row], key: Key | None = None) -> Layer:
    """Return bars from zero, beside one another where the key has several names."""
    looks = key.channels("color") if key else {}
    looks |= _TOLD if any("told" in row for row in rows) else {}
    mark = {"type": "bar", "opacity": 1} | ({} if key else {"color": COLORS[0]})
    layer = _layer(rows, mark, looks)
    return offset(layer, key.names) if key and len(key.names) > 1 else layer


def blocks(rows: Sequence[Row], key: Key) -> Layer:
    """Return blocks from ``low`` to ``high`` along the x axis, from zero up to y."""
    ends = {"x": {"field": "low"}, "x2": {"field": "high"}, "y2": {"datum": 0}}
    return _layer(rows, {"type": "rect", "opacity": 0.7}, ends | key.channels("color"))


def squares(rows: Sequence[Row], title: str, low: float, high: float, scheme: str) -> Layer:
    """Return squares of a grid of categories, coloured by the field ``value``."""
    scale = {"domain": [low, high], "scheme": scheme, "clamp": True}
    return _layer(rows, {"type": "rect"}, {"color": shade(title, scale)} | _TOLD)


def shade(title: str, scale: Mapping[str, Any]) -> dict[str, Any]:
    """Return the encoding of the field ``value`` as a colour along a scale, and its legend."""
    legend = {"title": title}
    return {"field": "value", "type": "quantitative", "scale": scale, "legend": legend}


def _layer(rows: Sequence[Row], mark: Mapping[str, Any], encoding: Mapping[str, Any]) -> Layer:
    return {
        "data": {"values": [dict(row) for row in rows]},
        # What a reader of the screen hears are the dots and bars, by their names.
        "mark": dict(mark) | ({} if "description" in encoding else {"aria": False}),
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

    Intervals end at the edges of axes whose ends are given.
    """
    drawn = []
    for layer in layers:
        own = dict(layer["encoding"])
        for name, axis, length in (("x", x, width), ("y", y, height)):
            if name in own and own[name] is None:
                del own[name]
            else:
                field = own.get(name, {}).get("field", name)
                own[name] = axis.channel(field, length) | {
                    key: value for key, value in own.get(name, {}).items() if key != "field"
                }
        mark = layer["mark"]
        cut = y.low is not None and mark["type"] in ("rule", "tick")
        drawn.append({**layer, "mark": mark | ({"clip": True} if cut else {}), "encoding": own})
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
) -> dict[str, Any]:
    """Return the specification of a figure.

    Args:
        views: In reading order.
        footer: One sentence below it.
        columns: Views per row.
        marks: Whether a page may mark rows in it.
    """
    channels = ("color", "shape", "strokeDash", "opacity", "size")
    made: dict[str, Any] = {
        "concat": [dict(each) for each in views],
        "columns": columns,
        "spacing": _GAP,
        "resolve": {"scale": dict.fromkeys(channels, "shared")},
    }
    if marks:
        made["params"] = [{"name": MARKED, "value": ""}]
    if footer:
        look = {"color": QUIET, "fontSize": 8.5, "fontWeight": "normal", "offset": 8}
        text = wrapped(footer, WIDTH, 8.5)
        made["title"] = {
            "text": text,
            "orient": "bottom",
            "anchor": "start",
            "frame": "bounds",
            **look,
        }
    return made

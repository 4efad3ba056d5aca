"""How figures look: colours, shapes, dashes, letters and their sizes.

``Key`` says how the names of a figure look and makes its legend; ``CONFIG`` is what all figures
share. No number is drawn here.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 330
"""Widest figure in pixels of 1/96 inch: one column of 85 mm, where letters are 6.5 pt and more."""
INK, QUIET, FAINT, GRID, GROUND = "#1b1f24", "#57606a", "#a8b0b9", "#dfe3e8", "#ffffff"
DARK = {INK: "#e6e9ed", QUIET: "#a5afba", FAINT: "#6c7681", GRID: "#333b44", GROUND: "#14181d"}
"""What these are on a dark page."""
_VARIABLES = dict(zip(DARK, ("ink", "quiet", "faint", "grid", "ground"), strict=True))
PAGE_COLORS = {color: f"var(--chart-{name}, {color})" for color, name in _VARIABLES.items()}
"""What a page writes in place of the colours that change with its own: light or dark."""
# Okabe and Ito's colours, which stay apart under every colour blindness; their yellow is too pale
# on white, and black follows the ink of the page.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
DASHES = ((1, 0), (5, 2.5), (1.5, 1.5))
RAMPS = {
    "viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30",
    "blue": "9ecae1 6baed6 4292c6 2171b5 08519c 08306b",
    "orange": "fdae6b fd8d3c f16913 d94801 a63603 7f2704",
    "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
}
LEVEL_DASH = (4, 3)
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_LETTER = 9
_CHAR_PX = 4.75  # mean width of a letter of 9 px
_AXIS = {
    "domainColor": QUIET,
    "gridColor": GRID,
    "gridWidth": 0.6,
    "labelColor": INK,
    "labelFlush": False,
    "labelFontSize": _LETTER,
    "labelPadding": 3,
    "tickColor": QUIET,
    "tickSize": 3,
    "titleColor": INK,
    "titleFontSize": _LETTER,
    "titleFontWeight": "normal",
    "titlePadding": 4,
}
CONFIG: Mapping[str, Any] = {
    "axis": _AXIS,
    "background": GROUND,
    "bar": {"discreteBandSize": {"band": 0.85}},
    "font": FONT,
    "legend": {
        "columnPadding": 10,
        "gradientLength": 120,
        "gradientThickness": 8,
        "labelColor": INK,
        "labelFontSize": _LETTER,
        "labelLimit": 0,
        "layout": {"bottom": {"anchor": "start", "direction": "vertical", "margin": 4}},
        "offset": 6,
        "orient": "bottom",
        "rowPadding": 2,
        "symbolOpacity": 1,
        "symbolSize": 45,
        "symbolStrokeWidth": 1.6,
        "titleColor": INK,
        "titleFontSize": _LETTER,
    },
    "text": {"color": INK, "fontSize": _LETTER},
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": 9.5,
        "fontWeight": "bold",
        "frame": "group",
        "offset": 5,
    },
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Key:
    """How the names in one field of the data look, and the legend that says so.

    Attributes:
        names: In the order of the legend.
        colors: A colour for each name; empty for a key of shapes alone.
        shapes: A shape for each name; empty for a key of colours alone.
        dashes: A dash for each name; empty where no line has one.
        levels: Whether the names are those of dashed grey lines.
        field: Field of the data that holds the names.
    """

    names: tuple[str, ...]
    colors: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    dashes: tuple[tuple[float, ...], ...] = ()
    levels: bool = False
    field: str = "name"

    def channels(self, *wanted: str) -> dict[str, Any]:
        """Return the encodings of ``color``, ``shape``, ``strokeDash`` that it has."""
        ranges: dict[str, Sequence[Any]] = {
            "color": self.colors,
            "shape": self.shapes,
            "strokeDash": self.dashes,
            "opacity": [1.0 for _ in self.names] if self.levels else (),
        }
        return {
            channel: {
                "field": self.field,
                "type": "nominal",
                "scale": {"domain": list(self.names), "range": [*map(_plain, ranges[channel])]},
                "legend": self._legend(),
            }
            for channel in wanted
            if ranges[channel]
        }

    def _legend(self) -> dict[str, Any]:
        lines = {name: wrapped(name, WIDTH - 40) for name in self.names}
        longest = max((len(line) for each in lines.values() for line in each), default=1)
        columns = max(1, min(len(self.names), int(WIDTH // (_CHAR_PX * longest + 26))))
        legend: dict[str, Any] = {"title": None, "columns": columns, "symbolOpacity": 1}
        if self.levels:
            legend |= {"symbolType": "stroke", "symbolDash": [3, 2], "symbolSize": 120}
            legend["symbolStrokeColor"] = QUIET
        elif not self.colors:
            legend["symbolStrokeColor"] = INK
            if self.shapes:
                legend["symbolFillColor"] = INK
        long = {name: each for name, each in lines.items() if len(each) > 1}
        if long:
            legend["labelExpr"] = chosen_text(long, "datum.label")
        return legend


def key_of(names: Sequence[str]) -> Key:
    """Return a key of colours, shapes and dashes in the usual order."""
    places = range(len(names))
    return Key(
        tuple(names),
        tuple(COLORS[place % len(COLORS)] for place in places),
        tuple(SHAPES[place % len(SHAPES)] for place in places),
        tuple(DASHES[place // len(COLORS) % len(DASHES)] for place in places),
    )


def shape_key(names: Sequence[str]) -> Key:
    """Return a key of shapes alone in the usual order, of the names in the field ``kind``."""
    shapes = tuple(SHAPES[place % len(SHAPES)] for place in range(len(names)))
    return Key(tuple(names), shapes=shapes, field="kind")


def level_key(names: Iterable[str]) -> Key:
    """Return the key of named levels, which are dashed grey lines."""
    found = tuple(dict.fromkeys(names))
    return Key(found, levels=True, field="level")


def ramp(name: str, count: int) -> tuple[str, ...]:
    """Return so many colours along a ramp, whose lightness rises or falls all the way.

    Args:
        name: A name in ``RAMPS``.
        count: How many.
    """
    shares = [place / max(1, count - 1) for place in range(count)]
    return tuple("#" + "".join(f"{part:02x}" for part in _between(name, at)) for at in shares)


def _between(name: str, share: float) -> tuple[int, ...]:
    """Return red, green and blue at a place of a ramp."""
    stops = [bytes.fromhex(stop) for stop in RAMPS[name].split()]
    at = share * (len(stops) - 1)
    first = min(int(at), len(stops) - 2)
    pairs = zip(stops[first], stops[first + 1], strict=True)
    return tuple(round(low + (at - first) * (high - low)) for low, high in pairs)


def wrapped(text: str, width: float, size: float = _LETTER) -> list[str]:
    """Break a text into lines that are about so many pixels wide."""
    chars = max(8, int(width / (_CHAR_PX * size / _LETTER)))
    return textwrap.wrap(text, chars, break_long_words=True) or [""]


def chosen_text(texts: Mapping[Any, Any], value: str) -> str:
    """Return an expression of Vega that looks a value up, or gives it as it is."""
    told = value
    for key, text in reversed(list(texts.items())):
        told = f"{value} === {json.dumps(key)} ? {json.dumps(text)} : {told}"
    return told


def page_style(dark: bool) -> str:
    """Return the variables of ``PAGE_COLORS`` as a page sets them."""
    told = ((name, DARK[color] if dark else color) for color, name in _VARIABLES.items())
    return " ".join(f"--chart-{name}: {color};" for name, color in told)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

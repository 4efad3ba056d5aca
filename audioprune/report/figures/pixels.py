"""Numbers as pixels within a figure: ``image`` and the legend of its colours.

A spectrogram has too many values for a mark each; how it is measured is decided in
spectrograms.py.
"""

from __future__ import annotations

import base64

import numpy as np

from audioprune.report.figures.png import written
from audioprune.report.figures.theme import ramp
from audioprune.report.figures.views import Layer, shade

_SHADES = 256


def image(
    values: np.ndarray,
    low: float,
    high: float,
    name: str,
    size: tuple[float, float],
    view_height: float,
) -> Layer:
    """Return a layer that is a picture of some values, from the left lower corner of the view.

    Args:
        values: Values (F, N); F rises upwards, N to the right.
        low: Value of the first colour.
        high: Value of the last colour.
        name: A ramp of theme.py.
        size: Width and height on paper in pixels.
        view_height: Height of the view.
    """
    mark = {
        "type": "image",
        "url": data_uri(values, low, high, name),
        "aspect": False,
        "smooth": False,
        "width": size[0],
        "height": size[1],
        "x": 0,
        "y": view_height,
        "align": "left",
        "baseline": "bottom",
    }
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {"x": None, "y": None}}


def legend(title: str, low: float, high: float, name: str) -> Layer:
    """Return a layer that shows nothing but the legend of such colours."""
    scale = {"domain": [low, high], "range": list(ramp(name, 16))}
    return {
        "data": {"values": [{"x": 0.0, "y": 0.0, "value": low}]},
        "mark": {"type": "point", "opacity": 0},
        "encoding": {"color": shade(title, scale)},
    }


def data_uri(values: np.ndarray, low: float, high: float, name: str) -> str:
    """Return a PNG of 256 colours, a pixel for each value, as the text of an address."""
    shares = np.clip((values[::-1] - low) / (high - low), 0.0, 1.0)
    pixels = np.round(shares * (_SHADES - 1)).astype(np.uint8)
    height, width = pixels.shape
    filters = np.zeros((height, 1), np.uint8)  # of each row: none
    rows = np.hstack([filters, pixels])
    palette = b"".join(bytes.fromhex(color[1:]) for color in ramp(name, _SHADES))
    png = written(width, height, palette, rows.tobytes())
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"

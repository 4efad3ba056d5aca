"""The layers of a network as a page with a graph: ``write_network_page``.

One HTML file that needs no network: the picture is an SVG within it. Layers stand below one
another in the order of their calls; a line joins a layer and the one that reads its output, in the
colour of the group of units that it carries. It takes the plain values of
``experiment.foreign.explain.explained``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.files import write_atomic
from audioprune.report.network.table import (
    bytes_text,
    closing_text,
    group_text,
    number_text,
    removable_text,
    shortened,
)

_TEMPLATES = Path(__file__).parent.parent / "templates"
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#B4568F", "#8A6D00", "#3B7EA1", "#A23B3B", "#4F5D9E")
_GOLDEN = 137.508  # degrees: neighbours in this order are far apart on the circle of hues
_ROW, _BOX, _LANE = 30, 22, 11
_WIDE = 230
_MOST_LANES = 24


@dataclass(frozen=True)
class _Edge:
    """A line from one row to a later one."""

    start: int
    end: int
    color: str


def write_network_page(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write the page of a network.

    Args:
        path: The HTML file.
        facts: What is known of its layers.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("network.html.j2").render(
        title=f"{facts['model']}, layer by layer",
        lead=closing_text(facts),
        graph=graph_of(facts),
        groups=[
            {
                "number": group["number"],
                "color": color_of(group["number"]),
                "name": group["name"],
                "text": group_text(group),
            }
            for group in facts["groups"]
        ],
        layers=[_layer_row(layer, facts) for layer in facts["layers"]],
    )
    return write_atomic(path, text + "\n")


def color_of(number: int) -> str:
    """Return the colour of a group, dark enough for white text."""
    if number <= len(_COLORS):
        return _COLORS[number - 1]
    return f"hsl({(number * _GOLDEN) % 360:.0f} 55% 36%)"


def graph_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the places of all boxes and lines of the picture, in pixels."""
    layers = facts["layers"]
    rows = {"": 0} | {layer["name"]: row for row, layer in enumerate(layers, 1) if layer["name"]}
    edges = _edges(facts, rows, len(layers) + 1)
    lanes = _lanes(edges)
    left = 14 + _LANE * (1 + max(lanes.values(), default=0))
    boxes = [_end_box("input", 0, left)]
    boxes += [_box(layer, row, left) for row, layer in enumerate(layers, 1)]
    boxes.append(_end_box("output", len(layers) + 1, left))
    return {
        "width": left + _WIDE + 650,
        "height": _ROW * (len(layers) + 2),
        "boxes": boxes,
        "lines": [_line(edge, lanes.get(edge), left) for edge in edges],
        "label": f"{len(layers)} layers and {len(facts['groups'])} groups of units",
    }


def _edges(facts: Mapping[str, Any], rows: Mapping[str, int], end: int) -> list[_Edge]:
    """Return the lines between layers, those of a group in its colour."""
    by_name = {layer["name"]: layer for layer in facts["layers"]}
    found: dict[tuple[int, int], _Edge] = {}
    for layer in facts["layers"]:
        here = rows.get(layer["name"])
        for name in layer["after"]:
            there = rows.get(name)
            if here is None or there is None or there == here:
                continue
            written = by_name[name]["groups"] if name else []
            shared = [number for number in written if number in layer["reads"]]
            color = color_of(shared[0]) if shared else ""
            found[there, here] = _Edge(min(there, here), max(there, here), color)
    for name in facts["last"]:
        if name in rows:
            found[rows[name], end] = _Edge(rows[name], end, "")
    return sorted(found.values(), key=lambda edge: (edge.end - edge.start, edge.start))


def _lanes(edges: Sequence[_Edge]) -> dict[_Edge, int]:
    """Give every line that passes a box a lane of its own beside the boxes, short ones inside."""
    taken: list[list[_Edge]] = []
    lanes: dict[_Edge, int] = {}
    for edge in edges:
        if edge.end - edge.start == 1:
            continue
        free = next(
            (
                lane
                for lane, others in enumerate(taken)
                if all(edge.end <= each.start or edge.start >= each.end for each in others)
            ),
            len(taken),
        )
        if free == len(taken):
            taken.append([])
        taken[free].append(edge)
        lanes[edge] = min(free, _MOST_LANES)
    return lanes


def _line(edge: _Edge, lane: int | None, left: int) -> dict[str, Any]:
    """Return the path of a line: straight between neighbours, else around by its lane."""
    above, below = _middle(edge.start), _middle(edge.end)
    if lane is None:
        x, edge_of_box = left + 24, below - _BOX / 2
        path = f"M{x} {above + _BOX / 2:g}V{edge_of_box - 4:g}"
        tip = f"{x - 4},{edge_of_box - 6:g} {x + 4},{edge_of_box - 6:g} {x},{edge_of_box:g}"
    else:
        x = left - 8 - _LANE * (lane + 1)
        path = (
            f"M{left} {above + 4:g}H{x + 6}Q{x} {above + 4:g} {x} {above + 10:g}"
            f"V{below - 10:g}Q{x} {below - 4:g} {x + 6} {below - 4:g}H{left - 5}"
        )
        tip = f"{left - 6},{below - 8:g} {left - 6},{below:g} {left},{below - 4:g}"
    return {"path": path, "tip": tip, "color": edge.color}


def _middle(row: int) -> float:
    return _ROW * row + _ROW / 2


def _end_box(text: str, row: int, left: int) -> dict[str, Any]:
    empty = {"color": "", "dots": [], "facts": "", "said": "", "removable": True}
    return {**empty, "x": left, "y": _ROW * row + 4, "text": text, "title": text, "end": True}


def _box(layer: Mapping[str, Any], row: int, left: int) -> dict[str, Any]:
    name = layer["name"] or "(model)"
    numbers = (
        f"{layer['type']}, {bytes_text(layer['bytes'])}, "
        f"{number_text(layer['macs_per_second'])} MACs/s"
    )
    units = f"{layer['units']} units" if layer["removable"] else removable_text(layer)
    return {
        "x": left,
        "y": _ROW * row + 4,
        "text": shortened(name, 30),
        "title": f"{name}: {numbers}; {removable_text(layer)}",
        "color": color_of(layer["groups"][0]) if layer["groups"] else "",
        "dots": [color_of(number) for number in layer["reads"][:3]],
        "facts": numbers,
        "said": shortened(units, 48),
        "removable": layer["removable"],
        "end": False,
    }


def _layer_row(layer: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    whole = facts["params"] or 1
    return {
        "name": layer["name"] or "(model)",
        "type": layer["type"],
        "groups": [(number, color_of(number)) for number in layer["groups"]],
        "reads": [(number, color_of(number)) for number in layer["reads"]],
        "units": layer["units"] if layer["removable"] else "-",
        "said": removable_text(layer),
        "params": f"{layer['params']:,}",
        "share": f"{100 * layer['params'] / whole:.1f} %",
        "bytes": bytes_text(layer["bytes"]),
        "macs": number_text(layer["macs_per_second"]),
    }

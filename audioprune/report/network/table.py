"""The layers of a network as a table that fits a terminal: ``layer_table``.

It takes the plain values of ``experiment.foreign.explain.explained``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
"""Columns of a terminal that every line fits into."""
_NAME = 26
_KIND = 12


def layer_table(facts: Mapping[str, Any]) -> str:
    """Return one line per layer, one per group of units, and how small the network can get."""
    head = (
        f"{'layer':{_NAME}} {'type':{_KIND}} {'group':>5} {'units':>5} {'bytes':>8} {'MACs/s':>7}"
    )
    lines = [f"{head}  removable"]
    for layer in facts["layers"]:
        lines += _layer_lines(layer, len(head) + 2)
    if facts["groups"]:
        lines += ["", "Units of one group leave together:"]
    for group in facts["groups"]:
        lines += _wrapped(group_text(group), f"{group['number']:5}  ", " " * 7)
    return "\n".join([*lines, "", *_wrapped(closing_text(facts), "", "")])


def group_text(group: Mapping[str, Any]) -> str:
    """Say which layers write and read the units of a group."""
    written, read = _names(group["written_by"]), _names(group["read_by"])
    inexact = "" if group["exact"] else "; taking them out is not the same as setting them to zero"
    why = f", for {group['why_inexact']}" if group.get("why_inexact") else ""
    return f"{group['units']} units, written by {written}, read by {read}{inexact}{why}"


def closing_text(facts: Mapping[str, Any]) -> str:
    """Say how small the network can get by its units, and where they come from."""
    whole, least = facts["params"], facts["least_params"]
    found = "declared by the model" if facts["source"] == "declared" else "derived and proved"
    if not facts["groups"]:
        return (
            f"{whole:,} parameters; no units can be removed, single weights can: pipeline=weights"
        )
    share = 1000 * (whole - least) // whole / 10 if whole else 0.0  # never rounded up to all
    return (
        f"{whole:,} parameters, {bytes_text(4 * whole)} as fp32; units ({found}) can take out up "
        f"to {share:.1f} %, down to {least:,} parameters"
    )


def removable_text(layer: Mapping[str, Any]) -> str:
    """Say whether the units of a layer can be removed, with which others, or why not."""
    if not layer["removable"]:
        return f"no: {layer['reason']}"
    tied = f", with {_names(layer['tied_to'])}" if layer["tied_to"] else ""
    return f"yes{tied}"


def bytes_text(count: float) -> str:
    """Return a number of bytes in three digits and a unit, such as ``1.2 kB``."""
    return f"{_short(count)}B"


def number_text(value: float) -> str:
    """Return a number in three digits and a unit, such as ``3.4 M``."""
    return _short(value).rstrip()


def _layer_lines(layer: Mapping[str, Any], indent: int) -> list[str]:
    groups = ",".join(str(number) for number in layer["groups"]) or "-"
    units = str(layer["units"]) if layer["removable"] else "-"
    row = (
        f"{shortened(layer['name'] or '(model)', _NAME):{_NAME}} "
        f"{shortened(layer['type'], _KIND):{_KIND}} {groups:>5} {units:>5} "
        f"{bytes_text(layer['bytes']):>8} {number_text(layer['macs_per_second']):>7}  "
    )
    return _wrapped(removable_text(layer), row, " " * indent)


def shortened(text: str, most: int) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= most:
        return text
    front = (most - 2) // 3
    return f"{text[:front]}..{text[len(text) - (most - 2 - front) :]}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name or "(model)" for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown or "nothing"


def _wrapped(text: str, first: str, then: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=then)


def _short(value: float) -> str:
    """Return a number with three digits and a blank and a letter behind it."""
    for letter in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or letter == "T":
            digits = 0 if not letter else max(0, 2 - len(str(int(abs(value)))) + 1)
            return f"{value:.{digits}f} {letter}"
        value /= 1000
    return str(value)

"""How a configuration class declares the range of a number or the options of a name."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def number(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a number (or list of numbers) with its range; `above` and `below` are exclusive bounds."""
    limits = {"least": least, "most": most, "above": above, "below": below}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"limits": limits})
    return field(default=default, metadata={"limits": limits})


def choice(default: str | None, *options: str) -> Any:
    """Declare a name that must be one of the options."""
    return field(default=default, metadata={"options": options})

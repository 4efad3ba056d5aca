"""How the scale of a run is said: how far its data and its training are from the paper's.

A scale is one text, such as ``desk; 20 mixtures; width 64``. Every table and figure prints it;
``honest_scale`` adds that only the paper's own scale can reproduce its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SCALES_JOINED = " | "
NO_SCALE = "scale not recorded"


def scale_text(scale: Any) -> str:
    """Say a run's scale in words: a text as it is, a mapping as ``name value`` pairs."""
    if isinstance(scale, Mapping):
        return ", ".join(f"{name} {value}" for name, value in scale.items()) or NO_SCALE
    return str(scale) if scale else NO_SCALE


def honest_scale(scale: str) -> str:
    """Add "not a reproduction" to every scale but the paper's own.

    Joined scales are marked one by one.
    """
    return SCALES_JOINED.join(dict.fromkeys(_honest(each) for each in scale.split(SCALES_JOINED)))


def _honest(scale: str) -> str:
    own = scale.strip().lower()
    return (
        scale
        if own.startswith("paper") or "not a reproduction" in own
        else f"{scale}, not a reproduction"
    )


def joined_scales(scales: Iterable[str]) -> str:
    """Say all different scales of the jobs behind one row."""
    return SCALES_JOINED.join(dict.fromkeys(scale for scale in scales if scale)) or NO_SCALE


def validation_text(items: Any) -> str:
    """Say over how many validation items a number is a mean: all where no number is given."""
    count = int(items) if isinstance(items, int | float) and not isinstance(items, bool) else None
    return (
        "the validation set"
        if count is None
        else f"{count} item{'s' * (count != 1)} of the validation set"
    )


def width_in(scale: str) -> str:
    """Return the width in a scale, or an empty text; of joined scales all widths."""
    parts = (
        part
        for one in scale.split(SCALES_JOINED)
        for part in one.split("; ")
        if part.startswith("width ")
    )
    return SCALES_JOINED.join(dict.fromkeys(part.removeprefix("width ") for part in parts))


def without_width(scale: str) -> str:
    """Return a scale without the width of the model."""
    each = (
        "; ".join(part for part in one.split("; ") if not part.startswith("width "))
        for one in scale.split(SCALES_JOINED)
    )
    return SCALES_JOINED.join(dict.fromkeys(each))

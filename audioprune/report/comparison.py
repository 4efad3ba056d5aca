"""How a compressed model compares with its input and with the model before compression.

``comparison_line`` says it in one line for runs with one compressed model, such as the demo's. It
judges nothing: the line gives the gains under every condition as they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from audioprune.report.runs.entry import Entry, condition_text
from audioprune.report.runs.states import Condition

_METRIC = "stoi"
_POINTS = 100
"""STOI is told in points."""


def comparison_line(found: Sequence[Entry]) -> str:
    """Return the line, or an empty text where there is not one compressed model to compare.

    Args:
        found: Final entries of the runs.
    """
    compressed = [entry for entry in found if entry.variant == "compressed" and not entry.status]
    if len(compressed) != 1:
        return ""
    model = compressed[0]
    others = [entry for entry in found if entry.corpus == model.corpus and not entry.status]
    mixture = _only(others, "mixture")
    dense = _only([entry for entry in others if entry.label == model.label], "uncompressed")
    if mixture is None or _gain(model, mixture) is None:
        return ""
    conditions = [
        (condition, _gain(model, mixture, condition)) for condition in model.conditions()
    ]
    gains = [f"{_short(name)} {gain:+.1f}" for name, gain in conditions if gain is not None]
    line = f"{model.title}: STOI {_gain(model, mixture):+.1f} points over its input on average"
    if gains:
        line += f" ({', '.join(gains)})"
    before = None if dense is None else _gain(model, dense)
    if before is not None:
        line += f", {before:+.1f} against the uncompressed model"
    rate = model.size("rate_file").mean
    return line + (f", in a file {rate:.0f} times smaller" if rate else "")


def _only(found: Sequence[Entry], variant: str) -> Entry | None:
    having = [entry for entry in found if entry.variant == variant]
    return having[0] if len(having) == 1 else None


def _short(condition: Condition) -> str:
    return condition_text(condition).replace(",", "")


def _gain(model: Entry, other: Entry, condition: Condition | None = None) -> float | None:
    """Return the difference in points, under one condition or on the mean over all."""
    if condition is None:
        mine, theirs = model.score(_METRIC), other.score(_METRIC)
    else:
        noise, snr_db = condition
        mine = model.score(_METRIC, snr_db, noise)
        theirs = other.score(_METRIC, snr_db, noise)
    if mine.mean is None or theirs.mean is None:
        return None
    return _POINTS * (mine.mean - theirs.mean)

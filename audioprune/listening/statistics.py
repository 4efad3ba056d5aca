"""From ratings to the rows of tables: ``statistics``.

Every test has rows of its own, for all listeners and without the ones that post-screening flags.
The formulas are in scores.py; tables and figures are made by audioprune.report.figures.listening.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from audioprune.listening.ratings import RatingSheet
from audioprune.listening.scores import (
    CONTROLS,
    LOW_ANCHOR,
    MID_ANCHOR,
    REFERENCE,
    Estimate,
    Rating,
    Screening,
    item_scores,
    listener_scores,
    mean_scores,
    paired_differences,
    screen,
)

# What tables list first, worst first.
_FIRST = (LOW_ANCHOR, MID_ANCHOR, "coded", "noisy", "DCAE_10", "DCAE", "DCAE_pr")
ALL, KEPT = "all", "without flagged"


def statistics(sheet: RatingSheet, level: float = 0.95) -> dict[str, Any]:
    """Return everything that tables and figures of ratings show, as plain values.

    Returns:
        ``tests`` (name, items, conditions, counts of listeners), ``means`` (pooled, and over
        listeners), ``items`` (means per item), ``differences`` (all pairs), ``listeners``
        (post-screening), ``damaged`` rows and the number of ``repeated`` ones. Rows for all
        listeners always; rows without the flagged ones where there are any.
    """
    found: dict[str, Any] = {"level": level}
    for name in ("tests", "means", "items", "differences", "listeners"):
        found[name] = []
    for test in dict.fromkeys(rating.test for rating in sheet.ratings):
        ratings = [rating for rating in sheet.ratings if rating.test == test]
        screened = screen(ratings)
        flagged = {each.listener for each in screened if each.reasons}
        conditions = ordered({rating.condition for rating in ratings})
        found["tests"].append(
            {
                "test": test,
                "conditions": conditions,
                "items": len({rating.item for rating in ratings}),
                "listeners": len(screened),
                "flagged": len(flagged),
                "ratings": len(ratings),
            }
        )
        found["listeners"] += [_listener_row(test, each) for each in screened]
        groups = {ALL: ratings}
        if flagged:
            groups[KEPT] = [rating for rating in ratings if rating.listener not in flagged]
        for group, chosen in groups.items():
            _add_rows(found, {"test": test, "listeners": group}, chosen, conditions, level)
    return found | {"damaged": sheet.damaged, "repeated": sheet.repeated}


def ordered(conditions: Iterable[str]) -> list[str]:
    """Return conditions from what is expected worst to the reference.

    A difference is the later one minus the earlier one.
    """
    names = sorted(conditions)
    first = [name for name in _FIRST if name in names]
    others = [name for name in names if name not in (*_FIRST, REFERENCE)]
    last = [REFERENCE] if REFERENCE in names else []
    return first + others + last


def _add_rows(
    found: dict[str, Any],
    place: dict[str, str],
    ratings: Sequence[Rating],
    conditions: Sequence[str],
    level: float,
) -> None:
    pooled, over_listeners = mean_scores(ratings, level), listener_scores(ratings, level)
    for name in conditions:
        own = over_listeners.get(name, Estimate(0))
        row = {**place, "condition": name, **asdict(pooled.get(name, Estimate(0)))}
        found["means"].append(row | _over_listeners(own))
    for item, scores in item_scores(ratings, level).items():
        for name in conditions:
            if name in scores:
                row = {**place, "item": item, "condition": name, **asdict(scores[name])}
                found["items"].append(row)
    pairs = []
    for pair in paired_differences(ratings, conditions, level):
        names = {"first": pair.first, "second": pair.second}
        control = pair.first in CONTROLS or pair.second in CONTROLS
        row = {**place, **names, "control": control, **asdict(pair.ratings)}
        pairs.append(row | _over_listeners(pair.listeners))
    # What the test asks about comes first, comparisons with anchors and the reference after it.
    found["differences"] += sorted(pairs, key=lambda row: row["control"])


def _over_listeners(estimate: Estimate) -> dict[str, Any]:
    return {f"listener_{key}": value for key, value in asdict(estimate).items()}


def _listener_row(test: str, screening: Screening) -> dict[str, Any]:
    reasons = "; ".join(screening.reasons)
    return {"test": test, **asdict(screening), "flagged": bool(reasons), "reasons": reasons}

"""From ratings to the rows of tables: every test apart, with all listeners and without those whom post-screening flags.

The formulas stand in audioprune.listening.scores; tables and figures are made by
audioprune.report.figures.listening.
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
    found: dict[str, Any] = {
        "level": level,
        "tests": [],
        "means": [],
        "items": [],
        "differences": [],
        "listeners": [],
    }
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
        groups = {ALL: ratings} | (
            {KEPT: [rating for rating in ratings if rating.listener not in flagged]}
            if flagged
            else {}
        )
        for group, chosen in groups.items():
            _add_rows(found, {"test": test, "listeners": group}, chosen, conditions, level)
    return found | {"damaged": sheet.damaged, "repeated": sheet.repeated}


def ordered(conditions: Iterable[str]) -> list[str]:
    """Return conditions from what is expected worst to the reference; a difference is the later one minus the earlier one."""
    names = sorted(conditions)
    known = [name for name in _FIRST if name in names]
    return [
        *known,
        *(name for name in names if name not in (*_FIRST, REFERENCE)),
        *(name for name in names if name == REFERENCE),
    ]


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
        found["means"].append(
            row | {f"listener_{key}": value for key, value in asdict(own).items()}
        )
    for item, scores in item_scores(ratings, level).items():
        found["items"] += [
            {**place, "item": item, "condition": name, **asdict(scores[name])}
            for name in conditions
            if name in scores
        ]
    pairs = []
    for pair in paired_differences(ratings, conditions, level):
        row = {
            **place,
            "first": pair.first,
            "second": pair.second,
            "control": pair.first in CONTROLS or pair.second in CONTROLS,
        }
        pairs.append(
            {
                **row,
                **asdict(pair.ratings),
                **{f"listener_{key}": value for key, value in asdict(pair.listeners).items()},
            }
        )
    found["differences"] += sorted(
        pairs, key=lambda row: row["control"]
    )  # what the test asks about comes first


def _listener_row(test: str, screening: Screening) -> dict[str, Any]:
    reasons = "; ".join(screening.reasons)
    return {"test": test, **asdict(screening), "flagged": bool(reasons), "reasons": reasons}

"""What ratings of a listening test say: means, paired differences, and a screening of listeners.

Each function takes ratings and returns estimates with intervals. Ratings are read in ratings.py,
the rows of tables are made in statistics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from audioprune.metrics.estimate import Estimate, estimate

REFERENCE = "reference"
LOW_ANCHOR, MID_ANCHOR = "anchor35", "anchor70"
CONTROLS = (REFERENCE, LOW_ANCHOR, MID_ANCHOR)
"""Conditions that every test holds besides what it asks about."""
GOOD = 90.0
"""The score that the hidden reference should reach, and the mid-range anchor should not."""
TOLERATED_SHARE = 0.15
"""Share of items in which a listener may miss that."""


@dataclass(frozen=True)
class Rating:
    """One score of one listener.

    Attributes:
        test: Name of the listening test.
        listener: Session in which the score was given.
        item: Trial, which is one recording in all conditions.
        condition: What was heard.
        score: 0 (bad) to 100 (excellent).
    """

    test: str
    listener: str
    item: str
    condition: str
    score: float


@dataclass(frozen=True)
class Difference:
    """How much higher one condition was rated than another.

    Ratings are compared where one listener rated both conditions in one trial.

    Attributes:
        first: Minuend.
        second: Subtrahend.
        ratings: Over all pairs of ratings.
        listeners: Over the mean differences of listeners, which are independent of each other.
    """

    first: str
    second: str
    ratings: Estimate
    listeners: Estimate


@dataclass(frozen=True)
class Screening:
    """What speaks for and against one listener.

    Attributes:
        listener: Session.
        items: Number of trials in which the hidden reference was rated.
        low_reference: Share of these in which it got less than 90; None without any.
        high_anchor: Share of trials in which the mid-range anchor got more than 90; None if the
            test has none.
    """

    listener: str
    items: int
    low_reference: float | None
    high_anchor: float | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the listener is flagged, in words; empty if nothing speaks against this listener."""
        found = []
        if self.low_reference is not None and self.low_reference > TOLERATED_SHARE:
            found.append(
                f"hidden reference below {GOOD:g} in {self.low_reference:.0%} of the items"
            )
        if self.high_anchor is not None and self.high_anchor > TOLERATED_SHARE:
            found.append(f"mid-range anchor above {GOOD:g} in {self.high_anchor:.0%} of the items")
        return tuple(found)


def mean_scores(ratings: Iterable[Rating], level: float = 0.95) -> dict[str, Estimate]:
    """Return the mean score of each condition over all ratings.

    Conditions are in the order in which they first occur.
    """
    scores: dict[str, list[float]] = {}
    for rating in ratings:
        scores.setdefault(rating.condition, []).append(rating.score)
    return {condition: estimate(values, level) for condition, values in scores.items()}


def listener_scores(ratings: Iterable[Rating], level: float = 0.95) -> dict[str, Estimate]:
    """Return the mean score of each condition over the means of listeners.

    These means are independent of each other.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for rating in ratings:
        own = scores.setdefault(rating.condition, {})
        own.setdefault(rating.listener, []).append(rating.score)
    found = {}
    for condition, own in scores.items():
        means = [float(np.mean(values)) for values in own.values()]
        found[condition] = estimate(means, level)
    return found


def item_scores(ratings: Sequence[Rating], level: float = 0.95) -> dict[str, dict[str, Estimate]]:
    """Return the mean score of each condition for every item."""
    items: dict[str, list[Rating]] = {}
    for rating in ratings:
        items.setdefault(rating.item, []).append(rating)
    return {item: mean_scores(own, level) for item, own in items.items()}


def paired_difference(
    ratings: Iterable[Rating], first: str, second: str, level: float = 0.95
) -> Difference:
    """Return how much higher ``first`` was rated than ``second`` by listeners in their trials."""
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for rating in ratings:
        scores.setdefault((rating.listener, rating.item), {})[rating.condition] = rating.score
    differences: list[float] = []
    listeners: dict[str, list[float]] = {}
    for (listener, _), own in scores.items():
        if first in own and second in own:
            differences.append(own[first] - own[second])
            listeners.setdefault(listener, []).append(differences[-1])
    means = [float(np.mean(values)) for values in listeners.values()]
    return Difference(first, second, estimate(differences, level), estimate(means, level))


def paired_differences(
    ratings: Sequence[Rating], conditions: Sequence[str], level: float = 0.95
) -> list[Difference]:
    """Return the difference of every pair of conditions, the later one minus the earlier one."""
    return [
        paired_difference(ratings, later, earlier, level)
        for earlier, later in combinations(conditions, 2)
    ]


def screen(
    ratings: Iterable[Rating], reference: str = REFERENCE, anchor: str = MID_ANCHOR
) -> list[Screening]:
    """Return what speaks for and against each listener.

    A listener should hardly ever miss the hidden reference or take the mid-range anchor for
    excellent.

    Args:
        ratings: All ratings of one test.
        reference: Name of the hidden reference.
        anchor: Name of the mid-range anchor.

    Source: ITU-R BS.1534-3, post-screening: a listener is left out whose score of the hidden
    reference is below 90 in more than 15 % of the items, or whose score of the mid-range anchor is
    above 90 in more than 15 % of them.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for rating in ratings:
        own = scores.setdefault(rating.listener, {})
        own.setdefault(rating.condition, []).append(rating.score)
    found = []
    for listener, own in scores.items():
        hidden, middle = own.get(reference, []), own.get(anchor, [])
        low = sum(score < GOOD for score in hidden) / len(hidden) if hidden else None
        high = sum(score > GOOD for score in middle) / len(middle) if middle else None
        found.append(Screening(listener, len(hidden), low, high))
    return found

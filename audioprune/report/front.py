"""Which of several points no other point beats: the Pareto front of all figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Point = TypeVar("Point")


def pareto_front(
    points: Iterable[Point], cost: Callable[[Point], float], gain: Callable[[Point], float]
) -> list[Point]:
    """Return the points that gain more than every cheaper one, by rising cost.

    Args:
        points: Anything; of equal points the first is kept.
        cost: What should be small.
        gain: What should be large.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (cost(each), -gain(each))):
        if not best or gain(point) > gain(best[-1]):
            best.append(point)
    return best

"""How sure a mean over seeds is, and one over seeds and items: `Interval`.

``interval`` takes one number for each seed, ``crossed_interval`` one for each seed and item,
shape (S, I), ``interval_of`` whichever of both the paired differences of two models hold. It
judges nothing and reads no file.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
OVER_SEEDS, OVER_BOTH = "seeds", "items and seeds"
Seed = int | None
Items = Mapping[str, float]
"""One number for each item, by its name."""


@dataclass(frozen=True)
class Interval:
    """The mean of some numbers, and its 95 % interval.

    Attributes:
        mean: Mean over the seeds.
        low: Lower end.
        high: Upper end.
        seeds: Number of seeds.
        items: Number of items that were resampled too; 0 where only seeds were.
    """

    mean: float
    low: float
    high: float
    seeds: int
    items: int = 0

    @property
    def width(self) -> float:
        """Distance between both ends."""
        return self.high - self.low

    @property
    def over(self) -> str:
        """What was resampled, in words."""
        return OVER_BOTH if self.items else OVER_SEEDS

    def text(self, factor: float = 1.0, decimals: int = 2, unit: str = "") -> str:
        """Say it, such as ``+0.83 [+0.40, +1.26] points``."""
        mean, low, high = (
            f"{factor * number:+.{decimals}f}" for number in (self.mean, self.low, self.high)
        )
        return f"{mean} [{low}, {high}]{unit}"


class Differences(dict[Seed, float]):
    """The difference of two models for every seed, and for every seed and item where known.

    Args:
        by_seed: The difference of every seed.
        by_item: For every seed the difference of every item; empty where any seed or item lacks
            one.
    """

    def __init__(
        self, by_seed: Mapping[Seed, float], by_item: Mapping[Seed, Items] | None = None
    ) -> None:
        super().__init__(by_seed)
        self.by_item = _complete(by_seed, by_item or {})

    def negated(self) -> Differences:
        """Return the differences the other way round."""
        return Differences(
            {seed: -value for seed, value in self.items()},
            {
                seed: {name: -value for name, value in items.items()}
                for seed, items in self.by_item.items()
            },
        )


def _complete(by_seed: Mapping[Seed, float], by_item: Mapping[Seed, Items]) -> dict[Seed, Items]:
    """Return the items of all seeds, or nothing where not all seeds have the same ones."""
    names = [set(by_item.get(seed, ())) for seed in by_seed]
    if not names or not names[0] or any(each != names[0] for each in names):
        return {}
    return {seed: by_item[seed] for seed in by_seed}


def paired(
    one: Mapping[Seed, float | None],
    other: Mapping[Seed, float | None],
    items: tuple[Mapping[Seed, Items], Mapping[Seed, Items]] | None = None,
) -> Differences:
    """Return the difference ``one - other`` of every seed that both have.

    Args:
        one: A number for every seed.
        other: The same of what it is compared with.
        items: The numbers of every item of both, where they are known.
    """
    pairs = {seed: (one[seed], other[seed]) for seed in one if seed in other}
    found = {
        seed: left - right
        for seed, (left, right) in pairs.items()
        if left is not None and right is not None
    }
    return Differences(
        found, {seed: _paired_items(seed, *items) for seed in found} if items else {}
    )


def _paired_items(
    seed: Seed, one: Mapping[Seed, Items], other: Mapping[Seed, Items]
) -> dict[str, float]:
    left, right = one.get(seed, {}), other.get(seed, {})
    if left.keys() != right.keys():
        return {}
    return {name: left[name] - right[name] for name in left}


def interval_of(values: Mapping[Seed, float] | Sequence[float]) -> Interval | None:
    """Return the interval of paired differences: over items and seeds where items are known."""
    if isinstance(values, Differences) and values.by_item:
        names = sorted(next(iter(values.by_item.values())))
        rows = [[items[name] for name in names] for items in values.by_item.values()]
        return crossed_interval(np.array(rows))
    return interval(values.values() if isinstance(values, Mapping) else values)


def interval(values: Iterable[float], level: float = LEVEL) -> Interval | None:
    """Return Student's t interval of a mean over seeds, or None for less than two values.

    Args:
        values: One number for each seed; for a comparison the differences, paired by seed.
        level: Probability 0..1.

    Source: Student (1908), The probable error of a mean; n - 1 degrees of freedom.
    """
    values = list(values)
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = _student(level, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def crossed_interval(values: np.ndarray, level: float = LEVEL) -> Interval | None:
    """Return the interval of a mean by a bootstrap that draws seeds and items anew together.

    Each draw takes S - 1 of the S seeds and I - 1 of the I items with replacement, the same items
    for every seed, so that its variance is not too small for three seeds. The variance of such
    draws has a closed form, and none is really made. Few seeds are no normal sample: the interval
    is the mean and its deviation times Student's t, whose degrees of freedom follow from the
    shares of seeds and items in the variance.

    Args:
        values: One number for each seed and item, shape (S, I), paired differences of two models
            for a comparison.
        level: Probability 0..1.

    Returns:
        The interval, or None for less than two seeds or items.

    Source: Owen (2007), The pigeonhole bootstrap; Rao & Wu (1988), Resampling inference with
    complex survey data, for draws of n - 1; Satterthwaite (1946), An approximate distribution of
    estimates of variance components.
    """
    seeds, items = values.shape
    if min(seeds, items) < 2:
        return None
    mean = float(values.mean())
    of_seeds = float(values.mean(axis=1).var())  # deviations of the means of seeds, / S
    of_items = float(values.mean(axis=0).var())
    drawn_seeds, drawn_items = seeds - 1, items - 1
    variance = (
        of_seeds / drawn_seeds * (1 - 1 / drawn_items)
        + of_items / drawn_items * (1 - 1 / drawn_seeds)
        + float(values.var()) / (drawn_seeds * drawn_items)
    )
    half = _student(level, _freedom(of_seeds, of_items, seeds, items)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, seeds, items)


def _freedom(of_seeds: float, of_items: float, seeds: int, items: int) -> float:
    """Return the degrees of freedom of a variance that has a share of seeds and one of items."""
    shares = of_seeds / (seeds - 1), of_items / (items - 1)
    if not sum(shares):
        return float(seeds - 1)
    return sum(shares) ** 2 / (shares[0] ** 2 / (seeds - 1) + shares[1] ** 2 / (items - 1))


def _student(level: float, freedom: float) -> float:
    from scipy.stats import t as student  # slow to import; reports without claims do without

    return float(student.ppf((1 + level) / 2, freedom))

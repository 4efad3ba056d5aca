"""Intervals: Student's over seeds, and a bootstrap over seeds and items against one that draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from audioprune.report.runs.intervals import (
    Differences,
    crossed_interval,
    interval,
    interval_of,
    paired,
)

RNG = np.random.default_rng(7)
VALUES = RNG.normal(0, 1, (3, 1)) + RNG.normal(0, 2, (1, 12)) + RNG.normal(0, 0.5, (3, 12)) + 1.0


def _drawn_deviation(values: np.ndarray, draws: int = 20_000) -> float:
    """Deviation of the mean over draws of S - 1 seeds and I - 1 items with replacement."""
    rng = np.random.default_rng(3)
    seeds, items = values.shape
    rows = rng.integers(seeds, size=(draws, seeds - 1))
    columns = rng.integers(items, size=(draws, items - 1))
    means = values[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    return float(means.std())


def _half(values: np.ndarray) -> float:
    found = crossed_interval(values)
    assert found is not None and found.mean == pytest.approx(values.mean())
    return found.high - found.mean


def test_the_deviation_is_that_of_a_bootstrap_that_really_draws() -> None:
    of_seeds, of_items = VALUES.mean(axis=1).var() / 2, VALUES.mean(axis=0).var() / 11
    freedom = (of_seeds + of_items) ** 2 / (of_seeds**2 / 2 + of_items**2 / 11)
    expected = stats.t.ppf(0.975, freedom) * _drawn_deviation(VALUES)
    assert _half(VALUES) == pytest.approx(expected, rel=0.03)


def test_items_that_agree_leave_the_interval_of_the_seeds() -> None:
    """Students's interval of the seeds' means, and that of the items where seeds agree."""
    by_seed = [1.0, 2.0, 4.0]
    alike = np.repeat(np.array(by_seed)[:, None], 50, axis=1)
    students = interval(by_seed)
    assert students is not None
    assert _half(alike) == pytest.approx(students.high - students.mean, rel=1e-9)
    by_item = np.repeat(np.array([[0.0, 1.0, 5.0, 2.0]]), 3, axis=0)
    low, high = stats.t.interval(0.95, 3, by_item[0].mean(), stats.sem(by_item[0]))
    found = crossed_interval(by_item)
    assert found is not None and (found.low, found.high) == pytest.approx((low, high))


def test_a_constant_has_an_interval_without_width() -> None:
    found = crossed_interval(np.full((3, 5), 2.0))
    assert found is not None and (found.low, found.high, found.items) == (2.0, 2.0, 5)
    assert crossed_interval(np.ones((1, 5))) is None and crossed_interval(np.ones((3, 1))) is None


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    """Of 400 samples of three seeds and twelve items; 95 % with a deviation of 1.1 %."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        values = rng.normal(0, 1, (3, 1)) + rng.normal(0, 2, (1, 12)) + rng.normal(0, 1, (3, 12))
        found = crossed_interval(values)
        assert found is not None
        held += found.low <= 0 <= found.high
    assert 0.92 <= held / 400 <= 1.0


def test_items_count_only_where_all_seeds_have_the_same() -> None:
    seeds = {0: 2.0, 1: 3.0}
    items = {0: {"a": 1.0, "b": 3.0}, 1: {"a": 2.0, "b": 4.0}}
    whole = interval_of(Differences(seeds, items))
    assert whole is not None and whole.items == 2 and whole.over == "items and seeds"
    assert interval_of(Differences(seeds)) == interval([2.0, 3.0])
    other = interval_of(Differences(seeds, {**items, 1: {"a": 2.0, "c": 4.0}}))
    assert other == interval([2.0, 3.0]) and other is not None and other.over == "seeds"


def test_differences_are_paired_by_seed_and_item() -> None:
    one, other = {0: 3.0, 1: 5.0, 2: None}, {0: 1.0, 1: 4.0, 2: 9.0, 3: 1.0}
    items = (
        {0: {"a": 3.0, "b": 3.0}, 1: {"a": 5.0, "b": 5.0}},
        {0: {"b": 2.0, "a": 0.0}, 1: {"a": 4.0, "b": 4.0}},
    )
    found = paired(one, other, items)
    assert found == {0: 2.0, 1: 1.0}
    assert found.by_item == {0: {"a": 3.0, "b": 1.0}, 1: {"a": 1.0, "b": 1.0}}
    back = found.negated()
    assert back == {0: -2.0, 1: -1.0} and back.by_item[0] == {"a": -3.0, "b": -1.0}

"""Statistics of listening tests against numbers worked out by hand."""

from __future__ import annotations

import pytest

from audioprune.listening.scores import (
    Rating,
    item_scores,
    listener_scores,
    mean_scores,
    paired_difference,
    paired_differences,
    screen,
)
from audioprune.metrics.estimate import Estimate, estimate

# Two items, three listeners.     item1: ref A B     item2: ref A B
SCORES = {
    "ann": {
        "item1": {"reference": 100, "A": 60, "B": 50},
        "item2": {"reference": 96, "A": 70, "B": 40},
    },
    "bob": {
        "item1": {"reference": 92, "A": 80, "B": 60},
        "item2": {"reference": 100, "A": 50, "B": 50},
    },
    "cy": {
        "item1": {"reference": 70, "A": 90, "B": 70},
        "item2": {"reference": 95, "A": 70, "B": 60},
    },
}


def _ratings(scores: dict[str, dict[str, dict[str, float]]] = SCORES) -> list[Rating]:
    trials = [(who, item, own) for who, items in scores.items() for item, own in items.items()]
    return [
        Rating("t", who, item, name, score)
        for who, item, own in trials
        for name, score in own.items()
    ]


def test_every_statistic_takes_the_level() -> None:
    # Half of 2, 4, 6 at 50 %: t(0.75, 2) = 0.816497; 0.816497 * 2 / sqrt(3) = 0.942809.
    assert estimate([2, 4, 6], 0.5).high == pytest.approx(4.942809, abs=1e-5)
    one = {
        who: {"item": {"A": score, "B": 0}} for who, score in (("ann", 2), ("bob", 4), ("cy", 6))
    }
    ratings = _ratings(one)
    found = [
        mean_scores(ratings, 0.5)["A"],
        listener_scores(ratings, 0.5)["A"],
        item_scores(ratings, 0.5)["item"]["A"],
    ]
    pair = paired_differences(ratings, ["B", "A"], 0.5)[0]
    for each in (*found, pair.ratings, pair.listeners):
        assert (each.n, each.mean, each.sd) == (3, 4.0, 2.0)
        assert (each.low, each.high) == (
            pytest.approx(3.057191, abs=1e-5),
            pytest.approx(4.942809, abs=1e-5),
        )


def test_pooled_means_by_hand() -> None:
    # A: 60, 70, 80, 50, 90, 70. Sum 420, mean 70; squares 100 + 0 + 100 + 400 + 400 + 0 = 1000, sd
    # sqrt(1000 / 5) = 14.142136.
    # t(0.975, 5) = 2.570582; half = 2.570582 * 14.142136 / sqrt(6) = 14.841260.
    found = mean_scores(_ratings())
    assert list(found) == ["reference", "A", "B"]
    assert (
        found["A"].n == 6
        and found["A"].mean == 70
        and found["A"].sd == pytest.approx(14.142136, abs=1e-6)
    )
    assert found["A"].high - 70 == pytest.approx(14.841260, abs=1e-5)
    # B: 50, 40, 60, 50, 70, 60: mean 330 / 6 = 55.
    assert found["B"].mean == 55


def test_means_over_listeners_by_hand() -> None:
    # Listeners' means of A: 65, 65, 80; mean 70, sd sqrt((25 + 25 + 100) / 2) = 8.660254; half =
    # 4.302653 * 8.660254 / sqrt(3) = 21.513264.
    found = listener_scores(_ratings())["A"]
    assert (found.n, found.mean) == (3, 70.0)
    assert found.sd == pytest.approx(8.660254, abs=1e-6) and found.high - 70 == pytest.approx(
        21.513264, abs=1e-5
    )


def test_means_of_items_by_hand() -> None:
    # item1, A: 60, 80, 90: mean 76.6667; item2, A: 70, 50, 70: mean 63.3333.
    found = item_scores(_ratings())
    assert found["item1"]["A"].mean == pytest.approx(230 / 3) and found["item2"][
        "A"
    ].mean == pytest.approx(190 / 3)
    assert found["item1"]["A"].n == 3


def test_paired_difference_by_hand() -> None:
    # A - B: ann 10, 30; bob 20, 0; cy 20, 10. Mean 90 / 6 = 15; squares 25 + 225 + 25 + 225 + 25 +
    # 25 = 550; sd sqrt(110) = 10.488088;
    # half = 2.570582 * 10.488088 / sqrt(6) = 11.006574. Listeners: 20, 10, 15: mean 15, sd 5; half
    # = 4.302653 * 5 / sqrt(3) = 12.420688.
    found = paired_difference(_ratings(), "A", "B")
    assert (found.ratings.n, found.ratings.mean) == (
        6,
        15.0,
    ) and found.ratings.sd == pytest.approx(10.488088, abs=1e-6)
    assert found.ratings.low == pytest.approx(15 - 11.006574, abs=1e-5)
    assert (found.listeners.n, found.listeners.mean, found.listeners.sd) == (3, 15.0, 5.0)
    assert found.listeners.high == pytest.approx(15 + 12.420688, abs=1e-5)


def test_only_complete_pairs_count() -> None:
    scores = {"ann": {"item1": {"A": 60, "B": 50}, "item2": {"A": 70}}}
    found = paired_difference(_ratings(scores), "A", "B")
    assert (found.ratings.n, found.ratings.mean, found.ratings.sd) == (
        1,
        10.0,
        None,
    ) and found.listeners.n == 1
    assert paired_difference(_ratings(scores), "A", "C").ratings == Estimate(0)


def test_every_pair_is_later_minus_earlier() -> None:
    found = paired_differences(_ratings(), ["B", "A", "reference"])
    assert [(each.first, each.second) for each in found] == [
        ("A", "B"),
        ("reference", "B"),
        ("reference", "A"),
    ]


def test_screening_by_hand() -> None:
    # Hidden reference below 90: ann 0 of 2, bob 0 of 2, cy 1 of 2 = 50 % > 15 %.
    found = {each.listener: each for each in screen(_ratings())}
    assert found["ann"].reasons == () and found["bob"].reasons == ()
    assert found["cy"].low_reference == 0.5 and found["cy"].high_anchor is None
    assert found["cy"].reasons == ("hidden reference below 90 in 50% of the items",)


@pytest.mark.parametrize(
    ("references", "anchors", "flagged"),
    [
        ([90] * 7, [90] * 7, 0),  # neither below nor above 90
        ([89] + [100] * 6, [0] * 7, 0),  # 1 of 7 is 14.3 %
        ([89] + [100] * 5, [0] * 6, 1),  # 1 of 6 is 16.7 %
        ([100] * 6, [91] + [0] * 5, 1),
        ([0] * 20, [100] * 20, 2),
        ([89, 89, 89] + [100] * 17, [0] * 20, 0),  # 3 of 20 is 15 %, not more
    ],
)
def test_screening_limits(references: list[float], anchors: list[float], flagged: int) -> None:
    scores = {
        "x": {
            str(i): {"reference": r, "anchor70": a}
            for i, (r, a) in enumerate(zip(references, anchors, strict=True))
        }
    }
    assert len(screen(_ratings(scores))[0].reasons) == flagged


def test_screening_without_references() -> None:
    found = screen(_ratings({"x": {"1": {"A": 10}}}))[0]
    assert (found.items, found.low_reference, found.high_anchor, found.reasons) == (
        0,
        None,
        None,
        (),
    )

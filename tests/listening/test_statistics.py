"""From ratings to rows: tests apart, order of conditions, with and without flagged listeners."""

from __future__ import annotations

from audioprune.listening.ratings import RatingSheet
from audioprune.listening.scores import Rating
from audioprune.listening.statistics import ALL, KEPT, ordered, statistics


def _sheet(*rows: tuple[str, str, str, str, float]) -> RatingSheet:
    return RatingSheet([Rating(*row) for row in rows], ["x.csv:2: bad"], 3)


TWO_TESTS = _sheet(
    ("t1", "ann", "i1", "reference", 100),
    ("t1", "ann", "i1", "coded", 40),
    ("t1", "ann", "i1", "DCAE", 60),
    ("t1", "bob", "i1", "reference", 50),
    ("t1", "bob", "i1", "coded", 90),
    ("t1", "bob", "i1", "DCAE", 80),
    ("t2", "ann", "i1", "DCAE", 10),
)


def test_conditions_are_ordered_so_that_differences_read_as_the_paper_has_them() -> None:
    names = ["DCAE", "reference", "DCAE_10", "anchor70", "coded", "other", "DCAE_pr", "anchor35"]
    assert ordered(names) == [
        "anchor35",
        "anchor70",
        "coded",
        "DCAE_10",
        "DCAE",
        "DCAE_pr",
        "other",
        "reference",
    ]


def test_tests_stand_apart() -> None:
    found = statistics(TWO_TESTS)
    assert [
        (row["test"], row["listeners"], row["flagged"], row["items"], row["ratings"])
        for row in found["tests"]
    ] == [
        ("t1", 2, 1, 1, 6),
        ("t2", 1, 0, 1, 1),
    ]
    assert found["damaged"] == ["x.csv:2: bad"] and found["repeated"] == 3


def test_means_with_and_without_flagged() -> None:
    # bob rated the hidden reference 50, below 90 in all items.
    rows = {
        (row["test"], row["listeners"], row["condition"]): row
        for row in statistics(TWO_TESTS)["means"]
    }
    assert rows["t1", ALL, "coded"]["mean"] == 65 and rows["t1", ALL, "coded"]["n"] == 2
    assert rows["t1", KEPT, "coded"]["mean"] == 40 and rows["t1", KEPT, "coded"]["low"] is None
    assert rows["t1", ALL, "DCAE"]["listener_mean"] == 70
    assert ("t2", KEPT, "DCAE") not in rows and rows["t2", ALL, "DCAE"]["sd"] is None


def test_differences_of_systems_come_first() -> None:
    rows = [
        row
        for row in statistics(TWO_TESTS)["differences"]
        if row["test"] == "t1" and row["listeners"] == ALL
    ]
    assert [(row["first"], row["second"], row["mean"]) for row in rows] == [
        ("DCAE", "coded", 5.0),  # 20 and -10
        ("reference", "coded", 10.0),
        ("reference", "DCAE", 5.0),
    ]


def test_listeners_and_items() -> None:
    found = statistics(TWO_TESTS)
    assert [(row["listener"], row["flagged"]) for row in found["listeners"]] == [
        ("ann", False),
        ("bob", True),
        ("ann", False),
    ]
    items = [row for row in found["items"] if row["test"] == "t1" and row["listeners"] == ALL]
    assert [(row["item"], row["condition"]) for row in items] == [
        ("i1", "coded"),
        ("i1", "DCAE"),
        ("i1", "reference"),
    ]
    assert [row["mean"] for row in items] == [65, 70, 75]


def test_all_listeners_flagged_leaves_empty_rows() -> None:
    found = statistics(_sheet(("t", "bob", "i", "reference", 10), ("t", "bob", "i", "A", 10)))
    kept = [row for row in found["means"] if row["listeners"] == KEPT]
    assert [(row["condition"], row["n"], row["mean"]) for row in kept] == [
        ("A", 0, None),
        ("reference", 0, None),
    ]

"""Entries from all over a mapping, the first and the last among them."""

from __future__ import annotations

from audioprune.protocols.work import some_of


def test_some_of() -> None:
    values = {str(number): number for number in range(10)}
    assert list(some_of(values, 3).values()) == [0, 4, 9]
    assert list(some_of(values, 1).values()) == [0]
    assert some_of(values, None) == some_of(values, 10) == some_of(values, 99) == values
    assert some_of({}, 3) == {}

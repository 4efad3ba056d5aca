"""Files are worked on in threads, in order."""

from __future__ import annotations

import time

import pytest

from audioprune.data.files.parallel import in_threads


def test_results_come_in_order() -> None:
    assert list(in_threads(lambda number: number**2, range(50), "squares")) == [
        number**2 for number in range(50)
    ]
    assert list(in_threads(str, [], "nothing")) == []


def test_the_first_failure_cancels_the_rest() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("first")
        time.sleep(0.001)

    with pytest.raises(ValueError, match="first"):
        list(in_threads(work, range(2000), "failures"))
    assert len(begun) < 2000

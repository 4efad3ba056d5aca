from __future__ import annotations

import pytest

from audioprune.data.threads import in_threads


def test_results_come_in_order() -> None:
    assert list(in_threads(lambda number: number**2, range(50), "squares")) == [number**2 for number in range(50)]
    assert list(in_threads(str, [], "nothing")) == []


def test_the_first_failure_cancels_the_rest() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        list(in_threads(work, range(10_000), "failures"))
    assert len(begun) < 10_000

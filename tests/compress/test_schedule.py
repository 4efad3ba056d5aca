"""Schedules: Plain & Biswas's epochs, the worked values of gradual pruning, and the edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioprune.compress.schedule import Cubic, epochs
from audioprune.errors import ConfigError


def test_epochs_of_the_papers_schedule() -> None:
    scheduled = epochs(0, 129, 2)
    assert len(scheduled) == 65 and scheduled[-1] == 128
    assert list(epochs(3, 4, 1)) == [3] and list(epochs(0, 5, 5)) == [0]


@pytest.mark.parametrize(
    "numbers", [(-1, 5, 1), (5, 5, 1), (6, 5, 1), (0, 5, 0), (0, 5, -1), (0, 5, 6)]
)
def test_epochs_out_of_range(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="schedule: expected"):
        epochs(*numbers)


def test_cubic_worked_values() -> None:
    schedule = Cubic(0, 30, 2, 0.05, 0.6)
    for epoch, expected in ((0, 0.05), (2, 0.1596), (14, 0.5312), (28, 0.6)):
        assert schedule.sparsity(epoch) == pytest.approx(expected, abs=5e-5)
    assert schedule.sparsity(0) == pytest.approx(0.05) and schedule.sparsity(28) == 0.6


@given(
    st.integers(0, 20),
    st.integers(2, 60),
    st.integers(1, 30),
    st.floats(0, 0.98),
    st.floats(0.001, 1),
)
def test_cubic_is_the_published_formula(
    start: int, length: int, frequency: int, initial: float, extra: float
) -> None:
    end, final = start + length, min(1.0, initial + extra)
    if (
        frequency > length
        or (span := (length - 1) // frequency * frequency) == 0
        or not initial < final
    ):
        return
    schedule = Cubic(start, end, frequency, initial, final)
    for epoch in schedule.epochs():
        expected = final + (initial - final) * (1 - (epoch - start) / span) ** 3
        assert schedule.sparsity(epoch) == pytest.approx(expected, abs=1e-12)
    assert schedule.sparsity(schedule.epochs()[-1]) == final


def test_the_ramp_holds_between_prunings_and_never_falls() -> None:
    schedule = Cubic(4, 21, 3, 0.0, 0.9)
    values = [schedule.sparsity(epoch) for epoch in range(40)]
    assert values[:4] == [0.0] * 4 and values == sorted(values) and values[-1] == 0.9
    assert values[7] == values[8] == values[9] != values[10]


@pytest.mark.parametrize(
    "sparsities",
    [(-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.1, 1.1), (float("nan"), 0.5), (0.1, float("nan"))],
)
def test_bad_sparsities(sparsities: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="0 <= initial < final <= 1"):
        Cubic(0, 10, 1, *sparsities)


def test_a_ramp_of_one_pruning_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 prunings, got 1"):
        Cubic(0, 3, 3, 0.0, 0.5)

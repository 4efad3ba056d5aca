from __future__ import annotations

import numpy as np
import pytest

from audioprune.data.coded.alignment import aligned_within, measure_lag
from audioprune.errors import DataError


@pytest.mark.parametrize("late", [0, 1, 52, 1024, -7])
def test_a_known_delay_is_found(late: int) -> None:
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(6000)
    other = np.concatenate(
        [np.zeros(max(late, 0)), sound[max(-late, 0) :]]
    ) + 0.3 * rng.standard_normal(6000 + late)
    lag = measure_lag(sound, 0.2 * other, 16000)
    assert lag.samples == late and lag.correlation == pytest.approx(1 / np.sqrt(1.09), abs=0.02)


def test_unrelated_sounds_correlate_little_and_silence_is_refused() -> None:
    first, second = np.random.default_rng(1).standard_normal((2, 8000))
    assert abs(measure_lag(first, second, 16000).correlation) < 0.1
    with pytest.raises(DataError, match="silent samples"):
        measure_lag(first, np.zeros(100), 16000)


def test_long_recordings_are_compared_by_their_begin() -> None:
    sound = np.random.default_rng(2).standard_normal(3500)
    assert measure_lag(
        sound, np.concatenate([sound[:3000], np.zeros(500)]), 100
    ).correlation == pytest.approx(1)


def test_tolerance_is_a_tenth_of_a_millisecond() -> None:
    assert [aligned_within(rate) for rate in (8000, 16000, 48000)] == [1, 2, 5]

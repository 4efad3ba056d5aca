"""Intervals, gains and means over runs, by hand."""

from __future__ import annotations

import pytest

from audioprune.metrics.pool import ItemScores
from audioprune.tasks.signal_scores import averaged, gain_row, improved, interval_row, spread


def _scores(values: list[float | None], metric: str = "si_sdr") -> list[ItemScores]:
    return [ItemScores(f"i{n}", {metric: value}, {} if value is not None else {metric: "silent"}) for n, value in enumerate(values)]


def test_interval_of_students_t() -> None:
    row = interval_row(_scores([1.0, 2.0, 6.0]))
    assert row["metrics"] == {"si_sdr": 3.0} and row["n"] == 3
    assert row["ci95"]["si_sdr"] == pytest.approx(4.302653 * 7**0.5 / 3**0.5)  # t(.975, 2) sd / sqrt(n)
    assert interval_row(_scores([1.0]))["ci95"] == {"si_sdr": None}


def test_gain_is_paired_and_positive_where_it_is_better() -> None:
    row = gain_row(_scores([3.0, None, 5.0]), _scores([1.0, 2.0, 4.0]))
    assert row["gain"] == {"si_sdr": 1.5} and row["gain_ci95"]["si_sdr"] == pytest.approx(12.7062 * 0.5)
    assert gain_row(_scores([3.0], "lsd"), _scores([4.0], "lsd")) == {"gain": {"lsd": 1.0}, "gain_ci95": {"lsd": None}}
    assert gain_row(_scores([None]), _scores([4.0])) == {"gain": {"si_sdr": None}, "gain_ci95": {"si_sdr": None}}


def test_runs_are_averaged_recording_by_recording() -> None:
    runs = [_scores([1.0, 2.0]), _scores([3.0, None])]
    assert averaged(runs) == [ItemScores("i0", {"si_sdr": 2.0}, {}), ItemScores("i1", {"si_sdr": None}, {"si_sdr": "silent"})]
    assert spread([_scores([1.0, 3.0]), _scores([3.0, 5.0])]) == {"si_sdr": pytest.approx(2**0.5)}
    assert spread([_scores([1.0, 3.0])]) == {"si_sdr": None}


def test_direction_of_each_metric() -> None:
    for monitor in ("loss", "l1", "lsd", "mr_stft"):
        assert improved(monitor, 1.0, 2.0) and not improved(monitor, 2.0, 1.0)
    for monitor in ("si_sdr", "stoi", "pesq_wb"):
        assert improved(monitor, 2.0, 1.0) and not improved(monitor, 2.0, 2.0)

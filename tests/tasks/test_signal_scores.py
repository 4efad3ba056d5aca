"""Intervals, gains and means over runs, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audioprune.metrics import METRICS
from audioprune.metrics.summary import ItemScores
from audioprune.tasks.signal_scores import (
    MONITORS,
    averaged,
    batch_items,
    gain_row,
    half_width,
    improved,
    interval_row,
    keep_audio,
    monitored,
    score_row,
    spread,
    valid_of,
)


def _scores(values: list[float | None], metric: str = "si_sdr") -> list[ItemScores]:
    return [
        ItemScores(f"i{n}", {metric: value}, {} if value is not None else {metric: "silent"})
        for n, value in enumerate(values)
    ]


def test_interval_of_students_t() -> None:
    row = interval_row(_scores([1.0, 2.0, 6.0]))
    assert row["metrics"] == {"si_sdr": 3.0} and row["n"] == 3
    assert row["ci95"]["si_sdr"] == pytest.approx(
        4.302653 * 7**0.5 / 3**0.5
    )  # t(.975, 2) sd / sqrt(n)
    assert interval_row(_scores([1.0]))["ci95"] == {"si_sdr": None}


def test_gain_is_paired_and_positive_where_it_is_better() -> None:
    row = gain_row(_scores([3.0, None, 5.0]), _scores([1.0, 2.0, 4.0]))
    assert row["gain"] == {"si_sdr": 1.5} and row["gain_ci95"]["si_sdr"] == pytest.approx(
        12.7062 * 0.5
    )
    assert gain_row(_scores([3.0], "lsd"), _scores([4.0], "lsd")) == {
        "gain": {"lsd": 1.0},
        "gain_ci95": {"lsd": None},
    }
    assert gain_row(_scores([None]), _scores([4.0])) == {
        "gain": {"si_sdr": None},
        "gain_ci95": {"si_sdr": None},
    }


def test_runs_are_averaged_recording_by_recording() -> None:
    runs = [_scores([1.0, 2.0]), _scores([3.0, None])]
    assert averaged(runs) == [
        ItemScores("i0", {"si_sdr": 2.0}, {}),
        ItemScores("i1", {"si_sdr": None}, {"si_sdr": "silent"}),
    ]
    assert spread([_scores([1.0, 3.0]), _scores([3.0, 5.0])]) == {"si_sdr": pytest.approx(2**0.5)}
    assert spread([_scores([1.0, 3.0])]) == {"si_sdr": None}


def test_direction_of_each_metric() -> None:
    for monitor in ("loss", "l1", "lsd", "mr_stft"):
        assert improved(monitor, 1.0, 2.0) and not improved(monitor, 2.0, 1.0)
    for monitor in ("si_sdr", "stoi", "pesq_wb"):
        assert improved(monitor, 2.0, 1.0) and not improved(monitor, 2.0, 2.0)


def test_items_of_a_batch_have_no_padding() -> None:
    clean, enhanced = torch.arange(8.0).reshape(2, 4), -torch.arange(8.0).reshape(2, 4)
    batch = {"id": ["a", "b"], "clean": clean, "lengths": torch.tensor([4, 2])}
    found = [
        (name, one.tolist(), other.tolist()) for name, one, other in batch_items(batch, enhanced)
    ]
    assert found == [("a", [0, 1, 2, 3], [0, -1, -2, -3]), ("b", [4, 5], [-4, -5])]
    with pytest.raises(ValueError, match="shorter"):
        list(batch_items(batch, enhanced[:1]))


def test_the_monitored_metric_is_its_mean() -> None:
    one, two = np.array([1.0, 2.0, -1.0]), np.array([1.5, 2.0, -1.0])
    assert monitored("loss", [], 16000) == {}
    assert monitored("l1", [("a", one, two), ("b", one, one)], 16000) == {
        "l1": pytest.approx(0.25 / 3)
    }
    silent = monitored("l1", [("a", 0 * one, two)], 16000)
    assert list(silent) == ["l1"] and math.isnan(silent["l1"])
    assert ("loss", *METRICS) == MONITORS


def test_a_row_counts_what_failed_and_why() -> None:
    assert score_row(_scores([1.0, None, 2.0, 6.0])) == {
        "metrics": {"si_sdr": 3.0},
        "std": {"si_sdr": pytest.approx(7**0.5)},
        "n": 4,
        "n_valid": {"si_sdr": 3},
        "failures": ["i1: si_sdr: silent"],
        "items": {"id": ["i0", "i1", "i2", "i3"], "si_sdr": [1.0, None, 2.0, 6.0]},
    }
    assert valid_of(_scores([1.0, None, 0.0]), "si_sdr") == [1.0, 0.0]
    assert half_width([]) is None and half_width([1.0]) is None and half_width([2.0, 2.0]) == 0.0


def test_kept_audio_has_one_factor_for_all_signals(tmp_path: Path) -> None:
    noisy, clean, mine = (
        np.array([0.5, -0.25, 0.0]),
        np.array([0.1, -0.2, 0.05]),
        np.array([0.4, -2.0, 3.0]),
    )
    keep_audio(tmp_path / "a" / "b", "item", {"noisy": noisy, "mine": mine, "clean": clean}, 8000)
    expected = {
        "noisy": [0.9, -0.45, 0.0],
        "clean": [0.18, -0.36, 0.09],
        "mine": [0.72, -1.0, 1.0],
    }
    assert {file.name for file in (tmp_path / "a" / "b").iterdir()} == {
        f"item_{name}.flac" for name in expected
    }
    for name, samples in expected.items():
        found, rate = soundfile.read(tmp_path / "a" / "b" / f"item_{name}.flac")
        assert rate == 8000 and found.tolist() == pytest.approx(samples, abs=1e-4)
    keep_audio(tmp_path, "loud", {"noisy": 0.1 * noisy, "clean": 10 * clean}, 8000)
    assert soundfile.read(tmp_path / "loud_clean.flac")[0].tolist() == pytest.approx(
        [0.45, -0.9, 0.225], abs=1e-4
    )
    keep_audio(tmp_path, "none", {"noisy": 0 * noisy, "clean": 0 * noisy}, 8000)
    assert soundfile.read(tmp_path / "none_clean.flac")[0].tolist() == [0.0, 0.0, 0.0]

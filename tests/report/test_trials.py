"""The trials of a sweep that tunes: table, front, figure, and which is best."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from fake_runs import same_bytes

from audioprune.commands.sweeps.tuning import Measured
from audioprune.report.trials import Trial, Trials, write_trials

FRONT = {f"front.{ending}" for ending in ("png", "svg", "pdf")}


def _trial(number: int, size: float, drop: float, remark: str = "") -> Trial:
    measured = Measured(size, 1000, 0.75 - drop / 100, 0.75, drop, 0.5)
    command = f"audioprune prune pipeline.levels={number}"
    trial = Trial(number, "finished", {"pipeline.levels": str(number)}, measured, command=command)
    vars(trial)["remark"] = remark  # as if it had been read from a run folder
    return trial


FAILED = Trial(9, "failed", {"pipeline.levels": "-1"}, reason="pipeline.levels: expected <= 9")


def _trials(*trials: Trial) -> Trials:
    return Trials("stoi", "bytes_file", 0.5, trials)


def test_the_best_is_the_smallest_within_the_bound_and_better_than_nothing() -> None:
    trials = _trials(
        _trial(0, 500, 0.1),
        _trial(1, 100, 0.5),
        _trial(2, 50, 0.51),
        _trial(3, 20, 0.2, "no better than mixture"),
        _trial(4, 300, 0.3),
        FAILED,
    )
    assert trials.best() is trials.all[1]
    assert [each.number for each in trials.front()] == [2, 1, 4, 0]
    assert "5 of 6 trials finished; STOI at most 0.5 points worse" in trials.table().caption
    text = trials.told()
    assert "trial 9 failed: pipeline.levels: expected <= 9" in text
    assert (
        "trial 1, 100 bytes instead of 1000 bytes (10.0 times smaller), STOI 74.50 instead of "
        "75.00\n  audioprune prune pipeline.levels=1" in text
    )
    states = {row["number"]: row["state"] for row in trials.table().rows}
    assert states[1] == "kept, front" and states[2] == "broken, front" and states[9] == "failed"
    assert states[3] == "kept, no better than mixture"


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        ([_trial(0, 500, 0.7), _trial(1, 100, 2.0)], "the nearest is trial 0, 0.70 worse"),
        ([FAILED], "no trial finished"),
        ([_trial(0, 5, 0.1, "no better than silence")], "better than what needs no model"),
    ],
)
def test_where_no_trial_keeps_the_bound_it_is_said(trials: list[Trial], told: str) -> None:
    assert _trials(*trials).best() is None
    assert told in _trials(*trials).told() and "smallest with" not in _trials(*trials).told()


def test_files_hold_every_trial_and_the_same_bytes_again(tmp_path: Path) -> None:
    trials = _trials(_trial(0, 500, 0.1), _trial(1, 100, 0.6), _trial(2, 500, 0.1), FAILED)
    files = write_trials(tmp_path, trials)
    assert {file.name for file in files} == {"trials.csv", "front.csv", *FRONT}
    before = [same_bytes(file) for file in files]
    assert [same_bytes(file) for file in write_trials(tmp_path, trials)] == before
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "9"]
    assert [row["keeps_bound"] for row in rows] == ["1", "0", "1", ""]
    assert rows[3]["reason"] == FAILED.reason and rows[1]["on_front"] == "1"
    front = (tmp_path / "front.csv").read_text().splitlines()
    assert front == ["trial,bytes_file,drop of stoi", "1,100,0.6", "0,500,0.1"]
    svg = (tmp_path / "front.svg").read_text()
    assert all(svg.count(f">{number}</text>") >= 1 for number in (0, 1, 2))


def test_one_size_alone_makes_no_figure(tmp_path: Path) -> None:
    files = write_trials(tmp_path, _trials(_trial(0, 500, 0.1), FAILED))
    assert [file.name for file in files] == ["trials.csv"]

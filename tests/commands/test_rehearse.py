"""``audioprune doctor experiment=...``: a table, what would stop the run, and no trace on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioprune import cli
from audioprune.commands import rehearse
from audioprune.experiment.rehearsal import Forecast, StepForecast, UnitCost

TINY = (
    *("model.width=4", "model.depth=1", "data.max_test_s=0.3", "data.segment_s=0.3"),
    *("scoring.metrics=[si_sdr]", "scoring.latency_repeats=0", "runtime.device=cpu"),
)


def test_doctor_rehearses_an_experiment_without_its_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run_verb("doctor", ["experiment=p2/fdnn", "format=json", *TINY]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["items"] == [320_000, 846, 5_076] and found["problems"] == []
    train = next(step for step in found["steps"] if step["path"] == "train")
    assert train["units"][0]["count"] == 30 * 320_000 / 8
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_problem_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["experiment=p4/vgg_2018", "pipeline=p4_baseline", "data.root=gone", "model.width=1"]
    words += ["data.duration_s=1.5", "data.mels=64", "training.batch_size=2"]
    assert cli.run_verb("prune", [*words, *TINY[5:], "runtime.rehearse=true"]) == 2
    printed = capsys.readouterr()
    assert "FAILS data: " in printed.out and "gone" in printed.out
    assert "total: at most" in printed.out and "dominates: train, training step" in printed.out
    assert "error: rehearsal: expected a run without obstacles, got 1: data: " in printed.err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_begin_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run_verb("doctor", ["experiment=p2/fdnn", "runtime.device=cuda:99"]) == 2
    assert "runtime.device=cuda:99: expected" in capsys.readouterr().err
    assert cli.run_verb("eval", ["experiment=p2/fdnn", "runtime.rehearse=true"]) == 2
    assert "expected checkpoint=" in capsys.readouterr().err
    assert cli.run_verb("prune", ["data=noisy_mixtures", "runtime.rehearse=true"]) == 2
    assert "data.speech_root: expected a value, got none" in capsys.readouterr().err


def test_lines_name_passes_totals_and_failures() -> None:
    steps = (
        StepForecast("train", 1, (UnitCost("training step", 2.0, 1800),), host_bytes=2 * 10**9),
        StepForecast("prune", 3, (UnitCost("item", 0.5, 10),), failure="no", disk_bytes=10**6),
    )
    facts = {
        **{"model": "M", "params": 1_000_000, "pipeline": "p", "device": "cpu", "threads": 1},
        **{"corpus": "c", "items": [1, 2, 3], "conditions": 1, "batch": [1, 4]},
    }
    lines = rehearse.lines_of(Forecast(steps, ("prune: no",), facts))
    assert lines[2] == "batch: 1 of 4 items rehearsed, time and memory scaled"
    assert lines[4].split() == [
        *["train", "1", "training", "step", "2", "1800", "1.0", "h", "2.00", "0.00", "0.0"]
    ]
    assert lines[5].split()[:4] == ["prune", "3", "item", "FAILS"]
    assert lines[-3:] == [
        "total: at most 1.0 h, 3 MB on disk",
        "dominates: train, training step (100% of the time)",
        "FAILS prune: no",
    ]
    assert [rehearse.duration(each) for each in (1, 60, 5400, 86_400)] == [
        *("1.0 s", "1.0 min", "1.5 h", "1.0 d"),
    ]

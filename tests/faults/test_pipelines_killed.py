"""Every pipeline, killed anywhere: the same command leaves the same bits as one undisturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.crashes import Trial, drawn, kill, tear
from faults.record import record
from tiny_pipelines import NAMES, pipelines_composed, tiny_pipeline
from tiny_runs import start

from audioprune.experiment import model_io

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults("C1", "C2", "C29"),
    pytest.mark.usefixtures("warm", "one_thread"),
]
KILLED, TORN = 5, 2
"""Trials of each pipeline."""


@pytest.fixture
def trial(
    place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Trial]:
    """A pipeline on a tiny experiment, whose undisturbed outcome is known."""
    monkeypatch.setattr(model_io, "_package_task", lambda task, known=None: task)
    with pipelines_composed():
        plain = tiny_pipeline(request.param, place)
    plain["runtime"]["save_every_s"] = 1e-9  # a checkpoint after every step

    def command() -> int:
        start(Path("run").absolute(), plain)
        return 0

    yield Trial(command, place)


@pytest.mark.parametrize("trial", NAMES, indirect=True)
def test_kill_9_anywhere_changes_no_bit(trial: Trial) -> None:
    for at in trial.positions(KILLED):
        trial.kill_at(f"killed-{at}", at, kill)
    for at in drawn(trial.straight.operations, TORN, seed=1):
        trial.kill_at(f"torn-{at}", at, tear)
    pick = random.Random(2)
    kills = trial.kill_chain("chain", iter(lambda: pick.randint(40, 200), None))
    late = trial.kill_after("late", trial.straight.seconds * pick.random())
    assert kills or trial.straight.operations < 200
    record("C1", f"{KILLED + TORN + kills + late} kills")

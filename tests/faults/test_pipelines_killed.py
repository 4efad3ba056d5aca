"""Every pipeline, killed anywhere: the same command leaves the same bits as one undisturbed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from faults.crashes import kill, tear
from faults.given import pipeline_trial
from faults.record import record
from tiny_pipelines import NAMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults("C1", "C2", "C29"),
    pytest.mark.usefixtures("warm", "one_thread"),
]
KILLED, TORN = 5, 2
"""Trials of each pipeline."""


@pytest.mark.parametrize("name", NAMES)
def test_kill_9_anywhere_changes_no_bit(place: Path, name: str) -> None:
    trial = pipeline_trial(name, place)
    for at in trial.positions(KILLED):
        trial.kill_at(at, kill)
    for at in trial.positions(TORN, seed=1):
        trial.kill_at(at, tear)
    pick = random.Random(2)
    kills = trial.kill_chain(iter(lambda: pick.randint(40, 200), None))
    trial.kill_after(trial.straight.seconds * pick.random())
    assert kills or trial.straight.operations < 200
    words = "at writes, in half files, in chains, at random moments"
    record("C1", f"`{name}`: {KILLED + TORN} kills or more each, {words}: same bits")

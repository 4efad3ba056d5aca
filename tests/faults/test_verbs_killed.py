"""Every verb that writes, killed anywhere: the same command leaves what it leaves undisturbed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from faults.crashes import kill, tear
from faults.given import VERBS, verb_trial
from faults.record import record
from faults.verbs import Given

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm", "one_thread")]
KILLED = {"report": 3, "data": 4, "sweep": 9, "tune": 5}
"""Trials of a verb that are cut by a kill -9 at one of its writes; of the others there are 5."""
FAULTS = {"sweep": "C3", "tune": "C3", "data": "C26", "report": "C29"}


@pytest.mark.faults("C1", "C3", "C26", "C29")
@pytest.mark.parametrize("name", VERBS)
def test_kill_9_anywhere_changes_nothing(given: Given, place: Path, name: str) -> None:
    trial, count = verb_trial(given, name, place), KILLED.get(name, 5)
    for at in trial.positions(count):
        trial.kill_at(at, kill)
    for at in trial.positions(2, seed=1):
        trial.kill_at(at, tear)
    trial.kill_after(trial.straight.seconds * random.Random(3).random())
    record(FAULTS.get(name, "C1"), f"`{name}`: {count + 3} kills, then the same files")

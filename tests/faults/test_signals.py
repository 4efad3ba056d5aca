"""Ctrl-C and SIGTERM at any step: the first stops politely, the second at once."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from faults.crashes import signalled
from faults.given import VERBS, pipeline_trial, verb_trial
from faults.record import record
from faults.verbs import Given

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults("C4"),
    pytest.mark.usefixtures("warm", "one_thread"),
]
OF_PAPERS = ("p1_sensitivity", "p2_unstructured", "p3_mask", "p4_proxsg")
RESUMES = "everything finished is saved, the same command resumes it"


@pytest.mark.parametrize("name", OF_PAPERS)
def test_a_pipeline_stops_politely_and_goes_on(place: Path, name: str) -> None:
    trial = pipeline_trial(name, place)
    polite = 0
    for number, at in enumerate(trial.positions(4)):
        asked = signal.SIGINT if number % 2 else signal.SIGTERM
        folder, ended = trial.disturbed(at, signalled(asked))
        status = json.loads((folder / "run" / "status.json").read_text())["status"]
        if ended.code == 130:
            polite += 1
            assert RESUMES in ended.text and status == "interrupted", (at, ended.text)
        else:  # it was about to end
            assert (ended.code, status) == (0, "finished"), (at, ended.text)
        assert not (folder / "run" / ".lock").exists() and "Traceback" not in ended.text
        trial.resume(folder, asked.name, at)
    assert polite >= 3
    twice = 0
    for at in trial.positions(2, seed=1):
        folder, ended = trial.disturbed(at, signalled(signal.SIGINT, signal.SIGINT))
        assert ended.code == 130 and RESUMES not in ended.text, (at, ended.text)
        twice += 1
        trial.resume(folder, "twice", at)
    record("C4", f"`{name}`: {polite} polite stops and {twice} at once each, all resumed alike")


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_stopped_and_goes_on(given: Given, place: Path, name: str) -> None:
    trial = verb_trial(given, name, place)
    for at, asked in zip(trial.positions(2), (signal.SIGINT, signal.SIGTERM), strict=True):
        folder, ended = trial.disturbed(at, signalled(asked))
        # what saves nothing on the way leaves SIGTERM to the system
        assert ended.code in (130, -signal.SIGTERM, *trial.codes), (name, at, ended.text)
        assert "Traceback" not in ended.text, (name, at, ended.text)
        trial.resume(folder, name, asked.name, at)
    record("C4", f"`{name}`: SIGINT and SIGTERM, then the same files")

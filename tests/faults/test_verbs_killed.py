"""Every verb that writes, killed anywhere: the same command leaves what it leaves undisturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from faults.crashes import carry_out, contents, kill, tear
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


@pytest.mark.faults("C3")
def test_a_sweep_in_processes_goes_on_after_its_parent_was_killed(
    given: Given, place: Path
) -> None:
    """The processes of the launcher outlive their parent for a while; they harm nothing."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    processes = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "training.epochs=30")
    command = given.command("sweep", *processes)
    folder = place / "trial"
    folder.mkdir()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        handle = os.open(place / "told", os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os._exit(command())
    deadline = time.monotonic() + 300
    while not list(folder.glob("runs/prune/*/run.json")):
        assert time.monotonic() < deadline, (place / "told").read_text()
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while left := [each for each in psutil.process_iter() if _session(each.pid) == child]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    ended = carry_out(given.command("sweep", *processes[2:]), folder)
    assert ended.code == 0 and "Traceback" not in ended.text, ended.text
    assert "sweep: 2 jobs" in ended.text and "0 failed" in ended.text
    alone = carry_out(given.command("sweep", *processes[2:]), place / "alone")
    assert alone.code == 0
    wanted, found = contents(place / "alone"), contents(folder)
    names = [name for name in wanted if name.endswith("results.jsonl")]
    assert len(names) == 2 and all(found[name] == wanted[name] for name in names)
    record("C3", "a sweep in two processes whose parent was killed: the same rows afterwards")


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1

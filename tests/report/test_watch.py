"""Watching: a report is written again when a run changes, and ends when all are done."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from fake_runs import SCALE, FakeRun

from audioprune.report.watch import going_on, state_of, watch


def _followed(runs: Path, events: dict[int, object], **options: float) -> tuple[list, list, int]:
    """Watch, with something that happens at given looks; return builds, words and looks."""
    builds: list[bool] = []
    words: list[str] = []
    looks = 0

    def wait(seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert seconds == 1.0 and looks < 50
        event = events.get(looks)
        if callable(event):
            event()

    watch([runs], builds.append, words.append, every_s=1.0, wait=wait, **options)
    return builds, words, looks


def test_it_follows_runs_from_before_the_first_to_the_last(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made: list[FakeRun] = []

    def begin() -> None:
        made.append(FakeRun(runs / "a", "fdnn", "p2", 0, SCALE, {}))
        (runs / "a" / ".lock").write_text("1 here")
        (runs / "a" / "status.json").unlink()

    def score() -> None:
        made[0].scores("uncompressed", 0.5, 1.0)

    def end() -> None:
        made[0].status("finished")
        (runs / "a" / ".lock").unlink()

    builds, words, looks = _followed(runs, {2: begin, 10: score, 20: end}, quiet_s=3)
    assert builds == [True, True, True, False] and looks == 23
    assert words[0] == "waiting for the first run"
    assert words[1:] == [
        "written again; 1 going on",
        "written again; 1 going on",
        "written again; 1 finished",
        "all runs are done; this report is the last one",
    ]


def test_a_run_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "a", "fdnn", "p2", 0, SCALE, {})
    (run.folder / "status.json").unlink()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (run.folder / ".lock").write_text(f"{gone.pid} {socket.gethostname()}")
    assert not going_on([tmp_path])
    builds, words, looks = _followed(tmp_path, {}, quiet_s=2)
    assert builds == [True, False] and looks == 2 and words[0].endswith("1 unfinished")


def test_what_changes_is_seen(tmp_path: Path) -> None:
    assert state_of([tmp_path / "none"]) == ()
    run = FakeRun(tmp_path / "a", "fdnn", "p2", 0, SCALE, {})
    first = state_of([tmp_path])
    log = run.folder / "training" / "train" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n")
    assert state_of([tmp_path]) != first and len(state_of([tmp_path])) == len(first) + 1

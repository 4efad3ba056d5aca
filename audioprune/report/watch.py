"""How a report follows runs that go on: ``watch`` writes it again whenever a run has changed.

It ends when no run goes on and nothing has changed for a while, or when it is interrupted; the
last report is one that no longer waits for another. Runs are only looked at, never touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from audioprune.errors import ConfigError
from audioprune.files import is_held
from audioprune.report.runs.job import find_runs, read_job

EVERY_S = 5.0
"""How often runs are looked at."""
QUIET_S = 60.0
"""For how long nothing may change before it ends: a sweep takes a moment to begin its next run."""
_WATCHED = ("status.json", "results.jsonl", "progress.jsonl", "run.json", ".lock")
State = tuple[tuple[str, int, int], ...]
"""Path, time of change and size of everything that is looked at."""


def watch(
    runs: Sequence[str | Path],
    build: Callable[[bool], None],
    told: Callable[[str], None],
    every_s: float = EVERY_S,
    quiet_s: float = QUIET_S,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Write a report again and again, until its runs are done.

    Args:
        runs: Where runs are looked for; they may begin later.
        build: Writes the report; it is told whether it is to be written again later.
        told: Says in words what is done.
        every_s: Seconds between two looks.
        quiet_s: Seconds without a change after which finished runs are done.
        wait: Waits for some seconds.
    """
    seen: State | None = None
    quiet = 0.0
    while True:
        state = state_of(runs)
        if state != seen:
            seen, quiet = state, 0.0
            if state:
                build(True)
                told(f"written again; {_counted(runs)}")
            else:
                told("waiting for the first run")
        elif quiet >= quiet_s and state and not going_on(runs):
            break
        wait(every_s)
        quiet += every_s
    build(False)
    told("all runs are done; this report is the last one")


def state_of(runs: Sequence[str | Path]) -> State:
    """Return what tells that a run changed; nothing while there is no run."""
    found = []
    for folder in _folders(runs):
        logs = sorted(folder.glob("training/*/log.jsonl"))
        for path in (*(folder / name for name in _WATCHED), *logs):
            with suppress(OSError):
                about = path.stat()
                found.append((str(path), about.st_mtime_ns, about.st_size))
    return tuple(found)


def going_on(runs: Sequence[str | Path]) -> bool:
    """Tell whether any run is held by a process; one that was killed holds nothing any more."""
    return any(map(is_held, _folders(runs)))


def _folders(runs: Sequence[str | Path]) -> list[Path]:
    try:
        return [folder for folder in find_runs(runs) if folder.is_dir()]
    except ConfigError:  # a sweep that has not begun
        return []


def _counted(runs: Sequence[str | Path]) -> str:
    words: dict[str, int] = {}
    for folder in _folders(runs):
        word = "going on" if is_held(folder) else read_job(folder).status
        words[word] = words.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in words.items())

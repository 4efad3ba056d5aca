"""The scheduler of the tier small: all jobs of scripts/small_plan.yaml, some at once, resumable.

``main`` takes ``jobs=N`` (at once), ``runs=FOLDER``, ``papers=p2,p4`` and ``--dry-run``. Every job
is a process of one thread at low priority; one that fails does not stop the others. The same call
again goes on where it stopped, because ``audioprune`` leaves finished steps as they are.

    python scripts/run_small.py jobs=2 runs=runs/small --dry-run
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PLAN = ROOT / "scripts" / "small_plan.yaml"
PRESETS = ROOT / "conf" / "experiment"
RESULTS = ROOT / "docs" / "results"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_NICE = ("nice", "-n", "10")
_SEED = "seed="


@dataclass(frozen=True)
class Job:
    """One run: what is typed after ``audioprune``, whose paper it is, and how long it may take.

    Attributes:
        paper: Such as ``p2``.
        words: Verb and overrides, the seed last.
        minutes: What it took in rows that are there, or the bound of the plan.
        measured: Whether rows told the minutes.
    """

    paper: str
    words: tuple[str, ...]
    minutes: float
    measured: bool

    @property
    def name(self) -> str:
        """The command, fit for a file."""
        return "-".join(self.words).replace("/", "_").replace("=", "_")

    @property
    def preset(self) -> str:
        """Name of its experiment."""
        named = [word for word in self.words if word.startswith("experiment=")]
        return named[0].removeprefix("experiment=") if named else ""


def jobs_of(
    plan: Mapping[str, Any], took: Mapping[str, float], papers: Sequence[str]
) -> list[Job]:
    """Return the jobs of a plan, all of one seed before the next.

    Args:
        plan: ``seeds`` and ``jobs``.
        took: Minutes of commands that were run, see ``minutes_told``.
        papers: Those to run; all where none is named.
    """
    found = []
    for seed in plan["seeds"]:
        for entry in plan["jobs"]:
            if papers and entry["paper"] not in papers:
                continue
            told = took.get(entry["command"])
            words = (*entry["command"].split(), f"{_SEED}{seed}")
            minutes = float(entry["minutes"]) if told is None else told
            found.append(Job(entry["paper"], words, minutes, told is not None))
    return found


def minutes_told(results: Path) -> dict[str, float]:
    """Return the median minutes of every command in collected rows, whatever its seed."""
    found: dict[str, list[float]] = {}
    for path in sorted(results.glob("*/rows.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith('{"kind":"run"'):
                continue
            head = json.loads(line)
            words = str(head.get("command") or "").split()[1:]
            command = " ".join(word for word in words if not word.startswith(_SEED))
            seconds = head["state"].get("seconds")
            if seconds:
                found.setdefault(command, []).append(seconds / 60)
    return {command: median(minutes) for command, minutes in found.items()}


def present(jobs: Sequence[Job], presets: Path) -> tuple[list[Job], list[str]]:
    """Share jobs out to those whose preset is there, and the names of presets that are not."""
    there = [job for job in jobs if not job.preset or (presets / f"{job.preset}.yaml").is_file()]
    absent = dict.fromkeys(job.preset for job in jobs if job not in there)
    return there, list(absent)


def told(jobs: Sequence[Job], absent: Sequence[str], at_once: int) -> str:
    """Say how many jobs there are and how many hours they take."""
    hours = sum(job.minutes for job in jobs) / 60
    measured = sum(job.measured for job in jobs)
    lines = [
        f"{job.minutes:6.1f} min{'' if job.measured else ' at most'}  audioprune "
        f"{' '.join(job.words)}"
        for job in jobs
    ]
    lines.append(
        f"{len(jobs)} jobs, {hours:.1f} core-hours, about {hours / at_once:.1f} hours with "
        f"{at_once} at once; minutes of {measured} jobs are measured, the others are bounds"
    )
    lines += [f"left out, no such preset: {name}" for name in absent]
    return "\n".join(lines)


def command_of(job: Job, runs: Path) -> list[str]:
    """Return the whole command of a job: low priority, one thread, the folder of its paper."""
    own = [f"runtime.folder={runs / job.paper}", "runtime.threads=1", "runtime.metric_workers=0"]
    return [*_NICE, str(Path(sys.executable).parent / "audioprune"), *job.words, *own]


def run_all(
    jobs: Sequence[Job],
    runs: Path,
    at_once: int,
    command: Callable[[Job, Path], Sequence[str]] = command_of,
) -> list[tuple[Job, int, float]]:
    """Run jobs, several at once, and return each with its exit code and seconds.

    What a job prints goes to ``logs/`` in the folder, and how it ended to ``jobs.jsonl``.
    """
    (runs / "logs").mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, **dict.fromkeys(_THREADS, "1")}

    def one(job: Job) -> tuple[Job, int, float]:
        began = time.monotonic()
        with open(runs / "logs" / f"{job.name}.log", "ab") as log:
            ended = subprocess.run(
                command(job, runs),
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        seconds = round(time.monotonic() - began, 1)
        line = {"words": list(job.words), "code": ended.returncode, "seconds": seconds}
        with open(runs / "jobs.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        state = "done" if ended.returncode == 0 else f"FAILED ({ended.returncode})"
        print(f"{state:12} {seconds / 60:6.1f} min  {' '.join(job.words)}", flush=True)
        return job, ended.returncode, seconds

    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(one, jobs))
    finally:  # after Ctrl-C jobs that did not begin are dropped; those that did are stopped too
        pool.shutdown(cancel_futures=True)


def main(words: Sequence[str]) -> int:
    """Say what would be run, or run it; return the exit code."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = set(options) - {"jobs", "runs", "papers"}
    unknown |= {word for word in words if "=" not in word} - {"--dry-run"}
    if unknown:
        print(f"expected jobs=N, runs=FOLDER, papers=p2,p4 or --dry-run, got {sorted(unknown)}")
        return 2
    at_once = int(options.get("jobs") or os.cpu_count() or 1)
    papers = [name for name in options.get("papers", "").split(",") if name]
    plan = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    jobs, absent = present(jobs_of(plan, minutes_told(RESULTS), papers), PRESETS)
    print(told(jobs, absent, at_once))
    if "--dry-run" in words:
        return 0
    runs = Path(options.get("runs") or ROOT / "runs" / "small").resolve()
    ended = run_all(jobs, runs, at_once)
    failed = [job for job, code, _ in ended if code]
    for job in failed:
        print(f"failed: {' '.join(job.words)}; see {runs / 'logs' / job.name}.log")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a run folder says of itself: whose it is, how its run ended and on which machine.

No model and no corpus is known here.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

import audioprune
from audioprune import __version__
from audioprune.errors import AudiopruneError, CheckpointError, OutputError
from audioprune.experiment.config_hash import config_hash, result_config, variables
from audioprune.records import read_record, write_record


def refuse_foreign(folder: Path, plain: dict[str, Any]) -> None:
    """Refuse a folder that belongs to another configuration.

    Raises:
        CheckpointError: Its run.json is damaged.
        OutputError: It does; the message names the keys that differ.
    """
    known = read_record(folder / "run.json")
    if known and known.get("hash") != config_hash(plain):
        theirs, mine = known.get("config"), result_config(plain)
        theirs = theirs if isinstance(theirs, dict) else {}
        keys = [
            key for key in sorted(set(theirs) | set(mine)) if theirs.get(key) != mine.get(key)
        ] or ["variables of the environment"]
        raise OutputError(
            f"{folder} belongs to configuration {known.get('hash')}, this one is "
            f"{config_hash(plain)} "
            f"(differs in {', '.join(keys)}); choose another folder"
        )


@cache
def _versions() -> dict[str, str]:
    """Return the versions of what numbers depend on; to look for them takes a while."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in (
        "torch",
        "numpy",
        "scipy",
        "accelerate",
        "hydra-core",
        "pesq",
        "constriction",
        "soundfile",
        "numba",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def environment() -> dict[str, Any]:
    """Return versions, threads and the state of the source tree."""
    return {
        "audioprune": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "variables": variables(),
        "git": _git_revision(),
        "versions": dict(_versions()),
    }


@cache
def _git_revision() -> str | None:
    """Return the commit of the code, as it was when this process first asked."""
    here = Path(audioprune.__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def write_status(folder: Path, error: BaseException) -> None:
    """Record in status.json how a run failed or was interrupted."""
    if isinstance(error, AudiopruneError):
        code = error.exit_code
    else:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    status = {
        "status": "interrupted" if code == 130 else "failed",
        "reason": reason,
        "exit_code": code,
    }
    with suppress(OutputError):  # a full disk cannot take the reason why the run failed
        write_record(folder / "status.json", status)


_OF_REFUSED = {".hydra", ".lock", "env.json", "run.json", "status.json"}
"""What is in a run folder before the first step."""


def drop_refused(folder: Path) -> None:
    """Remove a run folder in which no step was begun, and the empty folders above it.

    The folder that the user works in stays, whatever is in it, and so do those above it.
    """
    here = Path.cwd()
    if not folder.is_dir() or here.is_relative_to(folder.resolve()):
        return
    if not {entry.name for entry in folder.iterdir()} <= _OF_REFUSED:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for above in (folder.parent, folder.parent.parent):
        if here.is_relative_to(above.resolve()):
            return
        with suppress(OSError):  # other runs are in it
            above.rmdir()


PROCESSES = ".processes"
"""Folder within a run folder where the processes beside the main one have folders of their own."""
_NOT_COPIED = (".hydra", ".lock", PROCESSES, "audio", "tensorboard")


@contextmanager
def beside(folder: Path, index: int) -> Iterator[Path]:
    """Make a folder for another process of a run, which begins with what the run's own holds.

    So every process of a run resumes at the same place, and only the main one writes what stays.

    Args:
        folder: The run folder, which the main process holds and does not write meanwhile.
        index: Of the other process.

    Raises:
        OutputError: This machine does not see the run folder.
    """
    if not (folder / ".lock").exists():
        raise OutputError(
            f"{folder}: expected a run folder that the machines of all processes see, got none on "
            f"{platform.node()}; choose runtime.folder=... on a disk that they share"
        )
    own = folder / PROCESSES / str(index)
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in _NOT_COPIED:
            shutil.copytree(entry, own / entry.name, copy_function=_take)
        elif entry.is_file() and entry.name not in _NOT_COPIED:
            own.mkdir(parents=True, exist_ok=True)
            _take(entry, own / entry.name)
    own.mkdir(parents=True, exist_ok=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def shared(folder: Path) -> Path:
    """Return the run folder itself, given it or the folder of a process beside the main one."""
    return folder.parent.parent if folder.parent.name == PROCESSES else folder


def drop_processes(folder: Path) -> None:
    """Remove the folders of other processes that a killed run left."""
    shutil.rmtree(folder / PROCESSES, ignore_errors=True)


def _take(source: str | Path, target: str | Path) -> None:
    """Take over a file; only logs are written in place, all else may be the same file."""
    if Path(source).suffix != ".jsonl":
        with suppress(OSError):  # a file system without links
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def empty(folder: Path) -> None:
    """Remove what an earlier run of this folder left, except Hydra's own record and the lock.

    Raises:
        OutputError: The folder holds other things than a run, or the user works in it.
    """
    entries = [entry for entry in folder.iterdir() if entry.name not in (".hydra", ".lock")]
    foreign = not (folder / "run.json").exists() and any(
        entry.name != "status.json" for entry in entries
    )
    if foreign or Path.cwd().is_relative_to(folder.resolve()):
        raise OutputError(
            f"{folder}: runtime.force=true empties the run folder, and this one holds other "
            f"files; choose another folder"
        )
    for entry in sorted(entries, key=_turn):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _turn(entry: Path) -> int:
    """Return when a file goes, so that what is left of an emptied folder is never mistaken.

    First what says that steps are done, and last what says whose the folder is: whoever is killed
    meanwhile can empty it again.
    """
    first = ("status.json", "progress.jsonl", "state.safetensors.previous", "state.safetensors")
    if entry.name in first:
        return first.index(entry.name)
    return len(first) + (entry.name == "run.json")


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, or an empty one where the file is missing, damaged or something else.

    This is for files without which work is done again; others are read by ``read_record``.
    """
    try:
        return read_record(path)
    except CheckpointError:
        return {}

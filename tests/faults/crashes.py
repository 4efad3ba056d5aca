"""Commands in forked children that are disturbed at a chosen file operation: ``Trial``.

A child of this warm process carries out a command in a folder of its own; imports and compositions
are made already, so that a trial costs what the work itself costs. What it writes below the folder
is counted: files opened for writing, renames, links, removals, new folders and syncs. At the n-th
of them, which is before it happens, the child is disturbed: killed, signalled, its disk filled.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audioprune import checkpoint
from audioprune.files import read_lines

CHANGING = re.compile("seconds|latency|waiting|^line$|^check$")
"""What two equal runs may measure differently is named so."""
_NOT_COMPARED = (".lock", "status.json", "env.json", ".hydra", "optimization_results.yaml")
_PRESENT_ONLY = (".pt", ".pdf")
"""torch and the drawer of PDF write the same in other bytes."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_EVENTS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.symlink"}
Command = Callable[[], int]
"""Carries out a command in the current folder and returns its exit code."""
Disturb = Callable[[str, bool], None]
"""What happens at the chosen operation, given its path and whether it is a sync."""


@dataclass
class Ended:
    """How a child ended.

    Attributes:
        code: Exit code, negative for a signal.
        operations: File operations below its folder; 0 where it was killed.
        text: What it said on the error stream and the output.
        seconds: Wall time.
        peak_mb: Peak of its resident memory.
    """

    code: int
    operations: int
    text: str
    seconds: float
    peak_mb: float


def carry_out(
    command: Command,
    folder: Path,
    at: int | None = None,
    disturb: Disturb | None = None,
    kill_after_s: float | None = None,
) -> Ended:
    """Carry out a command in a child and tell how it ended.

    Args:
        command: The command.
        folder: Its current folder, below which operations count.
        at: Number of the operation before which it is disturbed, from 1.
        disturb: How.
        kill_after_s: Seconds after which it is killed from outside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes = Path(tempfile.gettempdir())  # its own disk may be full
    told, count = (notes / f"{os.getpid()}-{what}.txt" for what in ("told", "count"))
    count.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _as_child(command, folder, at, disturb, told, count)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - began
    operations = int(count.read_text()) if count.exists() else 0
    code = os.waitstatus_to_exitcode(status)
    text = told.read_text(errors="replace")
    return Ended(code, operations, text, seconds, usage.ru_maxrss / 1024)


def _as_child(
    command: Command,
    folder: Path,
    at: int | None,
    disturb: Disturb | None,
    told: Path,
    count: Path,
) -> None:
    """Carry out the command and leave this process; the count is left in a file."""
    code = 99
    try:
        os.setpgid(0, 0)  # what the command starts can be found and ended
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        stream = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        os.chdir(folder)
        seen = _count(str(folder), at, disturb)
        try:
            code = command()
        except BaseException as error:
            code = getattr(error, "exit_code", 98)
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            counted = seen[0]
            count.write_text(str(counted))
    finally:
        os._exit(code)


def _count(root: str, at: int | None, disturb: Disturb | None) -> list[int]:
    """Count the operations below a folder from now on, in this process and those that it forks."""
    seen, inside, here = [0], [False], os.getcwd()

    def operation(path: Any, synced: bool = False) -> None:
        if inside[0] or not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.join(here, os.fsdecode(path))
        if not place.startswith(root):
            return
        seen[0] += 1
        if seen[0] == at and disturb is not None:
            inside[0] = True
            try:
                disturb(place, synced)
            finally:
                inside[0] = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                operation(path)
        elif event in _EVENTS:
            operation(arguments[0])

    true_sync = os.fsync

    def sync(handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        operation(os.readlink(f"/proc/self/fd/{number}"), synced=True)
        true_sync(handle)

    os.fsync = sync
    sys.addaudithook(hook)
    return seen


def kill(path: str, synced: bool) -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def tear(path: str, synced: bool) -> None:
    """End this process with half of a file written, where one is; of a log, of its last line."""
    if synced and os.path.isfile(path):
        size = os.path.getsize(path)
        os.truncate(path, size // 2 if ".tmp." in path else max(0, size - 5))
    kill(path, synced)


def signalled(*numbers: int) -> Disturb:
    """Return what sends these signals to the process itself, one after another."""

    def send(path: str, synced: bool) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return send


def limit_files(path: str, synced: bool) -> None:
    """Let no file be larger than 2000 bytes, which no model file is: a full disk for any user."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))


@dataclass
class Trial:
    """One command whose undisturbed outcome is known.

    Args:
        command: The command.
        folder: Where its trials have folders of their own.
        prepare: Called with the folder of a trial before its first command.
        codes: Exit codes of an undisturbed command.
    """

    command: Command
    folder: Path
    prepare: Callable[[Path], object] = lambda _: None
    codes: tuple[int, ...] = (0,)
    straight: Ended = field(init=False)
    wanted: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        place = self._made()
        self.straight = carry_out(self.command, place)
        assert self.straight.code in self.codes, self.straight.text
        self.wanted = contents(place)

    def disturbed(self, at: int, disturb: Disturb) -> tuple[Path, Ended]:
        """Disturb a new trial at an operation; return its folder and how the child ended."""
        place = self._made()
        return place, carry_out(self.command, place, at, disturb)

    def resume(self, place: Path, *told: object) -> Ended:
        """Carry out the command again, and require what an undisturbed one leaves."""
        ended = carry_out(self.command, place)
        assert ended.code in self.codes, (*told, ended.text)
        assert "Traceback" not in ended.text, (*told, ended.text)
        differing = differences(contents(place), self.wanted)
        assert not differing, (*told, differing)
        left = [path for path in place.rglob("*") if ".tmp." in path.name]
        left = [path for path in left if "cache" not in path.relative_to(place).parts]
        assert not left, (*told, left)
        return ended

    def kill_at(self, at: int, disturb: Disturb = kill) -> None:
        """Kill a trial before an operation, and require the same from the same command."""
        place, ended = self.disturbed(at, disturb)
        assert ended.code == -signal.SIGKILL, (at, ended.text)
        self.resume(place, disturb.__name__, f"operation {at} of {self.straight.operations}")

    def kill_chain(self, gaps: Iterator[int]) -> int:
        """Kill each attempt of a trial, until one ends; return the number of kills."""
        place, kills = self._made(), 0
        while (ended := carry_out(self.command, place, next(gaps), kill)).code not in self.codes:
            assert ended.code == -signal.SIGKILL, (kills, ended.text)
            kills += 1
        self.resume(place, f"{kills} kills")
        return kills

    def kill_after(self, seconds: float) -> bool:
        """Kill a trial after a time; tell whether it was killed."""
        place = self._made()
        ended = carry_out(self.command, place, kill_after_s=seconds)
        self.resume(place, f"after {seconds:.2f} s")
        return ended.code == -signal.SIGKILL

    def positions(self, count: int, seed: int = 0) -> list[int]:
        """Return operations in equal parts of the whole, one drawn from each."""
        return drawn(self.straight.operations, count, seed)

    def _made(self) -> Path:
        """Make the folder of a trial; all have one name, which files may hold."""
        place = self.folder / "trial"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self.prepare(place)
        return place


def drawn(operations: int, count: int, seed: int) -> list[int]:
    """Return numbers from 1 to a number, one from each of ``count`` equal parts; all where few."""
    if os.environ.get("AUDIOPRUNE_EVERY_OPERATION") or count >= operations:
        return list(range(1, operations + 1))
    pick, size = random.Random(seed), operations / count
    return [min(operations, int(1 + (part + pick.random()) * size)) for part in range(count)]


def contents(folder: Path) -> dict[str, str]:
    """Return what every file of a folder holds, without what equal runs measure differently.

    Logs are given as they are, of other files a hash.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file() or set(parts) & set(_NOT_COMPARED) or ".previous" in path.name:
            continue
        if path.suffix == ".index":  # it remembers whatever was looked at, with its times
            continue
        if any(part.startswith(".jobs") or ".tmp." in part for part in parts):
            continue
        found["/".join(parts)] = _held(path)
    return found


def _held(path: Path) -> str:
    if path.suffix in _PRESENT_ONLY or path.name in (
        "trials.jsonl",
        "jobs.jsonl",
    ):  # that of every attempt
        return "there"
    data = path.read_bytes()
    if path.suffix == ".jsonl":
        rows = read_lines(path)  # a line that was cut short counts for nothing
        return "\n".join(json.dumps(_stable(row), sort_keys=True) for row in rows)
    if path.name in ("last.safetensors", "state.safetensors"):  # they hold times
        tensors, facts = checkpoint.read(path)
        total = hashlib.sha256(json.dumps(_stable(facts), sort_keys=True).encode())
        for name, tensor in sorted(tensors.items()):
            values = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            total.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode() + values)
        return total.hexdigest()
    return hashlib.sha256(data).hexdigest()


def _stable(value: Any) -> Any:
    """Return a value without what equal runs measure differently, at any depth."""
    if isinstance(value, dict):
        return {key: _stable(each) for key, each in value.items() if not CHANGING.search(key)}
    return [_stable(each) for each in value] if isinstance(value, list) else value


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Return the names of files that differ, are missing or too many; logs with their lines."""
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return [_told(name, found.get(name), wanted.get(name)) for name in names]


def _told(name: str, found: str | None, wanted: str | None) -> str:
    if found is None or wanted is None:
        return f"{name}: {'missing' if found is None else 'too many'}"
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), n=0, lineterm="")
    return "\n".join([name, *lines]) if name.endswith("jsonl") else name

"""Which of several processes this one is, as torchrun says it in the environment: ``place``.

Only the first of them is heard: ``mute`` silences another, ``unmute`` lets it say how it failed.
No torch is loaded here; what processes tell one another is in training/processes.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from audioprune.errors import ConfigError

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_KEPT_LINES = 20


@dataclass(frozen=True)
class Place:
    """The place of a process among those of one run.

    Attributes:
        index: Of the process among all, from 0.
        count: Number of processes.
        local_index: Of the process among those of this machine.
        local_count: Number of processes of this machine.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    local_count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process owns the run folder and is heard."""
        return self.index == 0


def place(variables: Mapping[str, str] | None = None) -> Place:
    """Return the place of this process; without a launcher it is the only one.

    Args:
        variables: The environment; None for that of this process.

    Raises:
        ConfigError: Some variables of a launcher are missing or no numbers, or a launcher started
            one process in place of several.
    """
    given = os.environ if variables is None else variables
    if given.get("WORLD_SIZE", "1") == "1":
        _refuse_lonely(given)
        return Place()
    missing = [name for name in _NEEDED if not given.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE={given['WORLD_SIZE']}: expected {', '.join(missing)} beside it, as "
            f"torchrun sets them, got none; start with torchrun --nproc_per_node N -m "
            f"audioprune.cli ..., or unset WORLD_SIZE"
        )
    count = _number(given, "WORLD_SIZE", 1)
    index = _number(given, "RANK", 0)
    if index >= count:
        raise ConfigError(
            f"RANK={index}: expected a number below WORLD_SIZE={count}; start with torchrun"
        )
    local_count = _number({"LOCAL_WORLD_SIZE": str(count), **given}, "LOCAL_WORLD_SIZE", 1)
    return Place(index, count, _number(given, "LOCAL_RANK", 0), local_count)


def _number(given: Mapping[str, str], name: str, least: int) -> int:
    if not given[name].isdecimal() or int(given[name]) < least:
        raise ConfigError(
            f"{name}={given[name]}: expected a whole number from {least} on, as torchrun sets "
            f"it; start with torchrun, or unset WORLD_SIZE"
        )
    return int(given[name])


def _refuse_lonely(given: Mapping[str, str]) -> None:
    """Refuse one process where ``accelerate launch --cpu`` was asked for several."""
    # accelerate says where the processes meet only where it was asked for more than one
    asked = "ACCELERATE_DYNAMO_BACKEND" in given and "MASTER_PORT" in given
    if asked and "WORLD_SIZE" not in given:
        raise ConfigError(
            "accelerate launch --cpu: expected several processes, got one, since it starts more "
            "by MPI alone; use torchrun --nproc_per_node N -m audioprune.cli ..., or accelerate "
            "launch --multi_gpu --num_processes N -m audioprune.cli ... runtime.device=cpu"
        )


class _Kept(io.StringIO):
    """A stream that keeps the last lines."""

    def write(self, text: str) -> int:
        lines = (self.getvalue() + text).splitlines(keepends=True)[-_KEPT_LINES:]
        self.seek(0)
        self.truncate()
        super().write("".join(lines))
        return len(text)


class _Streams:
    """The streams of a process that was silenced: where they went, and what was kept."""

    saved: tuple[TextIO, TextIO, int, int] | None = None
    kept = _Kept()
    settled = False


def mute(settled: bool = False) -> None:
    """Silence this process and those that it starts; the last lines of errors are kept.

    Args:
        settled: Whether another process says, or said, how the run failed.
    """
    _Streams.settled = settled
    if _Streams.saved is not None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    _Streams.saved = (sys.stdout, sys.stderr, os.dup(1), os.dup(2))
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = _Streams.kept = _Kept()


def unmute() -> str:
    """Let this process be heard again and return the last lines of errors that were kept."""
    if _Streams.saved is None:
        return ""
    stdout, stderr, out, err = _Streams.saved
    stdout.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    sys.stdout, sys.stderr = stdout, stderr
    _Streams.saved = None
    return _Streams.kept.getvalue()


def is_settled() -> bool:
    """Tell whether another process says how the run failed."""
    return _Streams.settled


def is_muted() -> bool:
    """Tell whether this process is silenced."""
    return _Streams.saved is not None

"""What a command line does where a launcher started several processes for it: ``as_one``.

Verbs that train run in all of them and are heard from one; the other verbs run in one. No torch is
loaded here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from audioprune import launch
from audioprune.commands.jobs import EXPERIMENTS
from audioprune.commands.messages import explain, say
from audioprune.errors import ConfigError

_YIELD_S = 3.0
"""How long a process waits for the main one to say how both failed, before it does."""
_SWEEP = ("-m", "--multirun")


def as_one(verb: str, arguments: list[str], run: Callable[[str, list[str]], int]) -> int:
    """Run a verb in this process, alone or as one of several, and return its exit code.

    Args:
        verb: The verb.
        arguments: What follows it.
        run: Runs both and returns the exit code.
    """
    try:
        where = launch.place()
        if where.count > 1:
            _refuse_sweep(where.count, arguments)
    except ConfigError as error:
        if _is_first():
            return explain(error)
        return error.exit_code
    if where.count == 1:
        return run(verb, arguments)
    if verb not in EXPERIMENTS:
        return run(verb, arguments) if where.is_main else 0
    if not where.is_main:
        launch.mute()
    code = run(verb, arguments)
    _tell_alone(code, where.index)
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)  # leaving in order could wait for a process that is gone
    return code


def _refuse_sweep(count: int, arguments: Sequence[str]) -> None:
    if set(_SWEEP) & set(arguments):
        raise ConfigError(
            f"-m: expected one configuration for {count} processes, got a sweep; start every job "
            f"with a launcher of its own, or the sweep without one"
        )


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _tell_alone(code: int, index: int) -> None:
    """Say what failed before the processes met; where all fail alike, the main one says it."""
    if not code or not index or not launch.is_muted() or launch.is_settled():
        return
    time.sleep(_YIELD_S)
    for line in launch.unmute().splitlines()[-1:]:
        say(f"{line} (rank {index})")

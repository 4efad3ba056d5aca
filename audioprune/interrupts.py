"""How a run is stopped politely.

The first Ctrl-C or SIGTERM finishes the piece of work at hand and saves, the second ends at once.
Long loops ask ``stop_requested()`` or ``check_stop()`` between pieces; the caller decides what is
saved.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from audioprune import progress
from audioprune.errors import InterruptedRun
from audioprune.launch import place

_requested = threading.Event()
_ECHO_S = 1.0
"""Within it a launcher passes on to its processes a Ctrl-C that they had from the terminal."""
_first = [0.0]


def stop_requested() -> bool:
    """Tell whether the user asked to stop."""
    return _requested.is_set()


def ask_to_stop() -> None:
    """Ask for the same as a first Ctrl-C does."""
    _requested.set()


def check_stop(agreed: bool = False) -> None:
    """Raise when the user asked to stop; call it between pieces whose results are saved.

    Args:
        agreed: Whether another process of the run was asked to.

    Raises:
        InterruptedRun: A first Ctrl-C or SIGTERM was received.
    """
    if agreed or _requested.is_set():
        raise InterruptedRun(
            "interrupted; everything finished is saved, the same command resumes it"
        )


@contextmanager
def graceful() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM for the length of a with-block, in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested.clear()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, _on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _requested.clear()


def _on_signal(number: int, frame: object) -> None:
    several = place().count > 1
    if _requested.is_set():
        if several and (number == signal.SIGTERM or time.monotonic() - _first[0] < _ECHO_S):
            return
        progress.show_cursor()
        os._exit(130)
    _first[0] = time.monotonic()
    _requested.set()
    if several and number == signal.SIGTERM:
        return  # a launcher ends the others where one failed, which says why
    if progress.warn("stopping after the current piece of work (again: stop at once)"):
        return
    # A print could meet a print of the interrupted code half-way, which Python refuses.
    os.write(2, b"\nstopping after the current piece of work (again: stop at once)\n")

"""How a run is stopped politely.

The first Ctrl-C or SIGTERM finishes the piece of work at hand and saves, the second ends at once.
Long loops ask ``stop_requested()`` or ``check_stop()`` between pieces; the caller decides what is
saved.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from audioprune.errors import InterruptedRun

_requested = threading.Event()


def stop_requested() -> bool:
    """Tell whether the user asked to stop."""
    return _requested.is_set()


def check_stop() -> None:
    """Raise when the user asked to stop; call it between pieces whose results are saved.

    Raises:
        InterruptedRun: A first Ctrl-C or SIGTERM was received.
    """
    if _requested.is_set():
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
    if _requested.is_set():
        os._exit(130)
    _requested.set()
    # A print could meet a print of the interrupted code half-way, which Python refuses.
    os.write(2, b"\nstopping after the current piece of work (again: stop at once)\n")

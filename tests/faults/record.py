"""What a test that provokes a fault measured: ``record``, one JSON line a call.

Tests carry ``@pytest.mark.faults("C18")``; ``make test-faults`` runs them all, names the log in
``AUDIOPRUNE_FAULT_LOG``, and ``scripts/reliability_page.py`` writes the table of
docs/reliability.md from it. Without that variable nothing is written.
"""

from __future__ import annotations

import json
import os
from typing import Any

VARIABLE = "AUDIOPRUNE_FAULT_LOG"


def record(fault: str, measured: str) -> None:
    """Say in a few words what was measured for a fault.

    Say counts, not durations, where one can choose: the words are committed.

    Args:
        fault: Number of the fault, such as ``"C18"``.
        measured: For instance ``"400 bit flips, 400 refused"``.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    write({"fault": fault, "test": test, "measured": measured})


def write(line: dict[str, Any]) -> None:
    """Append a line to the log, if one is named; lines of several processes stay whole."""
    log = os.environ.get(VARIABLE)
    if not log:
        return
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)

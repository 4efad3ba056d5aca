"""``audioprune report``: join runs into tables, figures and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.commands.messages import written
from audioprune.experiment.config_hash import plain_values
from audioprune.report import compression_line, write_report
from audioprune.report.shown.printing import show_written
from audioprune.terminal.streams import shown_form


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the report of the chosen runs, print its tables and what compression cost."""
    plain = plain_values(config)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    files = write_report([Path(each) for each in runs], Path(plain["out"]), **plain["report"])
    show_written(files)
    summary = plain["report"]["kind"] == "summary" and shown_form() == "table"
    if summary and (line := compression_line(runs)):
        print(line, flush=True)
    written(files)

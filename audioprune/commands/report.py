"""``audioprune report``: join runs into tables, figures and a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.experiment.config_hash import plain_values
from audioprune.report import compression_line, write_report


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the report of the chosen runs, print its tables and what compression cost."""
    plain = plain_values(config)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    files = write_report([Path(each) for each in runs], Path(plain["out"]), **plain["report"])
    for file in files:
        if file.suffix == ".md":
            print(file.read_text(encoding="utf-8"))
    print("\n".join(f"wrote {file}" for file in files), file=sys.stderr)
    if plain["report"]["kind"] == "summary" and (line := compression_line(runs)):
        print(line)

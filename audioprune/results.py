"""How a run records what it measured: keyed rows in results.jsonl, rewritten atomically, so that a repeated step replaces its rows.

Reading many runs and joining them into tables is done in audioprune.report.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.files import read_lines, write_atomic


class Results:
    """The rows of one run.

    Args:
        path: The results.jsonl of a run folder; rows already there are kept.
        stamp: What every new row says besides its own: the corpus that the run works on.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.stamp = dict(stamp or {})
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in read_lines(path) if "key" in row}

    def put(self, *rows: dict[str, Any]) -> None:
        """Add rows or replace those with the same ``key``, and write the file."""
        for row in rows:
            self.rows[row["key"]] = clean({**row, **self.stamp})
        write_atomic(self.path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows.values()))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind in the order of their first writing."""
        return [row for row in self.rows.values() if row["kind"] == kind]


def clean(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN and infinity become None, tuples lists."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV, atomically."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return write_atomic(path, stream.getvalue())

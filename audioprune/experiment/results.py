"""How a run records what it measured: keyed rows in results.jsonl.

``Results.put`` adds rows and rewrites the file atomically, so that a repeated step replaces its
rows. What a row says is written in rows.py; many runs are read and joined in audioprune.report.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import Row
from audioprune.files import read_lines, write_atomic

GIVEN = "as given"
"""Variant of the rows of a model that was compressed before the run began."""
UNCOMPRESSED = ("uncompressed", GIVEN)
"""Variants of the model that a run compresses."""


class Results:
    """The rows of one run.

    Args:
        path: The results.jsonl of a run folder; rows already there are kept.
        stamp: What every new row says besides its own: the corpus that the run works on.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.stamp = dict(stamp or {})
        self.rows: dict[str, dict[str, Any]] = {
            row["key"]: row for row in read_lines(path) if "key" in row
        }

    def put(self, *rows: Row | Mapping[str, Any]) -> None:
        """Add rows or replace those with the same ``key``, and write the file."""
        for row in map(_plain, rows):
            self.rows[row["key"]] = clean({**row, **self.stamp})
        write_atomic(
            self.path,
            "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows.values()),
        )

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind in the order of their first writing."""
        return [row for row in self.rows.values() if row["kind"] == kind]


class BranchResults(Results):
    """The rows of a branch: it sees the rows of its run, and its own join them at the end.

    Args:
        parent: The rows of the run.
        path: Step beside which it runs; the keys of its rows lie under it.
    """

    def __init__(self, parent: Results, path: str) -> None:
        self.parent, self.branch_path = parent, path
        self.path = parent.path
        self.rows = dict(parent.rows)
        self._added: dict[str, dict[str, Any]] = {}

    def put(self, *rows: Row | Mapping[str, Any]) -> None:
        """Add rows or replace those with the same ``key``; the file of the run stays as it is."""
        for row in map(_plain, rows):
            self.rows[row["key"]] = self._added[row["key"]] = clean(row)

    def merge(self) -> None:
        """Put the rows into those of the run, under the path of the branch."""
        self.parent.put(*({**row, "key": self._under(row["key"])} for row in self._added.values()))

    def _under(self, key: str) -> str:
        inside = key == self.branch_path or key.startswith(f"{self.branch_path}/")
        return key if inside else f"{self.branch_path}/{key}"


def _plain(row: Row | Mapping[str, Any]) -> dict[str, Any]:
    return row.as_dict() if isinstance(row, Row) else dict(row)


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

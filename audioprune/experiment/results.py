"""How a run records what it measured: keyed rows in results.jsonl.

``Results.put`` adds rows and rewrites the file atomically, so that a repeated step replaces its
rows. Rows hold means; ``ScoredItems`` writes the score of every item beside them, in
``items-<step>.csv``, and ``read_items`` reads these files. What a row says is written in rows.py;
many runs are read and joined in audioprune.report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import Row, read_number
from audioprune.records import read_csv, read_rows, write_csv, write_rows

GIVEN = "as given"
"""Variant of the rows of a model that was compressed before the run began."""
UNCOMPRESSED = ("uncompressed", GIVEN)
"""Variants of the model that a run compresses."""
Items = Mapping[str, Sequence[Any]]
"""Under ``id`` the names of all items, under each metric the score of every item or None."""
_DIGITS = 6  # significant ones; a mean of rounded scores is right to as many


class Results:
    """The rows of one run.

    Args:
        path: The results.jsonl of a run folder; rows already there are kept.
        stamp: What every new row says besides its own: the corpus that the run works on.

    Raises:
        CheckpointError: A row was changed after it was written, or rows are missing.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.stamp = dict(stamp or {})
        self.rows: dict[str, dict[str, Any]] = {
            row["key"]: row for row in read_rows(path) if isinstance(row.get("key"), str)
        }

    def put(self, *rows: Row | Mapping[str, Any]) -> None:
        """Add rows or replace those with the same ``key``, and write the file."""
        for row in map(_plain, rows):
            self.rows[row["key"]] = clean({**row, **self.stamp})
        if self.rows:
            write_rows(self.path, list(self.rows.values()))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind in the order of their first writing."""
        return [row for row in self.rows.values() if row.get("kind") == kind]


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


class ScoredItems:
    """The scores of every item that one step scored.

    Args:
        folder: The run folder.
        path: Path of the step.
    """

    def __init__(self, folder: Path, path: str) -> None:
        self.file = folder / f"items-{path.replace('/', '-')}.csv"
        self.by_key: dict[str, Items] = {}

    def add(self, key: str, items: Items | None) -> None:
        """Add the items of one row; nothing where the task tells none.

        Args:
            key: Of the row of results.jsonl that holds their mean.
            items: Names and scores.
        """
        if items and items.get("id"):
            self.by_key[key] = items

    def write(self) -> None:
        """Write the file, unless there is nothing to tell."""
        if not self.by_key:
            return
        metrics = list(dict.fromkeys(name for items in self.by_key.values() for name in items))
        metrics.remove("id")
        rows = [
            [key, name, *(_cell(items.get(metric), place) for metric in metrics)]
            for key, items in self.by_key.items()
            for place, name in enumerate(items["id"])
        ]
        write_csv(self.file, ["key", "id", *metrics], rows)


def _cell(scores: Sequence[Any] | None, place: int) -> str:
    score = scores[place] if scores else None
    return "" if score is None else f"{score:.{_DIGITS}g}"


def read_items(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Return names and scores of the items of every row of a run, by the key of the row.

    A file that cannot be read tells nothing.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for path in sorted(folder.glob("items-*.csv")):
        own: dict[str, dict[str, list[Any]]] = {}
        for row in read_csv(path):
            if not {"key", "id"} <= set(row):
                own = {}
                break
            kept = own.setdefault(row.pop("key"), {})
            kept.setdefault("id", []).append(row.pop("id"))
            for metric, text in row.items():
                kept.setdefault(metric, []).append(read_number(text))
        found |= own
    return found

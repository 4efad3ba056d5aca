"""How finished runs are kept without their folders: ``collect`` writes a file of collected runs.

One line says what a run is (configuration, commit, environment, command, time); the rows that
reports read follow it, with the score of every item where the run kept them. Numbers have nine
significant digits, what all rows of a run share has a line of its own, and what only a look into
one run needs is left out. ``audioprune report`` reads such a file in place of the run folders.
Nothing unfinished is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.files import read_lines, write_atomic
from audioprune.report.runs.job import COLLECTED, Job, load_jobs

_DIGITS = 9
_WHOLE = 10**6  # larger whole numbers are no shorter without their point
_COMMON = ("corpus", "corpus_fingerprint", "scale", "seed", "model")
# Rows and keys that describe one training, not what came out of it.
_NO_ROWS = ("epoch", "ticket", "pruning")
_NO_KEYS = ("std", "density_per_tensor", "units_per_set", "norm_quantiles", "accuracy_per_class")
_IN_REPETITION = re.compile(r"/\d+/")
_ITEM_METRICS = ("stoi", "pesq_raw_nb", "pesq_wb", "si_sdr", "lsd", "accuracy", "error")
_ITEM_DIGITS = 5
_DIGEST = 8
_NO_CONFIG = ("runtime.", "hydra.", "tune.", "verb", "objective", "pipeline.steps.", "data.cache")
_INFO = ("name", "verb", "hash", "model", "pipeline", "seed", "scale")


def collect(runs: str | Path | Iterable[str | Path], folder: Path) -> tuple[int, int]:
    """Add finished runs to the file of collected runs in a folder, or replace those of their name.

    Args:
        runs: A run folder, a folder of run folders, a glob, or a list of these.
        folder: Where ``rows.jsonl`` is or will be.

    Returns:
        How many runs were added or replaced, and how many the file holds now.

    Raises:
        DataError: None of the runs is finished.
    """
    jobs = [job for job in load_jobs(runs) if job.status == "finished" and job.rows]
    if not jobs:
        raise DataError("expected finished runs, got none; wait until some have ended")
    path = folder / COLLECTED
    kept = _kept_lines(path)
    kept |= {job.folder.name: _lines(job) for job in jobs}
    text = "".join(f"{line}\n" for name in sorted(kept) for line in kept[name])
    write_atomic(path, text)
    return len(jobs), len(kept)


def _kept_lines(path: Path) -> dict[str, list[str]]:
    """Return the lines of a file of collected runs by the name of their run."""
    found: dict[str, list[str]] = {}
    name = ""
    for row in read_lines(path):
        name = str(row["folder"]) if row.get("kind") == "run" else name
        found.setdefault(name, []).append(_text(row))
    return found


def _lines(job: Job) -> list[str]:
    rows = [dict(row) for row in job.rows if row.get("kind") not in _NO_ROWS]
    common = {key: rows[0][key] for key in _COMMON if rows and rows[0].get(key) is not None}
    common |= {
        key: row[key] for row in rows for key in _COMMON if key not in common and row.get(key)
    }
    head: dict[str, Any] = {"kind": "run", "folder": job.folder.name}
    head |= {key: getattr(job, key) for key in _INFO}
    head["scale_differs"] = list(job.scale_differs)
    head["config"] = {
        key: value for key, value in job.config.items() if not key.startswith(_NO_CONFIG)
    }
    head["state"] = {"status": job.status, "seconds": job.seconds}
    head["env"] = job.environment
    head["command"] = job.command
    head["common"] = common
    return [_text(head), *(_text(_rounded(_slim(row, common))) for row in rows)]


def _slim(row: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without what the line of its run tells, and without what no report reads."""
    kept = {
        key: value
        for key, value in row.items()
        if key not in _NO_KEYS
        and not (key in common and value == common[key])
        and not (key == "failures" and not value)
        and not (key == "n_valid" and _all_equal(value, row.get("n")))
    }
    items = kept.pop("items", None)
    if items and not _IN_REPETITION.search(str(row.get("key"))):
        kept["items"] = _slim_items(items)
    return kept


def _slim_items(items: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return scores of items with a digest in place of the names, which only pair them."""
    names = json.dumps(items["id"]).encode()
    kept: dict[str, Any] = {"id": hashlib.sha256(names).hexdigest()[:_DIGEST]}
    for metric in _ITEM_METRICS:
        if metric in items:
            kept[metric] = [_rounded(score, _ITEM_DIGITS) for score in items[metric]]
    return kept


def _all_equal(value: Any, count: Any) -> bool:
    return isinstance(value, Mapping) and all(each == count for each in value.values())


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def _rounded(value: Any, digits: int = _DIGITS) -> Any:
    if isinstance(value, float):
        short = float(f"{value:.{digits}g}")
        return int(short) if short.is_integer() and abs(short) < _WHOLE else short
    if isinstance(value, Mapping):
        return {key: _rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each, digits) for each in value]
    return value

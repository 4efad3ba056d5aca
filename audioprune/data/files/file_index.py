"""What is known about audio files from earlier runs, so that an unchanged file is decoded once.

``inspect_files`` returns the facts of files. The index of a folder is one file in the cache; it is
verified by a checksum, replaced as a whole and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audioprune.data.files.checks import FileFacts, Finding, inspect_file
from audioprune.data.files.parallel import in_threads
from audioprune.errors import OutputError
from audioprune.files import sha256, write_atomic
from audioprune.paths import cache_folder

_VERSION = 3
_SAVE_EVERY = 1000


def inspect_files(root: Path, paths: Sequence[Path], cache_dir: str = "") -> list[FileFacts]:
    """Inspect files, decoding only those that are new or changed since they were last inspected.

    A file counts as unchanged when its size and its time of change are the same.

    Args:
        root: Folder that holds the files.
        paths: The files, all below ``root``.
        cache_dir: Cache folder; empty for the user's.

    Returns:
        The facts of each file, in the given order.
    """
    place = cache_folder(cache_dir) / "files" / f"{sha256(os.fsencode(root.resolve()))[:16]}.json"
    known = _read(place)
    facts: dict[Path, FileFacts] = {}
    fresh = []
    for path in paths:
        entry = known.get(path.relative_to(root).as_posix())
        if entry and entry["stamp"] == _stamp(path):
            facts[path] = _from_entry(path, entry)
        else:
            fresh.append(path)
    for start in range(0, len(fresh), _SAVE_EVERY):
        part = fresh[start : start + _SAVE_EVERY]
        # Stamped before reading: a file that changes meanwhile is read again next time.
        stamps = {path: _stamp(path) for path in part}
        facts |= _inspect_all(root, part)
        for path in part:
            known[path.relative_to(root).as_posix()] = _to_entry(facts[path], stamps[path])
        _write(place, known)
    return [facts[path] for path in paths]


def _inspect_all(root: Path, paths: Sequence[Path]) -> dict[Path, FileFacts]:
    return {fact.path: fact for fact in in_threads(inspect_file, paths, f"checking {root.name}")}


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _to_entry(facts: FileFacts, stamp: list[int]) -> dict[str, Any]:
    entry = {"stamp": stamp, **asdict(facts)}
    del entry["path"]
    findings = [[each.severity, each.code, each.reason] for each in facts.findings]
    return {**entry, "findings": findings}


def _from_entry(path: Path, entry: dict[str, Any]) -> FileFacts:
    findings = tuple(Finding(path, *finding) for finding in entry["findings"])
    values = {key: value for key, value in entry.items() if key not in ("stamp", "findings")}
    return FileFacts(path, findings=findings, **values)


def _read(place: Path) -> dict[str, Any]:
    """Return the stored entries; none when the file is missing, damaged or of another version."""
    try:
        checksum, _, body = place.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    if checksum != sha256(body.encode()):
        return {}
    content = json.loads(body)
    return content["entries"] if content.get("version") == _VERSION else {}


def _write(place: Path, entries: dict[str, Any]) -> None:
    body = json.dumps({"version": _VERSION, "entries": entries})
    try:
        write_atomic(place, f"{sha256(body.encode())}\n{body}")
    except (OutputError, OSError):
        return  # a cache that cannot be written costs time, nothing else

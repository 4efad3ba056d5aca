"""What is known about audio files from earlier runs, so that an unchanged file is decoded once.

``inspect_files`` returns the facts of files. The index of a folder is one file in the cache, see
index_file.py; it is verified by a checksum, replaced as a whole and may be deleted at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from audioprune.data.files.checks import FileFacts, inspect_file
from audioprune.data.files.index_file import IndexFile, Stamp
from audioprune.data.files.parallel import in_threads
from audioprune.files import sha256
from audioprune.paths import cache_folder

_SAVE_EVERY_S = 10.0
_SAVING_SHARE = 20.0
"""Inspecting goes on for this many times as long as a writing took before the next one."""


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
    index = index_of(root, cache_dir)
    above = len(os.fsencode(root / "x")) - 1
    named = {path: (os.fsencode(path)[above:], _stamp(path)) for path in paths}
    facts = index.known(named)
    fresh = [path for path in named if path not in facts]
    if fresh:
        facts |= _inspect(index, root, {path: named[path][0] for path in fresh})
    return [facts[path] for path in paths]


def index_of(root: Path, cache_dir: str = "") -> IndexFile:
    """Return what is stored of the files below a folder; see ``inspect_files``."""
    name = f"{sha256(os.fsencode(root.resolve()))[:16]}.index"
    return IndexFile.read(cache_folder(cache_dir) / "files" / name)


def _inspect(index: IndexFile, root: Path, names: dict[Path, bytes]) -> dict[Path, FileFacts]:
    """Inspect files and store their facts; what is done survives an interruption."""
    found: dict[Path, FileFacts] = {}
    unsaved: dict[bytes, tuple[Stamp, FileFacts]] = {}
    due = time.monotonic() + _SAVE_EVERY_S

    def work(path: Path) -> tuple[Stamp, FileFacts]:
        # Stamped before reading: a file that changes meanwhile is read again next time.
        stamp = _stamp(path)
        return stamp, inspect_file(path)

    paths = list(names)
    done = in_threads(work, paths, f"checking {root.name}")
    try:
        for path, result in zip(paths, done, strict=True):
            unsaved[names[path]], found[path] = result, result[1]
            if time.monotonic() > due:
                began = time.monotonic()
                index.write(unsaved)
                unsaved.clear()
                now = time.monotonic()
                due = now + max(_SAVE_EVERY_S, _SAVING_SHARE * (now - began))
    finally:
        if unsaved:
            index.write(unsaved)
    return found


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns

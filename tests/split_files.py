"""Files without audio for the tests of splits, and where they were put."""

from __future__ import annotations

from pathlib import Path

from audioprune.data.splits.assign import Assigned


def write_files(root: Path, *names: str) -> dict[Path, Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return {root / name: Path(name) for name in names}


def places_of(assigned: list[Assigned], root: Path) -> dict[str, tuple[str, str]]:
    return {
        entry.path.relative_to(root).as_posix(): (entry.split, entry.group) for entry in assigned
    }

"""Clips that a user's table names with their classes: ``list_table``.

Folders named after classes are read in lists.py, the lists of the TUT corpora in tut_lists.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audioprune.data.files.lists import Places, name_key, read_table
from audioprune.data.scenes.lists import (
    SceneClip,
    SceneList,
    refuse_unknown_classes,
    share_clips,
    some,
)
from audioprune.data.splits.folders import SPLITS, split_of_folder
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.errors import DataError, unknown_name

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": ("filename", "file", "path", "name"),
    "label": ("label", "class", "scene_label", "scene", "category"),
    "split": ("split", "set", "subset"),
    "recording": ("recording", "identifier"),
}


@dataclass(frozen=True)
class _Row:
    """What a table says of one clip."""

    label: str
    split: str
    recording: str


def list_table(
    root: Path,
    table: Path,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    links: Links = (),
) -> SceneList:
    """List the clips of a table with the columns filename and label.

    It may also have the columns split and recording.

    Args:
        root: Folder of the corpus; names in the table are below it, below its folder ``audio`` or
            beside the table.
        table: The table; see ``lists.read_table``.
        fractions: Shares of each class's recordings in train, valid and test, where the table has
            no split.
        seed: Chooses the recordings of each share.
        links: Files of the same audio, whose recordings are kept together.

    Raises:
        DataError: Columns, labels or files are missing, a file has two labels, or a split or a
            class is unknown.
    """
    if not root.is_dir():
        raise DataError(f"expected a folder of clips at {root}, found none; check the path")
    rows, notes = _rows(root, table)
    shared = not any(row.split for row in rows.values())
    if not shared:
        _check_splits(table, rows)
    together = joined({path: f"{row.label}/{row.recording}" for path, row in rows.items()}, links)
    clips = [
        SceneClip(path, _relative(path, root), row.label, together[path], row.split)
        for path, row in rows.items()
    ]
    if shared:
        clips = share_clips(clips, fractions, seed)
    refuse_unknown_classes(root, clips)
    classes = tuple(sorted({row.label for row in rows.values()}))
    if len(classes) < 2:
        raise DataError(
            f"{table}: expected at least 2 classes, found {', '.join(classes)}; check the "
            f"column of labels"
        )
    how = f"shares of each class's recordings by seed {seed}"
    if not shared:
        how = "the table gives the splits"
    rule = f"classes of {table.name}; {how}"
    return SceneList(root, classes, tuple(clips), tuple(notes), rule=rule)


def _rows(root: Path, table: Path) -> tuple[dict[Path, _Row], list[str]]:
    """Return the rows of the files that are there, and notes on the others."""
    read = read_table(table, "a table of clips")
    at = _columns(read.header)
    if not {"file", "label"} <= set(at):
        found = ", ".join(read.header) or "nothing"
        raise DataError(
            f"{table}: expected the columns filename and label, found {found}; add a header line"
        )
    places = Places((root, root / "audio", table.parent))
    rows: dict[Path, _Row] = {}
    absent = []
    for line in read.rows:
        name, label, split, recording = (_cell(line.cells, at.get(key)) for key in _COLUMNS)
        path = places.find(name) if name else None
        own = name_key(recording) or recording_of(PurePosixPath(name))
        row = _Row(name_key(label), _split(split, table, line.number), own)
        if not label:
            raise DataError(
                f"{table}, row {line.number}: expected a label for {name}, got none; complete "
                f"the row"
            )
        if path is None:
            absent.append(name)
        elif rows.setdefault(path, row) != row:
            raise DataError(
                f"{table}, row {line.number}: expected one row for {name}, got two that differ; "
                f"remove one"
            )
    if not rows:
        raise DataError(
            f"{table}: expected its files in {root}, found none of {len(absent)} "
            f"({some(absent)}); check the path"
        )
    notes = [f"{table}: {len(absent)} files are not there: {some(absent)}"] if absent else []
    return rows, notes


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Return where the columns are; of several names for one column, the first known counts."""
    names = [name.lower() for name in header]
    found = {}
    for key, known in _COLUMNS.items():
        here = [name for name in known if name in names]
        if here:
            found[key] = names.index(here[0])
    return found


def _cell(cells: Sequence[str], place: int | None) -> str:
    return cells[place] if place is not None and place < len(cells) else ""


def _split(given: str, table: Path, number: int) -> str:
    split = split_of_folder(given)
    if given and not split:
        raise DataError(f"{table}, row {number}: {unknown_name('split', given, SPLITS)}")
    return split


def _check_splits(table: Path, rows: Mapping[Path, _Row]) -> None:
    bare = [path.name for path, row in rows.items() if not row.split]
    if bare:
        raise DataError(
            f"{table}: expected a split in every row or in none, found none for {some(bare)}; "
            f"complete the table"
        )
    found = {row.split for row in rows.values()}
    missing = [split for split in ("train", "test") if split not in found]
    if missing:
        raise DataError(
            f"{table}: expected clips for train and test, found none for {missing[0]}; add "
            f"rows, or leave the column out"
        )


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

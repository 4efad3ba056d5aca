"""Splits that a user wrote down: a CSV file, a text file, a folder of lists or a mapping.

``read_split_list`` reads any of them. Which file gets which split by it is decided in assign.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audioprune.data.files.lists import (
    Line,
    Places,
    name_key,
    read_cells,
    read_lines,
    without_ending,
)
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import SPLITS, split_of_folder
from audioprune.errors import DataError, unknown_name

_COLUMNS = {"split": ("split",), "speaker": ("speaker",), "path": ("path", "file", "filename")}

Row = dict[str, str]
"""Cells of one row by column: ``split``, and ``speaker`` or ``path``."""


@dataclass
class SplitList:
    """Splits that a user wrote down, by file or by speaker.

    Attributes:
        name: Where they stand, for messages.
        by_path: Split and speaker (or an empty text) of each file.
        by_speaker: Split of each speaker.
        absent: Rows whose file does not exist.
    """

    name: str
    by_path: dict[Path, tuple[str, str]] = field(default_factory=dict)
    by_speaker: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def read_split_list(source: str | Path | Mapping[str, Sequence[str]], root: Path) -> SplitList:
    """Read splits from a list file or a mapping.

    Args:
        source: A CSV file with a header and the columns ``split`` and ``speaker`` or ``path`` (or
            both), a text file with one ``split speaker`` a line, a folder with train.txt,
            valid.txt and test.txt, or a mapping from split to speakers or to such a text file. A
            line of these names a speaker or a file. Paths in a CSV are relative to ``root``, to
            its folder or to the folder above it. Endings of file names may be missing.
        root: Folder of the corpus.

    Raises:
        DataError: The file is missing or has other columns, a split is unknown, or a file or
            speaker is in two splits.
    """
    if isinstance(source, Mapping):
        listed, place = SplitList("split"), root
        rows = _rows_of(source)
    else:
        place = Path(source).expanduser()
        listed = SplitList(str(place))
        rows = _read_folder(place) if place.is_dir() else _read_rows(place)
    places = Places((root, place.parent, place.parent.parent))
    for number, row in enumerate(rows, 1):
        _add_row(listed, row, number, places)
    return listed


def _rows_of(names: Mapping[str, str | Path | Sequence[str]]) -> list[Row]:
    """Return a row for each name of each split, which may be a speaker or a file."""
    rows = []
    for split, given in names.items():
        rows += [{"split": split, "speaker": name} for name in _names_in(given)]
    return rows


def _read_folder(folder: Path) -> list[Row]:
    """Return the rows of a folder with a list of names for each split."""
    lists = [(split_of_folder(place.stem), place) for place in sorted(folder.glob("*.txt"))]
    if not any(split for split, _ in lists):
        raise DataError(
            f"{folder}: expected lists train.txt, valid.txt and test.txt, found "
            f"{listing(folder)}; give a list or its folder"
        )
    rows = []
    for split, place in lists:
        if split:
            rows += _rows_of({split: place})
    return rows


def _names_in(given: str | Path | Sequence[str]) -> list[str]:
    """Return names of speakers or files: as given, or the lines of a text file.

    Endings of audio files are left out of lines.
    """
    if isinstance(given, str | Path):
        lines = read_lines(Path(given).expanduser(), "a list of speakers or files")
        return [without_ending(line) for _, line in lines]
    return [str(name) for name in given]


def _read_rows(place: Path) -> list[Row]:
    """Return the rows of a CSV with a header, or of lines ``split speaker``."""
    lines = read_cells(place, "a list of splits")
    header = [name.lower() for name in lines[0].cells] if lines else []
    columns: dict[str, int] = {}
    for name, spellings in _COLUMNS.items():
        for known in spellings:
            if known in header:
                columns[name] = header.index(known)
    if {"split", "speaker"} <= set(columns) or {"split", "path"} <= set(columns):
        return [_row(line, columns) for line in lines[1:]]
    if len(header) > 1 and not split_of_folder(header[0]):
        given = ", ".join(lines[0].cells)
        raise DataError(
            f"{place}: expected the columns split and speaker or path, got {given}; add a "
            f"header line"
        )
    rows = []
    for line in lines:
        words = line.cells if len(line.cells) == 2 else " ".join(line.cells).split()
        if len(words) != 2:
            _refuse_line(place, " ".join(words))
        rows.append({"split": words[0], "speaker": words[1]})
    if not rows:
        _refuse_line(place, "nothing")
    return rows


def _row(line: Line, columns: Mapping[str, int]) -> Row:
    """Return the cells of a line by column; a missing one is empty."""
    cells = line.cells
    return {name: cells[at] if at < len(cells) else "" for name, at in columns.items()}


def _refuse_line(place: Path, given: str) -> None:
    raise DataError(
        f"{place}: expected lines 'split speaker', got {given or 'nothing'}; correct the line or "
        f"write a CSV"
    )


def _add_row(listed: SplitList, row: Row, number: int, places: Places) -> None:
    """Add a row to the list.

    Raises:
        DataError: Its split is unknown, or its speaker or file has another one.
    """
    where = f"{listed.name}, row {number}"
    split = split_of_folder(row.get("split", ""))
    if not split:
        raise DataError(f"{where}: {unknown_name('split', row.get('split', ''), SPLITS)}")
    speaker = name_key(row.get("speaker", ""))
    if not row.get("path"):
        before = listed.by_speaker.setdefault(speaker, split)
        what = f"speaker '{speaker}'"
    else:
        path = places.find(row["path"])
        if path is None:
            listed.absent.append(row["path"])
            return
        before = listed.by_path.setdefault(path.resolve(), (split, speaker))[0]
        what = f"file {row['path']}"
    if before != split:
        raise DataError(
            f"{where}: expected {what} in one split, got {before} and {split}; remove one of the "
            f"rows"
        )

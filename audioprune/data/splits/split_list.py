"""Splits that a user wrote down: a CSV file, a text file, a folder of lists or a mapping.

``read_split_list`` reads any of them. Which file gets which split by it is decided in assign.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audioprune.data.files.lists import Places, name_key, read_cells, read_lines, without_ending
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import SPLITS, split_of_folder
from audioprune.errors import DataError, unknown_name

_COLUMNS = {"split": ("split",), "speaker": ("speaker",), "path": ("path", "file", "filename")}


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
        listed = SplitList("split")
        rows = [
            {"split": split, "speaker": name}
            for split, given in source.items()
            for name in _names_in(given)
        ]
        place = root
    else:
        place = Path(source).expanduser()
        listed = SplitList(str(place))
        rows = _read_folder(place) if place.is_dir() else _read_rows(place)
    places = Places((root, place.parent, place.parent.parent))
    for number, row in enumerate(rows, 1):
        _add_row(listed, row, number, places)
    return listed


def _read_folder(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder with a list of names for each split."""
    lists = {place: split_of_folder(place.stem) for place in sorted(folder.glob("*.txt"))}
    if not any(lists.values()):
        raise DataError(
            f"{folder}: expected lists train.txt, valid.txt and test.txt, found "
            f"{listing(folder)}; give a list or its folder"
        )
    return [
        {"split": split, "speaker": name}
        for place, split in lists.items()
        if split
        for name in _names_in(place)
    ]


def _names_in(given: str | Path | Sequence[str]) -> list[str]:
    """Return the names of speakers or files: as given, or one a line of a text file, without the ending of audio."""
    if isinstance(given, str | Path):
        return [
            without_ending(line)
            for _, line in read_lines(Path(given).expanduser(), "a list of speakers or files")
        ]
    return [str(name) for name in given]


def _read_rows(place: Path) -> list[dict[str, str]]:
    lines = read_cells(place, "a list of splits")
    header = [name.lower() for name in lines[0].cells] if lines else []
    columns = {
        name: header.index(known)
        for name, spellings in _COLUMNS.items()
        for known in spellings
        if known in header
    }
    if {"split", "speaker"} <= set(columns) or {"split", "path"} <= set(columns):
        return [
            {name: line.cells[at] if at < len(line.cells) else "" for name, at in columns.items()}
            for line in lines[1:]
        ]
    words = [
        line.cells if len(line.cells) == 2 else " ".join(line.cells).split() for line in lines
    ]
    if len(header) > 1 and not split_of_folder(header[0]):
        given = ", ".join(lines[0].cells)
        raise DataError(
            f"{place}: expected the columns split and speaker or path, got {given}; add a "
            f"header line"
        )
    wrong = next((line for line in words if len(line) != 2), None)
    if wrong or not words:
        given = " ".join(wrong or []) or "nothing"
        raise DataError(
            f"{place}: expected lines 'split speaker', got {given}; correct the line or write a "
            f"CSV"
        )
    return [{"split": first, "speaker": second} for first, second in words]


def _add_row(listed: SplitList, row: Mapping[str, str], number: int, places: Places) -> None:
    split = split_of_folder(row.get("split", ""))
    if not split:
        raise DataError(
            f"{listed.name}, row {number}: {unknown_name('split', row.get('split', ''), SPLITS)}"
        )
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
            f"{listed.name}, row {number}: expected {what} in one split, got {before} and "
            f"{split}; remove one of the rows"
        )

"""How lists and tables that people write are read, and how a name in them meets a file on disk.

Every list of a corpus or of a listening test is read here: with or without a byte-order mark, with
any line ends, with commas, semicolons or tabs, with quoted cells. ``read_table``, ``read_cells``
and ``read_lines`` read, ``Places`` finds files. What the columns mean is decided by the caller.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from audioprune.data.files.audio import AUDIO_SUFFIXES
from audioprune.errors import DataError

_SEPARATORS = "\t;,"
_COMMENT = "#"


@dataclass(frozen=True)
class Line:
    """One line of a list that is neither empty nor a comment.

    Attributes:
        number: Its number in the file, from 1; of a cell with line breaks the last one.
        cells: Its cells, without quotes and without spaces around them.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A list whose first line names its columns.

    Attributes:
        path: The file.
        header: Names of the columns as written.
        rows: Lines below the header.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Line, ...]

    def records(self) -> list[dict[str, str]]:
        """Return the cells of each row by column.

        A cell that is missing is empty; one too many is left out.
        """
        empty = dict.fromkeys(self.header, "")
        return [empty | dict(zip(self.header, row.cells, strict=False)) for row in self.rows]


def read_text(path: Path, expected: str, errors: str = "strict") -> str:
    """Read a text file in UTF-8, or in UTF-16 where it begins with that byte-order mark.

    Args:
        path: The file.
        expected: What it should be, for the message, such as ``"a list of splits"``.
        errors: What becomes of bytes that are no text, as in ``bytes.decode``.

    Raises:
        DataError: The file cannot be opened or is not text.
    """
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig", errors)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(
            f"{path}: expected {expected}, got {reason}; give a text file in UTF-8"
        ) from error


def read_lines(path: Path, expected: str, errors: str = "strict") -> list[tuple[int, str]]:
    """Return number and text of the lines that are neither empty nor comments.

    Args:
        path: The file.
        expected: As in ``read_text``.
        errors: As in ``read_text``.

    Raises:
        DataError: As in ``read_text``.
    """
    lines = enumerate(io.StringIO(read_text(path, expected, errors), newline=None), 1)
    return [(number, text.strip()) for number, text in lines if _counts(text)]


def read_cells(
    path: Path, expected: str, comments: bool = True, errors: str = "strict"
) -> list[Line]:
    """Return the lines of a list, cut into cells.

    They are cut at tabs, semicolons or commas, whichever its first lines have.

    Args:
        path: The file.
        expected: As in ``read_text``.
        comments: Whether lines that begin with ``#`` are passed over.
        errors: As in ``read_text``.

    Raises:
        DataError: The file cannot be opened, is not text, or a quoted cell does not end.
    """
    text = read_text(path, expected, errors)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_separator(text),
        skipinitialspace=True,
        strict=True,
    )
    lines: list[Line] = []
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped) and not (comments and stripped[0].startswith(_COMMENT)):
                lines.append(Line(reader.line_num, stripped))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected {expected}, got {error}; correct the line"
        ) from error
    return lines


def read_table(path: Path, expected: str, comments: bool = True, errors: str = "strict") -> Table:
    """Return a list whose first line names its columns.

    An empty file has neither columns nor rows.

    Raises:
        DataError: As in ``read_cells``.
    """
    lines = read_cells(path, expected, comments, errors)
    return Table(path, lines[0].cells if lines else (), tuple(lines[1:]))


def name_key(name: str) -> str:
    """Return a name in the form in which names are compared: with accents composed."""
    return unicodedata.normalize("NFC", name)


def bare_name(name: str) -> str:
    """Return a name of a list without folders and without the ending of an audio file."""
    return name_key(without_ending(PurePosixPath(name.replace("\\", "/")).name))


def without_ending(name: str) -> str:
    """Return a name or path without the ending of an audio file; ``sp1_take1.5`` has none."""
    ending = PurePosixPath(name).suffix
    return name[: -len(ending)] if ending.lower() in AUDIO_SUFFIXES else name


@dataclass
class Places:
    """Finds the files that a list names, below one of several folders.

    Attributes:
        folders: Where to look, in this order.
    """

    folders: Sequence[Path]
    _known: dict[Path, dict[str, Path]] = field(default_factory=dict, repr=False)

    def find(self, name: str) -> Path | None:
        """Return the file of a name, or None.

        The name may lack its ending or store accents otherwise. One that leads out of all the
        folders names nothing.
        """
        given = name.replace("\\", "/")
        for folder in self.folders:
            for below in self.folders:
                inside = os.path.relpath(os.path.join(folder, given), below)
                parts = PurePosixPath(inside).parts
                if parts[:1] == ("..",) or (below != folder and ".." not in given):
                    continue
                exact = below / inside
                found = exact if exact.is_file() else self._alike(below, parts)
                if found is not None:
                    return found
        return None

    def _alike(self, folder: Path, parts: Sequence[str]) -> Path | None:
        """Follow a path part by part, by the form in which names are compared."""
        for part in parts[:-1]:
            folder = self._inside(folder).get(name_key(part), folder / part)
        known = self._inside(folder)
        last = name_key(parts[-1]) if parts else ""
        for ending in ("", *AUDIO_SUFFIXES):
            found = known.get(last + ending)
            if found is not None and found.is_file():
                return found
        return None

    def _inside(self, folder: Path) -> dict[str, Path]:
        if folder not in self._known:
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
            self._known[folder] = {name_key(entry.name): entry for entry in entries}
        return self._known[folder]


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(_COMMENT)


def _separator(text: str) -> str:
    """Return the separator that cuts the first line that has one into the most cells."""
    for line in filter(_counts, io.StringIO(text, newline=None)):
        counts = {mark: len(next(csv.reader([line], delimiter=mark), [])) for mark in _SEPARATORS}
        if max(counts.values()) > 1:
            return max(counts, key=lambda mark: counts[mark])
    return ","

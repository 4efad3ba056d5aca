"""Records and tables that are written as a whole and read back: nothing changed passes unseen.

``write_record`` and ``read_record`` are for one JSON object, ``write_rows`` and ``read_rows`` for
lines of them, ``write_csv`` and ``read_csv`` for tables. Logs that grow line by line are in
files.py, the checksums in sealing.py.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import CheckpointError
from audioprune.files import write_atomic, write_json
from audioprune.plain.cells import FORMULA
from audioprune.plain.sealing import (
    CHECK,
    checksum,
    opened,
    opened_lines,
    parse,
    sealed,
    was_check,
)

_LOG = logging.getLogger(__name__)


def write_record(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write a JSON object with a checksum, atomically; NaN and infinity are refused."""
    plain: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    return write_json(path, sealed(plain))


def read_record(path: Path) -> dict[str, Any]:
    """Return a JSON object without its checksum; an empty one where there is no such file.

    Raises:
        CheckpointError: The file cannot be read, holds something else, or was changed.
    """
    try:
        value = parse(path.read_text(encoding="utf-8"))
        record = opened(value) if isinstance(value, dict) else None
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError):
        record = None
    if record is None:
        raise CheckpointError(
            f"{path}: expected the record as it was written, got a damaged one; restore the file, "
            f"or start over with runtime.force=true"
        )
    return record


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON objects as lines, atomically, each with a checksum over itself and its place."""
    lines = [
        json.dumps(sealed(row, (index, len(rows))), allow_nan=False) + "\n"
        for index, row in enumerate(rows)
    ]
    return write_atomic(path, "".join(lines))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file of lines without their checksums; none without a file.

    Raises:
        CheckpointError: A line was changed, or lines are missing.
    """
    rows, why = rows_and_damage(path)
    if why:
        raise CheckpointError(
            f"{path}: {why}; restore the file, or start over with runtime.force=true"
        )
    return rows


def rows_and_damage(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the good rows of a file, and in words what is wrong with the others."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return [], ""
    except OSError as error:
        return [], f"{path.name} cannot be read ({error.strerror or error})"
    if not text:
        return [], f"expected {path.name} as it was written, got an empty file"
    rows, damaged = opened_lines(text)
    if not damaged:
        return rows, ""
    told = ", ".join(map(str, damaged[:3])) + (", ..." if len(damaged) > 3 else "")
    where = "line" if len(damaged) == 1 else "lines"
    return rows, f"expected {path.name} as it was written, got {where} {told} damaged or moved"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV, atomically; its last column holds checksums.

    A name that a spreadsheet would take for a formula has a ``'`` before it.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*header, CHECK])
    cells = [[_text(cell) for cell in row] for row in rows]
    for place, row in enumerate(cells):
        writer.writerow([*row, _row_check(header, row, place, len(cells))])
    return write_atomic(path, stream.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column, as they were given to ``write_csv``.

    A table that cannot be read or was changed is left out, which the log says; a table without
    checksums, as older versions wrote it, is believed.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream, strict=True))
        return _checked(header, rows)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, csv.Error) as error:
        _LOG.warning("%s is left out: expected the table as it was written, got %s", path, error)
        return []


def _checked(header: list[str], rows: list[list[str]]) -> list[dict[str, str]]:
    """Return rows by column.

    Raises:
        ValueError: The table has checksums, and a row has another number of cells than the header
            or does not fit its own.
    """
    checks = header[-1:] == [CHECK]
    names = header[:-1] if checks else header
    # a lost line end joins the header and the first row
    lost = any(was_check(name) or name.startswith(CHECK) for name in names)
    if lost or len(set(header)) != len(header):
        raise ValueError("another header")
    found = []
    for place, row in enumerate(rows):
        if len(row) > len(header) or (checks and len(row) < len(header)):
            raise ValueError(f"{len(row)} cells for {len(header)} columns in row {place + 1}")
        if checks and row[-1] != _row_check(names, row[:-1], place, len(rows)):
            raise ValueError(f"another row {place + 1}, or another number of rows")
        found.append({name: _plain(cell) for name, cell in zip(names, row, strict=False)})
    return found


def _row_check(header: Sequence[str], row: Sequence[str], place: int, count: int) -> str:
    return f"x{checksum([list(header), list(row)], (place, count))}"


def _text(cell: Any) -> str:
    """Return a cell as text; ``csv`` writes the same for a number."""
    if cell is None:
        return ""
    if not isinstance(cell, str) or not cell.startswith(_MARKED):
        return str(cell)
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


_MARKED = (*FORMULA, "'")  # an apostrophe of its own is marked too, so that reading gives it back


def _plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_MARKED) else cell

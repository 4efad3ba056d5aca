"""How ratings come back from a test: ``read_ratings``.

Files have the columns of webMUSHRA's mushra.csv and are read by column name; damaged rows are left
out and named. What the ratings mean is worked out in scores.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audioprune.data.files.lists import read_table
from audioprune.errors import DataError
from audioprune.listening.scores import Rating

_NEEDED = ("trial_id", "rating_stimulus", "rating_score")
_TEST, _SESSION = "session_test_id", "session_uuid"
_KNOWN = (_TEST, _SESSION, *_NEEDED, "rating_time", "rating_comment")


@dataclass
class RatingSheet:
    """What was read.

    Attributes:
        ratings: One for each good row, in the order of the files.
        damaged: ``file:line: reason`` for each row that was left out.
        repeated: Rows that said again what an earlier row had said, left out.
    """

    ratings: list[Rating] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    repeated: int = 0


def read_ratings(paths: Iterable[str | Path]) -> RatingSheet:
    """Read ratings from one or more files.

    A session is one listener; where the column ``session_uuid`` is missing, the answers of the
    questionnaire tell sessions apart.

    Args:
        paths: Files of webMUSHRA or of this package's page.

    Raises:
        DataError: A file is missing, unreadable, without the needed columns, or no row of all
            files is good.
    """
    sheet = RatingSheet()
    seen: dict[tuple[str, str, str, str], tuple[float, str]] = {}
    for path in map(Path, paths):
        for place, row in _rows(path):
            _take(sheet, seen, place, row)
    if not sheet.ratings:
        reasons = f"; first: {sheet.damaged[0]}" if sheet.damaged else ""
        raise DataError(
            f"{', '.join(map(str, paths))}: expected ratings, found no good row{reasons}; check "
            f"the files"
        )
    return sheet


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield ``file:line`` and the cells of each row by column name.

    Headers in the middle of joined files are left out.
    """
    table = read_table(path, "a CSV file of ratings", comments=False)
    missing = [name for name in _NEEDED if name not in table.header]
    if missing:
        found = ", ".join(table.header) or "nothing"
        raise DataError(
            f"{path}: expected the columns {', '.join(_NEEDED)}, found {found}; give mushra.csv "
            f"or a file that the page saved"
        )
    for row, cells in zip(table.rows, table.records(), strict=True):
        if any(row.cells[len(table.header) :]):
            cells["rating_score"] = "more cells than columns"
        if cells["rating_score"] != "rating_score":
            yield f"{path.name}:{row.number}", cells


def _take(
    sheet: RatingSheet,
    seen: dict[tuple[str, str, str, str], tuple[float, str]],
    place: str,
    row: Mapping[str, str],
) -> None:
    """Add a row to the sheet; ``seen`` holds score and place of every good row so far."""
    reason = _why_damaged(row)
    if reason:
        sheet.damaged.append(f"{place}: {reason}")
        return
    answers = " ".join(value for name, value in row.items() if name not in _KNOWN)
    listener = row.get(_SESSION) or answers or "all"
    key = (row.get(_TEST, ""), listener, row["trial_id"], row["rating_stimulus"])
    score = float(row["rating_score"])
    if key in seen:
        earlier, where = seen[key]
        if earlier == score:
            sheet.repeated += 1
        else:
            sheet.damaged.append(
                f"{place}: another score ({score:g}) for the same listener, trial and condition "
                f"as {where} ({earlier:g})"
            )
        return
    seen[key] = (score, place)
    sheet.ratings.append(Rating(*key, score))


def _why_damaged(row: Mapping[str, str]) -> str:
    """Say what is wrong with a row; empty when it is good."""
    empty = [name for name in ("trial_id", "rating_stimulus") if not row[name]]
    if empty:
        return f"no {' and no '.join(empty)}"
    try:
        score = float(row["rating_score"])
    except ValueError:
        return f"expected a score of 0 to 100, got {row['rating_score']!r}"
    if 0 <= score <= 100:
        return ""
    return f"expected a score of 0 to 100, got {row['rating_score']}"

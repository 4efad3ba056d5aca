"""Compute cells of report tables and figures again, from rows and files of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from scripts.auditing import paper_tables
from scripts.auditing.cells import Cell, number_of
from scripts.auditing.folders import Folder
from scripts.auditing.report_files import printed_again, read_csv

_PICTURES = ("spectrogram",)  # thousands of levels of pictures would leave no room for tables


def report_cells(folders: Sequence[Folder], reports: Path) -> Iterator[Cell]:
    """Yield every number that the reports print."""
    for file in sorted(reports.rglob("*.csv")):
        if not file.name.startswith(_PICTURES):
            yield from _csv_cells(folders, file, reports)
    for file in sorted(
        path for path in reports.rglob("*") if path.suffix in (".md", ".tex", ".html")
    ):
        yield from printed_again(file, reports)


def _csv_cells(folders: Sequence[Folder], file: Path, root: Path) -> Iterator[Cell]:
    header, lines = read_csv(file)
    rule = paper_tables.rule_of(file.stem)
    for place, line in enumerate(lines):
        row = dict(zip(header, line, strict=False))
        for column, text in row.items():
            number = number_of(text or "")
            if number is None:
                continue
            again = partial(rule, folders, row, column) if rule else None
            yield Cell(
                str(file.relative_to(root)),
                f"{place} {line[0]}",
                column,
                number,
                again,
                _last_digit(text),
            )


def _last_digit(text: str) -> float:
    """Return half a unit of the sixth significant digit, to which tables print."""
    number = abs(number_of(text) or 0.0)
    return 10.0 ** (len(f"{number:.0f}") - 7) if number >= 1 else 1e-6 * max(number, 1e-6)

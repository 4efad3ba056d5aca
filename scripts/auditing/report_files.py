"""Read what report files print: cells of CSV tables, and the same table in md, tex and html."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from scripts.auditing.cells import Cell, number_of, slack_of

Rows = list[list[str]]


def read_csv(file: Path) -> tuple[list[str], Rows]:
    """Return header and rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.reader(stream))
    return (lines[0], lines[1:]) if lines else ([], [])


def printed_again(file: Path, root: Path) -> Iterator[Cell]:
    """Yield the numbers of a Markdown, LaTeX or HTML file, to compare with the table's CSV."""
    readers = {".md": _markdown, ".tex": _latex, ".html": _html}
    used: set[Path] = (
        set()
    )  # two tables of a page may have one header; they come in the order of their files
    for header, rows in readers[file.suffix](file.read_text(encoding="utf-8")):
        source = _source(file, header, used)
        if source is None:
            continue
        titles, lines = source
        for place, (row, line) in enumerate(zip(rows, lines, strict=False)):
            for title, text, raw in zip(titles, row, line, strict=False):
                number, exact = number_of(text), number_of(raw)
                if number is not None:
                    again = partial(lambda value: value, exact)
                    yield Cell(
                        str(file.relative_to(root)),
                        f"{place} {row[0]}",
                        title,
                        number,
                        again,
                        slack_of(text),
                    )


def _source(file: Path, header: list[str], used: set[Path]) -> tuple[list[str], Rows] | None:
    """Return the CSV table with this header; columns of deviations and notes may be absent."""
    for candidate in sorted(file.parent.glob("*.csv")):
        titles, rows = read_csv(candidate)
        shown = [
            at
            for at, title in enumerate(titles)
            if title != "notes" and not title.endswith(" std")
        ]
        same_header = [_plain(titles[at]) for at in shown] == [_plain(title) for title in header]
        same_table = file.suffix == ".html" or candidate.stem == file.stem
        if same_header and same_table and candidate not in used:
            used.add(candidate)
            whole = [row for row in rows if len(row) == len(titles)]
            return [titles[at] for at in shown], [[row[at] for at in shown] for row in whole]
    return None


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", title.lower().replace("\\", ""))


def _markdown(text: str) -> Iterator[tuple[list[str], Rows]]:
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    if len(lines) > 2:
        yield lines[0], lines[2:]


def _latex(text: str) -> Iterator[tuple[list[str], Rows]]:
    lines = [
        line.strip() for line in text.splitlines() if line.strip().endswith(r"\\") and "&" in line
    ]
    cells = [
        [
            re.sub(r"\\[a-zA-Z]+\{|\}|\$|\\", "", cell).strip()
            for cell in line.removesuffix(r"\\").split("&")
        ]
        for line in lines
    ]
    if cells:
        yield cells[0], cells[1:]


class _Tables(HTMLParser):
    """Collects the tables of a page as lists of rows of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Rows] = []
        self.open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
            self.open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.tables[-1][-1][-1] += data


def _html(text: str) -> Iterator[tuple[list[str], Rows]]:
    parser = _Tables()
    parser.feed(text)
    for table in parser.tables:
        rows = [[" ".join(cell.split()) for cell in row] for row in table if row]
        if len(rows) > 1:
            yield rows[0], rows[1:]

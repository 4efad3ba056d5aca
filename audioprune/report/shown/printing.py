"""How a table reaches standard output: as a terminal's table, as JSON or as CSV: ``show``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from audioprune.report import Runs, short_table
from audioprune.report.baselines import MARK
from audioprune.report.tables import FORMATS, Table, blocks, from_json, laid_out, to_csv, to_json
from audioprune.report.tables import Column as TableColumn
from audioprune.terminal.grid import Column, Grid, draw
from audioprune.terminal.streams import shown_form

_LAST = ("title", "remark", "verdict", "status", "claim", "label", "number", "state")
"""Columns that are never left out."""
_FIRST = (
    *("scale", "latency_ms_per_s", "bytes_ideal", "bytes_paper", "rate_paper", "bytes_fp32"),
    *("nonzero", "seeds", "sparsity", "run", "pipeline"),
)
"""Columns that are left out before others, in this order."""


_CHANGE = "change:"
"""Beginning of the key of a score's distance to its baseline; the first one is kept longest."""


def show(tables: Sequence[Table], where: Sequence[str] = ()) -> None:
    """Print tables in the form that is wanted.

    Args:
        tables: The tables. JSON is one object for one table, and a list for several; CSV has an
            empty line between two tables.
        where: For each table, where columns are that do not fit, such as a CSV file.
    """
    form = shown_form()
    if form == "json":
        texts = [to_json(table).rstrip() for table in tables]
        print(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]")
    elif form == "csv":
        print("\n".join(to_csv(table) for table in tables), end="")
    else:
        places = [*where, *[""] * (len(tables) - len(where))]
        for number, (table, place) in enumerate(zip(tables, places, strict=True)):
            if number:
                print()
            draw(grid_of(table), place)
    sys.stdout.flush()


def show_written(files: Sequence[Path], but: Sequence[str] = ()) -> None:
    """Print the tables among the files that a report wrote.

    Args:
        files: The files; a table is there as Markdown and as JSON.
        but: Names of tables that are not shown.
    """
    found = [each for each in files if each.suffix == ".md" and each.stem not in but]
    texts = [each.with_suffix(".json").read_text(encoding="utf-8") for each in found]
    show([from_json(text) for text in texts], [f"{each.with_suffix('.csv')}" for each in found])


def show_runs(runs: Runs) -> None:
    """Print the short table of some runs."""
    show([short_table(runs)], ["format=csv prints all columns"])


def grid_of(table: Table) -> Grid:
    """Return a table as texts, its rows block by block."""
    body, footnotes = laid_out(table)
    marked = [[text + (f" [{mark}]" if mark else "") for text, mark in line] for line in body]
    order, titles = list[int](), dict[int, str]()
    for title, places in blocks(table):
        if title:
            titles[len(order)] = title
        order += places
    last = len(table.columns)
    compared = next((each.key for each in table.columns if each.key.startswith(_CHANGE)), "")
    kept = (compared, compared.removeprefix(_CHANGE))
    columns = [
        Column(
            _header(each),
            each.style in FORMATS,
            0.5 if each.key in kept else _weight(each.key, place / last),
        )
        for place, each in enumerate(table.columns)
    ]
    told = [f"[{number}] {note}" for number, note in enumerate(footnotes, 1)]
    return Grid(
        columns,
        [marked[place] for place in order],
        table.caption,
        titles,
        [*told, *table.notes],
        {new: _colour(marked[old]) for new, old in enumerate(order)},
    )


def _header(column: TableColumn) -> str:
    """Return the name of a column; where each cell has a unit of its own, without one."""
    own = column.style in FORMATS and FORMATS[column.style].scales
    return column.title if own else column.header


def _weight(key: str, place: float) -> float:
    if key in _LAST or not place:
        return 0.0
    if key in _FIRST:
        return 100.0 - _FIRST.index(key)
    return 1.0 + place


def _colour(row: Sequence[str]) -> str:
    text = " ".join(row)
    if MARK in text or "FAILED" in text or "INTERRUPTED" in text or "UNFINISHED" in text:
        return "bad"
    return ""

"""Records of plain values on standard output: as a table, as JSON or as CSV: ``show_records``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.plain.cells import FORMULA
from audioprune.terminal.grid import Column, Grid, draw
from audioprune.terminal.streams import plain

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One column of records.

    Attributes:
        key: Its key in the records.
        header: Its name in a table.
        text: Turns its value into a text; None takes the value itself, numbers with commas.
        right: Whether its texts end at the same column, as numbers do.
        weight: The larger, the sooner it is left out of a narrow table; 0 for never.
    """

    key: str
    header: str
    text: Callable[[Any], str] | None = None
    right: bool = False
    weight: float = 0.0


def show_records(
    form: str,
    records: Sequence[Record],
    fields: Sequence[Field],
    whole: Any = None,
    title: str = "",
    notes: Sequence[str] = (),
    colours: Mapping[int, str] | None = None,
) -> None:
    """Print records.

    Args:
        form: ``"table"``, ``"json"`` or ``"csv"``.
        records: What is known, row by row; CSV has the fields' keys as its header.
        fields: The columns.
        whole: What JSON says; None for the list of records.
        title: A line above a table.
        notes: Lines below a table.
        colours: Colours of a table's rows by their places.
    """
    if form == "json":
        print(json.dumps(list(records) if whole is None else whole, ensure_ascii=False))
    elif form == "csv":
        print(csv_text(records, [field.key for field in fields]), end="")
    else:
        columns = [Column(field.header, field.right, field.weight) for field in fields]
        rows = [[_text(field, record.get(field.key)) for field in fields] for record in records]
        draw(Grid(columns, rows, title, notes=notes, colours=colours or {}), "format=csv has them")


def _text(field: Field, value: Any) -> str:
    if field.text is not None:
        return field.text(value)
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def csv_text(records: Sequence[Record], keys: Sequence[str] = ()) -> str:
    """Return records as CSV; a text that a spreadsheet would compute is kept as text.

    Args:
        records: What is known, row by row.
        keys: The columns; none for all keys of the first record.
    """
    keys = keys or list(next(iter(records), {}))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(keys)
    writer.writerows([[_csv_value(record.get(key)) for key in keys] for record in records])
    return stream.getvalue()


def uncomputed(text: str) -> str:
    """Return a text of a CSV cell behind an apostrophe where a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(FORMULA) and text != "-" else text


def _csv_value(value: Any) -> Any:
    if isinstance(value, str):
        safe = plain(value, "\n\t")
        return f"'{safe}" if value[:1] == "\r" else uncomputed(safe)
    return json.dumps(value) if isinstance(value, list | dict) else value

"""How numbers are printed: one table, written as CSV, Markdown, LaTeX and JSON.

The only place where a fraction becomes a percent and a byte a megabyte. Which numbers exist is
decided in entries.py, which tables there are in model_tables.py and by the papers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none, read_number
from audioprune.files import write_atomic
from audioprune.report.runs.corpora import UNTOLD_CORPUS
from audioprune.report.runs.entry import Value
from audioprune.report.runs.signs import visible
from audioprune.terminal.records import uncomputed

MIB = 2**20
NOT_AVAILABLE = "n/a"
Cell = Value | str | int | float | None


@dataclass(frozen=True)
class Format:
    """How a stored number is printed: times ``factor``, with ``decimals`` digits.

    The header names the unit, the suffix follows each number. A change has a sign. A number of
    many sizes is printed with three digits and the largest of its ``scales`` that it reaches.
    """

    factor: float = 1.0
    decimals: int = 2
    unit: str = ""
    suffix: str = ""
    signed: bool = False
    scales: tuple[tuple[float, str], ...] = ()


FORMATS: dict[str, Format] = {
    "percent": Format(100.0, 2, "%"),
    "share": Format(100.0, 1, "%"),
    "score": Format(1.0, 2),
    "decibel": Format(1.0, 2, "dB"),
    "fine": Format(1.0, 4),
    "mebibytes": Format(1 / MIB, 2, "MB"),
    "millions": Format(1e-6, 2, "M"),
    "params": Format(1e-6, 3, "M"),
    "loss": Format(1.0, 6),
    "count": Format(1.0, 0),
    "milliseconds": Format(1.0, 2, "ms"),
    "times": Format(1.0, 1, "", "x"),
    "bits": Format(1.0, 2, "bit"),
    "counted": Format(1.0, 0, scales=((1e9, "G"), (1e6, "M"), (1e3, "k"))),
    "bytes": Format(1.0, 0, "bytes", scales=((MIB, "MB"), (1024, "KB"), (1, "B"))),
}
FORMATS |= {f"change_{name}": replace(kind, signed=True) for name, kind in FORMATS.items()}
METRICS: dict[str, tuple[str, str]] = {
    "stoi": ("STOI", "percent"),
    "estoi": ("ESTOI", "percent"),
    "pesq_raw_nb": ("PESQ (raw NB)", "score"),
    "pesq_nb": ("PESQ (LQO NB)", "score"),
    "pesq_wb": ("PESQ (WB)", "score"),
    "si_sdr": ("SI-SDR", "decibel"),
    "seg_snr": ("Segmental SNR", "decibel"),
    "lsd": ("LSD", "decibel"),
    "mr_stft": ("MR-STFT", "fine"),
    "l1": ("L1", "fine"),
    "accuracy": ("Accuracy", "percent"),
    "accuracy_macro": ("Accuracy per class", "percent"),
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Key of its cells in the rows.
        title: Header without the unit.
        style: A name in ``FORMATS``, or ``"text"``.
    """

    key: str
    title: str
    style: str = "text"

    @property
    def header(self) -> str:
        """Header with the unit."""
        unit = FORMATS[self.style].unit if self.style in FORMATS else ""
        return f"{self.title} ({unit})" if unit else self.title


@dataclass(frozen=True)
class Table:
    """A table of stored numbers.

    Attributes:
        rows: Cells by the key of their column. The cell ``corpus`` names what a row was measured
            on: rows of one corpus form a block of their own, whatever their order.
        notes: Sentences below it.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()


def number_text(value: float, style: str) -> str:
    """Print a stored number with '.' as decimal mark; a rounded zero has no sign."""
    kind = FORMATS[style]
    if kind.scales:
        return _scaled_text(value, kind)
    scaled = value * kind.factor
    # A small model of 0.004 MB would otherwise be printed as 0.00.
    decimals = kind.decimals + 1 if style == "mebibytes" and abs(scaled) < 1 else kind.decimals
    text = f"{scaled:.{decimals}f}"
    sign = "+" if kind.signed and not scaled < 0 else ""
    return f"{sign}{text.lstrip('-') if float(text) == 0 else text}{kind.suffix}"


def _scaled_text(value: float, kind: Format) -> str:
    """Print a number with three digits and the unit that suits it, such as ``9.05 M``."""
    for size, unit in kind.scales:
        if abs(value) >= 0.9995 * size:
            return f"{plain_number(float(f'{value / size:.3g}'))} {unit}"
    return f"{value:.3g}"


def few(words: Sequence[str], most: int) -> str:
    """Join the first words, and say how many more there are: ``a, b and 2 more``."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")


def cell_text(cell: Cell, style: str) -> str:
    """Print a cell: ``75.76``, ``75.76 ± 0.12`` over seeds, ``n/a``, or the text itself."""
    if cell is None:
        return NOT_AVAILABLE
    if isinstance(cell, str):
        return cell
    value = cell if isinstance(cell, Value) else Value(finite_or_none(cell))
    if value.mean is None:
        return NOT_AVAILABLE
    mean = number_text(value.mean, style if style in FORMATS else "fine")
    return f"{mean} ± {number_text(value.std, style)}" if value.std else mean


def unit_text(cell: Cell, style: str) -> str:
    """Print a cell with its unit behind it, such as ``79.00 %``; a text or nothing without."""
    text, unit = cell_text(cell, style), FORMATS[style].unit
    counted = not isinstance(cell, str) and text != NOT_AVAILABLE
    return f"{text} {unit}" if counted and unit else text


def note_of(cell: Cell) -> str:
    """Return why a cell is empty, or how many files gave its number."""
    if not isinstance(cell, Value):
        return ""
    empty = f"{NOT_AVAILABLE}: " if cell.mean is None and cell.reason else ""
    notes = [f"{empty}{cell.reason}"]
    if cell.n_valid is not None and cell.n is not None and cell.n_valid < cell.n:
        notes.append(f"{cell.n_valid} of {cell.n} files valid")
    return "; ".join(filter(None, notes))


def blocks(table: Table) -> list[tuple[str, list[int]]]:
    """Return the line that names each corpus, and the places of its rows.

    The line is empty where no row names a corpus.
    """
    places: dict[str, list[int]] = {}
    for place, row in enumerate(table.rows):
        places.setdefault(str(row.get("corpus") or UNTOLD_CORPUS), []).append(place)
    if set(places) <= {UNTOLD_CORPUS}:
        return [("", list(range(len(table.rows))))]
    return list(places.items())


def laid_out(table: Table) -> tuple[list[list[tuple[str, int | None]]], list[str]]:
    """Return every cell as (text, number of its footnote), and the footnotes, counted from 1."""
    notes: dict[str, int] = {}
    body = []
    for row in table.rows:
        line = []
        for column in table.columns:
            note = note_of(row.get(column.key))
            mark = notes.setdefault(note, len(notes) + 1) if note else None
            line.append((cell_text(row.get(column.key), column.style), mark))
        body.append(line)
    return body, list(notes)


def to_markdown(table: Table) -> str:
    """Return a table as Markdown whose columns also line up in a terminal."""
    body, notes = laid_out(table)
    lines = [[_markdown_cell(text, mark) for text, mark in line] for line in body]
    header = [escape_markdown(column.header) for column in table.columns]
    widths = [max(3, *map(len, cells)) for cells in zip(header, *lines, strict=True)]
    numeric = [column.style in FORMATS for column in table.columns]
    shape = list(zip(widths, numeric, strict=True))
    rule = [("-" * (width - 1) + ":") if right else "-" * width for width, right in shape]
    text = [f"**{escape_markdown(table.caption)}**", ""]
    for title, places in blocks(table):
        text += [escape_markdown(title), ""] if title else []
        for line in [header, rule, *(lines[place] for place in places)]:
            cells = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, (width, right) in zip(line, shape, strict=True)
            ]
            text.append(f"| {' | '.join(cells)} |")
        text.append("")
    text.pop()
    below = [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    for note in [*below, *table.notes]:
        text += ["", escape_markdown(note)]
    return "\n".join(text) + "\n"


def _markdown_cell(text: str, mark: int | None) -> str:
    return escape_markdown(text) + (f" [{mark}]" if mark else "")


def escape_markdown(text: str) -> str:
    """Escape what would break a Markdown table or be read as markup."""
    text = " ".join(str(text).split())
    for sign in ("\\", "|", "`", "*"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;")


def to_latex(table: Table) -> str:
    """Return a table as LaTeX with booktabs rules; it needs the packages booktabs and graphicx."""
    body, notes = laid_out(table)
    spec = "".join("r" if column.style in FORMATS else "l" for column in table.columns)
    lines = [" & ".join(_latex_cell(text, mark) for text, mark in line) for line in body]
    below = [f"{_raised(number)} {escape_latex(note)}" for number, note in enumerate(notes, 1)]
    below += [escape_latex(note) for note in table.notes]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\resizebox{{\linewidth}}{{!}}{{\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            " & ".join(escape_latex(column.header) for column in table.columns) + r" \\",
            r"\midrule",
            *_latex_blocks(table, lines),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\footnotesize {note}" for note in below),
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(text: str, mark: int | None) -> str:
    return escape_latex(text) + (_raised(mark) if mark else "")


def _raised(mark: int) -> str:
    return rf"\textsuperscript{{{mark}}}"


def _latex_blocks(table: Table, lines: Sequence[str]) -> list[str]:
    text = []
    for title, places in blocks(table):
        above = rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{escape_latex(title)}}}}} \\"
        text += [above] if title else []
        text += [rf"{lines[place]} \\" for place in places]
        text.append(r"\addlinespace")
    return text[:-1]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Escape the signs that LaTeX reads as commands; a number keeps its minus in math mode."""
    text = " ".join(str(text).split())
    escaped = "".join(_LATEX.get(sign, sign) for sign in text)
    return f"$-${escaped[1:]}" if text[:1] == "-" and text[1:2].isdigit() else escaped


def to_csv(table: Table) -> str:
    """Return a table as CSV: printed units, six significant digits, deviations and notes."""
    spread = [column for column in table.columns if _has_deviations(table, column)]
    header = []
    for column in table.columns:
        header += [column.header, f"{column.header} std"] if column in spread else [column.header]
    named = any(title for title, _ in blocks(table))
    lines = []
    for title, row in _in_blocks(table):
        line = []
        for column in table.columns:
            mean, std = _csv_cell(row.get(column.key), column.style)
            line += [mean, std] if column in spread else [mean]
        line += [title] if named else []
        lines.append([*line, "; ".join(_notes_of_row(table, row))])
    return csv_text([*header, *(["corpus"] if named else []), "notes"], lines)


def _has_deviations(table: Table, column: Column) -> bool:
    cells = [row.get(column.key) for row in table.rows]
    return any(isinstance(cell, Value) and cell.std is not None for cell in cells)


def _notes_of_row(table: Table, row: Mapping[str, Cell]) -> list[str]:
    notes = [(column.title, note_of(row.get(column.key))) for column in table.columns]
    return [f"{title}: {note}" for title, note in notes if note]


def _in_blocks(table: Table) -> list[tuple[str, Mapping[str, Cell]]]:
    return [(title, table.rows[place]) for title, places in blocks(table) for place in places]


def _csv_cell(cell: Cell, style: str) -> tuple[str, str]:
    if isinstance(cell, str) or style not in FORMATS:
        return cell_text(cell, style), ""
    value = cell if isinstance(cell, Value) else Value(finite_or_none(cell))
    if value.mean is None:
        return NOT_AVAILABLE, ""
    factor = FORMATS[style].factor
    std = "" if value.std is None else plain_number(value.std * factor)
    return plain_number(value.mean * factor), std


def plain_number(value: float) -> str:
    """Print a number for a machine: integers whole, others with six significant digits."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV text; None becomes an empty cell and a float six significant digits.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, and signs that
    no one can see are shown.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_safe_cell, header))
    writer.writerows(map(_safe_cell, row) for row in rows)
    return stream.getvalue()


def _safe_cell(cell: Any) -> Any:
    if isinstance(cell, float):
        return plain_number(cell)
    if not isinstance(cell, str):
        return cell
    cell = visible(cell)
    return cell if read_number(cell) is not None else uncomputed(cell)


def to_json(table: Table) -> str:
    """Return a table as JSON in the stored units (fractions, bytes)."""
    rows = []
    for title, row in _in_blocks(table):
        cells = {column.key: _json_cell(row.get(column.key)) for column in table.columns}
        rows.append(cells | ({"corpus": title} if title else {}))
    value = {
        "name": table.name,
        "caption": table.caption,
        "columns": [asdict(column) for column in table.columns],
        "rows": rows,
        "notes": list(table.notes),
    }
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _json_cell(cell: Cell) -> Any:
    if isinstance(cell, Value):
        return asdict(cell)
    return cell if not isinstance(cell, float) else finite_or_none(cell)


def from_json(text: str) -> Table:
    """Return the table that `to_json` wrote."""
    value = json.loads(text)
    rows = tuple(
        {key: Value(**cell) if isinstance(cell, dict) else cell for key, cell in row.items()}
        for row in value["rows"]
    )
    columns = tuple(Column(**column) for column in value["columns"])
    return Table(value["name"], value["caption"], columns, rows, tuple(value["notes"]))


WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "json": to_json}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as ``<name>.md``, ``.csv``, ``.tex`` and ``.json``, Markdown first."""
    return [
        write_atomic(folder / f"{table.name}.{ending}", WRITERS[ending](table))
        for ending in ("md", "csv", "tex", "json")
    ]


def metric_column(metric: str, key: str, place: str = "") -> Column:
    """Return the column of a metric, such as ``STOI -5 dB (%)``.

    An unknown metric keeps its name and has four decimals.
    """
    title, style = METRICS.get(metric, (metric, "fine"))
    return Column(key, f"{title} {place}".strip(), style)

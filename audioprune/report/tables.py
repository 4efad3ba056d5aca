"""How numbers are printed: one table, written as CSV, Markdown, LaTeX and JSON.

The only place where a fraction becomes a percent and a byte a megabyte. Which numbers exist is decided in entries.py.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audioprune.files import write_atomic
from audioprune.report.entries import PESQ_MODES, Entry, Value, condition_of, finite_or_none
from audioprune.report.results import Job, honest_scale

MIB = 2**20
NOT_AVAILABLE = "n/a"
Cell = Value | str | int | float | None


@dataclass(frozen=True)
class Format:
    """How a stored number is printed: times ``factor``, with ``decimals`` digits, and the unit that the header names."""

    factor: float = 1.0
    decimals: int = 2
    unit: str = ""
    suffix: str = ""


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
}
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
_METRIC_UNITS = {
    **dict.fromkeys(("stoi", "estoi", "accuracy", "accuracy_macro"), "fraction"),
    "si_sdr": "dB",
    **dict.fromkeys(PESQ_MODES, "MOS"),
}
SIZE_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("bytes_fp32", "fp32", "mebibytes"),
    ("bytes_paper", "Paper", "mebibytes"),
    ("bytes_ideal", "Ideal", "mebibytes"),
    ("bytes_file", "File", "mebibytes"),
    ("rate_paper", "CR (paper)", "times"),
    ("rate_file", "fp32/file", "times"),
    ("nonzero", "Non-zeros", "count"),
    ("sparsity", "Sparsity", "percent"),
    ("macs_per_second", "MACs/s", "millions"),
    ("latency_ms_per_s", "Latency per s", "milliseconds"),
)
SIZE_NOTE = (
    "MB = 1048576 bytes. fp32: 4 bytes per parameter; paper: codewords, codebooks and what is not quantised, without positions; "
    "ideal: paper plus the entropy of the positions; file: the bytes of the written file. CR = fp32 of the uncompressed model / paper."
)


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
    """A table of stored numbers; ``notes`` are sentences below it."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()


def number_text(value: float, style: str) -> str:
    """Print a stored number with '.' as decimal mark; a rounded zero has no sign."""
    kind = FORMATS[style]
    scaled = value * kind.factor
    # A small model of 0.004 MB would otherwise be printed as 0.00.
    decimals = kind.decimals + 1 if style == "mebibytes" and abs(scaled) < 1 else kind.decimals
    text = f"{scaled:.{decimals}f}"
    return f"{text.lstrip('-') if float(text) == 0 else text}{kind.suffix}"


def cell_text(cell: Cell, style: str) -> str:
    """Print a cell: ``75.76``, ``75.76 ± 0.12`` over several seeds, ``n/a``, or the text itself."""
    if cell is None:
        return NOT_AVAILABLE
    if isinstance(cell, str):
        return cell
    value = cell if isinstance(cell, Value) else Value(finite_or_none(cell))
    if value.mean is None:
        return NOT_AVAILABLE
    mean = number_text(value.mean, style if style in FORMATS else "fine")
    return f"{mean} ± {number_text(value.std, style)}" if value.std else mean


def note_of(cell: Cell) -> str:
    """Return what a reader must know about a cell: why it is empty, or how many files gave a number."""
    if not isinstance(cell, Value):
        return ""
    counted = f"{cell.n_valid} of {cell.n} files valid" if cell.n_valid is not None and cell.n is not None and cell.n_valid < cell.n else ""
    empty = f"{NOT_AVAILABLE}: " if cell.mean is None and cell.reason else ""
    return "; ".join(filter(None, (f"{empty}{cell.reason}", counted)))


def laid_out(table: Table) -> tuple[list[list[tuple[str, int | None]]], list[str]]:
    """Return every cell as (text, number of its footnote) and the texts of the footnotes, numbered from 1."""
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
    lines = [[escape_markdown(text) + (f" [{mark}]" if mark else "") for text, mark in line] for line in body]
    header = [escape_markdown(column.header) for column in table.columns]
    widths = [max(3, *(len(line[place]) for line in [header, *lines])) for place in range(len(header))]
    numeric = [column.style in FORMATS for column in table.columns]
    rule = [("-" * (width - 1) + ":") if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    text = [f"**{escape_markdown(table.caption)}**", ""]
    for line in [header, rule, *lines]:
        cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric, strict=True)]
        text.append(f"| {' | '.join(cells)} |")
    below = [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    for note in [*below, *table.notes]:
        text += ["", escape_markdown(note)]
    return "\n".join(text) + "\n"


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
    lines = [" & ".join(escape_latex(text) + (rf"\textsuperscript{{{mark}}}" if mark else "") for text, mark in line) for line in body]
    below = [rf"\textsuperscript{{{number}}} {escape_latex(note)}" for number, note in enumerate(notes, 1)]
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
            *(rf"{line} \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\footnotesize {note}" for note in below),
            r"\end{table}",
            "",
        ]
    )


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
    """Return a table as CSV: printed units, six significant digits, a deviation column where seeds were joined, and notes."""
    spread = {column.key for column in table.columns if any(_has_deviation(row.get(column.key)) for row in table.rows)}
    header = [title for column in table.columns for title in [column.header, *([f"{column.header} std"] if column.key in spread else [])]]
    lines = []
    for row in table.rows:
        line = []
        for column in table.columns:
            mean, std = _csv_cell(row.get(column.key), column.style)
            line += [mean, std] if column.key in spread else [mean]
        notes = [f"{column.title}: {note_of(row.get(column.key))}" for column in table.columns if note_of(row.get(column.key))]
        lines.append([*line, "; ".join(notes)])
    return csv_text([*header, "notes"], lines)


def _has_deviation(cell: Cell) -> bool:
    return isinstance(cell, Value) and cell.std is not None


def _csv_cell(cell: Cell, style: str) -> tuple[str, str]:
    if isinstance(cell, str) or style not in FORMATS:
        return cell_text(cell, style), ""
    value = cell if isinstance(cell, Value) else Value(finite_or_none(cell))
    if value.mean is None:
        return NOT_AVAILABLE, ""
    factor = FORMATS[style].factor
    return plain_number(value.mean * factor), "" if value.std is None else plain_number(value.std * factor)


def plain_number(value: float) -> str:
    """Print a number for a machine: integers whole, others with six significant digits."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV text; None becomes an empty cell and a float six significant digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([plain_number(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return stream.getvalue()


def to_json(table: Table) -> str:
    """Return a table as JSON in the stored units (fractions, bytes)."""
    rows = [{column.key: _json_cell(row.get(column.key)) for column in table.columns} for row in table.rows]
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


WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "json": to_json}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as ``<name>.md``, ``.csv``, ``.tex`` and ``.json``; the Markdown file comes first."""
    return [write_atomic(folder / f"{table.name}.{ending}", WRITERS[ending](table)) for ending in ("md", "csv", "tex", "json")]


def metric_column(metric: str, key: str, place: str = "") -> Column:
    """Return the column of a metric, such as ``STOI -5 dB (%)``; an unknown metric keeps its name and four decimals."""
    title, style = METRICS.get(metric, (metric, "fine"))
    return Column(key, f"{title} {place}".strip(), style)


def main_metrics(entries: Iterable[Entry]) -> list[str]:
    """Return the metrics of a summary: STOI and the first PESQ mode that was measured, or else up to six that were."""
    measured = list(dict.fromkeys(name for entry in entries for name in entry.metrics()))
    chosen = [name for name in ("stoi",) if name in measured] + [name for name in PESQ_MODES if name in measured][:1]
    return chosen or measured[:6]


def score_table(entries: Sequence[Entry], name: str = "summary") -> Table:
    """Return the table of all models: scores per SNR (mean over noises), sizes, rates and costs, one row per entry."""
    snrs = list(dict.fromkeys(snr for entry in entries for snr in entry.snrs()))
    snrs.sort(key=lambda snr: (snr is None, snr or 0.0))
    cells = [(metric, snr, f"{metric}@{snr}") for metric in main_metrics(entries) for snr in snrs]
    config = list(dict.fromkeys(key for entry in entries for key in entry.config))
    several = {entry.pipeline for entry in entries if entry.pipeline}
    columns = [Column("title", "Model"), *([Column("pipeline", "Pipeline")] if len(several) > 1 else [])]
    columns += [Column(f"config:{key}", key) for key in config]
    columns += [metric_column(metric, key, "" if snr is None else f"{snr:g} dB") for metric, snr, key in cells]
    columns += [Column(*column) for column in SIZE_COLUMNS] if any(row for entry in entries for row in entry.sizes) else []
    columns += [Column("seeds", "Seeds", "count"), *([Column("status", "Status")] if any(entry.status for entry in entries) else [])]
    columns.append(Column("scale", "Scale"))
    blank = {f"config:{key}": "-" for key in config}
    rows = tuple(blank | _summary_row(entry, cells) for entry in entries)
    noises = sorted({noise for entry in entries for noise, _ in entry.conditions() if noise})
    notes = [f"Scores are means over {', '.join(noises)}."] if len(noises) > 1 else []
    notes += [SIZE_NOTE] if any(column.key == "bytes_fp32" for column in columns) else []
    return Table(name, "Scores, sizes and costs", tuple(columns), rows, tuple(notes))


def config_cells(entry: Entry) -> dict[str, Cell]:
    """Return the configuration values that set an entry apart, keyed by column."""
    return {f"config:{key}": value for key, value in entry.config.items() if value}


def _summary_row(entry: Entry, cells: Sequence[tuple[str, float | None, str]]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"title": entry.title, "pipeline": entry.pipeline or "-"}
    row |= {"seeds": len(entry.seeds), "scale": honest_scale(entry.scale)}
    row |= config_cells(entry)
    if entry.status:
        return row | {"status": entry.reason} | dict.fromkeys([*(key for _, _, key in cells), *(key for key, _, _ in SIZE_COLUMNS)], "-")
    row["status"] = "finished" if all(job.status == "finished" for job in entry.jobs) else "measured, but not all jobs finished"
    row |= {key: entry.score(metric, snr) for metric, snr, key in cells}
    blank = entry.variant == "mixture"
    return row | {key: "-" if blank else entry.size(key) for key, _, _ in SIZE_COLUMNS}


def condition_table(entries: Sequence[Entry], name: str = "conditions") -> Table:
    """Return all metrics of every entry under every single test condition."""
    metrics = list(dict.fromkeys(name for entry in entries for name in entry.metrics()))
    columns = [Column("title", "Model"), Column("noise", "Condition"), Column("snr", "SNR")]
    columns += [metric_column(metric, metric) for metric in metrics] + [Column("scale", "Scale")]
    rows = [
        {"title": entry.title, "noise": noise, "snr": "-" if snr is None else f"{snr:g} dB", "scale": honest_scale(entry.scale)}
        | {metric: entry.score(metric, snr, noise) for metric in metrics}
        for entry in entries
        for noise, snr in entry.conditions()
    ]
    return Table(name, "Scores under every test condition", tuple(columns), tuple(rows))


_ITERATION_COLUMNS = (
    Column("label", "Model"),
    Column("run", "Run"),
    Column("iteration", "Iteration", "count"),
    Column("remaining_share", "Parameters left", "percent"),
    Column("removed_share", "Removed of the rest", "percent"),
    Column("loss_base", "Loss before", "loss"),
    Column("loss_valid", "Loss after", "loss"),
    Column("increase", "Joint increase", "loss"),
    Column("alpha_1", "Tolerance per tensor", "loss"),
    Column("seconds", "Seconds", "count"),
    Column("scale", "Scale"),
)


def iteration_table(jobs: Iterable[Job], name: str = "iterations") -> Table:
    """Return what every pruning iteration of every job removed, with the joint loss increase beside the tolerance per tensor."""
    rows = [_iteration_row(job, row) for job in jobs for row in job.iterations()]
    note = "Each tensor alone stays within the tolerance; all of them together may exceed it. Losses are those before fine-tuning."
    return Table(name, "Pruning iterations", _ITERATION_COLUMNS, tuple(rows), (note,))


def _iteration_row(job: Job, row: Mapping[str, Any]) -> dict[str, Cell]:
    numbers = {column.key: finite_or_none(row.get(column.key)) for column in _ITERATION_COLUMNS if column.style in FORMATS}
    before, after = numbers["loss_base"], numbers["loss_valid"]
    numbers["increase"] = after - before if after is not None and before is not None else None
    return {**numbers, "label": str(row.get("label") or job.model), "run": job.name, "scale": honest_scale(job.scale)}


SCORE_HEADER = (
    *("model", "variant", "label", "iteration", "pipeline", "noise", "snr_db", "metric", "unit"),
    *("mean", "std", "n", "n_nan", "seed", "split", "scale", "run"),
)


def scores_csv(jobs: Iterable[Job]) -> str:
    """Return all scores in long form, one line per run, condition and metric; ``std`` is over files, units are as stored."""
    rows = [(job, row, metric) for job in jobs for row in job.of_kind("score") for metric in row.get("metrics") or {}]
    return csv_text(SCORE_HEADER, [_score_line(*item) for item in rows])


def _score_line(job: Job, row: Mapping[str, Any], metric: str) -> list[Any]:
    noise, snr = condition_of(row)
    n, n_valid = _count(row.get("n"), metric), _count(row.get("n_valid"), metric)
    n_nan = n - n_valid if n is not None and n_valid is not None else None
    mean, std = finite_or_none(row["metrics"][metric]), finite_or_none((row.get("std") or {}).get(metric))
    names = [row.get("model") or job.model, row.get("variant"), row.get("label"), row.get("iteration"), job.pipeline]
    measured = [noise, snr, metric, _METRIC_UNITS.get(metric, ""), mean, std, n, n_nan]
    return [*names, *measured, job.seed, row.get("split"), honest_scale(job.scale), job.name]


def _count(value: Any, metric: str) -> int | None:
    return value.get(metric) if isinstance(value, Mapping) else value

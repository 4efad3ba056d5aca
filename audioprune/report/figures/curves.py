"""The report ``curves``: scores while one tensor is pruned, and what budget searches tried.

The sensitivity analyses of the pruning pipelines, which have iterations and chosen ratios, are
drawn in sensitivity.py.
"""

from __future__ import annotations

import csv
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.experiment.rows import read_number
from audioprune.report.baselines import no_better
from audioprune.report.figures.drawing import (
    COLORS,
    MAX_TENSORS,
    Figure,
    first_of,
    footer_of,
    log_axis,
    new_canvas,
    save_figure,
    slug,
    styled,
)
from audioprune.report.model_tables import notes_of, remark_columns
from audioprune.report.request import Request
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale, scale_text, validation_text
from audioprune.report.tables import FORMATS, METRICS, Column, Table, csv_text, write_table

_COLUMNS = (
    Column("name", "Run"),
    Column("metric", "Score"),
    Column("max_drop", "Allowed drop", "fine"),
    Column("drop", "Measured drop", "fine"),
    Column("value_before", "Score before", "fine"),
    Column("bytes_file", "Written file", "mebibytes"),
    Column("bytes_before", "Written file before", "mebibytes"),
    Column("sparsity", "Sparsity", "share"),
    Column("candidates", "Candidates", "count"),
    Column("items", "Measured on"),
    Column("note", "Note"),
    Column("scale", "Scale"),
)


@dataclass(frozen=True)
class Curve:
    """One tensor against one metric: removed fractions 0..1, and how much worse the metric got.

    A degradation is None where the metric had no value.
    """

    tensor: str
    beta: tuple[float, ...]
    degradation: tuple[float | None, ...]


def read_curves(job: Job) -> dict[str, list[Curve]]:
    """Read all curves of a run, by metric and in the order of the tensors.

    Lines that hold no fraction are left out.
    """
    found: dict[str, list[Curve]] = {}
    for path in sorted(job.folder.glob("curves-*.csv")):
        points: dict[str, list[tuple[float, float | None]]] = {}
        for row in _rows(path):
            beta = read_number(row.get("beta"))
            if beta is not None:
                points.setdefault(str(row.get("tensor")), []).append(
                    (beta, read_number(row.get("degradation")))
                )
        curves = [
            Curve(tensor, *zip(*sorted(several, key=lambda point: point[0]), strict=True))
            for tensor, several in points.items()
        ]
        if curves:
            found[path.stem.removeprefix("curves-")] = curves
    return found


def curve_figures(folder: Path, jobs: Sequence[Job]) -> list[Figure]:
    """Draw one figure per run and metric: a panel per tensor, the other tensors pale behind it.

    Args:
        folder: Where the PNGs and CSVs go.
        jobs: Runs; those without curves are passed over.
    """
    drawn = []
    for place, job in enumerate(jobs, 1):
        for metric, curves in read_curves(job).items():
            name = f"curves-{place}-{slug(job.name)}-{metric}"
            drawn.append(_curve_figure(folder, name, job, metric, curves))
    return drawn


def budget_figures(folder: Path, jobs: Sequence[Job]) -> list[Figure]:
    """Draw what each budget search tried: file size against measured drop.

    A line shows the allowed drop.
    """
    drawn = []
    for place, job in enumerate(jobs, 1):
        rows, facts = _candidates(job), job.of_kind("budget")
        if rows and facts:
            name = f"budget-{place}-{slug(job.name)}"
            drawn.append(_budget_figure(folder, name, job, facts[-1], rows))
    return drawn


def _candidates(job: Job) -> list[dict[str, str]]:
    """Read the candidates of a budget search that have a size and a drop."""
    path = job.folder / "budget.csv"
    rows = _rows(path) if path.is_file() else []
    return [
        row for row in rows if None not in (read_number(row["drop"]), read_number(row["bytes"]))
    ]


def budget_table(jobs: Sequence[Job]) -> Table:
    """Return one row per budget search: allowed and measured drop, size before and after."""
    rows: list[dict[str, Any]] = []
    for corpus, members in by_corpus(jobs):
        for job in members:
            found = job.of_kind("budget")
            rows += [_budget_row(job, row) | {"corpus": corpus.title} for row in found]
    columns = (*_COLUMNS[:-1], *remark_columns(rows), _COLUMNS[-1])
    note = (
        "Drops are means over what the row was measured on, in the unit of the score; STOI and "
        "ESTOI are fractions."
    )
    notes = (note, *notes_of(rows, jobs))
    return Table("budget", "Smallest files within a stated drop", columns, tuple(rows), notes)


def _budget_row(job: Job, row: Mapping[str, Any]) -> dict[str, Any]:
    scale = honest_scale(scale_text(row.get("scale") or job.scale))
    marks = [no_better(entry) for entry in final(entries([job])) if entry.variant == "compressed"]
    told = {
        "name": job.name,
        "items": validation_text(row.get("items")),
        "remark": next(filter(None, marks), "-"),
        "scale": scale,
    }
    return {**row, "metric": _title(row), **told}


def write_curves(request: Request) -> list[Path]:
    """Write all curves and budget searches of some runs.

    Raises:
        DataError: No run holds either.
    """
    folder = request.out / "figures"
    table = budget_table(request.jobs)
    figures = [*curve_figures(folder, request.jobs), *budget_figures(folder, request.jobs)]
    if not figures and not table.rows:
        raise DataError(
            "expected runs of pipeline=curves or pipeline=budget, got none; run `audioprune "
            "prune pipeline=curves` first"
        )
    written = write_table(table, request.out) if table.rows else []
    return [*written, *(file for figure in figures for file in (figure.png, figure.csv))]


def _curve_figure(
    folder: Path, name: str, job: Job, metric: str, curves: Sequence[Curve]
) -> Figure:
    title, factor, unit = _scale_of(metric)
    shown = curves[:MAX_TENSORS]
    what = "increase" if metric == "loss" else "drop"
    over = validation_text(job.config.get("pipeline.sensitivity_items"))
    caption = (
        f"Sensitivity of {job.name}: {what} of {title} on {over} when one tensor alone is "
        f"pruned; pale: other tensors."
    )
    caption += first_of(len(shown), len(curves))
    with styled():
        canvas = _canvas(shown, curves, factor, footer_of([job.scale]))
        canvas.supylabel(
            f"{what.capitalize()} of {title}{f' ({unit})' if unit else ''}", fontsize=9
        )
        rows = [
            [each.tensor, beta, value]
            for each in curves
            for beta, value in zip(each.beta, each.degradation, strict=True)
        ]
        table = csv_text(["tensor", "beta", "degradation"], rows)
        return save_figure(
            canvas, folder, name, table, caption, f"{caption} {_told(curves, factor)}"
        )


def _canvas(shown: Sequence[Curve], curves: Sequence[Curve], factor: float, footer: str) -> Any:
    from matplotlib.collections import LineCollection

    lines = {each.tensor: _line(each, factor) for each in curves}
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    canvas = new_canvas(max(4.0, 2.3 * columns + 0.8), 1.9 * rows + 0.4, footer)
    axes = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for place, each in enumerate(shown):
        ax = axes.flat[place]
        others = [line for tensor, line in lines.items() if tensor != each.tensor and line]
        ax.add_collection(LineCollection(others, colors="#c8c8c8", linewidths=0.8, zorder=1))
        x, y = ([point[axis] for point in lines[each.tensor]] for axis in (0, 1))
        ax.plot(x, y, color=COLORS[0], marker="o", markersize=2.5, zorder=2)
        ax.axhline(0.0, color="#999999", linewidth=0.8, zorder=0)
        ax.set_title(
            "\n".join(textwrap.wrap(each.tensor, 28, break_long_words=True)),
            loc="left",
            fontsize=8.5,
        )
        ax.tick_params(labelbottom=place >= len(shown) - columns)
        ax.set_xlabel("Pruned (%)" if place >= len(shown) - columns else "")
        ax.set_xlim(-3, 103)
    return canvas


def _line(curve: Curve, factor: float) -> list[tuple[float, float]]:
    return [
        (100 * beta, factor * value)
        for beta, value in zip(curve.beta, curve.degradation, strict=True)
        if value is not None
    ]


def _told(curves: Sequence[Curve], factor: float) -> str:
    ends = [(each.tensor, _line(each, factor)) for each in curves]
    return (
        "; ".join(
            f"{tensor}: {line[-1][1]:.3g} at {line[-1][0]:g} %"
            for tensor, line in ends[:12]
            if line
        )
        + "."
    )


def _budget_figure(
    folder: Path, name: str, job: Job, facts: Mapping[str, Any], rows: Sequence[Mapping[str, str]]
) -> Figure:
    metric = str(facts.get("metric"))
    title, factor, unit = _scale_of(metric)
    what = "increase" if metric == "loss" else "drop"
    over = validation_text(facts.get("items"))
    caption = (
        f"Budget search of {job.name}: packed file and {what} of {title} ({over}) of every "
        f"candidate; ring: the chosen one."
    )
    alt = (
        f"{caption} Chosen: {facts.get('bytes_file')} bytes, {what} {facts.get('drop')}; "
        f"allowed {facts.get('max_drop')}."
    )
    table = csv_text(
        ["candidate", "tau", "drop", "bytes", "sparsity", "fits", "chosen"],
        [list(row.values()) for row in rows],
    )
    with styled():
        canvas = new_canvas(5.2, 3.2, footer_of([job.scale]))
        ax = canvas.subplots()
        _draw_candidates(ax, rows, factor)
        ax.axhline(
            factor * float(facts["max_drop"]),
            color="#555555",
            linestyle=(0, (4, 3)),
            linewidth=1.2,
            label="allowed",
        )
        log_axis(ax)
        ax.margins(0.08)
        ax.set_xlabel("Written file (MB)")
        ax.set_ylabel(f"{what.capitalize()} of {title}{f' ({unit})' if unit else ''}")
        canvas.legend(loc="outside right upper", frameon=False)
        return save_figure(canvas, folder, name, table, caption, alt)


def _draw_candidates(ax: Any, rows: Sequence[Mapping[str, str]], factor: float) -> None:
    """Draw a dot for every candidate, and a ring around the chosen one."""
    for fits, color, label in ((True, COLORS[0], "fits"), (False, COLORS[1], "drops too far")):
        several = [row for row in rows if (row.get("fits") == "True") == fits]
        ax.plot(
            *_sizes_and_drops(several, factor), "o", color=color, label=label if several else None
        )
    best = [row for row in rows if row.get("chosen") == "True"]
    ring = {"color": "#333333", "markersize": 11, "fillstyle": "none"}
    ax.plot(*_sizes_and_drops(best, factor), "o", label="chosen", **ring)


def _sizes_and_drops(
    rows: Sequence[Mapping[str, str]], factor: float
) -> tuple[list[float], list[float]]:
    megabytes = FORMATS["mebibytes"].factor
    sizes = [megabytes * float(row["bytes"]) for row in rows]
    return sizes, [factor * float(row["drop"]) for row in rows]


def _scale_of(metric: str) -> tuple[str, float, str]:
    """Return the name of a metric, the factor of its printed differences, and their unit."""
    title, style = METRICS.get(metric, ("the loss" if metric == "loss" else metric, "loss"))
    unit = FORMATS[style].unit
    return title, FORMATS[style].factor, "percentage points" if unit == "%" else unit


def _title(row: Mapping[str, Any]) -> str:
    metric = str(row.get("metric"))
    return METRICS.get(metric, (metric, ""))[0]


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))

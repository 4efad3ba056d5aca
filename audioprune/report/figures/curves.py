"""The report ``curves``: scores while one tensor is pruned, and what budget searches tried.

The sensitivity analyses of the pruning pipelines, which have iterations and chosen ratios, are
drawn in sensitivity.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.experiment.rows import read_number
from audioprune.records import read_csv
from audioprune.report.baselines import no_better
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import (
    HALVES,
    MAX_TENSORS,
    Figure,
    first_of,
    footer_of,
    save_figure,
    slug,
)
from audioprune.report.figures.theme import COLORS, key_of, level_key
from audioprune.report.figures.views import (
    Axis,
    dots,
    level,
    lines,
    log_axis,
    number,
    plot_width,
    range_of,
    rings,
    rule,
    score_axis,
    sheet,
    view,
)
from audioprune.report.model_tables import notes_of, remark_columns
from audioprune.report.request import Request
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale, scale_text, validation_text
from audioprune.report.tables import FORMATS, METRICS, Column, Table, csv_text, write_table

_KINDS = ("fits", "drops too far")
_LEFT = 44  # pixels of the labels of the vertical axis
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
        for row in read_csv(path):
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
        folder: Where the files go.
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
    rows = read_csv(path) if path.is_file() else []
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
    return [*written, *(file for figure in figures for file in figure.files)]


def _curve_figure(
    folder: Path, name: str, job: Job, metric: str, curves: Sequence[Curve]
) -> Figure:
    title, factor, unit = _scale_of(metric)
    shown = curves[:MAX_TENSORS]
    what = "increase" if metric == "loss" else "drop"
    over = validation_text(job.config.get("pipeline.sensitivity_items"))
    caption = (
        f"Sensitivity of {job.name}: {what} of {title} on {over} when one tensor alone is "
        f"pruned; pale: the range of all tensors."
    )
    caption += first_of(len(shown), len(curves))
    axis = f"{what.capitalize()} of {title}{f' ({unit})' if unit else ''}"
    rows = [
        [each.tensor, beta, value]
        for each in curves
        for beta, value in zip(each.beta, each.degradation, strict=True)
    ]
    table = csv_text(["tensor", "beta", "degradation"], rows)
    spec = _spec(shown, curves, factor, axis, footer_of([job.scale]))
    chart = Chart(spec, f"{caption} {_told(curves, factor)}")
    return save_figure(chart, folder, name, table, caption)


def _spec(
    shown: Sequence[Curve], curves: Sequence[Curve], factor: float, axis: str, footer: str
) -> dict[str, Any]:
    columns = min(3, len(shown))
    width = plot_width(columns, left=_LEFT / columns + 4)
    points: list[dict[str, Any]] = [
        {"x": x, "y": y, "name": each.tensor} for each in curves for x, y in _line(each, factor)
    ]
    y = score_axis(axis, [0.0, *(point["y"] for point in points)])
    every = range_of(points)
    views = []
    for place, each in enumerate(shown):
        own = [point for point in points if point["name"] == each.tensor]
        drawn = [every, rule(0.0), lines(own, color=COLORS[0]), *dots(own, size=12)]
        last = place >= len(shown) - columns
        across = Axis("Pruned (%)", -3, 103, ticks=HALVES, sides=last)
        side = replace(y, sides=place % columns == 0, title=axis if place == 0 else "")
        views.append(view(across, side, drawn, title=each.tensor, width=width, height=75))
    return sheet(views, footer, columns=columns)


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
    drop = f"{what.capitalize()} of {title}{f' ({unit})' if unit else ''}"
    points = [_candidate(row, factor, drop) for row in rows]
    kinds = [kind for kind in _KINDS if any(point["name"] == kind for point in points)]
    bound = factor * float(facts["max_drop"])
    key, levels = key_of(kinds), level_key(["allowed"])
    x = log_axis("Written file (MB)", [point["x"] for point in points])
    y = score_axis(drop, [bound, *(point["y"] for point in points)])
    best = [point for point, row in zip(points, rows, strict=True) if row.get("chosen") == "True"]
    layers = [*dots(points, key), rings(best), level(bound, "allowed", levels)]
    chart = Chart(sheet([view(x, y, layers)], footer_of([job.scale])), alt)
    return save_figure(chart, folder, name, table, caption)


def _candidate(row: Mapping[str, str], factor: float, drop: str) -> dict[str, Any]:
    x, y = FORMATS["mebibytes"].factor * float(row["bytes"]), factor * float(row["drop"])
    told = f"{row.get('candidate')}\n{number(x)} MB\n{drop}: {y:.4g}"
    return {"x": x, "y": y, "name": _KINDS[row.get("fits") != "True"], "told": told}


def _scale_of(metric: str) -> tuple[str, float, str]:
    """Return the name of a metric, the factor of its printed differences, and their unit."""
    title, style = METRICS.get(metric, ("the loss" if metric == "loss" else metric, "loss"))
    unit = FORMATS[style].unit
    return title, FORMATS[style].factor, "percentage points" if unit == "%" else unit


def _title(row: Mapping[str, Any]) -> str:
    metric = str(row.get("metric"))
    return METRICS.get(metric, (metric, ""))[0]

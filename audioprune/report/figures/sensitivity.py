"""How sensitive each tensor of a model is to pruning and to quantisation.

``sensitivity_figure`` draws what the pruning pipelines measured, ``quantization_table`` prints the
number of clusters of each tensor. Both read the CSV files of a run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import read_number
from audioprune.records import read_csv
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import (
    HALVES,
    MAX_TENSORS,
    Figure,
    first_of,
    footer_of,
    save_figure,
)
from audioprune.report.figures.theme import SHAPES, Key, ramp
from audioprune.report.figures.views import Axis, dots, lines, plot_width, rule, sheet, view
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale, validation_text
from audioprune.report.tables import Column, Table, csv_text

_SHORT = "format(datum.value, '.2~g')"


@dataclass(frozen=True)
class Curve:
    """One tensor in one iteration: ratios 0..1, increases of the loss, and the chosen ratio."""

    iteration: int
    tensor: str
    beta: tuple[float, ...]
    loss_increase: tuple[float, ...]
    chosen: float | None


def read_sensitivity(job: Job) -> list[Curve]:
    """Read the sensitivity curves of a run, by iteration and tensor.

    Lines that hold no numbers are left out.
    """
    found: dict[tuple[int, str], list[tuple[float, float, str]]] = {}
    for path in sorted(job.folder.glob("sensitivity-*.csv")):
        for row in read_csv(path):
            iteration, beta = read_number(row.get("iteration")), read_number(row.get("beta"))
            increase = read_number(row.get("loss_increase"))
            if iteration is not None and beta is not None and increase is not None:
                points = found.setdefault((int(iteration), str(row.get("tensor"))), [])
                points.append((beta, increase, str(row.get("chosen") or "")))
    return [_curve(*key, found[key]) for key in sorted(found, key=lambda key: key[0])]


def _curve(iteration: int, tensor: str, points: list[tuple[float, float, str]]) -> Curve:
    """Join the points of a tensor.

    ``chosen`` marks one point as true, or repeats the chosen ratio on every point.
    """
    points = sorted(points, key=lambda point: point[0])
    marked = [beta for beta, _, chosen in points if chosen.lower() in ("true", "yes")]
    ratios = {read_number(chosen) for _, _, chosen in points} - {None}
    chosen = marked[-1] if marked else (ratios.pop() if len(ratios) == 1 else None)
    if len(ratios) == 2:  # a flag written as 0 and 1
        chosen = next((beta for beta, _, text in points if read_number(text) == 1), None)
    return Curve(
        iteration,
        tensor,
        tuple(point[0] for point in points),
        tuple(point[1] for point in points),
        chosen,
    )


def sensitivity_figure(folder: Path, name: str, job: Job, title: str) -> Figure | None:
    """Draw loss increase against pruning ratio: a panel per tensor, a line per iteration.

    Returns None without curves.
    """
    curves = read_sensitivity(job)
    if not curves:
        return None
    tensors = list(dict.fromkeys(curve.tensor for curve in curves))
    shown = tensors[:MAX_TENSORS]
    alone = (
        "one tensor, or one set of units with all the tensors it spans,"
        if job.config.get("pipeline.unit_groups")
        else "one tensor"
    )
    over = validation_text(job.config.get("pipeline.sensitivity_items"))
    caption = (
        f"Sensitivity of {title}: increase of the loss on {over} when {alone} alone is pruned; "
        f"dots mark the chosen ratio."
    )
    caption += first_of(len(shown), len(tensors))
    spec = _spec(curves, shown, footer_of([job.scale]))
    chart = Chart(spec, f"{caption} {_chosen_text(curves)}")
    return save_figure(chart, folder, name, _as_csv(curves), caption)


def _spec(curves: Sequence[Curve], tensors: Sequence[str], footer: str) -> dict[str, Any]:
    iterations = sorted({curve.iteration for curve in curves})
    names = [f"iteration {iteration}" for iteration in iterations]
    shades = ramp("viridis", len(names))
    key = Key(tuple(names), shades, tuple(SHAPES[0] for _ in names))
    columns = min(3, len(tensors))
    width = plot_width(columns, left=36)
    views = []
    for place, tensor in enumerate(tensors):
        points = [
            {"x": 100 * beta, "y": loss, "name": f"iteration {curve.iteration}"}
            | {"chosen": beta == curve.chosen}
            for curve in curves
            if curve.tensor == tensor
            for beta, loss in zip(curve.beta, curve.loss_increase, strict=True)
        ]
        chosen = [point for point in points if point["chosen"]]
        drawn = [rule(0.0), lines(points, key), *dots(chosen, key)]
        last = place >= len(tensors) - columns
        x = Axis("Pruned share (%)", -3, 103, ticks=HALVES, sides=last)
        side = "Increase of the loss" if place == 0 else ""
        y = Axis(side, label=_SHORT, count=3)
        views.append(view(x, y, drawn, title=tensor, width=width, height=75))
    return sheet(views, footer, columns=columns)


def _chosen_text(curves: Sequence[Curve]) -> str:
    last = max(curve.iteration for curve in curves)
    told = [
        f"{curve.tensor} {100 * curve.chosen:g} %"
        for curve in curves
        if curve.iteration == last and curve.chosen is not None
    ]
    return f"Chosen in iteration {last}: {', '.join(told[:12])}." if told else ""


def _as_csv(curves: Sequence[Curve]) -> str:
    points = [
        (curve, *point)
        for curve in curves
        for point in zip(curve.beta, curve.loss_increase, strict=True)
    ]
    rows = [
        [curve.iteration, curve.tensor, beta, loss, beta == curve.chosen]
        for curve, beta, loss in points
    ]
    return csv_text(["iteration", "tensor", "beta", "loss_increase", "chosen"], rows)


_QUANTIZATION_COLUMNS = (
    Column("tensor", "Tensor"),
    Column("levels", "Clusters K", "count"),
    Column("bits", "Codeword", "bits"),
    Column("kept", "Weights kept", "count"),
    Column("loss_increase", "Increase of the loss", "loss"),
    Column("scale", "Scale"),
)
_NOT_COUNTED = (
    "How many weights of a tensor were left was not recorded; where none was, K is what was "
    "asked for."
)
_NONE_LEFT = "K = 0: no weight of the tensor was left to share a value."


def quantization_table(job: Job) -> Table | None:
    """Return the clusters chosen for every tensor, or None where nothing was quantised."""
    path = job.folder / "quantization.csv"
    lines = [
        line for line in read_csv(path) if str(line.get("chosen")).lower() in ("true", "1", "yes")
    ]
    rows = tuple(_quantised(line) | {"scale": honest_scale(job.scale)} for line in lines)
    counted = all(row["kept"] is not None for row in rows)
    columns = tuple(column for column in _QUANTIZATION_COLUMNS if counted or column.key != "kept")
    notes = (
        ((_NONE_LEFT,) if any(row["kept"] == 0 for row in rows) else ())
        if counted
        else (_NOT_COUNTED,)
    )
    return (
        Table("quantization", f"Clusters per tensor: {job.name}", columns, rows, notes)
        if rows
        else None
    )


def _quantised(line: Mapping[str, str]) -> dict[str, Any]:
    """Return the row of a tensor; one without a weight has neither clusters nor codewords."""
    row = {
        name: read_number(line.get(name)) for name in ("levels", "bits", "kept", "loss_increase")
    }
    empty = {"levels": 0.0, "bits": 0.0} if row["kept"] == 0 else {}
    return {"tensor": str(line.get("tensor")), **row, **empty}

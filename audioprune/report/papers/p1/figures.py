"""Figures of Plain & Biswas from our runs: sensitivity, sparsity of layers, sparsity over epochs.

``draw`` draws them, a set for every corpus. Which systems there are is decided in ``systems``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import read_number
from audioprune.records import read_csv
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import (
    Figure,
    corpus_folders,
    footer_of,
    save_figure,
)
from audioprune.report.figures.theme import DASHES, INK, Key, key_of, level_key, ramp
from audioprune.report.figures.views import (
    Axis,
    Layer,
    bars,
    level,
    lines,
    plot_width,
    sheet,
    view,
    whole_axis,
)
from audioprune.report.papers.p1.systems import P1Evidence, System, short_layer
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, METRICS, csv_text

MOST_DRAWN = 4
_RAMPS = {"enc": "blue", "dec": "orange"}


@dataclass(frozen=True)
class Sensitivity:
    """A sensitivity analysis: for each metric and layer the points (share removed, score)."""

    metrics: tuple[str, ...]
    points: Mapping[str, Mapping[str, tuple[tuple[float, float | None], ...]]]


@dataclass(frozen=True)
class Course:
    """Sparsity after every pruning, mean over the seeds.

    Attributes:
        epochs: Epoch of every pruning.
        total: Sparsity of the whole network.
        layers: Sparsity of each layer that was pruned at all.
    """

    epochs: tuple[int, ...]
    total: tuple[float, ...]
    layers: Mapping[str, tuple[float, ...]]


def draw(evidence: P1Evidence, folder: Path) -> list[Figure]:
    """Draw every figure that the runs have data for."""
    models: Mapping[str, str] = evidence.published["models"]
    ours = [job for job in evidence.jobs if job.model in models]
    analysed = [job for job in ours if (job.folder / "sensitivity.csv").is_file()]
    drawn: list[Figure | None] = []
    for number, job in enumerate(analysed[:MOST_DRAWN], 1):
        name = f"p1_sensitivity-{number}" if number > 1 else "p1_sensitivity"
        drawn.append(sensitivity_figure(folder, job, name))
    titles = (system.entry.corpus.title for system in evidence.systems)
    for title, (place, corpus) in corpus_folders(folder, titles).items():
        same = [each for each in evidence.systems if each.entry.corpus.title == title]
        own = [layers_figure(place, same), schedule_figure(place, same, evidence.published)]
        drawn += [
            figure and replace(figure, caption=f"{figure.caption}{corpus}") for figure in own
        ]
    return [figure for figure in drawn if figure]


def read_sensitivity(path: Path) -> Sensitivity:
    """Read sensitivity.csv: the columns parameter, sparsity, and one of each metric.

    Lines without a fraction are left out.
    """
    rows = read_csv(path)
    columns = tuple(rows[0]) if rows else ()
    metrics = tuple(name for name in columns if name not in ("parameter", "sparsity"))
    points: dict[str, dict[str, list[tuple[float, float | None]]]] = {}
    for metric in metrics:
        layers = points.setdefault(metric, {})
        for row in rows:
            share = read_number(row.get("sparsity"))
            if share is not None:
                layer = short_layer(str(row.get("parameter")))
                layers.setdefault(layer, []).append((share, read_number(row.get(metric))))
    rising: dict[str, dict[str, tuple[tuple[float, float | None], ...]]] = {}
    for metric, layers in points.items():
        rising[metric] = {layer: _rising(own) for layer, own in layers.items()}
    return Sensitivity(metrics, rising)


def _rising(
    points: Sequence[tuple[float, float | None]],
) -> tuple[tuple[float, float | None], ...]:
    return tuple(sorted(points, key=lambda point: point[0]))


def sensitivity_figure(folder: Path, job: Job, name: str) -> Figure | None:
    """Draw every score over the removed share of one layer at a time, one panel per metric.

    Source: Plain & Biswas, slide "Sensitivity Analysis".
    """
    found = read_sensitivity(job.folder / "sensitivity.csv")
    layers = list(
        dict.fromkeys(layer for metric in found.metrics for layer in found.points[metric])
    )
    if not layers:
        return None
    key = layer_key(layers)
    items = job.config.get("pipeline.sensitivity_items")
    told = "the validation set" if items is None else f"{items} validation items"
    caption = (
        f"Sensitivity of {job.name}: scores of {told} when one layer alone is pruned, without "
        f"retraining."
    )
    columns = min(2, len(found.metrics))
    views = [
        _sensitivity_view(metric, found.points[metric], key, plot_width(columns))
        for metric in found.metrics
    ]
    points = [
        (metric, layer, *point)
        for metric in found.metrics
        for layer, own in found.points[metric].items()
        for point in own
    ]
    table = csv_text(["metric", "layer", "sparsity", "score"], points)
    alt = f"{caption} Metrics: {', '.join(found.metrics)}; {len(layers)} layers."
    chart = Chart(sheet(views, footer_of([job.scale]), columns=columns), alt)
    return save_figure(chart, folder, name, table, caption)


def _sensitivity_view(
    metric: str,
    layers: Mapping[str, Sequence[tuple[float, float | None]]],
    key: Key,
    width: float,
) -> dict[str, Any]:
    title, style = METRICS.get(metric, (metric, "fine"))
    factor, unit = FORMATS[style].factor, FORMATS[style].unit
    rows = [
        {"x": 100 * share, "y": factor * value, "name": layer}
        for layer, points in layers.items()
        for share, value in points
        if value is not None
    ]
    x = Axis("Pruned weights of the layer (%)", 0, 100, count=4)
    y = Axis(f"{title} ({unit})" if unit else title)
    return view(x, y, [lines(rows, key, width=1.2)], width=width, height=110)


def layer_key(layers: Sequence[str], *others: str) -> Key:
    """Return how layers look: encoder blue, decoder orange, darker the deeper.

    Others have a ramp of their own; neighbours differ in their dashes.

    Args:
        layers: Names of layers.
        others: Names of further lines, which are black.
    """
    numbers = {
        layer: int(layer[3:]) for layer in layers if layer[:3] in _RAMPS and layer[3:].isdigit()
    }
    rest = [layer for layer in layers if layer not in numbers]
    colors = dict(zip(rest, ramp("viridis", len(rest)), strict=True))
    for half, name in _RAMPS.items():
        rising = sorted(
            (layer for layer in numbers if layer.startswith(half)),
            key=numbers.__getitem__,
            reverse=half == "dec",
        )
        colors |= dict(zip(rising, ramp(name, len(rising)), strict=True))
    dashes = [DASHES[place % len(DASHES)] for place in range(len(layers))]
    return Key(
        (*layers, *others),
        (*(colors[layer] for layer in layers), *(INK for _ in others)),
        dashes=(*dashes, *(DASHES[0] for _ in others)),
    )


def layers_figure(folder: Path, systems: Sequence[System]) -> Figure | None:
    """Draw how sparse every layer is, and below it which share of all zeros it holds.

    Source: Plain & Biswas, slide "Distribution of Sparsity Across Layers".
    """
    shown = [system for system in systems if system.entry.variant == "pruned" and system.layers][
        :MOST_DRAWN
    ]
    if not shown:
        return None
    names = list(dict.fromkeys(layer.name for system in shown for layer in system.layers))
    caption = (
        "Sparsity across the layers, from the input to the output of the network, and the share "
        "of all zeros that each layer holds."
    )
    key = key_of([system.name for system in shown])
    footer = footer_of([system.entry.scale for system in shown])
    rows = [
        {
            "x": layer.name,
            "name": system.name,
            "zero": 100 * layer.sparsity,
            "share": 100 * layer.zero_share,
            "told": f"{system.name}, {layer.name}: {100 * layer.sparsity:.1f} % zero, "
            f"{100 * layer.zero_share:.1f} % of all zeros",
        }
        for system in shown
        for layer in system.layers
    ]
    below = Axis("", names=tuple(names), angle=-60.0)
    above = replace(below, sides=False)
    views = [
        view(x, y, [bars([row | {"y": row[field]} for row in rows], key)], height=100)
        for x, y, field in (
            (above, Axis("Zero weights (%)", 0, 100), "zero"),
            (below, Axis("Share of all zeros (%)", zero=True), "share"),
        )
    ]
    header = ["model", "layer", "weights", "sparsity", "share of all zeros", "scale"]
    cells = [
        [s.name, e.name, e.weights, e.sparsity, e.zero_share, honest_scale(s.entry.scale)]
        for s in shown
        for e in s.layers
    ]
    told = "; ".join(
        f"{layer.name} {100 * layer.sparsity:.1f} %" for layer in shown[0].layers if layer.sparsity
    )
    chart = Chart(sheet(views, footer), f"{caption} {shown[0].name}: {told}.")
    return save_figure(chart, folder, "p1_layers", csv_text(header, cells), caption)


def course_of(system: System) -> Course | None:
    """Return how the sparsity of a system grew; None for one that was pruned once or never."""
    rows = [
        {row["epoch"]: row for row in job.of_kind("pruning")}
        for job in system.entry.jobs
        if job.of_kind("pruning")
    ]
    epochs = sorted(set.intersection(*map(set, rows))) if rows else []
    if len(epochs) < 2:
        return None
    per_epoch = [[own[epoch] for own in rows] for epoch in epochs]
    names = list(per_epoch[0][0]["sparsity_per_tensor"])
    layers = {
        short_layer(name): tuple(
            statistics.fmean(row["sparsity_per_tensor"][name] for row in same)
            for same in per_epoch
        )
        for name in names
    }
    total = tuple(statistics.fmean(row["total_sparsity"] for row in same) for same in per_epoch)
    return Course(
        tuple(epochs), total, {name: shares for name, shares in layers.items() if max(shares) > 0}
    )


def schedule_figure(
    folder: Path, systems: Sequence[System], reported: Mapping[str, Any]
) -> Figure | None:
    """Draw the sparsity over the epochs of pruning: in total and layer by layer.

    Source: Plain & Biswas, slide "Compression Schedule".
    """
    shown = [(system, course) for system in systems if (course := course_of(system))][:MOST_DRAWN]
    if not shown:
        return None
    names = list(dict.fromkeys(name for _, course in shown for name in course.layers))
    key, levels = layer_key(names, "total"), level_key(["published total"])
    told = level(100 * reported["schedule"]["reduction"], "published total", levels)
    caption = (
        "Compression schedule: sparsity after every pruning, in total and of every layer that "
        "is pruned."
    )
    columns = min(2, len(shown))
    views = [
        _course_view(system.name, course, key, told, plot_width(columns))
        for system, course in shown
    ]
    footer = footer_of([system.entry.scale for system, _ in shown])
    cells = [
        [system.name, name, epoch, share]
        for system, course in shown
        for name, shares in {"total": course.total, **course.layers}.items()
        for epoch, share in zip(course.epochs, shares, strict=True)
    ]
    ends = "; ".join(
        f"{system.name}: {len(c.epochs)} prunings, {100 * c.total[-1]:.1f} % in the end"
        for system, c in shown
    )
    table = csv_text(["model", "layer", "epoch", "sparsity"], cells)
    chart = Chart(sheet(views, footer, columns=columns), f"{caption} {ends}.")
    return save_figure(chart, folder, "p1_schedule", table, caption)


def _course_view(
    name: str, course: Course, key: Key, published: Layer, width: float
) -> dict[str, Any]:
    rows = [
        {"x": epoch, "y": 100 * share, "name": layer}
        for layer, shares in {**course.layers, "total": course.total}.items()
        for epoch, share in zip(course.epochs, shares, strict=True)
    ]
    total = [row for row in rows if row["name"] == "total"]
    layers = [row for row in rows if row["name"] != "total"]
    drawn = [lines(layers, key, width=1.2), lines(total, key, width=2.2), published]
    y = Axis("Zero weights (%)", 0, 100)
    return view(whole_axis("Epoch", course.epochs), y, drawn, title=name, width=width, height=130)

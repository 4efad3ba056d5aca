"""Figures of Plain & Biswas from our runs: sensitivity, sparsity of layers, sparsity over epochs.

``draw`` draws them, a set for every corpus. Which systems there are is decided in ``systems``.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import read_number
from audioprune.report.figures.drawing import (
    COLORS,
    DASHES,
    Figure,
    corpus_folders,
    footer_of,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.papers.p1.systems import P1Evidence, System, short_layer
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, METRICS, csv_text

MOST_DRAWN = 4
_MAPS = {"enc": "Blues", "dec": "Oranges"}


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
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
        columns = reader.fieldnames or ()
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
    colors = layer_colors(layers)
    columns = min(3, len(found.metrics))
    items = job.config.get("pipeline.sensitivity_items")
    told = "the validation set" if items is None else f"{items} validation items"
    caption = (
        f"Sensitivity of {job.name}: scores of {told} when one layer alone is pruned, without "
        f"retraining."
    )
    with styled():
        rows = math.ceil(len(found.metrics) / columns)
        canvas = new_canvas(2.9 * columns + 1.8, 2.6 * rows, footer_of([job.scale]))
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True)
        for ax in axes.flat[len(found.metrics) :]:
            ax.set_axis_off()
        for ax, metric in zip(axes.flat, found.metrics, strict=False):
            _draw_sensitivity(ax, metric, found.points[metric], colors)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        canvas.legend(
            handles,
            labels,
            loc="outside right upper",
            ncols=1 + (len(layers) > 12),
            frameon=False,
            fontsize=7,
        )
        points = [
            (metric, layer, *point)
            for metric in found.metrics
            for layer, own in found.points[metric].items()
            for point in own
        ]
        table = csv_text(["metric", "layer", "sparsity", "score"], points)
        return save_figure(
            canvas,
            folder,
            name,
            table,
            caption,
            f"{caption} Metrics: {', '.join(found.metrics)}; {len(layers)} layers.",
        )


def _draw_sensitivity(
    ax: Any,
    metric: str,
    layers: Mapping[str, Sequence[tuple[float, float | None]]],
    colors: Mapping[str, Any],
) -> None:
    title, style = METRICS.get(metric, (metric, "fine"))
    factor, unit = FORMATS[style].factor, FORMATS[style].unit
    for layer, points in layers.items():
        known = [(100 * share, factor * value) for share, value in points if value is not None]
        ax.plot(
            [x for x, _ in known],
            [y for _, y in known],
            color=colors[layer],
            linewidth=1.1,
            label=layer,
        )
    ax.set_title(f"{title} ({unit})" if unit else title, loc="left")
    ax.set_xlabel("Pruned weights of the layer (%)")
    ax.tick_params(labelbottom=True)
    ax.ticklabel_format(axis="y", useOffset=False)


def layer_colors(layers: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each layer: encoder blue, decoder orange, darker the deeper.

    Others have a map of their own.
    """
    import matplotlib

    numbers = {
        layer: int(layer[3:]) for layer in layers if layer[:3] in _MAPS and layer[3:].isdigit()
    }
    others = [layer for layer in layers if layer not in numbers]
    colors = {
        layer: matplotlib.colormaps["viridis"](place / max(1, len(others) - 1))
        for place, layer in enumerate(others)
    }
    for half, name in _MAPS.items():
        rising = sorted(
            (layer for layer in numbers if layer.startswith(half)),
            key=numbers.__getitem__,
            reverse=half == "dec",
        )
        shades = matplotlib.colormaps[name]
        colors |= {
            layer: shades(0.4 + 0.55 * place / max(1, len(rising) - 1))
            for place, layer in enumerate(rising)
        }
    return colors


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
    with styled():
        canvas = new_canvas(
            max(6.0, 0.36 * len(names) + 1.2),
            4.6,
            footer_of([system.entry.scale for system in shown]),
        )
        above, below = canvas.subplots(2, 1, sharex=True)
        width = 0.8 / len(shown)
        for turn, system in enumerate(shown):
            places = [
                names.index(layer.name) + width * (turn - (len(shown) - 1) / 2)
                for layer in system.layers
            ]
            color = COLORS[turn % len(COLORS)]
            above.bar(
                places,
                [100 * layer.sparsity for layer in system.layers],
                width,
                color=color,
                label=system.name,
            )
            below.bar(
                places, [100 * layer.zero_share for layer in system.layers], width, color=color
            )
        above.set_ylabel("Zero weights (%)")
        above.set_ylim(0, 100)
        below.set_ylabel("Share of all zeros (%)")
        below.set_xticks(range(len(names)), names, rotation=60)
        below.set_xlim(-0.6, len(names) - 0.4)
        for ax in (above, below):
            ax.grid(axis="x", visible=False)
            ax.set_axisbelow(True)
        canvas.legend(loc="outside upper right", ncols=min(2, len(shown)), frameon=False)
        header = ["model", "layer", "weights", "sparsity", "share of all zeros", "scale"]
        cells = [
            [s.name, e.name, e.weights, e.sparsity, e.zero_share, honest_scale(s.entry.scale)]
            for s in shown
            for e in s.layers
        ]
        told = "; ".join(
            f"{layer.name} {100 * layer.sparsity:.1f} %"
            for layer in shown[0].layers
            if layer.sparsity
        )
        return save_figure(
            canvas,
            folder,
            "p1_layers",
            csv_text(header, cells),
            caption,
            f"{caption} {shown[0].name}: {told}.",
        )


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
    colors = layer_colors(
        list(dict.fromkeys(name for _, course in shown for name in course.layers))
    )
    told = reported["schedule"]
    caption = (
        "Compression schedule: sparsity after every pruning, in total and of every layer that "
        "is pruned."
    )
    with styled():
        canvas = new_canvas(
            4.2 * len(shown) + 1.3, 3.2, footer_of([system.entry.scale for system, _ in shown])
        )
        axes = canvas.subplots(1, len(shown), squeeze=False, sharey=True).flat
        for ax, (system, course) in zip(axes, shown, strict=True):
            _draw_course(ax, course, colors)
            ax.axhline(
                100 * told["reduction"],
                color="#555555",
                linestyle=(0, (4, 3)),
                linewidth=1.2,
                label="published total",
            )
            ax.set_title(system.name, loc="left")
        axes[0].set_ylabel("Zero weights (%)")
        handles = {
            label: handle
            for ax in axes
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
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
        return save_figure(canvas, folder, "p1_schedule", table, caption, f"{caption} {ends}.")


def _draw_course(ax: Any, course: Course, colors: Mapping[str, Any]) -> None:
    for place, (name, shares) in enumerate(course.layers.items()):
        style = DASHES[place % len(DASHES)]
        ax.plot(
            course.epochs,
            [100 * share for share in shares],
            style,
            color=colors[name],
            linewidth=1.3,
            label=name,
        )
    ax.plot(
        course.epochs,
        [100 * share for share in course.total],
        color="#000000",
        linewidth=2.2,
        label="total",
    )
    ax.set_xlabel("Epoch")
    ax.set_ylim(0, 100)

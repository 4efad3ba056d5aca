"""Figures of the trainings of Chen's networks: epochs, zero filters of layers, norms of groups.

Each is drawn for the networks that it is given, of the smallest seed.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none, read_number
from audioprune.records import read_csv
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, footer_of, save_figure
from audioprune.report.figures.theme import COLORS, Key, key_of, level_key
from audioprune.report.figures.views import (
    Axis,
    bars,
    blocks,
    level,
    lines,
    log_axis,
    plot_width,
    rule,
    sheet,
    view,
    whole_axis,
)
from audioprune.report.papers.p4.networks import LITERAL, Model
from audioprune.report.tables import csv_text

_BINS = 40
_CURVES = (
    ("objective", "F"),
    ("f", "f"),
    ("penalty", "lambda * sum of norms"),
    ("group_sparsity", "Zero groups (%)"),
)


def epochs_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw objective, loss, penalty and sparsity of every epoch.

    An upright line ends the first stage of HSPG.
    """
    chosen = [(model, model.first_job.of_kind("epoch")) for model in models]
    chosen = [(model, rows) for model, rows in chosen if rows]
    if not chosen:
        return None
    caption = (
        "Objective F, loss f, penalty and group sparsity over the epochs, smallest seed; F and "
        "penalty with the lambda of each run."
    )
    caption += _special_notes([model.method for model, _ in chosen], _stage_end(chosen))
    key, stage = key_of([model.name for model, _ in chosen]), _stage_end(chosen)
    cells: list[list[Any]] = []
    views = []
    for field, title in _CURVES:
        factor = 100 if field == "group_sparsity" else 1
        points = [
            {"x": row["epoch"], "y": factor * row[field], "name": model.name}
            for model, rows in chosen
            for row in rows
            if finite_or_none(row.get(field)) is not None
        ]
        titles = {model.name: model.title for model, _ in chosen}
        cells += [[title, titles[point["name"]], point["x"], point["y"]] for point in points]
        layers = [lines(points, key)] + ([rule(stage, upright=True)] if stage else [])
        x = whole_axis("Epoch", (point["x"] for point in points))
        views.append(view(x, Axis(title), layers, width=plot_width(2), height=110))
    last = [(model.name, rows[-1]) for model, rows in chosen]
    ends = "; ".join(
        f"{name}: {100 * row.get('group_sparsity', 0):.1f} % zero groups, f {row['f']:.3f}"
        for name, row in last
    )
    table = csv_text(["panel", "row", "epoch", "value"], cells)
    footer = footer_of([model.entry.scale for model, _ in chosen])
    chart = Chart(sheet(views, footer, columns=2), f"{caption} At the end {ends}.")
    return save_figure(chart, folder, "p4_epochs", table, caption)


def _special_notes(methods: Sequence[str], stage: float | None) -> str:
    """Say what is different for the methods that are drawn."""
    notes = {
        " Of OBProxSG the penalty is that of the l1 norm.": "obproxsg" in methods,
        " Of ADMM zero groups are those of z, F, f and penalty those of the dense x.": "admm"
        in methods,
        " The upright line ends the first stage of the first HSPG run.": bool(stage),
    }
    return "".join(note for note, holds in notes.items() if holds)


def _stage_end(chosen: Sequence[tuple[Model, list[dict[str, Any]]]]) -> float | None:
    """Return the epoch after which the half-space stage of the first HSPG run begins."""
    for model, rows in chosen:
        if model.method == "hspg" and model.entry.pipeline != LITERAL:
            return max(
                (float(row["epoch"]) for row in rows if row.get("first_stage")), default=0.0
            )
    return None


def layers_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the share of zero filters of every layer."""
    if not models:
        return None
    caption = "Zero filters of every layer before the trim, smallest seed."
    cells: list[list[Any]] = []
    views = []
    for model in models:
        layers = model.first_job.of_kind("groups")[0]["layers"]
        names = [
            str(layer["name"]).removesuffix(".conv.weight").removesuffix(".weight")
            for layer in layers
        ]
        rows = [
            {"x": name, "y": 100 * layer["zero"] / layer["filters"]}
            | {"told": f"{name}: {layer['zero']} of {layer['filters']} filters zero"}
            for name, layer in zip(names, layers, strict=True)
        ]
        x = Axis("", names=tuple(names), angle=-60.0)
        y = Axis("Zero filters (%)", 0, 100, count=4)
        views.append(view(x, y, [bars(rows)], title=model.title, height=70))
        cells += [
            [model.title, name, layer["zero"], layer["filters"]]
            for name, layer in zip(names, layers, strict=True)
        ]
    table = csv_text(["row", "layer", "zero", "filters"], cells)
    named = "; ".join(model.title for model in models)
    footer = footer_of([model.entry.scale for model in models])
    chart = Chart(sheet(views, footer), f"{caption} Networks: {named}.")
    return save_figure(chart, folder, "p4_layers", table, caption)


def norms_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the norms of all groups before and after training, and what one step takes away."""
    read = [(model, _norms(model.first_job.folder / "groups.csv")) for model in models]
    read = [(model, norms) for model, norms in read if norms["norm_after"]]
    if not read:
        return None
    caption = (
        "Norms of the groups before training and before the trim, smallest seed. Zero groups "
        "stand at the left."
    )
    if any(_pull(model) for model, _ in read):
        caption += (
            " a * lambda is what the regulariser takes off a norm in one step at the first "
            "learning rate."
        )
    columns = min(2, len(read))
    key, levels = Key(("before", "after"), (COLORS[5], COLORS[1])), level_key(["a * lambda"])
    views = [_norms_view(model, norms, key, levels, plot_width(columns)) for model, norms in read]
    rows = [
        [model.title, what, value]
        for model, norms in read
        for what, values in norms.items()
        for value in values
    ]
    after = [(model.title, norms["norm_after"]) for model, norms in read]
    alt = "; ".join(
        f"{title}: {sum(value == 0 for value in values)} of {len(values)} zero"
        for title, values in after
    )
    footer = footer_of([model.entry.scale for model, _ in read])
    table = csv_text(["row", "when", "norm"], rows)
    chart = Chart(sheet(views, footer, columns=columns), f"{caption} {alt}.")
    return save_figure(chart, folder, "p4_norms", table, caption)


def _norms_view(
    model: Model, norms: Mapping[str, Sequence[float]], key: Key, levels: Key, width: float
) -> dict[str, Any]:
    pull = _pull(model)
    positive = [value for values in norms.values() for value in values if value > 0] + (
        [pull] if pull else []
    )
    low, high = math.log10(min(positive)) - 0.6, math.log10(max(positive)) + 0.1
    edges = [10 ** (low + (high - low) * i / _BINS) for i in range(_BINS + 1)]
    rows = []
    for what, values in norms.items():
        found = [max(value, edges[0]) for value in values]
        at = [min(bisect.bisect_right(edges, value), _BINS) - 1 for value in found]
        for place, count in sorted(Counter(at).items()):
            ends = {"low": edges[place], "high": edges[place + 1], "y": count}
            rows.append({**ends, "name": what.removeprefix("norm_")})
    layers = [blocks(rows, key)]
    if pull:
        layers.append(level(pull, "a * lambda", levels, upright=True))
    x = replace(log_axis("Norm of the group", edges, 4), low=edges[0], high=edges[-1])
    return view(x, Axis("Groups", zero=True), layers, title=model.title, width=width, height=100)


def _pull(model: Model) -> float:
    """Return what one step takes off a group norm.

    It is 0 for OBProxSG, which shrinks entries, and ADMM, whose z has a threshold of its own.
    """
    if model.method in ("obproxsg", "admm"):
        return 0.0
    facts = model.first_job.of_kind("groups")[0]
    return (finite_or_none(facts.get("lmbda")) or 0.0) * (
        finite_or_none(facts.get("learning_rate")) or 0.0
    )


def _norms(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"norm_before": [], "norm_after": []}
    for row in read_csv(path):
        for key, values in found.items():
            number = read_number(row.get(key))
            if number is not None:
                values.append(number)
    return found

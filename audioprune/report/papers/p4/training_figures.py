"""Figures of the trainings of Chen's networks: epochs, zero filters of layers, norms of groups.

Each is drawn for the networks that it is given, of the smallest seed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.figures.drawing import (
    COLORS,
    DASHES,
    Figure,
    footer_of,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.papers.p4.networks import LITERAL, Model
from audioprune.report.tables import csv_text

_CURVES = (
    ("objective", "F"),
    ("f", "f"),
    ("penalty", "lambda * sum of norms"),
    ("group_sparsity", "Zero groups (%)"),
)


def epochs_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw objective, loss, penalty and sparsity of every epoch.

    A dotted line ends the first stage of HSPG.
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
    lines = []
    with styled():
        canvas = new_canvas(7.6, 5.0, footer_of([model.entry.scale for model, _ in chosen]))
        axes = canvas.subplots(2, 2, sharex=True).flat
        for ax, (key, title) in zip(axes, _CURVES, strict=True):
            for place, (model, rows) in enumerate(chosen):
                factor = 100 if key == "group_sparsity" else 1
                points = [
                    (row["epoch"], factor * row[key])
                    for row in rows
                    if finite_or_none(row.get(key)) is not None
                ]
                ax.plot(
                    *zip(*points, strict=True),
                    DASHES[place // len(COLORS)],
                    color=COLORS[place % len(COLORS)],
                    label=model.name,
                )
                lines += [[title, model.title, x, y] for x, y in points]
            stage = _stage_end(chosen)
            if stage:
                ax.axvline(stage, color="#555555", linestyle=":", linewidth=1.2)
            ax.set_title(title, loc="left")
        for ax in canvas.axes[2:]:
            ax.set_xlabel("Epoch")
        handles, labels = axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
        last = [(model.name, rows[-1]) for model, rows in chosen]
        ends = "; ".join(
            f"{name}: {100 * row.get('group_sparsity', 0):.1f} % zero groups, f {row['f']:.3f}"
            for name, row in last
        )
        table = csv_text(["panel", "row", "epoch", "value"], lines)
        return save_figure(
            canvas, folder, "p4_epochs", table, caption, f"{caption} At the end {ends}."
        )


def _special_notes(methods: Sequence[str], stage: float | None) -> str:
    """Say what is different for the methods that are drawn."""
    notes = {
        " Of OBProxSG the penalty is that of the l1 norm.": "obproxsg" in methods,
        " Of ADMM zero groups are those of z, F, f and penalty those of the dense x.": "admm"
        in methods,
        " The dotted line ends the first stage of the first HSPG run.": bool(stage),
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
    with styled():
        rows: list[list[Any]] = []
        canvas = new_canvas(
            7.6, 1.5 * len(models) + 0.9, footer_of([model.entry.scale for model in models])
        )
        axes = canvas.subplots(len(models), 1, squeeze=False, sharex=True)[:, 0]
        for ax, model in zip(axes, models, strict=True):
            layers = model.first_job.of_kind("groups")[0]["layers"]
            names = [
                str(layer["name"]).removesuffix(".conv.weight").removesuffix(".weight")
                for layer in layers
            ]
            shares = [100 * layer["zero"] / layer["filters"] for layer in layers]
            ax.bar(range(len(names)), shares, color=COLORS[0])
            ax.set_ylim(0, 105)
            ax.set_ylabel("zero (%)")
            ax.set_title(model.title, loc="left")
            few = max(1, math.ceil(len(names) / 24))
            ax.set_xticks(
                range(0, len(names), few), names[::few], rotation=60, ha="right", fontsize=7
            )
            rows += [
                [model.title, name, layer["zero"], layer["filters"]]
                for name, layer in zip(names, layers, strict=True)
            ]
        table = csv_text(["row", "layer", "zero", "filters"], rows)
        named = "; ".join(model.title for model in models)
        return save_figure(
            canvas, folder, "p4_layers", table, caption, f"{caption} Networks: {named}."
        )


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
    with styled():
        canvas = new_canvas(
            3.8 * columns,
            2.5 * math.ceil(len(read) / columns),
            footer_of([model.entry.scale for model, _ in read]),
        )
        axes = canvas.subplots(math.ceil(len(read) / columns), columns, squeeze=False)
        rows: list[list[Any]] = []
        for place, ax in enumerate(axes.flat):
            if place >= len(read):
                ax.set_axis_off()
                continue
            model, norms = read[place]
            _draw_norms(ax, model, norms)
            rows += [
                [model.title, what, value] for what, values in norms.items() for value in values
            ]
        after = [(model.title, norms["norm_after"]) for model, norms in read]
        alt = "; ".join(
            f"{title}: {sum(value == 0 for value in values)} of {len(values)} zero"
            for title, values in after
        )
        return save_figure(
            canvas,
            folder,
            "p4_norms",
            csv_text(["row", "when", "norm"], rows),
            caption,
            f"{caption} {alt}.",
        )


def _draw_norms(ax: Any, model: Model, norms: Mapping[str, Sequence[float]]) -> None:
    pull = _pull(model)
    positive = [value for values in norms.values() for value in values if value > 0] + (
        [pull] if pull else []
    )
    low, high = math.log10(min(positive)) - 0.6, math.log10(max(positive)) + 0.1
    edges = [10 ** (low + (high - low) * i / 40) for i in range(41)]
    for what, color in (("norm_before", COLORS[5]), ("norm_after", COLORS[1])):
        values = [max(value, edges[0] * 1.01) for value in norms[what]]
        ax.hist(values, bins=edges, color=color, alpha=0.7, label=what.removeprefix("norm_"))
    if pull:
        ax.axvline(pull, color="#000000", linestyle="--", linewidth=1.2, label="a * lambda")
    ax.set_xscale("log")
    ax.set_title(model.title, loc="left", fontsize=8)
    ax.set_xlabel("Norm of the group")
    ax.set_ylabel("Groups")
    ax.legend(fontsize=7, frameon=False)


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
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                for key, values in found.items():
                    if row.get(key):
                        values.append(float(row[key]))
    except (OSError, ValueError):
        return {"norm_before": [], "norm_after": []}
    return found

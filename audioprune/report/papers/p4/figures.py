"""What the figures of Chen's paper and ours show: accuracy against sparsity, cost and receptive field, filters, norms, epochs, confusions.

Which networks there are is decided in p4.py; how figures look in figures.py.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.figures.drawing import (
    COLORS,
    DASHES,
    MARKERS,
    Figure,
    corpus_folders,
    footer_of,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.papers.p4.paper import (
    DENSE,
    LITERAL,
    REACH,
    RHO,
    Model,
    accuracy,
    models_of,
)
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

MOST_DRAWN = 6
_EPSILON, _STEP = 0.4, 0.25  # of the picture of the projection


def figures_of(folder: Path, jobs: Sequence[Job]) -> list[Figure]:
    """Draw every figure that the jobs have data for; the picture of the projection needs none."""
    models = models_of(jobs)
    drawn: list[Figure] = []
    for title, (place, corpus) in corpus_folders(
        folder, (model.entry.corpus.title for model in models)
    ).items():
        own = _figures_of(place, [model for model in models if model.entry.corpus.title == title])
        drawn += [replace(figure, caption=f"{figure.caption}{corpus}") for figure in own]
    return [*drawn, projection_figure(folder)]


def _figures_of(folder: Path, models: Sequence[Model]) -> list[Figure]:
    """Draw the networks of one corpus."""
    shown = [model for model in models if model.first_job.of_kind("groups")]
    drawn = [
        sparsity_figure(folder, models),
        cost_figure(folder, models),
        receptive_field_figure(folder, models),
        epochs_figure(folder, _chosen(models)),
        layers_figure(folder, _chosen(shown)),
        norms_figure(folder, _chosen(shown)),
        confusion_figure(folder, _chosen(models)),
    ]
    return [figure for figure in drawn if figure]


def _chosen(models: Sequence[Model]) -> list[Model]:
    """Return at most six networks of the kind of model with the most pipelines: one of each, of p4_reach the most and the least sparse."""
    trained = [
        label
        for label, _ in dict.fromkeys(
            (model.entry.label, model.entry.pipeline) for model in models
        )
    ]
    most = max(trained, key=trained.count, default="")
    mine = [model for model in models if model.entry.label == most]
    per_pipeline: dict[str, list[Model]] = {}
    for model in mine:
        per_pipeline.setdefault(model.entry.pipeline, []).append(model)
    picked = [group[-1] for group in per_pipeline.values()]
    extra = [group[0] for name, group in per_pipeline.items() if name == REACH and len(group) > 1]
    return [model for model in mine if model in [*extra, *picked]][:MOST_DRAWN]


def _per_seed(model: Model) -> list[tuple[int | None, float | None, float | None, float | None]]:
    """Return seed, share of zero filters, accuracy and MACs a second of every job."""
    found = []
    for job, cells, size in zip(
        model.entry.jobs, model.entry.scores, model.entry.sizes, strict=True
    ):
        scored = [finite_or_none(row.get("metrics", {}).get("accuracy")) for row in cells.values()]
        zero = next(
            (finite_or_none(row.get("filter_sparsity")) for row in job.of_kind("groups")), None
        )
        dense = 0.0 if model.method in DENSE else None
        found.append(
            (
                job.seed,
                zero if zero is not None else dense,
                next(iter(scored), None),
                finite_or_none(size.get("macs_per_second")),
            )
        )
    return found


def _scatter(
    folder: Path,
    name: str,
    models: Sequence[Model],
    x_of: Any,
    labels: tuple[str, str],
    caption: str,
    log: bool,
) -> Figure | None:
    """Draw accuracy over a number, one point per seed; colour is the pipeline, marker the kind of model."""
    rows = [
        (model, seed, x_of(zero, macs), score)
        for model in models
        for seed, zero, score, macs in _per_seed(model)
    ]
    rows = [row for row in rows if row[2] is not None and row[3] is not None]
    if len({row[2] for row in rows}) < 2:
        return None
    pipelines = list(dict.fromkeys(row[0].entry.pipeline for row in rows))
    kinds = list(dict.fromkeys(row[0].entry.label for row in rows))
    with styled():
        canvas = new_canvas(5.6, 3.4, footer_of([row[0].entry.scale for row in rows]))
        ax = canvas.subplots()
        for model, _, x, score in rows:
            color = COLORS[pipelines.index(model.entry.pipeline) % len(COLORS)]
            ax.plot(
                x,
                100 * score,
                MARKERS[kinds.index(model.entry.label) % len(MARKERS)],
                color=color,
                alpha=0.85,
            )
        if log:
            _log_axis(ax)
            front = front_of([(model, x, 100 * score) for model, _, x, score in rows])
            ax.plot(
                [x for x, _ in front],
                [y for _, y in front],
                color="#999999",
                linewidth=1.2,
                zorder=1,
            )
        base = [score for model, _, _, score in rows if model.method in DENSE]
        if base and len(kinds) == 1:
            mean = 100 * sum(base) / len(base)
            ax.axhline(
                mean,
                color="#555555",
                linestyle=(0, (4, 3)),
                linewidth=1.2,
                label="mean of the dense baseline",
            )
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        canvas.legend(
            handles=_legend(pipelines, kinds, ax), loc="outside right upper", frameon=False
        )
        table = csv_text(
            ["model", "row", "pipeline", "seed", labels[0], labels[1], "remark", "scale"],
            [
                [
                    m.entry.label,
                    m.name,
                    m.entry.pipeline,
                    seed,
                    x,
                    100 * s,
                    no_better(m.entry),
                    honest_scale(m.entry.scale),
                ]
                for m, seed, x, s in rows
            ],
        )
        ends = [
            f"{model.title}, seed {seed}: {x:.4g}, {100 * score:.1f} %"
            for model, seed, x, score in rows[:16]
        ]
        return save_figure(
            canvas, folder, name, table, caption, f"{caption} Points: {'; '.join(ends)}."
        )


def _log_axis(ax: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7), numticks=10))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def _legend(pipelines: Sequence[str], kinds: Sequence[str], ax: Any) -> list[Any]:
    from matplotlib.lines import Line2D

    colors = [
        Line2D([], [], color=COLORS[i % len(COLORS)], marker="s", linestyle="none", label=each)
        for i, each in enumerate(pipelines)
    ]
    look = {"color": "#333333", "linestyle": "none"}
    shapes = [
        Line2D([], [], marker=MARKERS[i % len(MARKERS)], label=each, **look)
        for i, each in enumerate(kinds)
    ]
    return [*colors, *(shapes if len(kinds) > 1 else []), *ax.get_legend_handles_labels()[0]]


def front_of(points: Sequence[tuple[Model, float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, accuracy) that no cheaper network beats; networks that are no better than chance are on no front."""
    able = [(x, y) for model, x, y in points if not no_better(model.entry)]
    return pareto_front(able, lambda point: (point[0], -point[1]))


def sparsity_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of every network and seed against its group sparsity."""
    labels = ("Zero filters (%)", "Test accuracy (%)")
    return _scatter(folder, "p4_accuracy_sparsity", models, lambda zero, macs: None if zero is None else 100 * zero, labels,
                    "Accuracy against group sparsity; every point is one seed.", False)  # fmt: skip


def cost_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of every network and seed against the MACs that are left after the trim."""
    labels = ("MACs per second of audio (M)", "Test accuracy (%)")
    return _scatter(folder, "p4_accuracy_macs", models, lambda zero, macs: macs / 1e6 if macs else None, labels,
                    "Accuracy against cost after the trim. The line joins networks that no "
                    "cheaper one beats, "
                    "those at chance left out.", True)  # fmt: skip


def receptive_field(rho: int) -> int:
    """Return how many mel bands, and frames, one place of CP-ResNet's last layer sees at most.

    The stem is 5x5 of stride 2. Of the 24 convolutions in 12 blocks the first one and those from
    the third to the (rho + 2)-th are 3x3, the others 1x1; 2x2 pooling follows the blocks 1, 2 and
    4. A layer of kernel k adds (k - 1) times the strides before it.

    Source: Koutini et al., "The receptive field as a regularizer in deep convolutional neural
    networks for acoustic scene classification", EUSIPCO 2019, and the authors' public code.
    """
    field, stride = 5, 2
    for place in range(24):
        if place == 0 or 2 <= place <= rho + 1:
            field += 2 * stride
        if place in (1, 3, 7):
            field, stride = field + stride, 2 * stride
    return field


def _rho(model: Model) -> int | None:
    rho = finite_or_none(model.entry.jobs[0].config.get(RHO))
    return int(rho) if rho is not None and model.entry.model == "cp_resnet" else None


def receptive_field_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of CP-ResNet against its receptive field, one line per method; None with fewer than two rho."""
    points: dict[tuple[str, str], list[tuple[int, Model]]] = {}
    for model in models:
        rho = _rho(model)
        if rho is not None and accuracy(model.entry).mean is not None:
            told = ", ".join(
                part for part in model.told.split(", ") if not part.startswith(f"{RHO}=")
            )
            points.setdefault((replace(model, told=told).name, model.entry.scale), []).append(
                (rho, model)
            )
    if len({rho for group in points.values() for rho, _ in group}) < 2:
        return None
    names = [name for name, _ in points]
    caption = (
        "Accuracy of CP-ResNet against its receptive field, which rho sets: mean and standard "
        "deviation over the seeds."
    )
    rows: list[list[Any]] = []
    with styled():
        canvas = new_canvas(5.6, 3.4, footer_of([scale for _, scale in points]))
        ax = canvas.subplots()
        for place, ((name, scale), group) in enumerate(points.items()):
            line = f"{name}, {scale}" if names.count(name) > 1 else name
            group = sorted(group, key=lambda point: point[0])
            values = [accuracy(model.entry) for _, model in group]
            fields = [receptive_field(rho) for rho, _ in group]
            look = {
                "color": COLORS[place % len(COLORS)],
                "marker": MARKERS[place % len(MARKERS)],
                "capsize": 3,
            }
            deviations = [100 * (value.std or 0.0) for value in values]
            ax.errorbar(
                fields, [100 * value.mean for value in values], deviations, label=line, **look
            )
            for (rho, _), field, value in zip(group, fields, values, strict=True):
                deviation = None if value.std is None else 100 * value.std
                rows.append(
                    [
                        line,
                        rho,
                        field,
                        100 * value.mean,
                        deviation,
                        value.seeds,
                        honest_scale(scale),
                    ]
                )
        shown = sorted({(rho, field) for _, rho, field, *_ in rows})
        if len(shown) <= 8:
            ax.set_xticks(
                [field for _, field in shown], [f"{field}\nrho {rho}" for rho, field in shown]
            )
        ax.set_xlabel("Maximum receptive field (pixels)")
        ax.set_ylabel("Test accuracy (%)")
        canvas.legend(loc="outside upper center", frameon=False)
        table = csv_text(
            [
                "row",
                "rho",
                "receptive field (pixels)",
                "accuracy (%)",
                "deviation (points)",
                "seeds",
                "scale",
            ],
            rows,
        )
        ends = "; ".join(
            f"{name}, rho {rho}: {field} pixels, {mean:.1f} %"
            for name, rho, field, mean, *_ in rows[:16]
        )
        return save_figure(
            canvas, folder, "p4_receptive_field", table, caption, f"{caption} Points: {ends}."
        )


_CURVES = (
    ("objective", "F"),
    ("f", "f"),
    ("penalty", "lambda * sum of norms"),
    ("group_sparsity", "Zero groups (%)"),
)


def epochs_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw objective, loss, penalty and sparsity of every epoch; a dotted line ends the first stage of HSPG."""
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
    """Draw the norms of all groups before and after the training, with the norm that one proximal step takes away."""
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
    """Return what one step takes off a group norm; 0 for OBProxSG, which shrinks entries, and ADMM, whose z has a threshold of its own."""
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


def confusion_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw which scene is taken for which, all seeds added."""
    read = [(model, *_confusion(model)) for model in models]
    read = [item for item in read if item[1]][:4]
    if not read:
        return None
    caption = "Confusions on the test clips in percent of the true class (rows), all seeds added."
    columns = min(2, len(read))
    with styled():
        canvas = new_canvas(
            4.4 * columns,
            4.1 * math.ceil(len(read) / columns),
            footer_of([item[0].entry.scale for item in read]),
        )
        axes = canvas.subplots(math.ceil(len(read) / columns), columns, squeeze=False)
        rows: list[list[Any]] = []
        for place, ax in enumerate(axes.flat):
            if place >= len(read):
                ax.set_axis_off()
                continue
            model, counts, names = read[place]
            shares = [[100 * value / max(1, sum(line)) for value in line] for line in counts]
            ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            ax.grid(False)
            for i, line in enumerate(shares):
                for j, share in enumerate(line):
                    if share >= 1:
                        ax.text(
                            j,
                            i,
                            f"{share:.0f}",
                            ha="center",
                            va="center",
                            fontsize=6.5,
                            color="white" if share > 55 else "black",
                        )
            ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
            ax.set_yticks(range(len(names)), names, fontsize=7)
            right = accuracy(model.entry).mean
            ax.set_title(
                f"{model.title}: {100 * right:.1f} %" if right is not None else model.title,
                loc="left",
                fontsize=8,
            )
            rows += [
                [model.title, names[i], names[j], value]
                for i, line in enumerate(counts)
                for j, value in enumerate(line)
            ]
        table = csv_text(["row", "true", "predicted", "clips"], rows)
        named = "; ".join(item[0].title for item in read)
        return save_figure(
            canvas, folder, "p4_confusion", table, caption, f"{caption} Networks: {named}."
        )


def _confusion(model: Model) -> tuple[list[list[int]], list[str]]:
    found = [row for cells in model.entry.scores for row in cells.values() if row.get("confusion")]
    if not found:
        return [], []
    total = [
        [sum(row["confusion"][i][j] for row in found) for j in range(len(line))]
        for i, line in enumerate(found[0]["confusion"])
    ]
    return total, [str(name) for name in found[0]["classes"]]


def projection_figure(folder: Path) -> Figure:
    """Draw for two weights which steps a proximal and a half-space step project to zero.

    Source: after Chen, "HSPG", whose panels (a) and (b) are the half-space projection and a
    projection region. The second panel here compares the proximal step, so that neither has a
    letter.
    """
    from matplotlib.patches import Circle, Polygon

    caption = (
        "Which trial points become zero, for a group of two weights at x. Half-space step: all "
        "beyond the line "
        f"<x+, x> = epsilon |x|^2 (epsilon = {_EPSILON:g}). Proximal step: the circle of radius "
        f"a * lambda alone."
    )
    x, trial = (1.2, 0.9), (-0.35, 0.45)
    with styled():
        canvas = new_canvas(7.0, 3.4, "Drawn from the formulas, not measured")
        axes = canvas.subplots(1, 2, sharex=True, sharey=True)
        square = x[0] ** 2 + x[1] ** 2
        foot = (_EPSILON * x[0], _EPSILON * x[1])
        along = (-x[1] / math.sqrt(square), x[0] / math.sqrt(square))
        back = (-x[0] / math.sqrt(square), -x[1] / math.sqrt(square))
        ends = [(foot[0] + side * 4 * along[0], foot[1] + side * 4 * along[1]) for side in (-1, 1)]
        far = [(end[0] + 5 * back[0], end[1] + 5 * back[1]) for end in reversed(ends)]
        axes[0].add_patch(
            Polygon([*ends, *far], closed=True, color=COLORS[0], alpha=0.18, label="becomes zero")
        )
        axes[1].add_patch(Circle((0, 0), _STEP, color=COLORS[0], alpha=0.3, label="becomes zero"))
        for ax, title in zip(axes, ("half-space step", "proximal step"), strict=True):
            ax.annotate("", trial, x, arrowprops={"arrowstyle": "->", "color": "#555555"})
            ax.plot(*x, "o", color=COLORS[1], label="x")
            ax.plot(*trial, "s", color=COLORS[2], label="trial point")
            ax.plot(0, 0, "P", color="#000000", label="zero")
            ax.set(
                xlim=(-1.6, 1.9),
                ylim=(-1.3, 1.6),
                aspect="equal",
                xlabel="first weight",
                ylabel="second weight",
            )
            ax.set_title(title, loc="left")
        axes[1].legend(loc="lower right", fontsize=7.5)
        lines = [
            ["x", *x],
            ["trial", *trial],
            ["epsilon", _EPSILON, None],
            ["a * lambda", _STEP, None],
        ]
        table = csv_text(["what", "first", "second"], lines)
        return save_figure(canvas, folder, "p4_projection", table, caption, caption)

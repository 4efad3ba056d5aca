"""Figures of Chen's networks: accuracy against sparsity, cost and receptive field.

``draw`` draws these and all others of the paper, a set for every corpus. How figures look is
decided in ``figures.drawing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.figures.drawing import (
    Figure,
    corpus_folders,
    footer_of,
    save_figure,
)
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.papers.p4.confusions import confusion_figure
from audioprune.report.papers.p4.networks import (
    DENSE,
    REACH,
    Model,
    P4Evidence,
)
from audioprune.report.papers.p4.projection import projection_figure
from audioprune.report.papers.p4.receptive_field import receptive_field_figure
from audioprune.report.papers.p4.training_figures import epochs_figure, layers_figure, norms_figure
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

MOST_DRAWN = 6
_ACCURACY = "Test accuracy (%)"


def draw(evidence: P4Evidence, folder: Path) -> list[Figure]:
    """Draw what the networks have data for, and the picture of the projection."""
    models = evidence.models
    if not models:
        return []
    titles = (model.entry.corpus.title for model in models)
    drawn: list[Figure] = []
    for title, (place, corpus) in corpus_folders(folder, titles).items():
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
    """Return at most six networks of the kind of model with the most pipelines.

    They are one of each pipeline, of p4_reach the most and the least sparse.
    """
    labels = [label for label, _ in dict.fromkeys(map(_kind_of, models))]
    most = max(labels, key=labels.count, default="")
    mine = [model for model in models if model.entry.label == most]
    per_pipeline: dict[str, list[Model]] = {}
    for model in mine:
        per_pipeline.setdefault(model.entry.pipeline, []).append(model)
    picked = [group[-1] for group in per_pipeline.values()]
    sweep = per_pipeline.get(REACH, [])
    if len(sweep) > 1:
        picked.append(sweep[0])
    return [model for model in mine if model in picked][:MOST_DRAWN]


def _kind_of(model: Model) -> tuple[str, str]:
    return model.entry.label, model.entry.pipeline


@dataclass(frozen=True)
class Dot:
    """One network of one seed in a figure.

    Attributes:
        model: The network.
        seed: Its seed.
        x: What its accuracy is drawn over.
        score: Accuracy on the test clips, 0..1.
    """

    model: Model
    seed: int | None
    x: float
    score: float


def _dots(model: Model, over_zeros: bool) -> list[Dot]:
    """Return the seeds of a network over zero filters in percent, or over millions of MACs/s."""
    entry, found = model.entry, []
    for job, cells, size in zip(entry.jobs, entry.scores, entry.sizes, strict=True):
        score = next((row.metric("accuracy") for row in cells.values()), None)
        x = _zeros(model, job) if over_zeros else _millions(size.number("macs_per_second"))
        if x is not None and score is not None:
            found.append(Dot(model, job.seed, x, score))
    return found


def _zeros(model: Model, job: Job) -> float | None:
    rows = job.of_kind("groups")
    zero = finite_or_none(rows[0].get("filter_sparsity")) if rows else None
    if zero is None:
        return 0.0 if model.method in DENSE else None
    return 100 * zero


def _millions(macs: float | None) -> float | None:
    return macs / 1e6 if macs else None


def _scatter(
    folder: Path,
    name: str,
    dots: Sequence[Dot],
    x_label: str,
    caption: str,
    log: bool,
) -> Figure | None:
    """Draw accuracy over a number, one point per seed.

    Colour is the pipeline, shape the kind of model.
    """
    if len({dot.x for dot in dots}) < 2:
        return None
    kinds = list(dict.fromkeys(dot.model.entry.label for dot in dots))
    dense = [dot.score for dot in dots if dot.model.method in DENSE]
    mean = ("mean of the dense baseline", 100 * sum(dense) / len(dense)) if dense else None
    best = front_of([(dot.model, dot.x, 100 * dot.score) for dot in dots]) if log else []
    marks = [_mark(dot, x_label, len(kinds) > 1) for dot in dots]
    places = [(dot.x, 100 * dot.score) for dot in dots]
    joined = [places.index(point) for point in best]
    view = Front(x_label, _ACCURACY, joined, mean if len(kinds) == 1 else None, log=log)
    footer = footer_of([dot.model.entry.scale for dot in dots])
    alt = f"{caption} Points: {'; '.join(map(_dot_text, dots[:16]))}."
    chart = front_chart(marks, [view], footer=footer, alt=alt)
    return save_figure(chart, folder, name, _dots_csv(dots, x_label), caption)


def _mark(dot: Dot, x_label: str, several: bool) -> Mark:
    return Mark(
        row=dot.model.entry.identity,
        name=f"{dot.model.title}, seed {dot.seed}",
        group=str(dot.model.entry.pipeline),
        kind=str(dot.model.entry.label) if several else "",
        hollow=bool(no_better(dot.model.entry)),
        costs={x_label: dot.x},
        scores={_ACCURACY: 100 * dot.score},
    )


def _dot_text(dot: Dot) -> str:
    return f"{dot.model.title}, seed {dot.seed}: {dot.x:.4g}, {100 * dot.score:.1f} %"


def _dots_csv(dots: Sequence[Dot], x_label: str) -> str:
    header = ["model", "row", "pipeline", "seed", x_label, _ACCURACY, "remark", "scale"]
    rows: list[list[Any]] = []
    for dot in dots:
        entry = dot.model.entry
        rows.append([entry.label, dot.model.name, entry.pipeline, dot.seed])
        rows[-1] += [dot.x, 100 * dot.score, no_better(entry), honest_scale(entry.scale)]
    return csv_text(header, rows)


def front_of(points: Sequence[tuple[Model, float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, accuracy) that no cheaper network beats.

    Networks that are no better than chance are on no front.
    """
    kept = [(x, y) for model, x, y in points if not no_better(model.entry)]
    return pareto_front(kept, lambda point: (point[0], -point[1]))


def sparsity_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of every network and seed against its group sparsity."""
    dots = [dot for model in models for dot in _dots(model, over_zeros=True)]
    caption = "Accuracy against group sparsity; every point is one seed."
    return _scatter(folder, "p4_accuracy_sparsity", dots, "Zero filters (%)", caption, False)


def cost_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw the accuracy of every network and seed against the MACs left after the trim."""
    dots = [dot for model in models for dot in _dots(model, over_zeros=False)]
    caption = (
        "Accuracy against cost after the trim. The line joins networks that no cheaper one beats, "
        "those at chance left out."
    )
    label = "MACs per second of audio (M)"
    return _scatter(folder, "p4_accuracy_macs", dots, label, caption, True)

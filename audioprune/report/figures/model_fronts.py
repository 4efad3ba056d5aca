"""What the models of a report cost to run against how good they are: ``cost_figures``.

Multiplications and latency against the main scores, a figure for each corpus; the front of file
sizes is in pareto.py. Where all models cost the same, nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.report.baselines import SMALLER_IS_BETTER, no_better
from audioprune.report.figures.drawing import (
    Figure,
    entries_per_corpus,
    footer_of,
    on_corpus,
    save_figure,
    times,
)
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.pareto import pareto_front, scores_of, unprocessed
from audioprune.report.model_tables import main_metrics
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, Column, csv_text, metric_column

COSTS = (
    Column("macs_per_second", "MACs per second of audio", "millions"),
    Column("latency_ms_per_s", "Time per second of audio", "milliseconds"),
)
_MOST_METRICS = 2


def cost_figures(folder: Path, name: str, entries: Sequence[Entry]) -> list[Figure]:
    """Draw the fronts, once for each corpus in which two models differ in a cost.

    Args:
        folder: Where the files go.
        name: Stem of all of them, kept where there is only one corpus.
        entries: Joined rows; unprocessed input is a level.
    """
    pairs = entries_per_corpus(name, entries)
    return [figure for stem, own in pairs if (figure := _figure(folder, stem, own))]


def _figure(folder: Path, name: str, entries: Sequence[Entry]) -> Figure | None:
    scored = [entry for entry in entries if entry.scores and not entry.status]
    able = [entry for entry in scored if entry.variant != "mixture"]
    metrics = main_metrics(able)[:_MOST_METRICS]
    costs = [
        cost
        for cost in COSTS
        if len({size for entry in able if (size := entry.size(cost.key).mean)}) > 1
    ]
    if not costs or not metrics:
        return None
    marks = [_mark(entry, costs, metrics) for entry in able]
    fronts = [_front(marks, cost, metric, scored) for metric in metrics for cost in costs]
    caption = (
        "Quality (mean over test conditions) against what it takes to run the model. The line "
        "joins models that no cheaper one beats."
    )
    if COSTS[1] in costs:
        caption += (
            " Times are those of one thread of the machine of the runs, and vary with its load."
        )
    if any(mark.hollow for mark in marks):
        caption += " Hollow: no better than what needs no model, and not on the line."
    caption = on_corpus(caption, able[0].corpus)
    footer = footer_of([entry.scale for entry in able])
    alt = f"{caption} Models: {'; '.join(mark.name for mark in marks[:12])}."
    chart = front_chart(marks, fronts, footer=footer, alt=alt)
    return save_figure(chart, folder, name, _as_csv(marks, able, fronts), caption)


def _as_csv(marks: Sequence[Mark], able: Sequence[Entry], fronts: Sequence[Front]) -> str:
    costs = list(dict.fromkeys(front.cost for front in fronts))
    scores = list(dict.fromkeys(front.score for front in fronts))
    rows: list[list[Any]] = []
    for mark, entry in zip(marks, able, strict=True):
        numbers = [*map(mark.costs.get, costs), *map(mark.scores.get, scores)]
        rows.append([mark.name, *numbers, len(entry.seeds), honest_scale(entry.scale)])
    return csv_text(["model", *costs, *scores, "seeds", "scale"], rows)


def _mark(entry: Entry, costs: Sequence[Column], metrics: Sequence[str]) -> Mark:
    mark = no_better(entry)
    return Mark(
        row=entry.identity,
        name=", ".join(filter(None, (entry.title, entry.settings, mark))),
        group=str(entry.label),
        kind=str(entry.variant),
        hollow=bool(mark),
        costs={
            cost.header: times(FORMATS[cost.style].factor, entry.size(cost.key).mean)
            for cost in costs
        },
        scores=scores_of(entry, metrics),
    )


def _front(marks: Sequence[Mark], cost: Column, metric: str, scored: Sequence[Entry]) -> Front:
    score = metric_column(metric, metric).header
    sign = 1 if metric in SMALLER_IS_BETTER else -1
    placed = [
        (number, at)
        for number, mark in enumerate(marks)
        if not mark.hollow and (at := mark.at(cost.header, score))
    ]
    best = pareto_front(placed, lambda pair: (pair[1][0], sign * pair[1][1]))
    level = unprocessed(scored, metric)
    return Front(cost.header, score, [number for number, _ in best], level)

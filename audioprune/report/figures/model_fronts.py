"""What every model of a report costs against how good it is: ``model_fronts``.

File, multiplications and latency, each against the main scores; a page makes it answer to the
mouse. Which model a row of a page is, is up to the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from audioprune.report.baselines import SMALLER_IS_BETTER, no_better
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import footer_of, times
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.model_tables import main_metrics
from audioprune.report.runs.entry import Entry
from audioprune.report.tables import FORMATS, Column, metric_column

COSTS = (
    Column("bytes_file", "Written file", "mebibytes"),
    Column("macs_per_second", "MACs per second of audio", "millions"),
    Column("latency_ms_per_s", "Time per second of audio", "milliseconds"),
)
WIDTH = 420
_MOST_METRICS = 2


def model_fronts(models: Sequence[tuple[str, Entry]], width: float = WIDTH) -> Chart | None:
    """Draw the fronts of the models of one corpus.

    Args:
        models: What a click on a model chooses, unlike any other, and its entry; unprocessed
            input is a level.
        width: Of the whole figure in pixels.

    Returns:
        The chart, or None where no two models differ in a cost and have a score.
    """
    scored = [(row, entry) for row, entry in models if entry.scores and not entry.status]
    able = [(row, entry) for row, entry in scored if entry.variant != "mixture"]
    metrics = main_metrics([entry for _, entry in able])[:_MOST_METRICS]
    known = {
        cost: {size for _, entry in able if (size := entry.size(cost.key).mean)} for cost in COSTS
    }
    costs = [cost for cost in COSTS if len(known[cost]) > 1]
    if not costs or not metrics:
        return None
    marks = [_mark(row, entry, costs, metrics) for row, entry in able]
    inputs = [entry for _, entry in scored if entry.variant == "mixture"]
    fronts = [_front(marks, cost, metric, inputs) for metric in metrics for cost in costs]
    named = ", ".join(f"{column.title.lower()}" for column in costs)
    alt = f"{len(marks)} models: {', '.join(front.score for front in fronts[:: len(costs)])}"
    footer = footer_of([entry.scale for _, entry in able])
    return front_chart(
        marks, fronts, columns=2, footer=footer, alt=f"{alt} against {named}.", width=width
    )


def _mark(row: str, entry: Entry, costs: Sequence[Column], metrics: Sequence[str]) -> Mark:
    columns = [metric_column(metric, metric) for metric in metrics]
    mark = no_better(entry)
    config = ", ".join(f"{key}={value}" for key, value in entry.config.items() if value)
    return Mark(
        row=row,
        name=", ".join(filter(None, (entry.title, config, mark))),
        group=str(entry.label),
        kind=str(entry.variant),
        hollow=bool(mark),
        costs={
            cost.header: times(FORMATS[cost.style].factor, entry.size(cost.key).mean)
            for cost in costs
        },
        scores={
            column.header: times(FORMATS[column.style].factor, entry.score(metric).mean)
            for metric, column in zip(metrics, columns, strict=True)
        },
    )


def _front(marks: Sequence[Mark], cost: Column, metric: str, inputs: Sequence[Entry]) -> Front:
    column = metric_column(metric, metric)
    score, factor = column.header, FORMATS[column.style].factor
    sign = 1 if metric in SMALLER_IS_BETTER else -1
    placed = [
        (mark.row, at) for mark in marks if not mark.hollow and (at := mark.at(cost.header, score))
    ]
    best = pareto_front(placed, lambda pair: (pair[1][0], sign * pair[1][1]))
    means = (entry.score(metric).mean for entry in inputs)
    mean = next((mean for mean in means if mean is not None), None)
    level = None if mean is None else ("unprocessed", factor * mean)
    return Front(cost.header, score, [row for row, _ in best], level)

"""What a model of a given size can reach: quality against size over all models of a sweep.

``pareto_front`` picks what nothing beats in two costs, for any figure; ``pareto_figures`` draws
the front of size and quality, once per corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
from audioprune.report.model_tables import main_metrics
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, csv_text, metric_column

T = TypeVar("T")
_SIZES = {"bytes_file": "Written file", "bytes_paper": "Storage by the paper's accounting"}


@dataclass(frozen=True)
class Point:
    """One model: its number in the figure, its size in bytes, its scores over all test conditions.

    Attributes:
        mark: What it is no better than; such a model is drawn, but stands on no front.
    """

    number: int
    entry: Entry
    size: float
    scores: Mapping[str, Value]
    mark: str = ""

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric over the seeds."""
        return self.scores[metric].mean

    @property
    def name(self) -> str:
        """Row title with the configuration that sets it apart, and what it is no better than."""
        return ", ".join(filter(None, (self.entry.name, self.mark)))


def points_of(entries: Sequence[Entry]) -> tuple[str, list[Point]]:
    """Return which size is drawn, and a point for every entry that has this size and a score.

    The size is that of the file where files were written. Means over different conditions are not
    compared: an entry that was not scored under all of them is left out.
    """
    sized = [entry for entry in entries if any(entry.size(kind).mean for kind in _SIZES)]
    every = {condition for entry in sized for condition in entry.conditions()}
    complete = [entry for entry in entries if set(entry.conditions()) >= every]
    metrics = main_metrics(complete)[:2]
    written = any(entry.size("bytes_file").mean for entry in complete)
    kind = "bytes_file" if written else "bytes_paper"
    points: list[Point] = []
    for entry in complete:
        size = entry.size(kind).mean
        scores = {metric: entry.score(metric) for metric in metrics}
        if size and any(value.mean is not None for value in scores.values()):
            points.append(Point(len(points) + 1, entry, size, scores, no_better(entry)))
    return kind, points


def pareto_front(items: Iterable[T], costs: Callable[[T], tuple[float, float]]) -> list[T]:
    """Return the items that no other beats in both of two costs, the first cost rising.

    Args:
        items: Anything; of equal items the first is kept.
        costs: Two numbers of an item, both better where they are smaller.
    """
    best: list[T] = []
    for item in sorted(items, key=costs):
        if not best or costs(item)[1] < costs(best[-1])[1]:
            best.append(item)
    return best


def front(points: Sequence[Point], metric: str) -> list[Point]:
    """Return the points that no other point beats in size and metric at once, by rising size.

    Points that are no better than a baseline are left out.
    """
    sign = 1 if metric in SMALLER_IS_BETTER else -1
    measured = [point for point in points if point.mean(metric) is not None and not point.mark]
    return pareto_front(measured, lambda point: (point.size, sign * (point.mean(metric) or 0.0)))


def pareto_figures(folder: Path, name: str, entries: Sequence[Entry]) -> list[Figure]:
    """Draw ``pareto_figure`` once for each corpus; models of different corpora share no front."""
    pairs = entries_per_corpus(name, entries)
    return [figure for stem, own in pairs if (figure := pareto_figure(folder, stem, own))]


def pareto_figure(folder: Path, name: str, entries: Sequence[Entry]) -> Figure | None:
    """Draw quality against size, with the front of the models that no smaller one beats.

    Args:
        folder: Where the files go.
        name: Stem of all of them.
        entries: Joined rows of one corpus; the mixture is drawn as a level.

    Returns:
        The figure, or None when there are fewer than two sizes to compare.
    """
    kind, points = points_of(entries)
    if len({point.size for point in points}) < 2:
        return None
    metrics = list(points[0].scores)
    caption = _caption(kind, points, entries)
    named = "; ".join(f"{point.number}: {point.name}" for point in points[:16])
    alt = (
        f"{caption} On the front of {metrics[0]}: "
        f"{'; '.join(point.name for point in front(points, metrics[0])[:12])}."
    )
    cost = f"{_SIZES[kind]} (MB)"
    views = [
        Front(
            cost,
            metric_column(metric, "").header,
            [point.number - 1 for point in front(points, metric)],
            unprocessed(entries, metric),
        )
        for metric in metrics
    ]
    footer = footer_of([point.entry.scale for point in points])
    marks = [_mark(point, cost, metrics) for point in points]
    chart = front_chart(marks, views, footer=footer, alt=alt)
    table = _as_csv(points, metrics, kind)
    return save_figure(chart, folder, name, table, f"{caption} {named}.")


def _caption(kind: str, points: Sequence[Point], entries: Sequence[Entry]) -> str:
    caption = (
        f"Quality (mean over test conditions) against size ({_SIZES[kind].lower()}). The line "
        f"joins models that no smaller one beats."
    )
    if any(point.mark for point in points):
        caption += " Hollow: no better than what needs no model, and not on the line."
    scored = [entry for entry in entries if entry.variant != "mixture" and entry.scores]
    left_out = len(scored) - len(points)
    if left_out:
        caption += f" Left out, without this size or not scored under all conditions: {left_out}."
    return on_corpus(caption, points[0].entry.corpus)


def _mark(point: Point, cost: str, metrics: Sequence[str]) -> Mark:
    return Mark(
        row=point.entry.identity,
        name=f"{point.number}: {point.name}",
        group=str(point.entry.label),
        kind=str(point.entry.variant),
        text=str(point.number),
        hollow=bool(point.mark),
        costs={cost: FORMATS["mebibytes"].factor * point.size},
        scores=scores_of(point.entry, metrics),
    )


def scores_of(entry: Entry, metrics: Iterable[str]) -> dict[str, float | None]:
    """Return the means of some metrics by the titles of their axes, in the units of these."""
    columns = [metric_column(metric, metric) for metric in metrics]
    return {
        column.header: times(FORMATS[column.style].factor, entry.score(column.key).mean)
        for column in columns
    }


def unprocessed(entries: Iterable[Entry], metric: str) -> tuple[str, float] | None:
    """Return the level of the unprocessed input among some rows, in the unit of the axis."""
    mixtures = (entry.score(metric).mean for entry in entries if entry.variant == "mixture")
    mean = next((mean for mean in mixtures if mean is not None), None)
    factor = FORMATS[metric_column(metric, "").style].factor
    return None if mean is None else ("unprocessed", factor * mean)


def _as_csv(points: Sequence[Point], metrics: Sequence[str], kind: str) -> str:
    columns = [metric_column(metric, metric) for metric in metrics]
    measured = [f"{column.header}{end}" for column in columns for end in ("", " std")]
    header = ["number", "model", f"{kind} (MB)", *measured, "seeds", "remark", "scale"]
    rows = []
    for point in points:
        scores = [(FORMATS[column.style].factor, point.scores[column.key]) for column in columns]
        numbers: list[float | None] = []
        for factor, value in scores:
            numbers += [times(factor, value.mean), times(factor, value.std)]
        size = point.size * FORMATS["mebibytes"].factor
        rows.append(
            [
                point.number,
                point.name,
                size,
                *numbers,
                len(point.entry.seeds),
                point.mark or None,
                honest_scale(point.entry.scale),
            ]
        )
    return csv_text(header, rows)

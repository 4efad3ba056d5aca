"""What a model of a given size can reach: quality against size over all models of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.baselines import SMALLER_IS_BETTER, no_better
from audioprune.report.entries import Entry, Value
from audioprune.report.figures.drawing import (
    COLORS,
    MARKERS,
    Figure,
    footer_of,
    new_canvas,
    on_corpus,
    save_figure,
    slug,
    styled,
)
from audioprune.report.front import pareto_front
from audioprune.report.model_tables import main_metrics
from audioprune.report.runs import Corpus, honest_scale
from audioprune.report.tables import FORMATS, csv_text, metric_column

_CANDIDATES = ((5, 5), (5, -11), (-9, 5), (-9, -11), (0, 9), (0, -14), (10, 0), (-14, 0))
_SIZES = {"bytes_file": "Written file", "bytes_paper": "Storage by the paper's accounting"}


@dataclass(frozen=True)
class Point:
    """One model: its number in the figure, its size in bytes and its scores, means over all test conditions.

    Attributes:
        mark: What it is no better than; such a model is drawn, but stands on no front.
    """

    number: int
    entry: Entry
    size: Value
    scores: Mapping[str, Value]
    mark: str = ""

    @property
    def name(self) -> str:
        """Row title with the configuration that sets it apart."""
        config = ", ".join(f"{key}={value}" for key, value in self.entry.config.items() if value)
        return ", ".join(
            filter(
                None, (f"{self.entry.title} ({config})" if config else self.entry.title, self.mark)
            )
        )


def points_of(entries: Sequence[Entry]) -> tuple[str, list[Point]]:
    """Return which size is drawn (``bytes_file`` where written) and every entry that has this size and a score.

    Means over different conditions are not compared: an entry that was not scored under all of
    them is left out.
    """
    sized = [entry for entry in entries if any(entry.size(kind).mean for kind in _SIZES)]
    every = {condition for entry in sized for condition in entry.conditions()}
    entries = [entry for entry in entries if set(entry.conditions()) >= every]
    metrics = main_metrics(entries)[:2]
    kind = (
        "bytes_file" if any(entry.size("bytes_file").mean for entry in entries) else "bytes_paper"
    )
    scored = [
        (entry, entry.size(kind), {metric: entry.score(metric) for metric in metrics})
        for entry in entries
    ]
    kept = [
        item
        for item in scored
        if item[1].mean and any(value.mean is not None for value in item[2].values())
    ]
    return kind, [Point(number, *item, no_better(item[0])) for number, item in enumerate(kept, 1)]


def front(points: Sequence[Point], metric: str) -> list[Point]:
    """Return the points that no other point beats in size and metric at once, by rising size; marked ones are left out."""
    sign = -1 if metric in SMALLER_IS_BETTER else 1

    def cost(point: Point) -> float:
        return point.size.mean or 0.0

    def gain(point: Point) -> float:
        return sign * (point.scores[metric].mean or 0.0)

    measured = [point for point in points if point.scores[metric].mean is not None]
    return pareto_front([point for point in measured if not point.mark], cost, gain)


def pareto_figures(folder: Path, name: str, entries: Sequence[Entry]) -> list[Figure]:
    """Draw ``pareto_figure`` once for each corpus; models of different corpora share no front."""
    groups: dict[Corpus, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.corpus, []).append(entry)
    stems = {
        corpus: name if len(groups) == 1 else slug(f"{name}-{place}-{corpus.name or 'corpus'}")
        for place, corpus in enumerate(groups, 1)
    }
    drawn = (pareto_figure(folder, stems[corpus], members) for corpus, members in groups.items())
    return [figure for figure in drawn if figure]


def pareto_figure(folder: Path, name: str, entries: Sequence[Entry]) -> Figure | None:
    """Draw quality against size, with the front of the models that no smaller one beats.

    Args:
        folder: Where the PNG and the CSV go.
        name: Stem of both files.
        entries: Joined rows of one corpus; the mixture is drawn as a level.

    Returns:
        The figure, or None when there are fewer than two sizes to compare.
    """
    kind, points = points_of(entries)
    if len({point.size.mean for point in points}) < 2:
        return None
    metrics = list(points[0].scores)
    caption = (
        f"Quality (mean over test conditions) against size ({_SIZES[kind].lower()}). The line "
        f"joins models that no smaller one beats."
    )
    caption += (
        " Hollow: no better than what needs no model, and not on the line."
        if any(point.mark for point in points)
        else ""
    )
    left_out = sum(entry.variant != "mixture" and bool(entry.scores) for entry in entries) - len(
        points
    )
    caption += (
        f" Left out, without this size or not scored under all conditions: {left_out}."
        if left_out
        else ""
    )
    caption = on_corpus(caption, points[0].entry.corpus)
    named = "; ".join(f"{point.number}: {point.name}" for point in points[:16])
    with styled():
        canvas = new_canvas(
            3.9 * len(metrics) + 1.7, 3.4, footer_of([point.entry.scale for point in points])
        )
        axes = canvas.subplots(1, len(metrics), squeeze=False)[0]
        for ax, metric in zip(axes, metrics, strict=True):
            _draw(ax, points, metric, _SIZES[kind])
            _draw_mixture(ax, entries, metric)
        canvas.legend(handles=_legend(points, axes[0]), loc="outside right upper", frameon=False)
        canvas.draw_without_rendering()
        for ax, metric in zip(axes, metrics, strict=True):
            _write_numbers(
                ax,
                [
                    (str(point.number), _xy(point, metric))
                    for point in points
                    if point.scores[metric].mean is not None
                ],
            )
        alt = (
            f"{caption} On the front of {metrics[0]}: "
            f"{'; '.join(point.name for point in front(points, metrics[0])[:12])}."
        )
        return save_figure(
            canvas, folder, name, _as_csv(points, metrics, kind), f"{caption} {named}.", alt
        )


def _xy(point: Point, metric: str) -> tuple[float, float]:
    factor = FORMATS[metric_column(metric, "").style].factor
    return point.size.mean * FORMATS["mebibytes"].factor, factor * point.scores[metric].mean


def _looks(points: Sequence[Point]) -> tuple[dict[str, str], dict[str, str]]:
    labels = dict.fromkeys(point.entry.label for point in points)
    variants = dict.fromkeys(point.entry.variant for point in points)
    colors = {label: COLORS[place % len(COLORS)] for place, label in enumerate(labels)}
    return colors, {
        variant: MARKERS[place % len(MARKERS)] for place, variant in enumerate(variants)
    }


def _draw(ax: Any, points: Sequence[Point], metric: str, x_label: str) -> None:
    colors, markers = _looks(points)
    joined = [_xy(point, metric) for point in front(points, metric)]
    ax.plot(
        [x for x, _ in joined], [y for _, y in joined], color="#999999", linewidth=1.2, zorder=1
    )
    for point in points:
        if point.scores[metric].mean is not None:
            x, y = _xy(point, metric)
            fill = "none" if point.mark else "full"
            ax.plot(
                x,
                y,
                markers[point.entry.variant],
                color=colors[point.entry.label],
                markersize=6.5,
                linestyle="none",
                fillstyle=fill,
            )
    _log_axis(ax)
    ax.margins(0.12)
    ax.set_xlabel(f"{x_label} (MB)")
    ax.set_ylabel(metric_column(metric, "").header)


def _log_axis(ax: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw_mixture(ax: Any, entries: Sequence[Entry], metric: str) -> None:
    mixture = next(
        (entry.score(metric).mean for entry in entries if entry.variant == "mixture"), None
    )
    if mixture is not None:
        factor = FORMATS[metric_column(metric, "").style].factor
        ax.axhline(
            factor * mixture,
            color="#555555",
            linestyle=(0, (4, 3)),
            linewidth=1.2,
            label="unprocessed",
        )


def _legend(points: Sequence[Point], ax: Any) -> list[Any]:
    from matplotlib.lines import Line2D

    colors, markers = _looks(points)
    labels = [
        Line2D([], [], color=color, marker="s", linestyle="none", markersize=8, label=label)
        for label, color in colors.items()
    ]
    variants = [
        Line2D([], [], color="#333333", marker=marker, linestyle="none", label=variant)
        for variant, marker in markers.items()
    ]
    return [*labels, *variants, *ax.get_legend_handles_labels()[0]]


def _write_numbers(ax: Any, named: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Write each point's number where it covers neither a point nor another number; without such a place it stays away."""
    pixels = [tuple(ax.transData.transform(place)) for _, place in named]
    scale = ax.figure.dpi / 72
    taken: list[tuple[float, float]] = []
    for (text, place), (x, y) in zip(named, pixels, strict=True):
        width = 6.0 * len(text)
        for dx, dy in _CANDIDATES:
            center = (x + (dx + width / 2) * scale, y + (dy + 4) * scale)
            reach = ((width / 2 + 4) * scale, 8 * scale)
            if not any(_near(center, other, reach) for other in (*pixels, *taken)):
                taken.append(center)
                ax.annotate(
                    text, place, (dx, dy), textcoords="offset points", fontsize=8
                ).set_in_layout(False)
                break


def _near(
    one: tuple[float, float], other: tuple[float, float], reach: tuple[float, float]
) -> bool:
    return abs(one[0] - other[0]) < reach[0] and abs(one[1] - other[1]) < reach[1]


def _as_csv(points: Sequence[Point], metrics: Sequence[str], kind: str) -> str:
    columns = [metric_column(metric, metric) for metric in metrics]
    measured = [f"{column.header}{end}" for column in columns for end in ("", " std")]
    header = ["number", "model", f"{kind} (MB)", *measured, "seeds", "remark", "scale"]
    rows = []
    for point in points:
        scores = [(FORMATS[column.style].factor, point.scores[column.key]) for column in columns]
        numbers = [
            None if number is None else factor * number
            for factor, value in scores
            for number in (value.mean, value.std)
        ]
        size = point.size.mean * FORMATS["mebibytes"].factor
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

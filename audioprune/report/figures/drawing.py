"""How numbers are drawn: every figure is a picture as png, svg and pdf, and a CSV of its numbers.

``save_figure`` writes them, ``line_figure`` draws curves over iterations. The footer of a figure
says the scale of its runs.

What is drawn is chosen by the callers; the library that draws is imported with the first figure.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.files import write_atomic
from audioprune.report.figures.chart import FORMATS as PICTURES
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.theme import Key, key_of, level_key
from audioprune.report.figures.views import (
    Axis,
    Row,
    dots,
    heights,
    level,
    lines,
    plot_width,
    score_axis,
    sheet,
    view,
    whiskers,
    whole_axis,
)
from audioprune.report.runs.corpora import Corpus, by_corpus
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, csv_text

_FORMATS: ContextVar[tuple[str, ...]] = ContextVar("formats", default=PICTURES)
MAX_TENSORS = 80
"""Most tensors that a figure of curves draws; its CSV file holds all."""
HALVES = {0.0: "0", 50.0: "50", 100.0: "100"}
"""Ticks along the percent of a tensor that is pruned, which has little room."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its files, a caption, and a description for those who cannot see it.

    Attributes:
        png: The picture of pixels.
        csv: The numbers.
        caption: What stands below it.
        chart: Its specification.
        files: Everything that was written for it.
    """

    png: Path
    csv: Path
    caption: str
    chart: Chart
    files: tuple[Path, ...]

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return self.chart.alt


@dataclass(frozen=True)
class Line:
    """One curve: a value for every x."""

    name: str
    points: tuple[tuple[float, Value], ...]
    scale: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``level`` is a named horizontal line, ``style`` a format of the tables."""

    title: str
    y_label: str
    style: str
    lines: tuple[Line, ...]
    level: tuple[str, float] | None = None


def slug(text: str) -> str:
    """Make a text, such as the name of a job, fit for the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def per_corpus(name: str, jobs: Iterable[Job]) -> list[tuple[str, Corpus, tuple[Job, ...]]]:
    """Share jobs out to one figure per corpus.

    Args:
        name: Stem of the files, kept where there is only one corpus.
        jobs: All jobs of the report.

    Returns:
        For each corpus the stem of its figure, the corpus, and its jobs.
    """
    found = by_corpus(jobs)
    stems = _stems(name, [corpus for corpus, _ in found])
    return [(stem, *each) for stem, each in zip(stems, found, strict=True)]


def entries_per_corpus(name: str, entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """Do the same with joined rows: return for each corpus the stem of its figure and its rows."""
    groups: dict[Corpus, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.corpus, []).append(entry)
    return list(zip(_stems(name, list(groups)), groups.values(), strict=True))


def _stems(name: str, corpora: Sequence[Corpus]) -> list[str]:
    if len(corpora) < 2:
        return [name] * len(corpora)
    numbered = enumerate(corpora, 1)
    return [slug(f"{name}-{place}-{corpus.name or 'corpus'}") for place, corpus in numbered]


def on_corpus(caption: str, corpus: Corpus) -> str:
    """Add to a caption which corpus its numbers come from, where that is known."""
    return caption if corpus == Corpus() else f"{caption} {corpus.title}."


def lettered(titles: Sequence[str]) -> tuple[str, ...]:
    """Letter all panels of a paper's figure in its order, whichever of them can be drawn."""
    return tuple(
        f"({letter}) {title}"
        for letter, title in zip(string.ascii_lowercase, titles, strict=False)
    )


@contextmanager
def drawn_as(*formats: str) -> Iterator[None]:
    """Write figures in these formats alone, of which ``png`` is the first."""
    token = _FORMATS.set(formats)
    try:
        yield
    finally:
        _FORMATS.reset(token)


def save_figure(chart: Chart, folder: Path, name: str, table: str, caption: str) -> Figure:
    """Write ``<name>.png``, ``.svg``, ``.pdf`` and ``.csv``; again, they say the same again.

    Args:
        chart: What is drawn.
        folder: Where the files go.
        name: Stem of all of them.
        table: The numbers as CSV.
        caption: What stands below the figure.
    """
    png, *others = chart.save(folder / name, _FORMATS.get())
    numbers = write_atomic(folder / f"{name}.csv", table)
    return Figure(png, numbers, caption, chart, (png, *others, numbers))


def corpus_folders(folder: Path, titles: Iterable[str]) -> dict[str, tuple[Path, str]]:
    """Return for every corpus, by its title, where its figures go and the sentence that names it.

    No figure joins two corpora. Where there is one only, its figures are in the folder itself and
    need no sentence.
    """
    names = list(dict.fromkeys(titles))
    places = {
        title: (folder if place == 1 else folder / f"corpus-{place}", f" {title}.")
        for place, title in enumerate(names, 1)
    }
    return places if len(names) > 1 else {title: (folder, "") for title in names}


def footer_of(scales: Sequence[str]) -> str:
    """Say the scale of all runs of a figure, each once."""
    return "Scale: " + " | ".join(dict.fromkeys(honest_scale(scale) for scale in scales if scale))


def line_figure(
    folder: Path, name: str, panels: Sequence[Panel], columns: int, x_label: str, caption: str
) -> Figure:
    """Draw curves over pruning iterations, one colour and shape per name in all panels.

    Args:
        folder: Where the files go.
        name: Stem of all of them.
        panels: In reading order.
        columns: Panels per row.
        x_label: Label of the x axes.
        caption: Caption on the page.
    """
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    footer = footer_of([line.scale for panel in panels for line in panel.lines])
    keys = key_of(names), level_key(panel.level[0] for panel in panels if panel.level)
    columns = min(columns, 2)
    x = whole_axis(
        x_label, (x for panel in panels for line in panel.lines for x, _ in line.points)
    )
    points = [_points(panel) for panel in panels]
    tall = [
        [*heights(rows), *(value for _, value in _levels(panel))]
        for panel, rows in zip(panels, points, strict=True)
    ]
    views = []
    for place, panel in enumerate(panels):
        first = place - place % columns
        y = score_axis(panel.y_label, sum(tall[first : first + columns], []))
        views.append(_panel_view(panel, points[place], keys, (x, y), plot_width(columns)))
    alt = f"{caption} Lines: {', '.join(names)}. {_trend(panels)}"
    table = csv_text(["panel", "line", "x", "mean", "std", "seeds", "scale"], _panel_rows(panels))
    chart = Chart(sheet(views, footer, columns=columns), alt)
    return save_figure(chart, folder, name, table, caption)


def _points(panel: Panel) -> list[dict[str, Any]]:
    """Return the points of all lines that have a value, with the spread over the seeds."""
    factor, points = FORMATS[panel.style].factor, []
    for line in panel.lines:
        for x, value in line.points:
            if value.mean is not None:
                mean, spread = factor * value.mean, factor * (value.std or 0.0)
                ends = {"low": mean - spread, "high": mean + spread} if spread else {}
                told = f"{line.name}\n{x:g}: {panel.y_label} {mean:.4g}"
                points.append({"x": x, "y": mean, "name": line.name, "told": told, **ends})
    return points


def _levels(panel: Panel) -> list[tuple[str, float]]:
    """Return the name and the height of the level, where there is one."""
    named = [panel.level] if panel.level else []
    return [(name, FORMATS[panel.style].factor * value) for name, value in named]


def _panel_view(
    panel: Panel,
    rows: Sequence[Row],
    keys: tuple[Key, Key],
    axes: tuple[Axis, Axis],
    width: float,
) -> dict[str, Any]:
    layers = [lines(rows, keys[0]), *whiskers(rows, keys[0]), *dots(rows, keys[0])]
    layers += [level(value, name, keys[1]) for name, value in _levels(panel)]
    return view(*axes, layers, title=panel.title, width=width, height=130)


def _panel_rows(panels: Sequence[Panel]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for panel in panels:
        factor = FORMATS[panel.style].factor
        for line in panel.lines:
            for x, value in line.points:
                mean, std = times(factor, value.mean), times(factor, value.std)
                scale = honest_scale(line.scale)
                rows.append([panel.title, line.name, x, mean, std, value.seeds, scale])
        rows += [
            [panel.title, name, None, value, None, None, None] for name, value in _levels(panel)
        ]
    return rows


def times(factor: float, number: float | None) -> float | None:
    """Multiply a number that may be missing."""
    return None if number is None else factor * number


def _trend(panels: Sequence[Panel]) -> str:
    """Say where each curve starts and ends, for readers of the alternative text."""
    told = []
    for panel in panels:
        factor = FORMATS[panel.style].factor
        for line in panel.lines:
            means = [factor * value.mean for _, value in line.points if value.mean is not None]
            if means:
                told.append(f"{panel.title}, {line.name}: from {means[0]:.2f} to {means[-1]:.2f}")
    return "; ".join(told[:12]) + "."


def first_of(drawn: int, total: int) -> str:
    """Say in a caption that only the first tensors are drawn; nothing where all are."""
    if drawn >= total:
        return ""
    return f" The first {drawn} of {total} tensors are drawn; the CSV holds all."

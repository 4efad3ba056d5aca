"""How curves of lotteries are drawn: means round by round with bands, in panels of ratios.

Which curves there are is decided in ``figures``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, footer_of, save_figure
from audioprune.report.figures.theme import COLORS, DASHES, SHAPES, Key, level_key
from audioprune.report.figures.views import Axis, Layer, bands, dots, level, lines, sheet, view
from audioprune.report.papers.p3.tickets import Mean, Ticket, late_note, means, scales_text
from audioprune.report.tables import csv_text

LOW = 10.5  # times smaller: a little beyond 90 % removed
_RATIOS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_LOW_RATIOS, _HIGH_RATIOS = (1, 1.4, 2, 3, 4, 6, 8, 10), (10, 14, 20, 30, 50, 100, 200, 500)


@dataclass(frozen=True)
class Series:
    """One curve: its name, its means round by round, its place in the order of colours."""

    name: str
    points: tuple[Mean, ...]
    color: int
    dash: int = 0

    @property
    def runs(self) -> int:
        """Most lotteries that entered one mean of the whole curve."""
        return max((point.runs for point in self.points), default=0)


@dataclass(frozen=True)
class Axes:
    """One panel of curves: its title, its curves and the part of the ratios that it shows."""

    title: str
    series: tuple[Series, ...]
    low: float = 1.0
    high: float | None = None


def series_of(name: str, tickets: Sequence[Ticket], color: int, dash: int = 0) -> Series:
    return Series(name, tuple(means(tickets)), color, dash)


def multipliers_figure(
    folder: Path, name: str, panels: Sequence[Axes], caption: str, tickets: Sequence[Ticket]
) -> Figure:
    shown = [
        panel for panel in panels if any(_within(panel, each.points) for each in panel.series)
    ]
    every = [each for panel in shown for each in panel.series]
    keys = series_key(every), level_key(["unpruned network"])
    caption += hollow_note(every, tickets)
    views = [_panel_view(panel, keys) for panel in shown]
    return saved(sheet(views, footer_for(tickets)), folder, name, shown, caption)


def hollow_note(lines: Sequence[Series], tickets: Sequence[Ticket]) -> str:
    """Say what hollow markers mean, where there are any."""
    hollow = any(point.runs < each.runs for each in lines for point in each.points)
    return late_note(tickets) if hollow else ""


def _within(panel: Axes, points: Sequence[Mean]) -> list[Mean]:
    return [point for point in points if panel.low <= point.ratio <= (panel.high or float("inf"))]


def series_key(every: Sequence[Series]) -> Key:
    """Return how curves look: a colour and shape by their place, a dash of their own."""
    named = {each.name: each for each in every}
    return Key(
        tuple(named),
        tuple(COLORS[each.color % len(COLORS)] for each in named.values()),
        tuple(SHAPES[each.color % len(SHAPES)] for each in named.values()),
        tuple(DASHES[each.dash % len(DASHES)] for each in named.values()),
    )


def _panel_view(panel: Axes, keys: tuple[Key, Key]) -> dict[str, Any]:
    points = [(each, _within(panel, each.points)) for each in panel.series]
    ratios = [point.ratio for _, own in points for point in own]
    wanted = _LOW_RATIOS if panel.high else _HIGH_RATIOS if panel.low > 1 else _RATIOS
    low, high = min(ratios) / 1.05, max(ratios) * 1.05
    ticks = {
        float(value): (f"{value:g}x", f"{100 - 100 / value:.{1 if value > 100 else 0}f} %")
        for value in wanted
        if low <= value <= high
    }
    x = Axis("Prune ratio; removed weights", low, high, log=True, ticks=ticks)
    layers: list[Layer] = []
    for each, own in points:
        layers += curve(each, own, keys[0])
    layers.append(level(1.0, "unpruned network", keys[1]))
    return view(x, Axis("Test error multiplier"), layers, title=panel.title, height=130)


def curve(
    each: Series,
    points: Sequence[Mean],
    key: Key,
    x_of: Callable[[Mean], float] = lambda point: point.ratio,
) -> list[Layer]:
    """Return some points of a curve with their band.

    Rounds that not all lotteries reached have hollow dots.
    """
    rows = [
        {
            "x": x_of(point),
            "y": point.mean,
            "low": point.least,
            "high": point.largest,
            "name": each.name,
            "hollow": point.runs < each.runs,
            "told": f"{each.name}\n{100 * point.removed:.3g} % removed: {point.mean:.4g}",
        }
        for point in points
    ]
    drawn = [lines(rows, key), *dots(rows, key, size=26)]
    return [bands(rows, key), *drawn] if each.runs > 1 else drawn


def saved(
    spec: Mapping[str, Any], folder: Path, name: str, panels: Sequence[Axes], caption: str
) -> Figure:
    rows = [
        [
            panel.title,
            each.name,
            p.iteration,
            100 * p.removed,
            p.ratio,
            p.mean,
            p.least,
            p.largest,
            p.runs,
            scales_text(p.scales),
        ]
        for panel in panels
        for each in panel.series
        for p in _within(panel, each.points)
    ]
    header = [
        "panel",
        "line",
        "round",
        "removed (%)",
        "prune ratio",
        "mean",
        "least",
        "largest",
        "runs",
        "scale",
    ]
    ends = "; ".join(
        f"{row[1]}: {row[5]:.3g} at {row[3]:.3g} %" for row in rows if row[0] == panels[0].title
    )
    chart = Chart(spec, f"{caption} {ends[:900]}.")
    return save_figure(chart, folder, name, csv_text(header, rows), caption)


def footer_for(tickets: Sequence[Ticket]) -> str:
    seeds = len({ticket.seed for ticket in tickets})
    models = ", ".join(dict.fromkeys(str(ticket.label) for ticket in tickets))
    return (
        f"{models}; {seeds} seed{'s' * (seeds != 1)}. "
        f"{footer_of([ticket.job.scale for ticket in tickets])}"
    )

"""How curves of lotteries are drawn: means round by round with bands, in panels of ratios.

Which curves there are is decided in ``figures``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.figures.drawing import (
    COLORS,
    DASHES,
    MARKERS,
    Figure,
    footer_of,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.papers.p3.tickets import Mean, Ticket, late_note, means, scales_text
from audioprune.report.tables import csv_text

_BAND = 0.13
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
    names = list(dict.fromkeys(each.name for panel in shown for each in panel.series))
    caption += hollow_note([each for panel in shown for each in panel.series], tickets)
    with styled():
        canvas = new_canvas(
            3.5 * len(shown) + 0.6 + 0.075 * max(map(len, names)), 3.4, footer_for(tickets)
        )
        axes = canvas.subplots(1, len(shown), squeeze=False)[0]
        for ax, panel in zip(axes, shown, strict=True):
            _draw_panel(ax, panel)
        handles = {
            label: handle
            for ax in axes
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
        return saved(canvas, folder, name, shown, caption)


def hollow_note(lines: Sequence[Series], tickets: Sequence[Ticket]) -> str:
    """Say what hollow markers mean, where there are any."""
    hollow = any(point.runs < each.runs for each in lines for point in each.points)
    return late_note(tickets) if hollow else ""


def _within(panel: Axes, points: Sequence[Mean]) -> list[Mean]:
    return [point for point in points if panel.low <= point.ratio <= (panel.high or float("inf"))]


def _draw_panel(ax: Any, panel: Axes) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ax.set_xscale("log")
    for each in panel.series:
        draw_curve(ax, each, _within(panel, each.points))
    ax.axhline(
        1.0, color="#555555", linestyle=(0, (4, 3)), linewidth=1.2, label="unpruned network"
    )
    ax.xaxis.set_major_locator(
        FixedLocator(_LOW_RATIOS if panel.high else _HIGH_RATIOS if panel.low > 1 else _RATIOS)
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(
        lambda value, _: f"{value:g}x\n{100 - 100 / value:.{1 if value > 100 else 0}f} %"
    )
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title(panel.title, loc="left")
    ax.set_xlabel("Prune ratio; removed weights")
    ax.set_ylabel("Test error multiplier")


def draw_curve(
    ax: Any,
    each: Series,
    points: Sequence[Mean],
    x_of: Callable[[Mean], float] = lambda point: point.ratio,
) -> None:
    """Draw some points of a curve with their band.

    Rounds that not all lotteries reached have hollow markers.
    """
    color = COLORS[each.color % len(COLORS)]
    x, y = [x_of(point) for point in points], [point.mean for point in points]
    ax.plot(
        x,
        y,
        color=color,
        linestyle=DASHES[each.dash % len(DASHES)],
        marker=MARKERS[each.color % len(MARKERS)],
        label=each.name,
    )
    hollow = [
        (place, value)
        for place, value, point in zip(x, y, points, strict=True)
        if point.runs < each.runs
    ]
    marker = MARKERS[each.color % len(MARKERS)]
    places, values = [place for place, _ in hollow], [value for _, value in hollow]
    ax.plot(places, values, marker, color=color, markerfacecolor="white", zorder=3)
    if each.runs > 1:
        ax.fill_between(
            x,
            [point.least for point in points],
            [point.largest for point in points],
            color=color,
            alpha=_BAND,
            linewidth=0,
        )


def saved(canvas: Any, folder: Path, name: str, panels: Sequence[Axes], caption: str) -> Figure:
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
    return save_figure(
        canvas, folder, name, csv_text(header, rows), caption, f"{caption} {ends[:900]}."
    )


def footer_for(tickets: Sequence[Ticket]) -> str:
    seeds = len({ticket.seed for ticket in tickets})
    models = ", ".join(dict.fromkeys(str(ticket.label) for ticket in tickets))
    return (
        f"{models}; {seeds} seed{'s' * (seeds != 1)}. "
        f"{footer_of([ticket.job.scale for ticket in tickets])}"
    )

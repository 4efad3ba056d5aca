"""What the figures of Esling et al. show, drawn from our lotteries: prunability, error multipliers, and costs against platforms.

Which tickets there are is decided in p3.py; how figures look in figures.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from audioprune.report.papers.p3.paper import (
    CRITERIA,
    Mean,
    Ticket,
    chosen,
    corpora_of,
    late_note,
    main_setting,
    means,
    scales_text,
    smallest,
)
from audioprune.report.platforms import Platform
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

_BAND = 0.13
_LOW = 10.5  # times smaller: a little beyond 90 % removed
_RATIOS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_LOW_RATIOS, _HIGH_RATIOS = (1, 1.4, 2, 3, 4, 6, 8, 10), (10, 14, 20, 30, 50, 100, 200, 500)
PROPOSED = {"mode": "trim", "scope": "global", "criterion": "information"}
ORIGINAL = {"mode": "mask", "scope": "local", "criterion": "magnitude"}
PLAIN = {"mode": "trim", "scope": "local", "criterion": "magnitude"}


@dataclass(frozen=True)
class Series:
    """One curve: its name, its means round by round, and where it is drawn in the order of colours."""

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


def figures_of(
    folder: Path, tickets: Sequence[Ticket], platforms: Sequence[Platform]
) -> list[Figure]:
    """Draw every figure that there are tickets for, corpus by corpus."""
    groups = [(corpus.title, mine) for corpus, mine in corpora_of(tickets)]
    places = corpus_folders(folder, (title for title, _ in groups))
    drawn: list[Figure] = []
    for title, mine in groups:
        place, corpus = places[title]
        drawn += [
            replace(figure, caption=f"{figure.caption}{corpus}")
            for figure in _figures_of(place, mine, platforms)
        ]
    return drawn


def _figures_of(
    folder: Path, tickets: Sequence[Ticket], platforms: Sequence[Platform]
) -> list[Figure]:
    """Draw the lotteries of one corpus."""
    main = main_setting(tickets)
    drawn = [
        prunability_figure(folder, main),
        masking_figure(folder, main),
        scope_figure(folder, main),
        criteria_figure(folder, main),
        embedding_figure(folder, tickets, platforms),
    ]
    return [figure for figure in drawn if figure]


def _series(name: str, tickets: Sequence[Ticket], color: int, dash: int = 0) -> Series:
    return Series(name, tuple(means(tickets)), color, dash)


def prunability_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw the units that masking alone would let one remove against the weights that it masks.

    Source: Esling et al., Figure 1.
    """
    masked = chosen(tickets, mode="mask", reset="rewind", criterion="magnitude")
    lines = []
    for color, scope in enumerate(("local", "global")):
        found = means(
            chosen(masked, scope=scope),
            lambda ticket: 100 * ticket.units_masked / max(1, ticket.units),
        )
        lines += [Series(f"masking, {scope}", tuple(found), color)] if found else []
    if not lines:
        return None
    caption = (
        "Units of which all weights are masked, against masked weights (magnitude criterion); "
        "means and spread over models and seeds. "
        "Chance alone masks all n weights of a unit with the probability (masked share)^n, so "
        "that narrow networks lose more units. "
        "After Figure 1 of the paper, where at most a third of the units goes."
    )
    caption += _hollow_note(lines, masked)
    with styled():
        canvas = new_canvas(5.2, 3.4, _footer(masked))
        ax = canvas.subplots()
        for each in lines:
            _curve(ax, each, each.points, lambda point: 100 * point.removed)
        ax.plot(
            [0, 100],
            [0, 100],
            color="#999999",
            linestyle=(0, (1, 2)),
            linewidth=1.2,
            label="all of them",
        )
        ax.set(
            xlabel="Masked weights (%)",
            ylabel="Fully masked units (%)",
            xlim=(-2, 102),
            ylim=(-2, 102),
        )
        canvas.legend(loc="outside right upper", frameon=False)
        return _saved(canvas, folder, "p3_fig1_prunability", [Axes("", tuple(lines))], caption)


def masking_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw the error of masked and of trimmed networks, and of fresh draws and rescaled tickets in their place.

    Source: Esling et al., Figure 2.
    """
    kinds = {
        "masking (local, magnitude)": ORIGINAL,
        "trimming (global, information)": PROPOSED,
        "trimming (local, magnitude)": PLAIN,
    }
    kept = {name: chosen(tickets, reset="rewind", **wanted) for name, wanted in kinds.items()}
    main = tuple(
        _series(name, found, color) for color, (name, found) in enumerate(kept.items()) if found
    )
    resets = []
    for color, (name, wanted) in enumerate(kinds.items()):
        fresh = chosen(tickets, reset="reinit", **wanted)
        runs = {ticket.run for ticket in fresh}
        rewound = [ticket for ticket in kept[name] if ticket.run in runs]
        both = ((f"{name}, rewound", rewound, 0), (f"{name}, reinitialised", fresh, 1))
        resets += [
            _series(label, found, color, dash) for label, found, dash in both if rewound and fresh
        ]
    rescaled = chosen(tickets, reset="rescale", **PROPOSED)
    resets += (
        [_series("trimming (global, information), rescaled", rescaled, len(kinds))]
        if rescaled
        else []
    )
    if not main:
        return None
    caption = (
        "Test error multiplier against the prune ratio; lines are means over models, corpora "
        "and seeds, bands the least and largest."
    )
    title = "rewound, rescaled or drawn anew" if rescaled else "rewound or drawn anew"
    panels = [
        Axes("all ratios", main),
        Axes("up to 90 % removed", main, high=_LOW),
        Axes(title, tuple(resets)),
    ]
    caption += (
        " Rescaled tickets, which are not the paper's, make up for the inputs that layers lost."
        if rescaled
        else ""
    )
    return _multipliers(
        folder, "p3_fig2_masking", panels, f"{caption} After Figure 2 of the paper.", tickets
    )


def scope_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw local and global selection of units, all criteria together, over the lotteries that were run with both.

    Source: Esling et al., Figure 3.
    """
    trimmed = chosen(tickets, mode="trim", reset="rewind")
    both = {ticket.run for ticket in chosen(trimmed, scope="local")} & {
        ticket.run for ticket in chosen(trimmed, scope="global")
    }
    paired = [ticket for ticket in trimmed if ticket.run in both]
    if not paired:
        return None
    lines = tuple(
        _series(f"trimming, {scope}", chosen(paired, scope=scope), color)
        for color, scope in enumerate(("local", "global"))
    )
    names = ", ".join(criterion for criterion in CRITERIA if chosen(paired, criterion=criterion))
    caption = (
        f"Local and global selection in trimming, pooled over {names}; only lotteries that were "
        f"run with both. After Figure 3."
    )
    panels = [Axes("all ratios", lines), Axes("up to 90 % removed", lines, high=_LOW)]
    return _multipliers(folder, "p3_fig3_scope", panels, caption, paired)


def criteria_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw the criteria in global trimming, with two magnified parts.

    Source: Esling et al., Figure 4.
    """
    found = chosen(tickets, mode="trim", scope="global", reset="rewind")
    by_name = {name: chosen(found, criterion=name) for name in CRITERIA}
    most = {ticket.label for ticket in found}
    lines = tuple(
        _series(_with_models(name, each, most), each, color)
        for color, (name, each) in enumerate(by_name.items())
        if each
    )
    if len(lines) < 2:
        return None
    normed = sorted({str(ticket.label) for ticket in chosen(found, criterion="normalization")})
    told = (
        f" The normalization criterion, which takes normalisation layers, was run for "
        f"{', '.join(normed)}."
        if normed
        else ""
    )
    caption = (
        f"Criteria in global trimming; lines are means over models, corpora and seeds.{told} "
        f"After Figure 4."
    )
    panels = [
        Axes("all ratios", lines),
        Axes("up to 90 % removed", lines, high=_LOW),
        Axes("90 % and more removed", lines, low=9.0),
    ]
    return _multipliers(folder, "p3_fig4_criteria", panels, caption, found)


def _with_models(name: str, tickets: Sequence[Ticket], most: set[str]) -> str:
    """Add the models to a name whose mean does not run over all of them, since such a curve stands at another height."""
    labels = sorted({str(ticket.label) for ticket in tickets})
    return name if len(labels) == len(most) else f"{name} ({', '.join(labels)} only)"


def _multipliers(
    folder: Path, name: str, panels: Sequence[Axes], caption: str, tickets: Sequence[Ticket]
) -> Figure:
    shown = [
        panel for panel in panels if any(_within(panel, each.points) for each in panel.series)
    ]
    names = list(dict.fromkeys(each.name for panel in shown for each in panel.series))
    caption += _hollow_note([each for panel in shown for each in panel.series], tickets)
    with styled():
        canvas = new_canvas(
            3.5 * len(shown) + 0.6 + 0.075 * max(map(len, names)), 3.4, _footer(tickets)
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
        return _saved(canvas, folder, name, shown, caption)


def _hollow_note(lines: Sequence[Series], tickets: Sequence[Ticket]) -> str:
    """Say what hollow markers mean, where there are any."""
    hollow = any(point.runs < each.runs for each in lines for point in each.points)
    return late_note(tickets) if hollow else ""


def _within(panel: Axes, points: Sequence[Mean]) -> list[Mean]:
    return [point for point in points if panel.low <= point.ratio <= (panel.high or float("inf"))]


def _draw_panel(ax: Any, panel: Axes) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ax.set_xscale("log")
    for each in panel.series:
        _curve(ax, each, _within(panel, each.points))
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


def _curve(
    ax: Any,
    each: Series,
    points: Sequence[Mean],
    x_of: Callable[[Mean], float] = lambda point: point.ratio,
) -> None:
    """Draw some points of a curve with their band; rounds that not all lotteries reached have hollow markers."""
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
    ax.plot([place for place, _ in hollow], [value for _, value in hollow], MARKERS[each.color % len(MARKERS)], color=color,
            markerfacecolor="white", zorder=3)  # fmt: skip
    if each.runs > 1:
        ax.fill_between(
            x,
            [point.least for point in points],
            [point.largest for point in points],
            color=color,
            alpha=_BAND,
            linewidth=0,
        )


def _saved(canvas: Any, folder: Path, name: str, panels: Sequence[Axes], caption: str) -> Figure:
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


def _footer(tickets: Sequence[Ticket]) -> str:
    seeds = len({ticket.seed for ticket in tickets})
    models = ", ".join(dict.fromkeys(str(ticket.label) for ticket in tickets))
    return (
        f"{models}; {seeds} seed{'s' * (seeds != 1)}. "
        f"{footer_of([ticket.job.scale for ticket in tickets])}"
    )


_COSTS: tuple[tuple[str, str, str], ...] = (
    ("FLOP per second of audio", "flops_s", "flops"),
    ("Disk (bytes)", "disk", "drive_bytes"),
    ("Read and written per step (bytes)", "traffic", "ram_bytes"),
)


def embedding_figure(
    folder: Path, tickets: Sequence[Ticket], platforms: Sequence[Platform]
) -> Figure | None:
    """Draw what trimmed networks cost against their error, with the limits of the platforms.

    Source: Esling et al., Figure 5, of the models at their smallest step; earlier rounds are drawn
    pale.
    """
    trimmed = [
        ticket
        for ticket in chosen(tickets, mode="trim", reset="rewind")
        if ticket.error is not None
    ]
    if not trimmed:
        return None
    last = [ticket for ticket in smallest(trimmed) if ticket.iteration]
    labels = list(dict.fromkeys(ticket.label for ticket in trimmed))
    caption = (
        "Costs of trimmed networks against their test error multiplier: colour is the "
        "criterion, marker the model; full at the smallest "
        "step, pale before it, ringed where none of the drawn networks of any model is cheaper "
        "at no larger multiplier; networks "
        "that are no better than a trivial prediction are ringed nowhere. Dashed: the limits of "
        "the platforms. After Figure 5."
    )
    with styled():
        canvas = new_canvas(3.3 * len(_COSTS) + 2.2, 3.8, _footer(trimmed))
        axes = canvas.subplots(1, len(_COSTS))
        for ax, (title, key, limit) in zip(axes, _COSTS, strict=True):
            _scatter(ax, trimmed, last, labels, key)
            _limits(ax, platforms, limit)
            ax.set(title=title, xlabel="Test error multiplier", yscale="log")
        canvas.legend(handles=_legend(trimmed, labels), loc="outside right upper", frameon=False)
        header = [
            "model",
            "data",
            "seed",
            "criterion",
            "scope",
            "round",
            "smallest",
            "multiplier",
            *(key for _, key, _ in _COSTS),
        ]
        header += ["remark", "scale"]
        rows = [
            [t.label, t.dataset, t.seed, t.criterion, t.scope, t.iteration, t in last, t.error]
            + [*(_cost(t, key) for _, key, _ in _COSTS), t.no_better, honest_scale(t.job.scale)]
            for t in trimmed
        ]
        ends = "; ".join(
            f"{t.label} {t.criterion} {t.scope}: {t.error:.2f}, {t.flops_s:.2e} FLOP/s, {t.disk} B"
            for t in last[:12]
        )
        return save_figure(
            canvas,
            folder,
            "p3_fig5_embedding",
            csv_text(header, rows),
            caption,
            f"{caption} Smallest: {ends}.",
        )


def _cost(ticket: Ticket, key: str) -> float:
    return float(getattr(ticket, key))


def _scatter(
    ax: Any, tickets: Sequence[Ticket], last: Sequence[Ticket], labels: Sequence[str], key: str
) -> None:
    best = front_of(tickets, key)
    for ticket in tickets:
        point = (ticket.error, _cost(ticket, key))
        marker = MARKERS[labels.index(ticket.label) % len(MARKERS)]
        look: Mapping[str, Any] = {"color": _color(ticket), "linestyle": "none", "marker": marker}
        ax.plot(
            *point,
            alpha=0.95 if ticket in last else 0.22,
            markersize=6 if ticket in last else 4,
            **look,
        )
        if point in best:
            ax.plot(
                *point, "o", markersize=11, fillstyle="none", color="#222222", markeredgewidth=0.9
            )


def front_of(tickets: Sequence[Ticket], key: str) -> set[tuple[float, float]]:
    """Return the (multiplier, cost) that no other network beats; those that are no better than a trivial prediction are on no front."""
    points = [(ticket.error, _cost(ticket, key)) for ticket in tickets if not ticket.idle]
    return set(pareto_front(points, lambda point: point))


def _limits(ax: Any, platforms: Sequence[Platform], key: str) -> None:
    for place, platform in enumerate(platforms):
        limit = getattr(platform, key)
        ax.axhline(limit, color="#555555", linestyle=(0, (4, 3)), linewidth=1.0)
        ax.annotate(platform.name, (1.0, limit), (-2, 2 if place % 2 else -8), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="right", fontsize=7, color="#555555")  # fmt: skip


def _color(ticket: Ticket) -> str:
    return (
        COLORS[CRITERIA.index(ticket.criterion) % len(COLORS)]
        if ticket.criterion in CRITERIA
        else "#777777"
    )


def _legend(tickets: Sequence[Ticket], labels: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    present = [name for name in CRITERIA if chosen(tickets, criterion=name)]
    squares = {"marker": "s", "linestyle": "none", "markersize": 8}
    colors = [
        Line2D([], [], color=COLORS[CRITERIA.index(name) % len(COLORS)], label=name, **squares)
        for name in present
    ]
    look = {"color": "#333333", "linestyle": "none"}
    shapes = [
        Line2D([], [], marker=MARKERS[place % len(MARKERS)], label=label, **look)
        for place, label in enumerate(labels)
    ]
    ring = Line2D([], [], marker="o", markersize=11, fillstyle="none", label="Pareto", **look)
    return [
        *colors,
        *shapes,
        ring,
        Line2D([], [], color="#555555", linestyle=(0, (4, 3)), label="platform limit"),
    ]

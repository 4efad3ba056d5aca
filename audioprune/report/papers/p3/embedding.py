"""Figure 5 of Esling et al.: what trimmed networks cost, against the limits of machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.report.figures.drawing import (
    COLORS,
    MARKERS,
    Figure,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.papers.p3.curves import footer_for
from audioprune.report.papers.p3.tickets import CRITERIA, Ticket, chosen, smallest
from audioprune.report.platforms import Platform
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

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
        canvas = new_canvas(3.3 * len(_COSTS) + 2.2, 3.8, footer_for(trimmed))
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
    """Return the (multiplier, cost) that no other network beats.

    Networks that are no better than a trivial prediction are on no front.
    """
    kept = [ticket for ticket in tickets if not ticket.idle]
    points = [(ticket.known_error, _cost(ticket, key)) for ticket in kept]
    return set(pareto_front(points, lambda point: point))


def _limits(ax: Any, platforms: Sequence[Platform], key: str) -> None:
    for place, platform in enumerate(platforms):
        limit = getattr(platform, key)
        ax.axhline(limit, color="#555555", linestyle=(0, (4, 3)), linewidth=1.0)
        ax.annotate(
            platform.name,
            (1.0, limit),
            (-2, 2 if place % 2 else -8),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="#555555",
        )


def _color(ticket: Ticket) -> str:
    if ticket.criterion not in CRITERIA:
        return "#777777"
    return COLORS[CRITERIA.index(ticket.criterion) % len(COLORS)]


def _legend(tickets: Sequence[Ticket], labels: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for name in CRITERIA:
        if chosen(tickets, criterion=name):
            color = COLORS[CRITERIA.index(name) % len(COLORS)]
            square = Line2D([], [], color=color, label=name, marker="s", linestyle="none")
            square.set_markersize(8)
            handles.append(square)
    for place, label in enumerate(labels):
        shape = Line2D([], [], color="#333333", linestyle="none", label=label)
        shape.set_marker(MARKERS[place % len(MARKERS)])
        handles.append(shape)
    ring = Line2D([], [], color="#333333", linestyle="none", marker="o", label="Pareto")
    ring.set(markersize=11, fillstyle="none")
    dashes = Line2D([], [], color="#555555", linestyle=(0, (4, 3)), label="platform limit")
    return [*handles, ring, dashes]

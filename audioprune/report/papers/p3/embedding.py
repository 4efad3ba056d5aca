"""Figure 5 of Esling et al.: what trimmed networks cost, against the limits of machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, save_figure
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.figures.theme import COLORS, QUIET, WIDTH, Key, level_key, shape_key
from audioprune.report.figures.views import (
    Axis,
    beside,
    dots,
    level,
    log_axis,
    rings,
    sheet,
    view,
)
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
    names = [name for name in CRITERIA if chosen(trimmed, criterion=name)]
    others = [None for ticket in trimmed if ticket.criterion not in CRITERIA][:1]
    key = Key(
        (*names, *("other" for _ in others)),
        (
            *(COLORS[CRITERIA.index(name) % len(COLORS)] for name in names),
            *(QUIET for _ in others),
        ),
    )
    keys = key, shape_key(list(map(str, labels))), level_key(["platform limit"])
    views = [_view(cost, trimmed, last, platforms, keys) for cost in _COSTS]
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
    chart = Chart(sheet(views, footer_for(trimmed)), f"{caption} Smallest: {ends}.")
    return save_figure(chart, folder, "p3_fig5_embedding", csv_text(header, rows), caption)


def _cost(ticket: Ticket, key: str) -> float:
    return float(getattr(ticket, key))


def _view(
    cost: tuple[str, str, str],
    tickets: Sequence[Ticket],
    last: Sequence[Ticket],
    platforms: Sequence[Platform],
    keys: tuple[Key, Key, Key],
) -> dict[str, Any]:
    title, field, limit = cost
    limits = [(each.name, float(getattr(each, limit))) for each in platforms]
    values = [_cost(ticket, field) for ticket in tickets]
    y = log_axis(title, [value for value in (*values, *(end for _, end in limits)) if value > 0])
    rows = [(_row(ticket, field, title), ticket in last) for ticket in tickets]
    best = front_of(tickets, field)
    layers = dots([row for row, full in rows if not full], *keys[:2], size=14, opacity=0.25)
    layers += dots([row for row, full in rows if full], *keys[:2], size=36)
    layers.append(rings([{"x": x, "y": y} for x, y in sorted(best)]))
    layers += [level(end, "platform limit", keys[2]) for _, end in limits]
    rising = sorted(limits, key=lambda limit: limit[1])
    names = [{"y": end, "text": name} for name, end in rising]
    layers += [beside(names[::2], 4), beside(names[1::2], -4)]  # neighbours are often close
    width = WIDTH - 130
    return view(Axis("Test error multiplier"), y, layers, width=width, height=150)


def _row(ticket: Ticket, field: str, title: str) -> dict[str, Any]:
    criterion = str(ticket.criterion) if ticket.criterion in CRITERIA else "other"
    value, told = _cost(ticket, field), f"{ticket.label}, {ticket.criterion}, {ticket.scope}"
    return {
        "x": ticket.error,
        "y": value,
        "name": criterion,
        "kind": str(ticket.label),
        "told": f"{told}, round {ticket.iteration}\n{title}: {value:.3g}\n"
        f"Test error multiplier: {ticket.error:.3g}",
    }


def front_of(tickets: Sequence[Ticket], key: str) -> set[tuple[float, float]]:
    """Return the (multiplier, cost) that no other network beats.

    Networks that are no better than a trivial prediction are on no front.
    """
    kept = [ticket for ticket in tickets if not ticket.idle]
    points = [(ticket.known_error, _cost(ticket, key)) for ticket in kept]
    return set(pareto_front(points, lambda point: point))

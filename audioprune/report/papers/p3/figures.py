"""Figures 1 to 4 of Esling et al. from our lotteries: prunability and error multipliers.

``draw`` draws these and the costs of ``embedding``, a set for every corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audioprune.report.figures.drawing import Figure, corpus_folders
from audioprune.report.figures.theme import level_key
from audioprune.report.figures.views import Axis, Layer, diagonal, sheet, view
from audioprune.report.papers.p3.curves import (
    LOW,
    Axes,
    Series,
    curve,
    footer_for,
    hollow_note,
    multipliers_figure,
    saved,
    series_key,
    series_of,
)
from audioprune.report.papers.p3.embedding import embedding_figure
from audioprune.report.papers.p3.tickets import (
    CRITERIA,
    ORIGINAL,
    PLAIN,
    PROPOSED,
    P3Evidence,
    Ticket,
    chosen,
    corpora_of,
    main_setting,
    means,
)
from audioprune.report.platforms import Platform


def draw(evidence: P3Evidence, folder: Path) -> list[Figure]:
    """Draw every figure that there are tickets for, corpus by corpus."""
    groups = [(corpus.title, mine) for corpus, mine in corpora_of(evidence.tickets)]
    places = corpus_folders(folder, (title for title, _ in groups))
    drawn: list[Figure] = []
    for title, mine in groups:
        place, corpus = places[title]
        own = _figures_of(place, mine, evidence.platforms)
        drawn += [replace(figure, caption=f"{figure.caption}{corpus}") for figure in own]
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
    caption += hollow_note(lines, masked)
    key, levels = series_key(lines), level_key(["all of them"])
    drawn: list[Layer] = []
    for each in lines:
        drawn += curve(each, each.points, key, lambda point: 100 * point.removed)
    drawn.append(diagonal(0, 100, "all of them", levels))
    x, y = Axis("Masked weights (%)", -2, 102), Axis("Fully masked units (%)", -2, 102)
    spec = sheet([view(x, y, drawn, height=180)], footer_for(masked))
    return saved(spec, folder, "p3_fig1_prunability", [Axes("", tuple(lines))], caption)


def masking_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw the error of masked and trimmed networks, rewound, drawn anew and rescaled.

    Source: Esling et al., Figure 2.
    """
    kinds = {
        "masking (local, magnitude)": ORIGINAL,
        "trimming (global, information)": PROPOSED,
        "trimming (local, magnitude)": PLAIN,
    }
    kept = {name: chosen(tickets, reset="rewind", **wanted) for name, wanted in kinds.items()}
    main = tuple(
        series_of(name, found, color) for color, (name, found) in enumerate(kept.items()) if found
    )
    resets = []
    for color, (name, wanted) in enumerate(kinds.items()):
        fresh = chosen(tickets, reset="reinit", **wanted)
        runs = {ticket.run for ticket in fresh}
        rewound = [ticket for ticket in kept[name] if ticket.run in runs]
        both = ((f"{name}, rewound", rewound, 0), (f"{name}, reinitialised", fresh, 1))
        resets += [
            series_of(label, found, color, dash)
            for label, found, dash in both
            if rewound and fresh
        ]
    rescaled = chosen(tickets, reset="rescale", **PROPOSED)
    resets += (
        [series_of("trimming (global, information), rescaled", rescaled, len(kinds))]
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
        Axes("up to 90 % removed", main, high=LOW),
        Axes(title, tuple(resets)),
    ]
    caption += (
        " Rescaled tickets, which are not the paper's, make up for the inputs that layers lost."
        if rescaled
        else ""
    )
    return multipliers_figure(
        folder, "p3_fig2_masking", panels, f"{caption} After Figure 2 of the paper.", tickets
    )


def scope_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw local and global selection of units, over the lotteries that were run with both.

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
        series_of(f"trimming, {scope}", chosen(paired, scope=scope), color)
        for color, scope in enumerate(("local", "global"))
    )
    names = ", ".join(criterion for criterion in CRITERIA if chosen(paired, criterion=criterion))
    caption = (
        f"Local and global selection in trimming, pooled over {names}; only lotteries that were "
        f"run with both. After Figure 3."
    )
    panels = [Axes("all ratios", lines), Axes("up to 90 % removed", lines, high=LOW)]
    return multipliers_figure(folder, "p3_fig3_scope", panels, caption, paired)


def criteria_figure(folder: Path, tickets: Sequence[Ticket]) -> Figure | None:
    """Draw the criteria in global trimming, with two magnified parts.

    Source: Esling et al., Figure 4.
    """
    found = chosen(tickets, mode="trim", scope="global", reset="rewind")
    by_name = {name: chosen(found, criterion=name) for name in CRITERIA}
    most = {ticket.label for ticket in found}
    lines = tuple(
        series_of(_with_models(name, each, most), each, color)
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
        Axes("up to 90 % removed", lines, high=LOW),
        Axes("90 % and more removed", lines, low=9.0),
    ]
    return multipliers_figure(folder, "p3_fig4_criteria", panels, caption, found)


def _with_models(name: str, tickets: Sequence[Ticket], most: set[str]) -> str:
    """Add the models to a name whose mean does not run over all of them."""
    labels = sorted({str(ticket.label) for ticket in tickets})
    return name if len(labels) == len(most) else f"{name} ({', '.join(labels)} only)"

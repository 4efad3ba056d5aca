"""The files and the page of the report of Esling et al.: tables, figures, and what large and small networks sound like.

What is in them is decided in p3.py, p3_figures.py and p3_claims.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.files import write_atomic
from audioprune.report.clips import TRUE, Clip, clips
from audioprune.report.figures.drawing import Figure, slug
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.page import Section, write_page
from audioprune.report.papers.p3.claims import claims_table
from audioprune.report.papers.p3.figures import figures_of
from audioprune.report.papers.p3.paper import Ticket, results_csv, tickets_of
from audioprune.report.papers.p3.tables import cost_table, lottery_table, platform_table
from audioprune.report.platforms import read_platforms
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Table, write_table

MOST_HEARD = 8
_LISTENING = (
    "Reference: the note itself. Uncompressed: the unpruned network. Round n: after n prunings. "
    "Trimmed: the smallest network. "
    "Of networks that generate sample by sample, 'one step' predicts each sample from the true "
    "ones before it, the others run freely."
)


def write_p3(request: Request) -> list[Path]:
    """Write everything of Esling et al.: lotteries, claims, platforms, costs, figures, all numbers as CSV, and the page.

    Raises:
        DataError: The runs hold no lottery.
    """
    tickets = _tickets(request)
    reported, platforms = read_reported(request.reported, "p3"), read_platforms()
    tables = {
        "Claims": claims_table(tickets, reported, platforms),
        "Lotteries": lottery_table(tickets),
        "Platforms": platform_table(tickets, platforms),
        "Costs": cost_table(tickets, platforms),
    }
    files = [file for table in tables.values() for file in write_table(table, request.out)]
    files.append(write_atomic(request.out / "p3_results.csv", results_csv(tickets)))
    folder = request.out / "figures"
    drawn = figures_of(folder, tickets, platforms)
    heard = chosen_clips(tickets)
    pictures, notes = _pictures(folder, heard)
    files += [file for figure in [*drawn, *pictures] for file in (figure.png, figure.csv)]
    sections = _sections(tables, drawn) + [
        Section("Listening", figures=pictures, clips=tuple(heard), notes=(_LISTENING, *notes))
    ]
    unfinished = sum(job.status != "finished" for job in request.jobs)
    runs = (
        f"{len(request.jobs)} runs{f', {unfinished} of them not finished' if unfinished else ''}"
    )
    lead = f"{runs}. Scale: {' | '.join(dict.fromkeys(honest_scale(job.scale) for job in request.jobs))}."
    return [
        *files,
        write_page(
            request.out / "report.html",
            "Lottery tickets of generative audio networks",
            lead,
            sections,
        ),
    ]


def _sections(tables: dict[str, Table], drawn: Sequence[Figure]) -> list[Section]:
    first, *others = ([Section(title, (table,))] for title, table in tables.items())
    return [
        *first,
        Section("Figures", figures=tuple(drawn)),
        *(section for group in others for section in group),
    ]


def _tickets(request: Request) -> list[Ticket]:
    tickets = tickets_of(request.jobs)
    if not tickets:
        raise DataError(
            "expected runs of pipeline=p3_trim or p3_mask, got none; see `make reproduce-p3`"
        )
    return tickets


def chosen_clips(tickets: Iterable[Ticket]) -> list[Clip]:
    """Return clips of one lottery of each model, trimmed by information with global selection where there is one.

    Rescaled networks are heard beside those that were only rewound.
    """
    order = ("trim", "global", "information", "rewind")
    best: dict[str, tuple[int, Job]] = {}
    for ticket in tickets:
        label = f"{ticket.label}, rescaled" if ticket.reset == "rescale" else str(ticket.label)
        fit = sum(
            value == wanted
            for value, wanted in zip(
                (ticket.mode, ticket.scope, ticket.criterion, ticket.reset), order, strict=True
            )
        )
        if (ticket.job.folder / "audio").is_dir() and fit > best.get(label, (-1, ticket.job))[0]:
            best[label] = (fit, ticket.job)
    return [_heard(clip, label) for label, (_, job) in best.items() for clip in clips([job])][
        :MOST_HEARD
    ]


def _heard(clip: Clip, label: str) -> Clip:
    """Put the versions of a clip in the order of the rounds, the smallest network and the note itself last."""
    places = {
        "uncompressed": 0,
        **dict.fromkeys(("trimmed", "pruned"), 998),
        **dict.fromkeys(TRUE, 999),
    }

    def place(version: str) -> tuple[int, str]:
        state, _, number = version.removesuffix("_one_step").partition("-")
        return places.get(state, int(number) if number.isdigit() else 997), version

    return replace(
        clip,
        model=label,
        versions={version: clip.versions[version] for version in sorted(clip.versions, key=place)},
    )


def _pictures(folder: Path, heard: Sequence[Clip]) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Draw the first clip of every model; a file that cannot be read is named in a note and stops nothing."""
    drawn, notes = [], []
    for label, clip in {clip.model: clip for clip in reversed(heard)}.items():
        try:
            drawn.append(spectrogram_figure(folder, f"spectrogram-{slug(label.lower())}", clip))
        except (OSError, RuntimeError) as error:
            notes.append(f"No spectrogram of {clip.item}: {str(error).splitlines()[0]}")
    return tuple(reversed(drawn)), tuple(notes)


def write_figures(request: Request) -> list[Path]:
    """Write every figure that there are tickets for.

    Raises:
        DataError: The runs hold no lottery.
    """
    return [
        file
        for figure in figures_of(request.out, _tickets(request), read_platforms())
        for file in (figure.png, figure.csv)
    ]


def write_platforms(request: Request) -> list[Path]:
    """Write which trimmed networks fit which machine, and what they cost; without lotteries the machines alone."""
    tickets, platforms = tickets_of(request.jobs), read_platforms()
    tables = [
        platform_table(tickets, platforms),
        *([cost_table(tickets, platforms)] if tickets else []),
    ]
    return [file for table in tables for file in write_table(table, request.out)]


def write_claims(request: Request) -> list[Path]:
    """Write the judged claims."""
    table = claims_table(
        tickets_of(request.jobs), read_reported(request.reported, "p3"), read_platforms()
    )
    return write_table(table, request.out)


KINDS: dict[str, Any] = {
    "p3": write_p3,
    "p3_figures": write_figures,
    "p3_platforms": write_platforms,
    "p3_claims": write_claims,
}

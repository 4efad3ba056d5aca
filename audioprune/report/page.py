"""The page of a report: one file with tables, figures and players inside it, which needs nothing from the network.

It also holds the general kinds ``summary`` and ``p2``; what is in their tables is decided
elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.files import write_atomic
from audioprune.report.clips import TRUE, Clip, clips, one_per_noise, version_text
from audioprune.report.entries import PESQ_MODES, Entry, Value, entries, final, finite_or_none
from audioprune.report.figures.curves import budget_figures, curve_figures
from audioprune.report.figures.drawing import (
    Figure,
    Panel,
    line_figure,
    on_corpus,
    per_corpus,
    slug,
)
from audioprune.report.figures.pareto import pareto_figures
from audioprune.report.figures.sensitivity import quantization_table, sensitivity_figure
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.papers.p2 import claims, paper
from audioprune.report.runs import Job, Request, honest_scale, models_in_turn, read_reported
from audioprune.report.summaries import condition_table, iteration_table, score_table, scores_csv
from audioprune.report.tables import (
    FORMATS,
    Table,
    blocks,
    cell_text,
    laid_out,
    metric_column,
    to_csv,
    write_table,
)

MOST_AUDIO_BYTES = 24 * 2**20
MOST_JOBS_DRAWN = 6
MOST_SPECTROGRAMS = 12
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """One part of the page; ``folded`` tables are shown on request, ``notes`` are sentences below everything else."""

    title: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    clips: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()
    folded: bool = False


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a self-contained page.

    Args:
        path: The HTML file.
        title: Heading of the page.
        lead: One paragraph below it.
        sections: Parts in reading order; empty ones are left out.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        _for_page(section, f"part-{number}")
        for number, section in enumerate(filter(_has_content, sections), 1)
    ]
    text = environment.get_template("report.html.j2").render(
        title=title, lead=lead, sections=shown
    )
    return write_atomic(path, text + "\n")


def _has_content(section: Section) -> bool:
    return bool(section.tables or section.figures or section.clips)


def _for_page(section: Section, anchor: str) -> dict[str, Any]:
    players, left_out = _players(section.clips)
    return {
        "title": section.title,
        "anchor": anchor,
        "folded": section.folded,
        "tables": [_table_for_page(table) for table in section.tables],
        "figures": [
            {"data": _encoded(figure.png), "caption": figure.caption, "alt": figure.alt}
            for figure in section.figures
        ],
        "players": players,
        "notes": [*section.notes, *left_out],
    }


def _table_for_page(table: Table) -> dict[str, Any]:
    body, notes = laid_out(table)
    numeric = [column.style in FORMATS for column in table.columns]
    return {
        "caption": table.caption,
        "header": list(zip([column.header for column in table.columns], numeric, strict=True)),
        "blocks": [
            (title, [_cells(body[place], numeric) for place in places])
            for title, places in blocks(table)
        ],
        "footnotes": notes,
        "notes": table.notes,
    }


def _cells(
    line: Sequence[tuple[str, int | None]], numeric: Sequence[bool]
) -> list[tuple[str, int | None, bool]]:
    return [(text, mark, right) for (text, mark), right in zip(line, numeric, strict=True)]


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _players(found: Sequence[Clip]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the clips to embed, up to a limit of bytes, and a note about those that did not fit."""
    players: list[dict[str, Any]] = []
    used = 0
    for number, clip in enumerate(found):
        used += sum(path.stat().st_size for path in clip.versions.values())
        if used > MOST_AUDIO_BYTES and players:
            return players, [
                f"{len(found) - number} more items are not in this page; they lie in the audio "
                f"folders of the runs."
            ]
        players.append(_player(clip))
    return players, []


def _player(clip: Clip) -> dict[str, Any]:
    metrics = list(dict.fromkeys(name for scores in clip.scores.values() for name in scores))
    metrics = [name for name in ("stoi", *PESQ_MODES) if name in metrics]
    columns = [metric_column(name, name) for name in metrics]
    return {
        "model": clip.model,
        "title": clip.title,
        "scale": honest_scale(clip.job.scale),
        "columns": [column.header for column in columns],
        "versions": [
            {
                "name": version_text(version),
                "data": _encoded(path),
                "scores": [
                    ""
                    if version in TRUE
                    else cell_text(_score(clip, version, column.key), column.style)
                    for column in columns
                ],
            }
            for version, path in clip.versions.items()
        ],
    }


def _score(clip: Clip, version: str, metric: str) -> Value:
    return Value(finite_or_none(clip.scores.get(version, {}).get(metric)))


def write_summary(request: Request) -> list[Path]:
    """Write the table of all models, all scores in long form, the figures there is data for, and the page."""
    found = entries(request.jobs)
    table = score_table(final(found))
    files = write_table(table, request.out)
    files.append(write_atomic(request.out / "scores.csv", scores_csv(request.jobs)))
    iterations = iteration_table(request.jobs)
    files += (
        [write_atomic(request.out / "iterations.csv", to_csv(iterations))]
        if iterations.rows
        else []
    )
    judged = claims.claims_table(request.jobs, read_reported(request.reported, "p2"))
    sections = [
        Section("Summary", (table,)),
        Section("Claims", (judged,)) if claims.measured(judged) else Section("Claims"),
    ]
    return [*files, *_figures_and_page(request, found, sections, "Report")]


def write_p2(request: Request) -> list[Path]:
    """Write everything of Tan & Wang: both tables, the claims, the figures there is data for, and the page."""
    reported = read_reported(request.reported, "p2")
    tables = [
        paper.table_1(request.jobs, reported),
        paper.table_2(request.jobs, reported),
        claims.claims_table(request.jobs, reported),
    ]
    files = [file for table in tables for file in write_table(table, request.out)]
    drawn = tuple(paper.figures(request.out, request.jobs, reported))
    files += [file for figure in drawn for file in (figure.png, figure.csv)]
    named = ("Table 1", "Table 2", "Claims")
    sections = [Section(title, (table,)) for title, table in zip(named, tables, strict=True)] + [
        Section("Figures 2 and 3", figures=drawn)
    ]
    return [
        *files,
        *_figures_and_page(
            request, entries(request.jobs), sections, "Compressing networks for speech enhancement"
        ),
    ]


def _figures_and_page(
    request: Request, found: Sequence[Entry], sections: Sequence[Section], title: str
) -> list[Path]:
    folder, in_turn = request.out / "figures", models_in_turn(request.jobs)
    drawn = [
        *_overview_figures(folder, request.jobs, found),
        *_sensitivity_figures(folder, in_turn),
    ]
    drawn += [*curve_figures(folder, request.jobs), *budget_figures(folder, request.jobs)]
    heard = clips(in_turn)
    pictures, notes = _spectrogram_figures(folder, heard)
    parts = [
        *sections,
        Section("Figures", figures=tuple(drawn), notes=_not_drawn(in_turn)),
        Section(
            "Listening",
            figures=tuple(pictures),
            clips=tuple(_without_repeats(heard)),
            notes=tuple(notes),
        ),
        *_details(in_turn),
        Section(
            "Every test condition",
            (condition_table(final(found)),) if any(entry.scores for entry in found) else (),
            folded=True,
        ),
    ]
    page = write_page(request.out / "report.html", title, _lead(request.jobs), parts)
    return [*(file for figure in [*drawn, *pictures] for file in (figure.png, figure.csv)), page]


def _details(jobs: Sequence[Job]) -> list[Section]:
    """Return the folded tables of pruning iterations and of quantisation, as far as runs wrote them."""
    pruned = iteration_table(jobs)
    quantised = tuple(filter(None, map(quantization_table, jobs)))
    more = len(quantised) - MOST_JOBS_DRAWN
    notes = (
        (
            f"{more} more runs were quantised; their tables lie in their folders, as "
            f"quantization.csv.",
        )
        if more > 0
        else ()
    )
    return [
        Section("Pruning iterations", (pruned,) if pruned.rows else (), folded=True),
        Section("Quantisation", quantised[:MOST_JOBS_DRAWN], notes=notes, folded=True),
    ]


def _lead(jobs: Sequence[Job]) -> str:
    """Say in one sentence how many runs, seeds and scales the page shows."""
    unfinished = sum(job.status != "finished" for job in jobs)
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    seeds = len({job.seed for job in jobs if job.seed is not None})
    ended = f", {unfinished} of them not finished" if unfinished else ""
    return (
        f"{len(jobs)} run{'s' * (len(jobs) != 1)}{ended}; {seeds} seed{'s' * (seeds != 1)}. "
        f"Scale: {scales}."
    )


def _overview_figures(folder: Path, jobs: Sequence[Job], found: Sequence[Entry]) -> list[Figure]:
    drawn = []
    for stem, corpus, members in per_corpus("remaining", jobs):
        lines = paper.remaining_lines(members)
        if lines:
            panel = Panel("", "Parameters left (%)", "percent", lines)
            caption = on_corpus("Parameters left at each pruning iteration.", corpus)
            drawn.append(line_figure(folder, stem, [panel], 1, "Pruning iteration", caption))
    return [*drawn, *pareto_figures(folder, "size_quality", final(found))]


def _analysed(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if any(job.folder.glob("sensitivity-*.csv"))]


def _not_drawn(jobs: Iterable[Job]) -> tuple[str, ...]:
    more = len(_analysed(jobs)) - MOST_JOBS_DRAWN
    return (
        (
            f"The sensitivity of {more} more runs is not drawn; it lies in their folders, as "
            f"sensitivity-*.csv.",
        )
        if more > 0
        else ()
    )


def _sensitivity_figures(folder: Path, jobs: Iterable[Job]) -> list[Figure]:
    analysed = _analysed(jobs)[:MOST_JOBS_DRAWN]
    drawn = (
        sensitivity_figure(folder, f"sensitivity-{place}-{slug(job.name)}", job, job.name)
        for place, job in enumerate(analysed, 1)
    )
    return [figure for figure in drawn if figure]


def _spectrogram_figures(folder: Path, heard: Iterable[Clip]) -> tuple[list[Figure], list[str]]:
    """Draw one item per noise and job; a file that cannot be read is named in a note and stops nothing."""
    drawn, notes = [], []
    for place, clip in enumerate(one_per_noise(heard)[:MOST_SPECTROGRAMS], 1):
        name = f"spectrogram-{place}-{slug(clip.job.name)}-{slug(clip.condition[0]) or 'all'}"
        try:
            drawn.append(spectrogram_figure(folder, name, clip))
        except (OSError, RuntimeError) as error:
            notes.append(
                f"No spectrogram of {clip.title} in {clip.job.name}: {str(error).splitlines()[0]}"
            )
    return drawn, notes


def _without_repeats(heard: Sequence[Clip]) -> list[Clip]:
    """Leave out clips that another run already gave: a FLAC file begins with the checksum of its samples."""
    kept: dict[tuple[Any, ...], Clip] = {}
    for clip in heard:
        sound = tuple((version, path.read_bytes()[:64]) for version, path in clip.versions.items())
        kept.setdefault((clip.model, clip.condition, clip.item, sound), clip)
    return list(kept.values())


KINDS = {"summary": write_summary, "p2": write_p2}

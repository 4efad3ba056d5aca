"""How a page is written: one HTML file with tables, figures and players, which needs no network.

``write_page`` takes sections in reading order and leaves out the empty ones. What is in a section
is decided by the papers, and for the runs of any paper in overview.py.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.files import write_atomic
from audioprune.report.clips import TRUE, Clip, version_text
from audioprune.report.figures.drawing import (
    Figure,
)
from audioprune.report.runs.entry import PESQ_MODES
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import (
    FORMATS,
    Column,
    Table,
    blocks,
    cell_text,
    laid_out,
    metric_column,
)

MOST_AUDIO_BYTES = 24 * 2**20
MOST_JOBS_DRAWN = 6
MOST_SPECTROGRAMS = 12
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """One section of the page, and what is written for it.

    Attributes:
        title: Heading.
        tables: Shown on the page, and written as files.
        figures: Drawn already.
        clips: Audio to listen to.
        notes: Sentences below everything else.
        folded: Whether the tables are shown on request only.
        page_only: Whether the tables are shown on the page, but not written as files.
        data: Text of further files, by name; the page does not show them.
    """

    title: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    clips: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()
    folded: bool = False
    page_only: bool = False
    data: Mapping[str, str] = field(default_factory=dict)


def short_lead_of(jobs: Sequence[Job]) -> str:
    """Say in one sentence how many runs and scales the page shows."""
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    return f"{len(jobs)} runs. Scale: {scales}."


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
        for number, section in enumerate(filter(has_content, sections), 1)
    ]
    text = environment.get_template("report.html.j2").render(
        title=title, lead=lead, sections=shown
    )
    return write_atomic(path, text + "\n")


def has_content(section: Section) -> bool:
    """Tell whether a section has anything to show."""
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
    """Return the clips to embed, up to a limit of bytes, and a note about the others."""
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
    scored = {name for scores in clip.scores.values() for name in scores}
    columns = [metric_column(name, name) for name in ("stoi", *PESQ_MODES) if name in scored]
    return {
        "model": clip.model,
        "title": clip.title,
        "scale": honest_scale(clip.job.scale),
        "columns": [column.header for column in columns],
        "versions": [
            {
                "name": version_text(version),
                "data": _encoded(path),
                "scores": [_score_text(clip, version, column) for column in columns],
            }
            for version, path in clip.versions.items()
        ],
    }


def _score_text(clip: Clip, version: str, column: Column) -> str:
    """Print the score of a version; the true signal has none."""
    if version in TRUE:
        return ""
    score = finite_or_none(clip.scores.get(version, {}).get(column.key))
    return cell_text(score, column.style)


def lead_of(jobs: Sequence[Job]) -> str:
    """Say in one sentence how many runs, seeds and scales the page shows."""
    unfinished = sum(job.status != "finished" for job in jobs)
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    seeds = len({job.seed for job in jobs if job.seed is not None})
    ended = f", {unfinished} of them not finished" if unfinished else ""
    return (
        f"{len(jobs)} run{'s' * (len(jobs) != 1)}{ended}; {seeds} seed{'s' * (seeds != 1)}. "
        f"Scale: {scales}."
    )

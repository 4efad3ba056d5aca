"""How a page is written: one HTML file with tables, figures and players, which needs no network.

``write_page`` takes sections in reading order and leaves out the empty ones; an `Overview` stands
above them. All text is escaped, and signs that no one can see are shown. The look is in
templates/report.css, what the page does in templates/report_*.js, and how clips play in step in
listening/templates/in_step.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune import listening
from audioprune.files import write_atomic
from audioprune.report.figures import chart
from audioprune.report.figures.drawing import Figure
from audioprune.report.page.head import Head, head_of
from audioprune.report.page.live import version_of, write_version
from audioprune.report.page.models import Block, model_blocks
from audioprune.report.page.players import players_of
from audioprune.report.page.sections import Section, has_content
from audioprune.report.page.sound import Sounds
from audioprune.report.platforms import read_platforms
from audioprune.report.runs.entries import final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job
from audioprune.report.runs.signs import visible
from audioprune.report.tables import FORMATS, Table, blocks, laid_out

CLIPS = 3
"""Recordings of each corpus that a page plays."""
_TEMPLATES = Path(__file__).parent.parent / "templates"
_SCRIPTS = (
    Path(listening.__file__).parent / "templates" / "in_step.js",
    *(_TEMPLATES / f"report_{name}.js" for name in ("tables", "player", "live")),
)


@dataclass(frozen=True)
class Overview:
    """What stands above the sections.

    Attributes:
        head: What was compared, the verdicts, how to repeat it.
        blocks: The main table, corpus by corpus.
    """

    head: Head
    blocks: tuple[Block, ...]

    def anchor_of(self, entry: Entry) -> str:
        """Return the id of an entry's row in the main table."""
        rows = [row for block in self.blocks for row in block.rows]
        return next(row.anchor for row in rows if row.entry is entry)


def overview_of(jobs: Sequence[Job], found: Sequence[Entry]) -> Overview:
    """Return the overview of some runs.

    Args:
        jobs: The runs.
        found: Their entries, those of pruning iterations among them.
    """
    finals = final(found)
    return Overview(head_of(jobs, finals), tuple(model_blocks(finals, read_platforms())))


def write_page(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    overview: Overview | None = None,
    clips: int = CLIPS,
    live: bool = False,
) -> Path:
    """Write a self-contained page.

    Args:
        path: The HTML file.
        title: Heading of the page.
        lead: One paragraph below it.
        sections: Parts in reading order; empty ones are left out.
        overview: What stands above them; None for nothing.
        clips: Recordings of each corpus that can be played.
        live: Whether an open page loads itself again when it is written anew.
    """
    sounds = Sounds()
    shown = [
        _for_page(section, f"part-{number}", clips, sounds)
        for number, section in enumerate(filter(has_content, sections), 1)
    ]
    text = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            lead=lead,
            sections=shown,
            overview=overview,
            listen=next((each["anchor"] for each in shown if each["recordings"]), ""),
            style=(_TEMPLATES / "report.css").read_text(encoding="utf-8") + chart.STYLE,
            scripts=_scripts(any(each["chart"] for part in shown for each in part["figures"])),
            live=live,
        )
    )
    version = version_of(text) if live else ""
    text = text.replace('data-version=""', f'data-version="{version}"', 1)
    written = write_atomic(path, text + "\n")
    write_version(path, version)
    return written


def _scripts(charts: bool) -> list[str]:
    """Return what the page runs, with what its charts need where it has any."""
    own = [path.read_text(encoding="utf-8") for path in _SCRIPTS]
    # The library says "</script>" nowhere; a version that did would end its element.
    return [chart.runtime_script().replace("</script", "<\\/script"), *own] if charts else own


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _seen(value: Any) -> Any:
    # Markup of the templates is a str of its own kind.
    return visible(value) if type(value) is str else value


def _for_page(section: Section, anchor: str, clips: int, sounds: Sounds) -> dict[str, Any]:
    items, left_out = players_of(section.clips, clips, sounds)
    return {
        "title": section.title,
        "anchor": anchor,
        "folded": section.folded,
        "tables": [_table_for_page(table) for table in section.tables],
        "figures": [
            _figure_for_page(figure, f"{anchor}-figure-{number}")
            for number, figure in enumerate(section.seen, 1)
        ],
        "recordings": items,
        "bars": section.bars,
        "matrices": section.matrices,
        "notes": [*section.notes, *left_out],
    }


def _figure_for_page(figure: Figure, anchor: str) -> dict[str, Any]:
    """Return a figure as a chart that answers to the mouse."""
    return {"caption": figure.caption, "chart": figure.chart.fragment(anchor)}


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

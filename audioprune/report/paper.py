"""What the report of a paper consists of, and the one writer of all such reports.

A paper is a folder ``report/papers/<name>/`` with a module ``paper.py`` that holds a `Paper`
called ``PAPER``, and its published cells in ``conf/reported/<name>.yaml``. It has named parts:
tables, claims, figures, and sections of any other kind. ``write_paper`` writes all parts and the
page, or the parts that ``report.only`` names.

This module knows no paper, trains nothing and prints nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.files import write_atomic
from audioprune.report.claims import Claim, claims_table
from audioprune.report.figures.drawing import Figure
from audioprune.report.page import Section, has_content, lead_of, overview_of, write_page
from audioprune.report.published import Published, read_reported
from audioprune.report.request import Request
from audioprune.report.runs.entries import entries
from audioprune.report.runs.job import Job
from audioprune.report.tables import Table, write_table


@dataclass(frozen=True)
class Evidence:
    """What tables, figures and claims of a paper are made from; a paper adds what it derives.

    Attributes:
        jobs: The runs of the report.
        published: The paper's published cells.
    """

    jobs: tuple[Job, ...]
    published: Published


E = TypeVar("E", bound=Evidence)
Rule = Callable[[E], Iterable[Claim]]
"""Judges one claim of a paper, for every model that it speaks of."""


@dataclass(frozen=True, kw_only=True)
class Part(ABC, Generic[E]):
    """One part of a paper's report.

    Attributes:
        missing: The error when the part is asked for by name and the runs hold nothing for it;
            an empty text where that is no error.
        optional: Whether a whole report leaves the part out while its tables have no rows.
        folder: Sub-folder for its figures in a whole report. A part that is asked for by name
            writes its figures beside the tables.
    """

    missing: str = ""
    optional: bool = False
    folder: str = "figures"

    @abstractmethod
    def sections(self, evidence: E, folder: Path) -> list[Section]:
        """Build the sections of the page; figures are drawn into the folder."""


@dataclass(frozen=True)
class TablePart(Part[E]):
    """One table: a section of the page, and four files.

    Attributes:
        title: Heading on the page.
        build: Makes the table.
    """

    title: str
    build: Callable[[E], Table]

    def sections(self, evidence: E, folder: Path) -> list[Section]:
        """Return the section of the table."""
        return [Section(self.title, (self.build(evidence),))]


@dataclass(frozen=True)
class ClaimsPart(Part[E]):
    """The paper's claims, judged by the runs.

    Attributes:
        table_name: Name of the table and its files, such as ``p2_claims``.
        rules: One for each claim, in the order of the table.
        notes: Makes the sentences below the table.
    """

    table_name: str
    rules: Sequence[Rule[E]]
    notes: Callable[[E], Sequence[str]] = lambda evidence: ()

    def judge(self, evidence: E) -> list[Claim]:
        """Judge every claim of the paper."""
        return [claim for rule in self.rules for claim in rule(evidence)]

    def table(self, evidence: E) -> Table:
        """Return the judged claims as a table."""
        judged = self.judge(evidence)
        return claims_table(self.table_name, judged, evidence.published, self.notes(evidence))

    def sections(self, evidence: E, folder: Path) -> list[Section]:
        """Return the section of the claims."""
        return [Section("Claims", (self.table(evidence),))]


@dataclass(frozen=True)
class FiguresPart(Part[E]):
    """Figures of the paper: one section of the page, and a PNG and a CSV each.

    Attributes:
        title: Heading on the page.
        draw: Draws into a folder what there is data for.
    """

    title: str
    draw: Callable[[E, Path], Sequence[Figure]]

    def sections(self, evidence: E, folder: Path) -> list[Section]:
        """Return the section of the figures."""
        return [Section(self.title, figures=tuple(self.draw(evidence, folder)))]


@dataclass(frozen=True)
class SectionsPart(Part[E]):
    """Sections of any kind, such as those of a listening test."""

    build: Callable[[E, Path], Sequence[Section]]

    def sections(self, evidence: E, folder: Path) -> list[Section]:
        """Return the sections."""
        return list(self.build(evidence, folder))


@dataclass(frozen=True)
class Paper(Generic[E]):
    """A paper that our runs are set beside.

    Attributes:
        name: Short name, such as ``p2``: of its folder, its report, and its published cells.
        title: Heading of its page.
        read: Derives the evidence from what is asked for and the published cells. It may raise
            ``DataError`` where the runs hold nothing for the paper.
        parts: By the name that ``report.only`` uses, in the order of the page.
        lead: Makes the sentence below the heading.
    """

    name: str
    title: str
    read: Callable[[Request, Published], E]
    parts: Mapping[str, Part[E]]
    lead: Callable[[Sequence[Job]], str] = lead_of

    def evidence(self, request: Request) -> E:
        """Read the published cells, and derive the evidence from the runs."""
        return self.read(request, read_reported(request.reported, self.name))

    @property
    def claims(self) -> ClaimsPart[E]:
        """The part that judges the paper's claims."""
        return next(part for part in self.parts.values() if isinstance(part, ClaimsPart))


def write_paper(paper: Paper[E], request: Request) -> list[Path]:
    """Write the report of a paper: the parts that are asked for, or all of them and the page.

    Returns:
        The written files: tables, then other data, then figures, then the page.

    Raises:
        ConfigError: ``report.only`` names a part that the paper lacks.
        DataError: The runs hold nothing for the paper, or for a part that was asked for by name.
    """
    asked = asked_for(paper, request.only)
    evidence = paper.evidence(request)
    sections: list[Section] = []
    for name in asked or paper.parts:
        part = paper.parts[name]
        if asked:
            sections += _asked_part(part, evidence, request.out)
        else:
            sections += _whole_part(part, evidence, request.out)
    files = write_sections(sections, request.out)
    if not asked:
        lead = paper.lead(request.jobs)
        page = request.out / "report.html"
        overview = overview_of(request.jobs, entries(request.jobs))
        files.append(
            write_page(page, paper.title, lead, sections, overview, request.clips, request.live)
        )
    return files


def asked_for(paper: Paper[E], only: Iterable[str]) -> list[str]:
    """Return the parts that ``report.only`` names, in the order of the page."""
    for name in only:
        if name not in paper.parts:
            message = unknown_name(f"part of {paper.name}", name, paper.parts)
            raise ConfigError(f"report.only: {message}")
    return [name for name in paper.parts if name in only]


def _asked_part(part: Part[E], evidence: E, out: Path) -> list[Section]:
    sections = part.sections(evidence, out)
    if part.missing and not any(map(has_content, sections)):
        raise DataError(part.missing)
    return sections


def _whole_part(part: Part[E], evidence: E, out: Path) -> list[Section]:
    sections = part.sections(evidence, out / part.folder)
    if not part.optional:
        return sections
    return [section for section in sections if any(table.rows for table in section.tables)]


def write_sections(sections: Sequence[Section], out: Path) -> list[Path]:
    """Write the tables and other data of some sections; their figures are drawn already.

    Tables of sections that are on the page only are not written.
    """
    written = [section for section in sections if not section.page_only]
    files: list[Path] = []
    for section in written:
        for table in section.tables:
            files += write_table(table, out)
    for section in written:
        files += [write_atomic(out / name, text) for name, text in section.data.items()]
    for section in sections:
        for figure in section.figures:
            files += figure.files
    return files

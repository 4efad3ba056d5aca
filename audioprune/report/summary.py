"""The report ``summary``: all models, their scores, the figures there is data for, and the page.

It judges the claims of the papers that ``report.claims`` names, and of no other.
"""

from __future__ import annotations

from pathlib import Path

from audioprune.errors import ConfigError, unknown_name
from audioprune.report.claims import any_measured
from audioprune.report.model_tables import iteration_table, score_table, scores_csv
from audioprune.report.overview import runs_sections
from audioprune.report.page import Section, lead_of, overview_of, write_page
from audioprune.report.page.head import title_of
from audioprune.report.paper import write_sections
from audioprune.report.papers import papers
from audioprune.report.request import Request
from audioprune.report.runs.entries import entries, final
from audioprune.report.tables import to_csv


def write_summary(request: Request) -> list[Path]:
    """Write the tables, the figures and the page of some runs.

    Raises:
        ConfigError: ``report.claims`` names no paper.
    """
    judged = _claims(request)
    found = entries(request.jobs)
    data = {"scores.csv": scores_csv(request.jobs)}
    iterations = iteration_table(request.jobs)
    if iterations.rows:
        data["iterations.csv"] = to_csv(iterations)
    sections = [
        *judged,
        *runs_sections(request.jobs, found, request.out / "figures"),
    ]
    table = Section("All numbers", (score_table(final(found)),), folded=True, data=data)
    files = write_sections([table, *sections], request.out)
    page = write_page(
        request.out / "report.html",
        title_of(request.jobs, found),
        lead_of(request.jobs),
        [*sections, table],
        overview_of(request.jobs, found),
        request.clips,
        request.live,
    )
    return [*files, page]


def _claims(request: Request) -> list[Section]:
    """Judge the claims that are asked for; a paper of which none was measured is left out."""
    known = papers()
    for name in request.claims:
        if name not in known:
            raise ConfigError(f"report.claims: {unknown_name('paper', name, known)}")
    sections = []
    for name in request.claims:
        paper = known[name]
        table = paper.claims.table(paper.evidence(request))
        if any_measured(table):
            sections.append(Section("Claims", (table,), page_only=True))
    return sections

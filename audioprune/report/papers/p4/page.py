"""The files and the page of the report of Chen: tables, claims and figures.

What is in them is decided in p4.py, p4_claims.py and p4_figures.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.report.page import Section, write_page
from audioprune.report.papers.p4.claims import claims_table
from audioprune.report.papers.p4.figures import figures_of
from audioprune.report.papers.p4.paper import main_table, models_of, optimizer_table, size_table
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import write_table


def _write(build: Any) -> Any:
    def write(request: Request) -> list[Path]:
        return write_table(build(request.jobs, read_reported(request.reported, "p4")), request.out)

    return write


def write_figures(request: Request) -> list[Path]:
    """Write every figure that there is data for.

    Raises:
        DataError: No network was trained for scenes.
    """
    if not models_of(request.jobs):
        raise DataError("expected runs of scene classification, got none; see `make reproduce-p4`")
    return [
        file
        for figure in figures_of(request.out, request.jobs)
        for file in (figure.png, figure.csv)
    ]


def write_p4(request: Request) -> list[Path]:
    """Write everything of Chen: both tables, sizes, optimisers, claims, figures and the page."""
    reported = read_reported(request.reported, "p4")
    tables = {
        "Table 3": main_table(request.jobs, reported, "table_3"),
        "Table 4": main_table(request.jobs, reported, "table_4"),
        "Sparsity and size": size_table(request.jobs),
        "Optimisers": optimizer_table(request.jobs, reported),
        "Claims": claims_table(request.jobs, reported),
    }
    files = [file for table in tables.values() for file in write_table(table, request.out)]
    drawn = figures_of(request.out / "figures", request.jobs) if models_of(request.jobs) else []
    files += [file for figure in drawn for file in (figure.png, figure.csv)]
    sections = [Section(title, (table,)) for title, table in tables.items()] + [
        Section("Figures", figures=tuple(drawn))
    ]
    lead = (
        f"{len(request.jobs)} runs. Scale: "
        f"{' | '.join(dict.fromkeys(honest_scale(job.scale) for job in request.jobs))}."
    )
    return [
        *files,
        write_page(
            request.out / "report.html",
            "Pruning networks for acoustic scene classification",
            lead,
            sections,
        ),
    ]


KINDS = {
    "p4": write_p4,
    "p4_table3": _write(lambda jobs, reported: main_table(jobs, reported, "table_3")),
    "p4_table4": _write(lambda jobs, reported: main_table(jobs, reported, "table_4")),
    "p4_optimizers": _write(optimizer_table),
    "p4_figures": write_figures,
    "p4_claims": _write(claims_table),
}

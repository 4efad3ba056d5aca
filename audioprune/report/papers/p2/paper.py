"""The report of Tan & Wang, "Compressing Deep Neural Networks for Efficient Speech Enhancement".

``PAPER`` names its parts; the published cells are in ``conf/reported/p2.yaml``.
"""

from __future__ import annotations

from pathlib import Path

from audioprune.report.overview import runs_sections
from audioprune.report.page import Section
from audioprune.report.paper import ClaimsPart, FiguresPart, Paper, SectionsPart, TablePart
from audioprune.report.papers.p2.claims import RULES, notes
from audioprune.report.papers.p2.figures import draw
from audioprune.report.papers.p2.rows import P2Evidence, read_evidence
from audioprune.report.papers.p2.tables import table_1, table_2

_NO_ITERATIONS = (
    "expected runs with pruning iterations, got none; run `audioprune prune "
    "pipeline=p2_unstructured` first"
)


def _runs(evidence: P2Evidence, folder: Path) -> list[Section]:
    return runs_sections(evidence.jobs, evidence.found, folder)


PAPER = Paper(
    name="p2",
    title="Compressing networks for speech enhancement",
    read=read_evidence,
    parts={
        "table1": TablePart("Table 1", table_1),
        "table2": TablePart("Table 2", table_2),
        "claims": ClaimsPart("p2_claims", RULES, notes),
        "figures": FiguresPart("Figures 2 and 3", draw, missing=_NO_ITERATIONS, folder=""),
        "runs": SectionsPart(_runs),
    },
)

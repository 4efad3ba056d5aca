"""The report of Chen, "DNN Pruning for Acoustic Scene Classification".

``PAPER`` names its parts; the published cells are in ``conf/reported/p4.yaml``.
"""

from __future__ import annotations

from audioprune.report.page import short_lead_of
from audioprune.report.paper import ClaimsPart, FiguresPart, Paper, TablePart
from audioprune.report.papers.p4.claims import NOTES, RULES
from audioprune.report.papers.p4.figures import draw
from audioprune.report.papers.p4.networks import read_evidence
from audioprune.report.papers.p4.optimizers import optimizer_table
from audioprune.report.papers.p4.tables import size_table, table_3, table_4

_NO_NETWORK = "expected runs of scene classification, got none; see `make reproduce-p4`"

PAPER = Paper(
    name="p4",
    title="Pruning networks for acoustic scene classification",
    read=read_evidence,
    parts={
        "table3": TablePart("Table 3", table_3),
        "table4": TablePart("Table 4", table_4),
        "sizes": TablePart("Sparsity and size", size_table),
        "optimizers": TablePart("Optimisers", optimizer_table),
        "claims": ClaimsPart("p4_claims", RULES, lambda evidence: NOTES),
        "figures": FiguresPart("Figures", draw, missing=_NO_NETWORK),
    },
    lead=short_lead_of,
)

"""The report of Esling et al. on structured lottery tickets of generative audio networks.

``PAPER`` names its parts; what the paper says is in ``conf/reported/p3.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioprune.report.page import Section
from audioprune.report.paper import ClaimsPart, FiguresPart, Paper, SectionsPart
from audioprune.report.papers.p3.claims import RULES, notes
from audioprune.report.papers.p3.figures import draw
from audioprune.report.papers.p3.listening import listening
from audioprune.report.papers.p3.tables import cost_table, lottery_table, platform_table
from audioprune.report.papers.p3.tickets import NO_LOTTERY, P3Evidence, read_evidence, results_csv
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale


def _lotteries(evidence: P3Evidence, folder: Path) -> list[Section]:
    numbers = {"p3_results.csv": results_csv(evidence.tickets)}
    return [Section("Lotteries", (lottery_table(evidence.tickets),), data=numbers)]


def _platforms(evidence: P3Evidence, folder: Path) -> list[Section]:
    """Return the machines and what fits them; without lotteries the machines alone."""
    tickets, platforms = evidence.tickets, evidence.platforms
    sections = [Section("Platforms", (platform_table(tickets, platforms),))]
    if tickets:
        sections.append(Section("Costs", (cost_table(tickets, platforms),)))
    return sections


def _lead(jobs: Sequence[Job]) -> str:
    unfinished = sum(job.status != "finished" for job in jobs)
    ended = f", {unfinished} of them not finished" if unfinished else ""
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    return f"{len(jobs)} runs{ended}. Scale: {scales}."


PAPER = Paper(
    name="p3",
    title="Lottery tickets of generative audio networks",
    read=read_evidence,
    parts={
        "claims": ClaimsPart("p3_claims", RULES, notes),
        "figures": FiguresPart("Figures", draw, missing=NO_LOTTERY),
        "lotteries": SectionsPart(_lotteries),
        "platforms": SectionsPart(_platforms),
        "listening": SectionsPart(listening),
    },
    lead=_lead,
)

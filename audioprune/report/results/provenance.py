"""Where the numbers of a page come from: commit, command, environment, time, corpus of each run.

``provenance`` says it as Markdown, ``hours_of`` how long the runs took together.
"""

from __future__ import annotations

from collections.abc import Sequence

from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Column, Table, escape_markdown, to_markdown

_DIGITS = 10  # of a commit
_COLUMNS = (
    Column("name", "Run"),
    Column("seed", "Seed", "count"),
    Column("tier", "Tier"),
    Column("minutes", "Minutes", "text"),
    Column("commit", "Commit"),
    Column("command", "Command"),
)
_KEPT = ("python", "machine", "cores", "threads", "cuda")


def hours_of(jobs: Sequence[Job]) -> str:
    """Say how long some runs took together."""
    known = [job.seconds for job in jobs if job.seconds is not None]
    if not known:
        return "How long the runs took was not recorded."
    untold = len(jobs) - len(known)
    more = f"; {untold} more did not tell" if untold else ""
    runs = f"{len(known)} run{'s' * (len(known) != 1)}"
    return f"{runs} took {sum(known) / 3600:.1f} hours of wall time, some beside other work{more}."


def provenance(jobs: Sequence[Job]) -> str:
    """Return the table of the runs, and their corpora and environments below it."""
    rows = [
        {
            "name": job.name,
            "seed": job.seed,
            "tier": honest_scale(job.scale.split(";")[0]),
            "minutes": "-" if job.seconds is None else f"{job.seconds / 60:.1f}",
            "commit": str(job.environment.get("git") or "-")[:_DIGITS],
            "command": job.command or "-",
        }
        for job in jobs
    ]
    titles = [corpus.title for corpus, _ in by_corpus(jobs)]
    notes = (*(f"{title}." for title in titles), *_environments(jobs))
    table = Table("runs", "The runs behind this page", _COLUMNS, tuple(rows), notes)
    return to_markdown(table)


def _environments(jobs: Sequence[Job]) -> list[str]:
    """Say on what the runs were made, once for runs that agree."""
    told: dict[str, list[str]] = {}
    for job in jobs:
        known = job.environment
        parts = [f"{key} {known[key]}" for key in _KEPT if known.get(key) is not None]
        versions = known.get("versions") or {}
        parts += [f"{name} {version}" for name, version in versions.items()]
        told.setdefault(", ".join(parts) or "not recorded", []).append(job.name)
    several = len(told) > 1
    return [
        f"Environment{f' of {escape_markdown(str(len(names)))} runs' if several else ''}: {text}."
        for text, names in told.items()
    ]

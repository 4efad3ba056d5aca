"""From run folders to tables, figures, claims and a page: the one entry point, and which kinds of report there are.

Every module of this room may offer kinds of report in a mapping ``KINDS``; a paper's kinds stand
in the paper's module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, unknown_name
from audioprune.report.runs import Request, load_jobs

Runs = str | Path | Iterable[str | Path]


def write_report(
    runs: Runs,
    out: str | Path,
    kind: str = "summary",
    reported: Mapping[str, Any] | str | Path | None = None,
    ratings: str | Path | None = None,
) -> list[Path]:
    """Write one kind of report.

    Args:
        runs: A run folder, a folder of run folders, a glob, or a list of these.
        out: Folder to write to; it is made if it is missing.
        kind: Name of the report, one of ``kinds()``.
        reported: The paper's published numbers, a YAML file of them or a folder of such files;
            None for those of the package.
        ratings: ``statistics.json`` of a listening test, or its folder, for the kinds that show
            listening tests.

    Returns:
        The written files; the same runs give the same bytes again.

    Raises:
        ConfigError: The kind is unknown, or no run is found.
        DataError: The runs hold nothing that this kind could show.
        OutputError: The folder cannot be written.
    """
    known = kinds()
    if kind not in known:
        raise ConfigError(unknown_name("kind of report", kind, known))
    return known[kind](Request(load_jobs(runs), Path(out), reported, ratings))


def kinds() -> dict[str, Callable[[Request], list[Path]]]:
    """Return every kind of report that a module of this package offers, by name."""
    found: dict[str, Callable[[Request], list[Path]]] = {}
    names = (module.name for module in pkgutil.walk_packages(__path__, f"{__name__}."))
    for name in sorted(names):
        found |= getattr(importlib.import_module(name), "KINDS", {})
    return found


def summary_table(runs: Runs) -> str:
    """Return the table of all models of some runs as Markdown, without writing anything."""
    from audioprune.report.entries import entries, final
    from audioprune.report.summaries import score_table
    from audioprune.report.tables import to_markdown

    return to_markdown(score_table(final(entries(load_jobs(runs)))))


def closing_line(runs: Runs) -> str:
    """Say which final models of some runs are no better than what needs no model, or return an empty text."""
    from audioprune.report.baselines import no_better
    from audioprune.report.entries import entries, final

    told: dict[str, list[str]] = {}
    for entry in final(entries(load_jobs(runs))):
        if mark := no_better(entry):
            told.setdefault(mark, []).append(entry.title)
    return "; ".join(f"{', '.join(titles)}: {mark}" for mark, titles in told.items())

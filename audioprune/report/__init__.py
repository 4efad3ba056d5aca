"""From run folders to tables, figures, claims and a page.

``write_report`` writes one kind of report, ``kinds`` lists them. A summary says what was measured,
``curves`` how sensitive models are, ``small_models`` whether compressing beats building small,
and every paper has a report of its own in ``papers/``.
Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, unknown_name
from audioprune.report.figures.curves import write_curves
from audioprune.report.figures.small_models import write_small_models
from audioprune.report.page import CLIPS
from audioprune.report.paper import write_paper
from audioprune.report.papers import papers
from audioprune.report.request import Request
from audioprune.report.runs.job import load_jobs
from audioprune.report.summary import write_summary
from audioprune.report.tables import Table

Runs = str | Path | Iterable[str | Path]
Writer = Callable[[Request], list[Path]]


def write_report(
    runs: Runs,
    out: str | Path,
    kind: str = "summary",
    reported: Mapping[str, Any] | str | Path | None = None,
    ratings: str | Path | None = None,
    only: str | Sequence[str] = (),
    claims: str | Sequence[str] = (),
    clips: int = CLIPS,
    live: bool = False,
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
        only: Parts of a paper's report, such as ``["table1", "claims"]``; none for all parts and
            the page.
        claims: Papers whose claims a summary judges.
        clips: Recordings of each corpus that the page plays.
        live: Whether an open page loads itself again when it is written anew.

    Returns:
        The written files; the same runs give the same bytes again.

    Raises:
        ConfigError: The kind, a part or a paper is unknown, or no run is found.
        DataError: The runs hold nothing that this kind could show.
        OutputError: The folder cannot be written.
    """
    known = kinds()
    if kind not in known:
        raise ConfigError(unknown_name("kind of report", kind, known))
    jobs = load_jobs(runs)
    request = Request(
        jobs, Path(out), reported, ratings, _listed(only), _listed(claims), clips, live
    )
    return known[kind](request)


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def kinds() -> dict[str, Writer]:
    """Return every kind of report by its name: those of any runs, and one for each paper."""
    general: dict[str, Writer] = {
        "summary": write_summary,
        "curves": write_curves,
        "small_models": write_small_models,
    }
    found = {name: partial(write_paper, paper) for name, paper in papers().items()}
    return general | found


def short_table(runs: Runs) -> Table:
    """Return the short table of all models of some runs, without writing anything."""
    from audioprune.report.runs.entries import entries, final
    from audioprune.report.shown.run_table import run_table

    return run_table(final(entries(load_jobs(runs))))


def closing_line(runs: Runs) -> str:
    """Say which final models are no better than what needs no model; empty where all are."""
    from audioprune.report.baselines import no_better
    from audioprune.report.runs.entries import entries, final

    told: dict[str, list[str]] = {}
    for entry in final(entries(load_jobs(runs))):
        if mark := no_better(entry):
            told.setdefault(mark, []).append(entry.title)
    return "; ".join(f"{', '.join(titles)}: {mark}" for mark, titles in told.items())


def compression_line(runs: Runs) -> str:
    """Compare the one compressed model of some runs with its input and the uncompressed one."""
    from audioprune.report.comparison import comparison_line
    from audioprune.report.runs.entries import entries, final

    return comparison_line(final(entries(load_jobs(runs))))

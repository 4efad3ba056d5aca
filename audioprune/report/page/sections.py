"""What a section of the page holds, and the sentence that says how many runs a page shows.

A `Section` has tables, figures, clips and notes; ``has_content`` tells whether it is shown. What
is in a section is decided by the papers, and for the runs of any paper in report/overview.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from audioprune.report.clips import Clip
from audioprune.report.figures.drawing import Figure
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Table


@dataclass(frozen=True)
class Bars:
    """Shares with a bar each, such as what was kept of every layer.

    Attributes:
        title: Above them.
        rows: Name, share 0..1, and what it is in words.
    """

    title: str
    rows: tuple[tuple[str, float, str], ...]


@dataclass(frozen=True)
class Matrix:
    """How often each true class (row) was named as each class (column).

    Attributes:
        caption: Above it.
        names: Of the classes.
        counts: Shape (K, K).
    """

    caption: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Section:
    """One section of the page, and what is written for it.

    Attributes:
        title: Heading.
        tables: Shown on the page, and written as files.
        figures: Drawn already.
        clips: Audio to listen to.
        bars: Shares of layers.
        matrices: Confusions of classes.
        notes: Sentences below everything else.
        folded: Whether the tables are shown on request only.
        page_only: Whether the tables are shown on the page, but not written as files.
        file_only: Whether the figures are written as files, but not shown on the page.
        data: Text of further files, by name; the page does not show them.
    """

    title: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    clips: tuple[Clip, ...] = ()
    bars: tuple[Bars, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    notes: tuple[str, ...] = ()
    folded: bool = False
    page_only: bool = False
    file_only: bool = False
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[Figure, ...]:
        """The figures that the page shows."""
        return () if self.file_only else self.figures


def has_content(section: Section) -> bool:
    """Tell whether a section has anything to show."""
    shown = (section.tables, section.seen, section.clips, section.bars, section.matrices)
    return any(shown)


def lead_of(jobs: Sequence[Job]) -> str:
    """Say in one sentence how many runs, seeds and scales the page shows."""
    unfinished = sum(job.status != "finished" for job in jobs)
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    seeds = len({job.seed for job in jobs if job.seed is not None})
    ended = f", {unfinished} of them not finished" if unfinished else ""
    return (
        f"{len(jobs)} run{'s' * (len(jobs) != 1)}{ended}; {seeds} seed{'s' * (seeds != 1)}. "
        f"Scale: {scales}."
    )


def short_lead_of(jobs: Sequence[Job]) -> str:
    """Say in one sentence how many runs and scales the page shows."""
    scales = " | ".join(dict.fromkeys(honest_scale(job.scale) for job in jobs))
    return f"{len(jobs)} runs. Scale: {scales}."

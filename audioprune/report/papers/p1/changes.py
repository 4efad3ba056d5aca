"""By how much one system is better than another, metric by metric, and what a comparison lacks.

Which systems are compared is decided in ``claims``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.report.baselines import no_better
from audioprune.report.claims import (
    HELD,
    NOT_HELD,
    NOT_SHOWN,
    Bound,
    Seed,
    Side,
    Verdict,
    judge,
    ready,
    same_corpus,
    same_settings,
    same_width,
    something_removed,
)
from audioprune.report.papers.p1.systems import System
from audioprune.report.runs.intervals import Interval, interval, paired
from audioprune.report.tables import metric_column

Told = Mapping[str, Any]
"""One published claim: its text and its source."""


@dataclass(frozen=True)
class Change:
    """By how much a metric is better in every seed.

    Attributes:
        metric: Name of the metric.
        values: The change of every seed.
        half: Half the 95 % interval that the recordings leave open.
    """

    metric: str
    values: Mapping[Seed, float]
    half: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def better(self) -> Verdict:
        """Whether it is better by more than the recordings leave open."""
        return judge(self.values, Bound(above=self.half))

    @property
    def worse(self) -> Verdict:
        """Whether it is worse by more than the recordings leave open."""
        return judge(self.values, Bound(below=-self.half))

    @property
    def kept(self) -> Verdict:
        """Whether it is not worse by more than the recordings leave open."""
        return judge(self.values, Bound(at_least=-self.half))

    @property
    def text(self) -> str:
        """The change in words, such as ``STOI -0.0012 [-0.0030, +0.0006] (recordings 0.0102)``."""
        found: Interval | None = interval(self.values.values())
        told = f"{self.mean:+.4f}" if found is None else found.text(decimals=4)
        title = metric_column(self.metric, self.metric).title
        return f"{title} {told} (recordings {self.half:.4f})"


def side_of(system: System) -> Side:
    """Return one side of a comparison."""
    pruned = system.entry.variant == "pruned"
    removed = system.entry.size("sparsity").mean or 0.0 if pruned else None
    jobs = system.entry.jobs[: len(system.entry.seeds)]
    return Side(system.name, tuple(jobs), removed, no_better(system.entry))


def lacks_of(*systems: System, width: bool = True) -> tuple[str, ...]:
    """Return what a comparison lacks; numbers are paired by seed, which may differ."""
    sides = [side_of(system) for system in systems]
    found = (
        same_corpus(*sides),
        same_settings(*sides),
        same_width(*sides) if width else "",
        something_removed(*sides),
    )
    return tuple(filter(None, found))


def changes_between(one: System, other: System) -> list[Change]:
    """Return for every metric by how much one system is better than another, seed by seed."""
    found = []
    for metric in one.metrics():
        values = paired(one.per_seed("gain", metric), other.per_seed("gain", metric))
        if values:
            found.append(Change(metric, values, other.number("gain_ci95", metric).mean or 0.0))
    return found


def counted(changes: Sequence[Change]) -> tuple[int, int, str]:
    """Return on how many metrics a change is clearly better, clearly worse, and both in words."""
    better = sum(change.better.status == HELD for change in changes)
    worse = sum(change.worse.status == HELD for change in changes)
    words = f"clearly better on {better}, clearly worse on {worse} of {len(changes)} metrics"
    return better, worse, f"{words}: {texts_of(changes)}"


def texts_of(changes: Sequence[Change]) -> str:
    """Say all changes."""
    return ", ".join(change.text for change in changes)


def facts_of(*systems: System) -> dict[str, Any]:
    """Return the seeds that all systems share, and their scales."""
    seeds = set.intersection(*(set(system.entry.seeds) for system in systems))
    return {
        "seeds": len(seeds),
        "scale": " | ".join(dict.fromkeys(system.entry.scale for system in systems)),
    }


def ready_early(
    changes: Sequence[Change], lacks: Sequence[str], *systems: System
) -> Verdict | None:
    """Return why a comparison cannot be judged, or None where it can."""
    seeds = min(len(change.values) for change in changes)
    return ready(seeds, lacks, [side_of(system) for system in systems])


def more_better(better: int, worse: int) -> Verdict:
    """Judge that more metrics are clearly better than clearly worse."""
    told = f"clearly better on {better}, clearly worse on {worse} metrics"
    if better == worse:
        return Verdict(NOT_SHOWN, f"{told}: neither way")
    return Verdict(HELD if better > worse else NOT_HELD, told)


def gains_of(system: System) -> list[Change]:
    """Return for every metric by how much a system is better than the coded input."""
    found = []
    for metric in system.metrics():
        values = known_values(system.per_seed("gain", metric))
        if values:
            found.append(Change(metric, values, system.number("gain_ci95", metric).mean or 0.0))
    return found


def known_values(values: Mapping[Seed, float | None]) -> dict[Seed, float]:
    """Return the values that are known."""
    return {seed: value for seed, value in values.items() if value is not None}


def published_text(told: Told) -> str:
    """Return what the paper says, and where."""
    return f"{told['text']} ({told['source']})"

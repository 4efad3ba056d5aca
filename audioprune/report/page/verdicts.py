"""What a page says first: how much smaller each model became, and what that cost.

``verdicts`` gives one `Verdict` for the smallest file of every pipeline. The difference of the
scores is paired by seed, and by recording where the runs kept the scores of all; its interval is
that of runs/intervals.py. Nothing is chosen by its result but the smallest file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import MARK, no_better
from audioprune.report.model_tables import main_metrics
from audioprune.report.runs.entry import VARIANTS, Entry
from audioprune.report.runs.intervals import Differences, Interval, interval, interval_of, paired
from audioprune.report.tables import FORMATS, METRICS, few, unit_text

_WHOLE = ("mixture", "uncompressed", "baseline", "")
_LEAST_GAIN = 1.05  # a file that is less than this much smaller is no smaller one
_KIB = 1024
_MOST_SETTINGS = 3
_ALONE = "no uncompressed model of its own was scored beside it"
_INPUTS = ("mixture", "coded", "noisy")
"""What rows call the unprocessed input."""


@dataclass(frozen=True)
class Verdict:
    """What became of one model.

    Attributes:
        entry: The model.
        smaller: How much smaller it is, such as ``106 times smaller``.
        sizes: The files behind it, such as ``4.5 MB before, 43 kB after``; empty where unknown.
        cost: What it cost, such as ``STOI -0.1 points [-0.4, +0.2]``.
        basis: What the interval is over.
        gain: Its gain over what it was given; empty where that was not scored.
        mark: What it is no better than; empty where it is better.
    """

    entry: Entry
    smaller: str
    sizes: str
    cost: str
    basis: str
    gain: str
    mark: str

    @property
    def compared(self) -> bool:
        """Whether the cost is a difference."""
        return self.basis != _ALONE

    @property
    def settings(self) -> str:
        """What sets it apart from models of the same name."""
        return settings_of(self.entry)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        words = f"{self.smaller}, {self.cost}" if self.cost else self.smaller
        mark = f"; {self.mark}" if self.mark else ""
        apart = f" ({self.settings})" if self.settings else ""
        return f"{self.entry.title}{apart}: {words} ({self.basis}){mark}."


def verdicts(found: Sequence[Entry]) -> list[Verdict]:
    """Return the verdicts on the smallest file of every pipeline, in the order of the entries.

    Args:
        found: Final entries of the runs.
    """
    smallest: dict[tuple[str, ...], Entry] = {}
    for entry in found:
        if entry.variant in _WHOLE or entry.status or not entry.scores:
            continue
        group = (entry.corpus.title, *(job.name for job in entry.jobs))
        known = smallest.get(group)
        if known is None or _order(entry) < _order(known):
            smallest[group] = entry
    return [_verdict(entry, found) for entry in smallest.values()]


def _order(entry: Entry) -> tuple[float, int]:
    size = entry.size("bytes_file").mean
    place = VARIANTS.index(entry.variant) if entry.variant in VARIANTS else len(VARIANTS)
    return (float("inf") if size is None else size, -place)


def partner(entry: Entry, found: Sequence[Entry], variant: str) -> Entry | None:
    """Return the entry that one is compared with: of the same jobs where there is one."""
    others = [
        other
        for other in found
        if other.variant == variant and other.corpus == entry.corpus and not other.status
    ]
    if variant != "mixture":
        others = [other for other in others if other.label == entry.label]
    names = {job.name for job in entry.jobs}
    own = [other for other in others if names & {job.name for job in other.jobs}]
    chosen = own or others
    return chosen[0] if len(chosen) == 1 else None


def _verdict(entry: Entry, found: Sequence[Entry]) -> Verdict:
    before, given = partner(entry, found, "uncompressed"), partner(entry, found, "mixture")
    smaller, sizes = _smaller(entry, before)
    metric = next(iter(main_metrics([entry])), "")
    if not metric:
        return Verdict(entry, smaller, sizes, "", "no score", "", no_better(entry))
    cost, basis = _cost(entry, before, metric)
    return Verdict(entry, smaller, sizes, cost, basis, _gain(entry, given, metric), mark_of(entry))


def mark_of(entry: Entry) -> str:
    """Return what an entry is no better than, in words for a reader of the page."""
    return re.sub(rf"{MARK} ({'|'.join(_INPUTS)})\b", f"{MARK} its input", no_better(entry))


def settings_of(entry: Entry) -> str:
    """Return the settings that set an entry apart, by the last parts of their keys."""
    told = [f"{key.rpartition('.')[2]}={value}" for key, value in entry.config.items() if value]
    return few(told, _MOST_SETTINGS)


def _smaller(entry: Entry, before: Entry | None) -> tuple[str, str]:
    after, rate = entry.size("bytes_file").mean, entry.size("rate_file").mean
    whole = None if before is None else before.size("bytes_fp32").mean
    if after is None:
        return "size not measured", ""
    if rate is None and whole is None:
        whole = _unpruned(entry, "disk")
    if rate is None and whole is None:
        return f"a file of {bytes_text(after)}; its size before was not measured", ""
    times = rate if rate is not None else (whole or 0.0) / after
    sizes = f"{bytes_text(times * after)} before, {bytes_text(after)} after"
    if times < _LEAST_GAIN:
        return "no smaller", sizes
    return f"{times:.{0 if times >= 10 else 1}f} times smaller", sizes


def _cost(entry: Entry, before: Entry | None, metric: str) -> tuple[str, str]:
    title, style = METRICS.get(metric, (metric, "fine"))
    own = entry.score(metric)
    unpruned = _unpruned(entry, "test") if metric == "error" else None
    if before is None and unpruned is not None and own.mean is not None:
        return f"{title} {_change(own.mean - unpruned, style)}", f"{_seeds(entry)}, not paired"
    if before is None or before.score(metric).mean is None or own.mean is None:
        told = "not measured" if own.mean is None else unit_text(own.mean, style)
        return f"{title} {told}", _ALONE
    differences = differences_of(entry, before, metric)
    if not differences:
        change = _change(own.mean - (before.score(metric).mean or 0.0), style)
        return f"{title} {change}", f"{_seeds(entry)}, not paired"
    found, basis = _interval(differences)
    mean = sum(differences.values()) / len(differences)
    return f"{title} {_change(mean, style, found)}", f"{_seeds(entry)}{basis}"


def _unpruned(entry: Entry, name: str) -> float | None:
    """Return what the first row of a lottery says of the unpruned network, seeds joined."""
    rounds = [job.of_kind("lottery") for job in entry.jobs]
    first = [finite_or_none(rows[0].get(name)) for rows in rounds if rows]
    known = [value for value in first if value is not None]
    return sum(known) / len(known) if known and len(known) == len(rounds) else None


def differences_of(entry: Entry, other: Entry, metric: str) -> Differences:
    """Return by how much an entry's scores differ from another's, seed by seed, item by item."""
    places = [place for place in entry.conditions() if place in set(other.conditions())]
    return paired(
        entry.by_seed(metric, places),
        other.by_seed(metric, places),
        (entry.by_item(metric, places), other.by_item(metric, places)),
    )


def _interval(differences: Differences) -> tuple[Interval | None, str]:
    """Return the 95 % interval of differences, and what it is over in words."""
    items = len(next(iter(differences.by_item.values()), {}))
    over_items = f", interval over {items} recording{'s' * (items != 1)}"
    if len(differences) > 1:
        found = interval_of(differences)
        return found, f"{over_items} and all seeds" if items else ", interval over seeds"
    if items > 1:
        # One training: the interval tells of other recordings, not of other trainings.
        return interval(next(iter(differences.by_item.values())).values()), over_items
    return None, ": no interval"


def _seeds(entry: Entry) -> str:
    count = len(entry.seeds)
    return f"{count} seed{'s' * (count != 1)}"


def _gain(entry: Entry, given: Entry | None, metric: str) -> str:
    if given is None or given.score(metric).mean is None or entry.score(metric).mean is None:
        return ""
    title, style = METRICS.get(metric, (metric, "fine"))
    differences = differences_of(entry, given, metric)
    mean = sum(differences.values()) / len(differences) if differences else None
    if mean is None:
        return ""
    return f"{title} {_change(mean, style)} over the unprocessed input"


def _change(mean: float, style: str, found: Interval | None = None) -> str:
    kind = FORMATS[style]
    decimals = 1 if kind.unit == "%" else kind.decimals
    unit = " points" if kind.unit == "%" else f" {kind.unit}" if kind.unit else ""
    text = f"{kind.factor * mean:+.{decimals}f}{unit}"
    if found is None:
        return text
    low, high = (f"{kind.factor * end:+.{decimals}f}" for end in (found.low, found.high))
    return f"{text} [{low}, {high}]"


def bytes_text(count: float) -> str:
    """Say a number of bytes in words, 1 kB = 1024 bytes."""
    if count < _KIB:
        return f"{count:.0f} bytes"
    number, unit = (count / _KIB, "kB") if count < _KIB**2 else (count / _KIB**2, "MB")
    return f"{number:.{0 if number >= 100 else 1}f} {unit}"

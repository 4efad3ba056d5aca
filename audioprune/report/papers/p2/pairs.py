"""A smaller model against another one: what a comparison of two rows of Tan & Wang rests on.

A ``Pair`` joins two entries, and gives their differences seed by seed and the conditions that the
comparison lacks. ``changes_text`` and its neighbours say the differences in words. Which rows are
compared, and what must hold, is decided in claims.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audioprune.experiment.rows import SizeRow
from audioprune.report.baselines import no_better
from audioprune.report.claims import Side, conditions_of
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.intervals import Differences, Seed, interval_of, paired
from audioprune.report.runs.scales import without_width
from audioprune.report.tables import metric_column


@dataclass(frozen=True)
class Pair:
    """A model that was made smaller, and the model that it is compared with.

    Attributes:
        names: The paper's row names of both.
        one: The smaller model.
        other: What it is compared with.
    """

    names: tuple[str, str]
    one: Entry
    other: Entry

    @property
    def seeds(self) -> list[Seed]:
        """Seeds that both sides have."""
        return [seed for seed in self.one.seeds if seed in self.other.seeds]

    def sides(self) -> tuple[Side, Side]:
        """Return both sides; the first says what was removed."""
        one = Side(self.names[0], self.one.jobs, self.removed(), no_better(self.one))
        return one, Side(self.names[1], self.other.jobs, None, no_better(self.other))

    def removed(self) -> float | None:
        """Return the least share of its prunable weights that a seed of the first side lost.

        None where the share of any seed was not recorded.
        """
        shares = list(self.one.size_by_seed("sparsity").values())
        known = [share for share in shares if share is not None]
        if not shares or len(known) < len(shares):
            return None
        return min(map(max, known, map(taken_out, self.one.sizes)))

    def conditions(self, width: bool) -> tuple[str, ...]:
        """Return what the comparison lacks, in words.

        Args:
            width: Whether both networks must have the same width.
        """
        sides = self.sides()
        found = list(conditions_of(*sides, width=width))
        if without_width(self.one.scale) != without_width(self.other.scale):
            found.append(f"{self.names[0]} and {self.names[1]} were run at different scales")
        if sides[0].removed is None:
            found.append(f"how much was removed from {self.names[0]} is not recorded")
        by_hand = set_by_hand(sides[0])
        return (*found, by_hand) if by_hand else tuple(found)

    def differences(self, metric: str, snrs: Sequence[float]) -> Differences:
        """Return per seed, and per item where it is known, the change of a mean over conditions.

        A seed that lacks any condition has none.
        """
        conditions = dict.fromkeys([*self.one.conditions(), *self.other.conditions()])
        places = [key for key in conditions if key[1] in snrs]
        items = self.one.by_item(metric, places), self.other.by_item(metric, places)
        return paired(self.one.by_seed(metric, places), self.other.by_seed(metric, places), items)


def nearest(names: tuple[str, str], entry: Entry, others: Sequence[Entry]) -> Entry:
    """Return the entry to compare with.

    It is of the same jobs, or else the one that lacks the fewest conditions of a comparison.
    """
    folders = {job.folder for job in entry.jobs}
    for other in others:
        if folders & {job.folder for job in other.jobs}:
            return other
    return min(others, key=lambda other: len(Pair(names, entry, other).conditions(width=False)))


def taken_out(size: SizeRow) -> float:
    """Return the share of the uncompressed model's parameters that a trimmed model has no more."""
    whole, left = size.bytes_uncompressed, size.bytes_fp32
    return 1 - left / whole if whole and left is not None else 0.0


def set_by_hand(side: Side) -> str:
    """Return that the sparsity of a side was given, or an empty text.

    In the paper a sensitivity analysis finds it.
    """
    rows = [row for job in side.jobs for row in job.iterations() if "alpha_1" not in row.more]
    shares = [share for row in rows if (share := row.number("sparsity")) is not None]
    given = sorted({f"{share:g}" for share in shares})
    return f"the sparsity of {side.name} was set by hand ({', '.join(given)})" if given else ""


def changes_text(pair: Pair, metrics: Sequence[str]) -> str:
    """Say the changes per SNR, such as ``STOI +0.83 / +1.38 points at -5 / 0 dB``."""
    told = [_change_text(metric, _by_snr(pair, metric)) for metric in metrics]
    return "; ".join(filter(None, told))


def _by_snr(pair: Pair, metric: str) -> list[tuple[float | None, float]]:
    """Return (SNR, change of the mean) wherever both entries were measured."""
    found = []
    for snr in pair.one.snrs():
        if snr in pair.other.snrs():
            left, right = pair.one.score(metric, snr).mean, pair.other.score(metric, snr).mean
            if left is not None and right is not None:
                found.append((snr, left - right))
    return found


def _change_text(metric: str, changes: Sequence[tuple[float | None, float]]) -> str:
    if not changes:
        return ""
    factor, unit = printed_in(metric)
    numbers = " / ".join(f"{factor * change:+.2f}" for _, change in changes)
    places = " / ".join(f"{snr:g}" for snr, _ in changes if snr is not None)
    at = f" at {places} dB" if places else ""
    return f"{metric_column(metric, metric).title} {numbers}{unit}{at}"


def printed_in(metric: str) -> tuple[float, str]:
    """Return what a difference of a metric is multiplied by when it is printed, and its unit."""
    return (100, " points") if metric == "stoi" else (1, "")


def intervals_text(pair: Pair, snrs: Sequence[float], metrics: Sequence[str]) -> str:
    """Say the mean change over all SNRs with its interval, where there is one."""
    told, over = [], ""
    for metric in metrics:
        found = interval_of(pair.differences(metric, snrs))
        if found:
            factor, unit = printed_in(metric)
            told.append(f"{metric_column(metric, metric).title} {found.text(factor, unit=unit)}")
            over = found.over
    return f"mean change with its 95 % interval over {over}: {', '.join(told)}" if told else ""


def spread_text(pair: Pair) -> str:
    """Say when the mean change of STOI is smaller than the deviation over the seeds."""
    left, right = pair.one.score("stoi"), pair.other.score("stoi")
    if left.mean is None or right.mean is None or left.std is None or right.std is None:
        return ""
    if abs(left.mean - right.mean) >= math.hypot(left.std, right.std):
        return ""
    return "; the mean change of STOI is within the deviation over seeds"

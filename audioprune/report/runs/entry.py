"""One row of a report: a state of a model, joined over seeds, and how its numbers are joined.

An ``Entry`` gives each metric and size as a `Value`: mean and deviation over the seeds, and why a
number is missing. Numbers are in the stored units (fractions, bytes); nothing is formatted here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from audioprune.experiment.results import GIVEN
from audioprune.experiment.rows import QualityRow, SizeRow, finite_or_none
from audioprune.report.runs.corpora import Corpus
from audioprune.report.runs.job import Job
from audioprune.report.runs.states import Condition, condition_of

VARIANTS = ("mixture", "uncompressed", GIVEN, "baseline", "pruned", "trimmed", "compressed")
PESQ_MODES = ("pesq_raw_nb", "pesq_nb", "pesq_wb")
Cells = Mapping[Condition, QualityRow]
"""The score row of one seed under every condition."""
_NO_RATE = "no uncompressed model was measured in this run"
# Numbers that are ratios of two others: numerator, denominator, factor.
_DERIVED = {
    "rate_paper": ("bytes_uncompressed", "bytes_paper", 1),
    "rate_file": ("bytes_uncompressed", "bytes_file", 1),
    "bits_per_weight": ("bytes_paper", "nonzero", 8),
}


def chief_metrics(measured: Iterable[str], most: int = 6) -> list[str]:
    """Return the metrics that are shown first: STOI and one mode of PESQ, or else up to ``most``.

    Args:
        measured: Names of all that were measured, in their order.
        most: Metrics where neither was measured.
    """
    names = list(dict.fromkeys(measured))
    chosen = [name for name in ("stoi",) if name in names]
    chosen += [name for name in PESQ_MODES if name in names][:1]
    return chosen or names[:most]


@dataclass(frozen=True)
class Value:
    """One measured number, joined over seeds.

    Attributes:
        mean: Mean over the seeds, in the stored unit; None when nothing was measured.
        std: Sample standard deviation over the seeds; None with fewer than two seeds.
        seeds: Number of seeds that entered the mean.
        n: Number of files asked for, where the number is a mean over files.
        n_valid: Number of those files that gave a number.
        reason: Why the mean is None, or what the mean leaves out.
    """

    mean: float | None
    std: float | None = None
    seeds: int = 1
    n: int | None = None
    n_valid: int | None = None
    reason: str = ""


def mean_of(
    values: Iterable[float | None],
    n: int | None = None,
    n_valid: int | None = None,
    reason: str = "",
) -> Value:
    """Join one number per seed to a mean and a sample standard deviation.

    None and non-finite numbers are left out.
    """
    finite = [number for number in map(finite_or_none, values) if number is not None]
    if not finite:
        return Value(None, None, 0, n, n_valid, reason or "not measured")
    std = statistics.stdev(finite) if len(finite) > 1 else None
    return Value(statistics.fmean(finite), std, len(finite), n, n_valid, reason)


@dataclass(frozen=True)
class Entry:
    """One state of one model (or the mixture, or a job that failed), joined over seeds.

    Attributes:
        label: Name of the model as tables print it.
        variant: ``"mixture"``, ``"uncompressed"``, ``"pruned"``, ``"compressed"``, ...; empty for
            a job that failed.
        iteration: Number of the pruning iteration, or None for a final state.
        step: Pipeline step that measured it, only where one job measured the same variant twice.
        seeds: Seed of every joined job.
        scale: Scale of its own rows; all of them, where joined jobs differ.
        config: Values of the configuration keys that differ between the jobs of the report.
        jobs: The jobs behind it; more than the seeds where equal rows of several jobs were joined
            to one.
        scores: Per seed, the score row of every (noise, SNR).
        sizes: Per seed, the size row; an empty one where none was written.
        corpus: What it was scored on.
    """

    label: str
    variant: str
    model: str = ""
    pipeline: str = ""
    iteration: int | None = None
    step: str = ""
    scale: str = ""
    seeds: tuple[int | None, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    reason: str = ""
    jobs: tuple[Job, ...] = ()
    scores: tuple[Cells, ...] = ()
    sizes: tuple[SizeRow, ...] = ()
    corpus: Corpus = Corpus()

    @property
    def title(self) -> str:
        """Name of the row: ``Mixture``, ``FDNN compressed`` or ``FDNN FAILED``."""
        if self.variant == "mixture":
            return "Mixture"
        iteration = "" if self.iteration is None else f"iteration {self.iteration}"
        step = f"({self.step})" if self.step else ""
        return " ".join(filter(None, (self.label, self.variant, iteration, step, self.status)))

    @property
    def settings(self) -> str:
        """The configuration that sets it apart; empty where nothing does."""
        return ", ".join(f"{key}={value}" for key, value in self.config.items() if value)

    @property
    def name(self) -> str:
        """Title with the configuration that sets it apart."""
        return f"{self.title} ({self.settings})" if self.settings else self.title

    @property
    def identity(self) -> str:
        """What no other row of a report is called: title, settings and corpus."""
        return "; ".join(filter(None, (self.title, self.settings, self.corpus.title)))

    def conditions(self) -> list[Condition]:
        """Return all (noise, SNR) of all seeds, SNRs rising."""
        found = {condition for cells in self.scores for condition in cells}
        return sorted(found, key=lambda item: (item[1] is None, item[1] or 0.0, item[0]))

    def snrs(self) -> list[float | None]:
        """Return all SNRs in dB, rising; None for a score without SNR."""
        return list(dict.fromkeys(snr for _, snr in self.conditions()))

    def metrics(self) -> list[str]:
        """Return the names of all metrics, in the order they were measured."""
        rows = [row for cells in self.scores for row in cells.values()]
        return list(dict.fromkeys(name for row in rows for name in row.metrics))

    def score(
        self, metric: str, snr: float | None | str = "all", noise: str | None = None
    ) -> Value:
        """Return a metric: per seed the mean over conditions, then mean and deviation over seeds.

        Args:
            metric: Name such as ``"stoi"``.
            snr: SNR in dB, None for scores without SNR, or ``"all"``.
            noise: One noise, or None for the unweighted mean over all.
        """
        wanted = [
            key for key in self.conditions() if snr in ("all", key[1]) and noise in (None, key[0])
        ]
        cells = [[per.get(key) or _absent(key) for key in wanted] for per in self.scores]
        rows = [row for per in cells for row in per]
        missing = [row for row in rows if row.metric(metric) is None]
        n, n_valid = _total(rows, "n", metric), _total(rows, "n_valid", metric)
        means = [_mean([row.metric(metric) for row in per]) for per in cells]
        reason = _missing_text(missing, len(rows))
        return mean_of(means, n, n if n_valid is None else n_valid, reason)

    def by_seed(
        self, metric: str, conditions: Iterable[Condition]
    ) -> dict[int | None, float | None]:
        """Return for every seed the mean of a metric over the given conditions.

        None where any of the conditions gave no number.
        """
        wanted = list(conditions)
        found: dict[int | None, float | None] = {}
        for seed, per in zip(self.seeds, self.scores, strict=False):
            values = [(per.get(key) or _absent(key)).metric(metric) for key in wanted]
            known = [value for value in values if value is not None]
            complete = known and len(known) == len(values)
            found[seed] = statistics.fmean(known) if complete else None
        return found

    def by_item(
        self, metric: str, conditions: Iterable[Condition]
    ) -> dict[int | None, dict[str, float]]:
        """Return for every seed the mean of a metric over the given conditions, item by item.

        An item is one recording under all conditions, since the same speech is in all of them. A
        seed has no items where any condition tells none, other ones or one without a score; and
        none has any where each seed drew a corpus of its own, for then items differ.
        """
        if len(self.corpus.fingerprints) > 1:
            return {}
        wanted = list(conditions)
        found: dict[int | None, dict[str, float]] = {}
        for seed, per in zip(self.seeds, self.scores, strict=False):
            told = [(per.get(key) or _absent(key)).item_scores(metric) for key in wanted]
            same = told and all(scores.keys() == told[0].keys() for scores in told)
            found[seed] = (
                {name: statistics.fmean(scores[name] for scores in told) for name in told[0]}
                if same
                else {}
            )
        return found

    def size_by_seed(self, name: str) -> dict[int | None, float | None]:
        """Return a number of the size rows, see ``size``, for every seed."""
        return {seed: _size(row, name) for seed, row in zip(self.seeds, self.sizes, strict=False)}

    def size(self, name: str) -> Value:
        """Return a number of the size rows, or one derived from them.

        Derived are ``rate_paper``, ``rate_file`` and ``bits_per_weight``.
        """
        reasons = [row.reason for row in self.sizes if row.reason]
        if name.startswith("rate_") and any(row.bytes_paper for row in self.sizes):
            reasons.append(_NO_RATE)
        numbers = [_size(row, name) for row in self.sizes]
        value = mean_of(numbers, reason=reasons[0] if reasons else "")
        return value if value.mean is None else replace(value, reason="")


def _absent(condition: Condition) -> QualityRow:
    noise, snr_db = condition
    return QualityRow(more={"noise": noise, "snr_db": snr_db, "reason": "not evaluated"})


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return statistics.fmean(kept) if kept else None


def _total(rows: Sequence[QualityRow], name: str, metric: str) -> int | None:
    """Return the sum of ``n`` or ``n_valid`` over rows, or None where any row lacks it."""
    counts = [row.counted(name, metric) for row in rows]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(rows) else None


def _missing_text(missing: Sequence[QualityRow], of: int) -> str:
    if not missing:
        return ""
    reason = next((row.reason for row in missing if row.reason), "not measured")
    if len(missing) == of:
        return reason
    places = ", ".join(dict.fromkeys(condition_text(condition_of(row)) for row in missing))
    return f"mean without {places}: {reason}"


def _size(row: SizeRow, name: str) -> float | None:
    if name not in _DERIVED:
        return row.number(name)
    above, below, factor = _DERIVED[name]
    numerator, denominator = row.number(above), row.number(below)
    return None if numerator is None or not denominator else factor * numerator / denominator


def condition_text(condition: Condition) -> str:
    """Say a condition in words, such as ``babble, -5 dB``."""
    noise, snr = condition
    return ", ".join(filter(None, (noise, f"{snr:g} dB" if snr is not None else ""))) or "all"

"""Whether a model is better than what needs no model: its input, chance, silence or a constant.

``no_better`` answers it for an entry, ``no_better_row`` for one score row, ``no_better_error`` for
one error; each returns ``no better than <baseline>``, or an empty text. Tables mark the models
that are no better; fronts and claims leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from audioprune.experiment.rows import QualityRow, SizeRow, finite_or_none
from audioprune.report.runs.entry import PESQ_MODES, Cells, Entry, chief_metrics
from audioprune.report.runs.job import Job
from audioprune.report.runs.states import condition_of

MARK = "no better than"
SIGNIFICANCE = 0.05
# Errors of networks that learned nothing scatter a little about the trivial one.
TRIVIAL_SHARE = 0.98
# Less than this is no gain over the input: the same signal gives such differences when it is
# computed in another order.
_LEAST_GAIN = {"stoi": 5e-4, "estoi": 5e-4, **dict.fromkeys(PESQ_MODES, 5e-3)}
_LEAST_OTHER_GAIN = 1e-3
SMALLER_IS_BETTER = frozenset(
    {"error", "loss", "lsd", "lsd_below_4khz", "lsd_above_4khz", "mr_stft", "l1"}
)
Pairs = Sequence[tuple[QualityRow, QualityRow]]
"""Rows of a model beside those of its unprocessed input, condition by condition."""


def no_better(entry: Entry) -> str:
    """Return ``no better than <baseline>`` for an entry, or an empty text.

    It is empty where the model is better, and where nothing can be compared: for the mixture and
    for jobs that failed. Where only some seeds are no better, the text says how many.
    """
    if entry.variant == "mixture" or entry.status:
        return ""
    sizes = entry.sizes or (SizeRow(),) * len(entry.jobs)
    seeds = zip(entry.jobs, entry.scores, sizes, strict=False)
    found = [
        _of_seed(cells, inputs_of(job)) or _without_weights(size) for job, cells, size in seeds
    ]
    marked = [text for text in found if text]
    if not marked:
        return ""
    some = f" ({len(marked)} of {len(found)} seeds)" if len(marked) < len(found) else ""
    return f"{' and '.join(dict.fromkeys(marked))}{some}"


def _without_weights(size: SizeRow) -> str:
    """Say that a network of which no weight is left answers every input alike."""
    return f"{MARK} a constant answer" if (size.sparsity or 0.0) >= 1.0 else ""


def no_better_row(row: QualityRow, mixture: QualityRow | None = None) -> str:
    """Return ``no better than <baseline>`` for one row, or an empty text.

    Args:
        row: A score row of one condition.
        mixture: The score row of the unprocessed input under the same condition.
    """
    return _of_seed({condition_of(row): row}, {condition_of(row): mixture} if mixture else {})


def no_better_error(
    error: Any, trivial: Any, row: Mapping[str, Any] | QualityRow | None = None
) -> str:
    """Compare an error with the one that needs no network.

    Args:
        error: Error of the network; one that is no number is no better.
        trivial: Error without a network; nothing is compared where it is no number.
        row: The row that may name the trivial answer.
    """
    trivial, error = finite_or_none(trivial), finite_or_none(error)
    if trivial is None or (error is not None and error < TRIVIAL_SHARE * trivial):
        return ""
    name = row.get("trivial_name") if row is not None else None
    return f"{MARK} {name or 'silence or a constant'}"


def inputs_of(job: Job) -> Cells:
    """Return the scores of the unprocessed input of a job's tests."""
    rows = [row for row in job.rows_of(QualityRow) if row.variant == "mixture" and row.is_test]
    return {condition_of(row): row for row in rows}


def _of_seed(scores: Cells, inputs: Cells) -> str:
    """Compare one seed with chance, a trivial error or its input, whichever its rows tell."""
    rows = [row for row in scores.values() if row.get("chance") is not None]
    if rows:
        return f"{MARK} chance" if all(map(_at_chance, rows)) else ""
    rows = [row for row in scores.values() if row.get("trivial") is not None]
    if rows:
        error = _mean([row.metric("error") for row in rows])
        return no_better_error(error, _mean([row.number("trivial") for row in rows]), rows[0])
    pairs = [(row, inputs[condition]) for condition, row in scores.items() if condition in inputs]
    return _by_input(pairs) if pairs else ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _by_input(pairs: Pairs) -> str:
    """Compare with the unprocessed input.

    A model is better whose mean over the conditions is, in one of the main metrics.
    """
    chief = chief_metrics(name for row, _ in pairs for name in row.metrics)
    changes = {metric: _change(metric, pairs) for metric in chief}
    known = {metric: change for metric, change in changes.items() if change is not None}
    if not known or any(change > _least_gain(metric) for metric, change in known.items()):
        return ""
    return f"{MARK} {(pairs[0][1].label or 'mixture').lower()}"


def _least_gain(metric: str) -> float:
    return _LEAST_GAIN.get(metric, _LEAST_OTHER_GAIN)


def _change(metric: str, pairs: Pairs) -> float | None:
    """Return by how much the mean over conditions is better than that of the input.

    None without a common condition.
    """
    changes = []
    for row, given in pairs:
        own, before = row.metric(metric), given.metric(metric)
        if own is not None and before is not None:
            changes.append(own - before)
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    return sign * math.fsum(changes) / len(changes) if changes else None


def _at_chance(row: QualityRow) -> bool:
    """Tell whether an accuracy, or its mean over classes, is one that chance explains.

    Source: exact binomial test, one-sided, at 5 %.
    """
    chance, hits, macro = (
        row.number("chance"),
        row.metric("accuracy"),
        row.metric("accuracy_macro"),
    )
    if hits is None or chance is None:
        return hits is None
    # A network that always names one class has its share of the clips right, and exactly chance
    # over the classes.
    if hits <= chance or (macro is not None and macro <= chance + 1e-9):
        return True
    clips = _clips(row)
    if clips is None:
        return False
    from scipy.stats import binom  # slow to import; only where classes are scored

    return float(binom.sf(round(hits * clips) - 1, clips, chance)) > SIGNIFICANCE


def _clips(row: QualityRow) -> int | None:
    """Return how many clips were classified."""
    counted = row.get("n_valid") or row.get("n")
    if isinstance(counted, Mapping):
        counted = counted.get("accuracy")
    return counted if isinstance(counted, int) else None

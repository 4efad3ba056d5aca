"""Whether a model is better than what needs no model: its own input, chance, silence or a constant.

Tables mark the models that are not, fronts and claims leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from audioprune.report.entries import PESQ_MODES, Entry, condition_of, finite_or_none

MARK = "no better than"
SIGNIFICANCE = 0.05
TRIVIAL_SHARE = (
    0.98  # errors of networks that learned nothing scatter a little about the trivial one
)
# Less than this is no gain over the input: the same signal gives such differences when it is
# computed in another order.
_LEAST_GAIN = {"stoi": 5e-4, "estoi": 5e-4, **dict.fromkeys(PESQ_MODES, 5e-3)}
_LEAST_OTHER_GAIN = 1e-3
SMALLER_IS_BETTER = frozenset(
    {"error", "loss", "lsd", "lsd_below_4khz", "lsd_above_4khz", "mr_stft", "l1"}
)
_MOST_METRICS = 6


def no_better(entry: Entry) -> str:
    """Return ``no better than <baseline>`` for an entry, or an empty text where it is better or nothing can be compared.

    The mixture and jobs that failed are compared with nothing. Where only some seeds are no
    better, their number is told.
    """
    if entry.variant == "mixture" or entry.status:
        return ""
    sizes = entry.sizes or ({},) * len(entry.jobs)
    seeds = zip(entry.jobs, entry.scores, sizes, strict=False)
    found = [
        _of_seed(scores, _inputs(job)) or _without_weights(size) for job, scores, size in seeds
    ]
    marked = [text for text in found if text]
    if not marked:
        return ""
    some = f" ({len(marked)} of {len(found)} seeds)" if len(marked) < len(found) else ""
    return f"{' and '.join(dict.fromkeys(marked))}{some}"


def _without_weights(size: Mapping[str, Any]) -> str:
    """A network of which no weight is left answers every input alike, however well its biases are chosen."""
    return (
        f"{MARK} a constant answer" if (finite_or_none(size.get("sparsity")) or 0.0) >= 1.0 else ""
    )


def no_better_row(row: Mapping[str, Any], mixture: Mapping[str, Any] | None = None) -> str:
    """Return ``no better than <baseline>`` for one row, or an empty text.

    Args:
        row: A score row of one condition, or a row of a lottery with ``test`` and ``trivial``.
        mixture: The score row of the unprocessed input under the same condition.
    """
    if row.get("trivial") is not None and row.get("test") is not None:
        return no_better_error(row["test"], row["trivial"], row)
    return _of_seed({condition_of(row): row}, {condition_of(row): mixture} if mixture else {})


def no_better_error(error: Any, trivial: Any, row: Mapping[str, Any] | None = None) -> str:
    """Compare an error with the one that needs no network; an error that is no number is no better."""
    trivial, error = finite_or_none(trivial), finite_or_none(error)
    if trivial is None or (error is not None and error < TRIVIAL_SHARE * trivial):
        return ""
    return f"{MARK} {(row or {}).get('trivial_name') or 'silence or a constant'}"


def _inputs(job: Any) -> dict[Any, Mapping[str, Any]]:
    rows = [row for row in job.of_kind("score") if row.get("variant") == "mixture"]
    return {
        condition_of(row): row
        for row in rows
        if row.get("split") not in ("train", "valid", "validation")
    }


def _of_seed(
    scores: Mapping[Any, Mapping[str, Any]], inputs: Mapping[Any, Mapping[str, Any]]
) -> str:
    rows = [row for row in scores.values() if row.get("chance") is not None]
    if rows:
        return _by_chance(rows)
    rows = [row for row in scores.values() if row.get("trivial") is not None]
    if rows:
        errors = [finite_or_none((row.get("metrics") or {}).get("error")) for row in rows]
        return no_better_error(
            _mean(errors), _mean([finite_or_none(row["trivial"]) for row in rows]), rows[0]
        )
    pairs = [(row, inputs[condition]) for condition, row in scores.items() if condition in inputs]
    return _by_input(pairs) if pairs else ""


def _mean(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else math.fsum(values) / len(values)


def _by_input(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Compare with the unprocessed input: a model is better whose mean over the conditions is, in one of the main metrics."""
    changes = {metric: _change(metric, pairs) for metric in _main(pairs)}
    known = {metric: change for metric, change in changes.items() if change is not None}
    if not known or any(
        change > _LEAST_GAIN.get(metric, _LEAST_OTHER_GAIN) for metric, change in known.items()
    ):
        return ""
    return f"{MARK} {str(pairs[0][1].get('label') or 'mixture').lower()}"


def _main(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Return STOI and the first mode of PESQ, or else up to six metrics, as in a summary."""
    measured = list(dict.fromkeys(name for row, _ in pairs for name in row.get("metrics") or {}))
    chosen = [name for name in ("stoi",) if name in measured] + [
        name for name in PESQ_MODES if name in measured
    ][:1]
    return chosen or measured[:_MOST_METRICS]


def _change(
    metric: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> float | None:
    """Return by how much the mean over conditions is better than that of the input, or None without a common condition."""
    sides = [
        [finite_or_none((row.get("metrics") or {}).get(metric)) for row in pair] for pair in pairs
    ]
    changes = [own - given for own, given in sides if own is not None and given is not None]
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    return sign * math.fsum(changes) / len(changes) if changes else None


def _by_chance(rows: Sequence[Mapping[str, Any]]) -> str:
    """Compare with chance: the accuracy must lie above it by more than the number of clips explains, and so the mean over classes.

    Source: exact binomial test, one-sided, at 5 %.
    """
    return f"{MARK} chance" if all(_at_chance(row) for row in rows) else ""


def _at_chance(row: Mapping[str, Any]) -> bool:
    metrics, chance = row.get("metrics") or {}, finite_or_none(row["chance"])
    hits, macro = (finite_or_none(metrics.get(name)) for name in ("accuracy", "accuracy_macro"))
    if hits is None or chance is None:
        return hits is None
    # A network that always names one class has its share of the clips right, and exactly chance
    # over the classes.
    if hits <= chance or (macro is not None and macro <= chance + 1e-9):
        return True
    count = row.get("n_valid") or row.get("n")
    count = count.get("accuracy") if isinstance(count, Mapping) else count
    if not isinstance(count, int):
        return False
    from scipy.stats import binom  # slow to import; only where classes are scored

    return float(binom.sf(round(hits * count) - 1, count, chance)) > SIGNIFICANCE

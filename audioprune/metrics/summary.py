"""What the scores of many recordings come to: means that hide no failure.

``ItemScores`` are the scores of one recording, ``summarise`` makes a ``Summary`` of many. What a
score means is said in speech.py and spectral.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from audioprune.errors import DataError


@dataclass(frozen=True)
class ItemScores:
    """All scores of one recording.

    Attributes:
        id: Name of the recording.
        values: Score per metric; None where there is none, never NaN.
        reasons: Why, for every metric without a score.
    """

    id: str
    values: dict[str, float | None]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Failure:
    """A recording that one metric could not score, and why."""

    id: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """Scores of many recordings.

    Attributes:
        mean: Mean over the valid recordings per metric; None where none is valid.
        std: Standard deviation of the sample (n_valid - 1 in the denominator), None for less than
            two.
        n: Number of recordings.
        n_valid: Number of recordings with a score, per metric.
        failures: Every missing score, in the order of the recordings.
    """

    mean: dict[str, float | None]
    std: dict[str, float | None]
    n: int
    n_valid: dict[str, int]
    failures: list[Failure]


def summarise(results: Sequence[ItemScores]) -> Summary:
    """Return mean, standard deviation and number of valid scores per metric, and all failures.

    Raises:
        DataError: There are no results.
    """
    if not results:
        raise DataError("expected at least one scored recording, got none; check the test set")
    mean, std, n_valid = {}, {}, {}
    for metric in results[0].values:
        valid = [value for result in results if (value := result.values[metric]) is not None]
        n_valid[metric] = len(valid)
        mean[metric] = math.fsum(valid) / len(valid) if valid else None
        std[metric] = statistics.stdev(valid) if len(valid) > 1 else None
    failures = [
        Failure(result.id, metric, reason)
        for result in results
        for metric, reason in result.reasons.items()
    ]
    return Summary(mean, std, len(results), n_valid, failures)

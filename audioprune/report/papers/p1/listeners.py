"""What listeners say of the systems of Plain & Biswas: ratings of a test, judged and shown.

Ratings are the statistics that ``audioprune listen action=stats`` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audioprune.errors import ConfigError
from audioprune.plain.sealing import parse
from audioprune.report.claims import (
    HELD,
    NOT_HELD,
    NOT_MEASURED,
    NOT_SHOWN,
    Claim,
    Verdict,
    claim_of,
)
from audioprune.report.figures.listening import listening_figures, listening_tables
from audioprune.report.page import Section
from audioprune.report.papers.p1.changes import Told, published_text
from audioprune.report.papers.p1.systems import DCAE, DCAE_10, DCAE_PR, P1Evidence

_LISTENED = (
    "The tables hold all ratings of `audioprune listen action=stats`; what the paper's own "
    "listeners said has no printed number."
)
_LEAST_LISTENERS = 3
_BOTH_WAYS = "the interval over listeners reaches both ways"
_HALF_A_GRADE = 10.0  # points of MUSHRA: listeners would name no smaller loss differently


def read_ratings(source: str | Path | None) -> Told | None:
    """Read the statistics of a listening test; None without a file.

    Raises:
        ConfigError: The file holds no statistics of ratings.
    """
    if source is None:
        return None
    path = Path(source)
    path = path / "statistics.json" if path.is_dir() else path
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise ConfigError(
            f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got "
            f"{path} ({reason})"
        ) from error
    wanted = {"tests", "means", "differences", "items", "listeners"}
    if not isinstance(value, dict) or not wanted <= set(value):
        raise ConfigError(
            f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got "
            f"{path}; give that file"
        )
    return value


_QUESTIONS = (
    (DCAE, "coded", "enhances", "Listeners rate the enhancer above the coded input"),
    (DCAE_PR, DCAE, "reduction", "Listeners do not rate the pruned model below the unpruned one"),
    (DCAE_PR, DCAE_10, "smaller", "Listeners do not rate the pruned model below the smaller one"),
)


def heard(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge by listeners, where there are ratings: by the 95 % interval over them."""
    if not evidence.ratings:
        return
    for first, second, key, claim in _QUESTIONS:
        published = published_text(evidence.published["claims"][key])
        for row in evidence.ratings["differences"]:
            if (row["first"], row["second"], row["listeners"]) == (first, second, "all"):
                verdict = _by_listeners(row, key == "enhances")
                scale = f"{row['n']} ratings"
                yield claim_of(claim, row["test"], verdict, _numbers(row), published, scale=scale)


def _numbers(row: Told) -> str:
    pair = f"{row['first']} - {row['second']}"
    told = f"{pair}: {row['mean']:+.1f} points, {row['listener_n']} listeners"
    low, high = row["listener_low"], row["listener_high"]
    if low is None or high is None:
        return told
    return f"{told}, interval {low:+.1f} to {high:+.1f}"


def listening(evidence: P1Evidence, folder: Path) -> list[Section]:
    """Return the section of a listening test, where there are ratings."""
    ratings = evidence.ratings
    if not ratings:
        return []
    tables, pictures = listening_tables(ratings)[:3], listening_figures(ratings, folder)
    return [Section("Listening tests", tuple(tables), tuple(pictures), notes=(_LISTENED,))]


def _by_listeners(row: Told, above: bool) -> Verdict:
    """Judge a difference by its interval over listeners.

    It must be above 0, or not below it by more than half a grade.
    """
    low, high = row["listener_low"], row["listener_high"]
    if low is None or high is None or row["listener_n"] < _LEAST_LISTENERS:
        few = f"an interval over listeners takes {_LEAST_LISTENERS} of them"
        return Verdict(NOT_MEASURED, few)
    if high < 0:
        return Verdict(NOT_HELD, "the whole interval over listeners lies below 0")
    if above:
        if low > 0:
            return Verdict(HELD, "the interval over listeners lies above 0")
        return Verdict(NOT_SHOWN, _BOTH_WAYS)
    leaves = "the interval over listeners leaves"
    if low >= -_HALF_A_GRADE:
        return Verdict(HELD, f"{leaves} no loss of {_HALF_A_GRADE:g} points open")
    return Verdict(NOT_SHOWN, f"{leaves} a loss of {-low:.0f} points open")

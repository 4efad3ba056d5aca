"""Whether a claim of a paper holds in our runs: statuses, conditions, the interval that decides.

``judge`` gives the verdict on a number that was measured once per seed, or once per seed and item,
by the intervals of runs/intervals.py; ``claims_table`` prints judged claims. What a claim says is
written with its paper; this module is the same for all papers.
Nothing is tuned or chosen to make a claim hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audioprune.report.published import Published
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.intervals import Interval, Seed, interval_of
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale, width_in
from audioprune.report.tables import Cell, Column, Table, few

HELD, NOT_HELD, NOT_MEASURED = "held", "did not hold", "not measured"
NOT_SHOWN, NOT_COMPARABLE = "not shown", "not comparable"
ONE_SEED, TWO_SEEDS = "one seed: not judged", "two seeds: not judged"
LEAST_SEEDS = 3
# Keys of a job's configuration whose values a comparison holds equal.
TRAINING_KEYS = ("training", "task")
_ENDS = ("above", "at_least", "below", "at_most")
_MOST_KEYS = 4  # differences that a reason names


@dataclass(frozen=True)
class Claim:
    """One claim, judged for one model.

    Attributes:
        status: One of the statuses of this module.
        numbers: Our numbers in words; they are shown whatever the status.
        published: What the paper says.
        reason: Why the claim is not judged, or what its verdict rests on.
    """

    claim: str
    model: str
    status: str
    numbers: str
    published: str
    seeds: int = 0
    scale: str = "-"
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a claim was judged, and why."""

    status: str
    reason: str = ""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the jobs behind its numbers.

    Attributes:
        name: What it is called in a reason.
        jobs: One for each seed.
        removed: Share of the weights that was taken out, 0..1, where the claim speaks of a pruned
            model; else None.
        no_better: What the model is no better than, see baselines.py; empty where it is better.
    """

    name: str
    jobs: tuple[Job, ...]
    removed: float | None = None
    no_better: str = ""


@dataclass(frozen=True)
class Bound:
    """What a claim says of a number: more than ``above``, or less than ``below``.

    ``at_most`` and ``at_least`` include the end.

    Attributes:
        margin: The widest interval that can show it, or None for any.
    """

    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    margin: float | None = None


def judge(
    values: Mapping[Seed, float] | Sequence[float],
    bound: Bound,
    conditions: Iterable[str] = (),
    sides: Sequence[Side] = (),
) -> Verdict:
    """Judge a claim about one number by its values over the seeds.

    Args:
        values: The number of every seed, such as the differences of ``paired``; where these know
            every item, the interval is over items and seeds, else over seeds alone.
        bound: What the claim says of it.
        conditions: What the comparison lacks, each in words; empty texts are conditions that are
            met.
        sides: The models of the comparison, of which none may be no better than its baseline.

    Returns:
        ``not measured`` without a value; ``not comparable`` where a condition is missed or the
        interval is wider than the margin; ``not shown`` where a model is no better than its
        baseline; ``one seed: not judged`` and ``two seeds: not judged``; ``held`` where the whole
        interval is as claimed, ``did not hold`` where none of it is, and ``not shown`` where it
        reaches both ways.
    """
    if not values:
        return Verdict(NOT_MEASURED, "no seed has the numbers of both sides")
    early = ready(len(values), conditions, sides)
    if early:
        return early
    found = interval_of(values)
    return _by_interval(found, bound) if found else Verdict(ONE_SEED)


def ready(
    seeds: int, conditions: Iterable[str] = (), sides: Sequence[Side] = ()
) -> Verdict | None:
    """Return why a claim cannot be judged, or None where it can.

    It is enough for claims that say nothing of a mean.
    """
    missed = list(dict.fromkeys(filter(None, conditions)))
    if missed:
        return Verdict(NOT_COMPARABLE, "; ".join(missed))
    idle = [f"{side.name} is {side.no_better}" for side in sides if side.no_better]
    if idle:
        return Verdict(NOT_SHOWN, "; ".join(dict.fromkeys(idle)))
    if seeds < LEAST_SEEDS:
        return Verdict(
            ONE_SEED if seeds < 2 else TWO_SEEDS,
            f"an interval over seeds needs at least {LEAST_SEEDS} of them",
        )
    return None


def _by_interval(found: Interval, bound: Bound) -> Verdict:
    if bound.margin is not None and found.width > bound.margin:
        return Verdict(
            NOT_COMPARABLE,
            f"the interval over {found.over} is {found.width:.3g} wide, more than "
            f"{bound.margin:g}",
        )
    inside, outside = _inside(found, bound)
    if inside:
        return Verdict(HELD, f"the whole interval over {found.over} is as claimed")
    if outside:
        return Verdict(NOT_HELD, f"no part of the interval over {found.over} is as claimed")
    return Verdict(NOT_SHOWN, f"the interval over {found.over} reaches both ways")


def _inside(found: Interval, bound: Bound) -> tuple[bool, bool]:
    """Tell whether an interval lies within a bound, and whether all of it lies beyond an end."""
    whole, none = [], []
    for end in _ENDS:
        limit = getattr(bound, end)
        if limit is None:
            continue
        worst, best = found.low, found.high
        if end in ("below", "at_most"):  # upper ends are lower ends of the negated interval
            worst, best, limit = -found.high, -found.low, -limit
        strict = end in ("above", "below")
        whole.append(worst > limit if strict else worst >= limit)
        none.append(best <= limit if strict else best < limit)
    return all(whole), any(none)


def all_cells(verdicts: Mapping[str, Verdict], named: Iterable[str] = ()) -> Verdict:
    """Join the verdicts of all cells that a claim names: it holds where it holds in every one.

    Args:
        verdicts: By the name of the cell, such as ``"-5 dB"``.
        named: All cells that the claim names; one without a verdict was not measured.
    """
    absent = [name for name in named if name not in verdicts]
    if absent or not verdicts:
        return Verdict(NOT_MEASURED, f"{', '.join(absent) or 'no cell'} not measured")
    for status in (NOT_MEASURED, NOT_COMPARABLE, ONE_SEED, TWO_SEEDS, NOT_HELD, NOT_SHOWN):
        found = {name: verdict for name, verdict in verdicts.items() if verdict.status == status}
        if found:
            return Verdict(status, _joined(found, len(verdicts)))
    several = "all of " if len(verdicts) > 1 else ""
    return Verdict(HELD, f"as claimed in {several}{', '.join(verdicts)}")


def _joined(found: Mapping[str, Verdict], of: int) -> str:
    reasons = list(dict.fromkeys(verdict.reason for verdict in found.values()))
    if len(found) == of and len(reasons) == 1:
        return reasons[0]
    return "; ".join(f"{name}: {verdict.reason}" for name, verdict in found.items())


def same_corpus(*sides: Side) -> str:
    """Return why the sides were not measured on one corpus, or an empty text."""
    found = by_corpus(_jobs(sides))
    titles = " | ".join(corpus.title for corpus, _ in found)
    return f"the corpora differ ({titles})" if len(found) > 1 else ""


def _jobs(sides: Sequence[Side]) -> list[Job]:
    """Return the jobs of all sides, each once."""
    return list({id(job): job for side in sides for job in side.jobs}.values())


def same_settings(
    *sides: Side, within: Sequence[str] = TRAINING_KEYS, apart: Sequence[str] = ()
) -> str:
    """Return which settings differ between the sides, or an empty text.

    Args:
        sides: What is compared.
        within: Parts of the configuration that must agree, such as ``training`` or ``pipeline``.
        apart: Last parts of keys in which the sides differ by what the claim is about, such as
            ``lambda_1``.
    """
    jobs = _jobs(sides)
    left_out = {"name", "seed", *apart}
    told = []
    for key in sorted({key for job in jobs for key in job.config}):
        is_compared = key.split(".")[0] in within and not {key.rpartition(".")[2], key} & left_out
        values = dict.fromkeys(str(job.config.get(key, "none")) for job in jobs)
        if is_compared and len(values) > 1:
            told.append(f"{key} {' | '.join(values)}")
    return f"the settings differ ({few(told, _MOST_KEYS)})" if told else ""


def same_width(*sides: Side) -> str:
    """Return that the sides are networks of different widths or shapes, or an empty text."""
    widths = dict.fromkeys(filter(None, map(width_of, _jobs(sides))))
    if len(widths) > 1:
        return f"the widths differ ({' | '.join(widths)})"
    configured = map(_configured, sides)
    missed = same_settings(*configured, within=("model",))
    return missed.replace("the settings differ", "the models differ")


def _configured(side: Side) -> Side:
    """Leave out the jobs whose model came from a file: it is not the one that is configured."""
    return replace(side, jobs=tuple(job for job in side.jobs if not job.config.get("checkpoint")))


def width_of(job: Job) -> str:
    """Return the width of a job's network as its scale tells it, or an empty text."""
    return width_in(job.scale)


def same_seeds(*sides: Side) -> str:
    """Return that the sides were run with different seeds, or an empty text."""
    seeds = [sorted({str(job.seed) for job in side.jobs}) for side in sides]
    told = " | ".join(
        f"{side.name}: {', '.join(each)}" for side, each in zip(sides, seeds, strict=True)
    )
    return "" if all(each == seeds[0] for each in seeds) else f"the seeds differ ({told})"


def something_removed(*sides: Side) -> str:
    """Return which side had nothing taken out, or an empty text."""
    whole = [side.name for side in sides if side.removed is not None and not side.removed > 0]
    return f"nothing was removed from {' and '.join(dict.fromkeys(whole))}" if whole else ""


def conditions_of(
    *sides: Side,
    width: bool = True,
    within: Sequence[str] = TRAINING_KEYS,
    apart: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return what a comparison lacks.

    It needs one corpus, equal settings, width and seeds, and weights that were really removed.

    Args:
        sides: What is compared.
        width: Whether the networks must have the same width.
        within: See ``same_settings``.
        apart: See ``same_settings``.
    """
    found = (
        same_corpus(*sides),
        same_settings(*sides, within=within, apart=apart),
        same_width(*sides) if width else "",
        same_seeds(*sides),
        something_removed(*sides),
    )
    return tuple(filter(None, found))


def claim_of(
    claim: str, model: str, verdict: Verdict, numbers: str, published: str, **more: Any
) -> Claim:
    """Return a claim with its verdict; ``more`` are seeds and scale."""
    return Claim(claim, model, verdict.status, numbers, published, reason=verdict.reason, **more)


_COLUMNS = (
    Column("claim", "Claim"),
    Column("model", "Model"),
    Column("status", "Status"),
    Column("numbers", "Our numbers"),
    Column("published", "Published"),
    Column("reason", "Why"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def claims_table(
    name: str, judged: Iterable[Claim], published: Published, notes: Sequence[str] = ()
) -> Table:
    """Return the judged claims of a paper as a table.

    Args:
        name: Name of the table.
        judged: The claims.
        published: The paper's published facts; the caption names ``authors`` and ``venue``.
        notes: Sentences below the table.
    """
    rows = tuple(_claim_row(claim) for claim in judged)
    caption = f"Claims of {published['authors']} ({published['venue']}) and what our runs say"
    honest = "A status speaks of our runs at their scale, not of the paper."
    return Table(name, caption, _COLUMNS, rows, (honest, *notes))


def _claim_row(claim: Claim) -> dict[str, Cell]:
    scale = claim.scale if claim.scale == "-" else honest_scale(claim.scale)
    return {
        **vars(claim),
        "reason": claim.reason or "-",
        "seeds": claim.seeds or "-",
        "scale": scale,
    }


def any_measured(table: Table) -> bool:
    """Tell whether any claim of a table was measured."""
    return any(row["status"] != NOT_MEASURED for row in table.rows)

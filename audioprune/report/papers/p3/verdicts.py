"""How a claim about tickets is judged: means over lotteries and seeds, and what they lack.

What the paper claims is written in ``claims`` and ``machines``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from audioprune.report.claims import (
    NOT_MEASURED,
    Bound,
    Claim,
    Seed,
    Side,
    Verdict,
    claim_of,
    judge,
    same_settings,
    same_width,
)
from audioprune.report.papers.p3.tickets import Mean, Ticket, chosen

ABOUT = 0.05  # "no accuracy lost", "a factor of 1.2": within five points of the multiplier
CLOSE = 1e-3  # a share of 0.7^n meets the share that the paper rounds


Told = Mapping[str, Any]
"""One published claim: its text, its source and its numbers."""


def claim_about(
    claim: str, found: Sequence[Ticket], verdict: Verdict, numbers: str, told: Told
) -> Claim:
    labels = ", ".join(dict.fromkeys(str(ticket.label) for ticket in found))
    scales = " | ".join(dict.fromkeys(ticket.job.scale for ticket in found))
    seeds = len({ticket.seed for ticket in found})
    return claim_of(claim, labels, verdict, numbers, _published(told), seeds=seeds, scale=scales)


def unmeasured(claim: str, reason: str, told: Told) -> Claim:
    return Claim(claim, "-", NOT_MEASURED, reason, _published(told))


def _published(told: Told) -> str:
    return f"{told['text']} ({told['source']})"


def mean_text(mean: Mean) -> str:
    spread = f" [{mean.least:.3f}, {mean.largest:.3f}]" if mean.runs > 1 else ""
    return f"{mean.mean:.3f}{spread} at {100 * mean.removed:.1f} %"


def usable(ticket: Ticket) -> bool:
    return ticket.on_schedule and ticket.error is not None


def at_round(tickets: Iterable[Ticket], iteration: int) -> list[Ticket]:
    return [ticket for ticket in tickets if ticket.iteration == iteration and usable(ticket)]


def by_seed(
    tickets: Iterable[Ticket], number: Callable[[Ticket], float | None]
) -> dict[Seed, float]:
    """Average a number over the lotteries of every seed."""
    found: dict[Seed, list[float]] = {}
    for ticket in tickets:
        value = number(ticket)
        if value is not None:
            found.setdefault(ticket.seed, []).append(value)
    return {seed: statistics.fmean(values) for seed, values in found.items()}


def _error(ticket: Ticket) -> float | None:
    return ticket.error


def lacks_of(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """Return what lotteries that enter one mean lack.

    It is equal training and width of every model, and the same lotteries of every seed.
    """
    found = []
    for label in dict.fromkeys(str(ticket.label) for ticket in tickets):
        jobs = {id(ticket.job): ticket.job for ticket in chosen(tickets, label=label)}
        side = Side(label, tuple(jobs.values()))
        found += [same_settings(side), same_width(side)]
    kinds: dict[Seed, set[tuple[Any, ...]]] = {}
    for ticket in tickets:
        kinds.setdefault(ticket.seed, set()).add(
            (
                ticket.label,
                ticket.dataset,
                ticket.mode,
                ticket.scope,
                ticket.criterion,
                ticket.reset,
            )
        )
    if len({frozenset(kind) for kind in kinds.values()}) > 1:
        found.append("the seeds have different lotteries")
    return tuple(filter(None, found))


def side_of(tickets: Iterable[Ticket]) -> Side:
    """Return the networks that a verdict rests on, and how many of them show nothing.

    Those at the start of their lotteries are among them.
    """
    tickets = list(tickets)
    later = [ticket for ticket in tickets if ticket.iteration]
    firsts = {id(ticket.first): replace(ticket, row=ticket.first) for ticket in later}
    every = [*tickets, *firsts.values()]
    idle = [ticket.no_better for ticket in every if ticket.idle]
    told = f"{idle[0]} in {len(idle)} of {len(every)} networks" if idle else ""
    return Side("what the verdict rests on", tuple(ticket.job for ticket in tickets), None, told)


def judge_mean(
    tickets: Sequence[Ticket], bound: Bound, number: Callable[[Ticket], float | None] = _error
) -> Verdict:
    """Judge the mean of a number over the lotteries of every seed."""
    return judge(by_seed(tickets, number), bound, lacks_of(tickets), (side_of(tickets),))

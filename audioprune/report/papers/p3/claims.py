"""Whether the claims of Esling et al. hold in our lotteries, each under the condition that the paper states.

A claim is judged at the scale of the runs, one corpus at a time; nothing is tuned or chosen to
make one hold. Statuses and conditions are in verdicts.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from audioprune.report.claims import (
    HELD,
    NOT_COMPARABLE,
    NOT_HELD,
    NOT_MEASURED,
    Bound,
    Claim,
    Side,
    Verdict,
    all_cells,
    claim_of,
    ready,
    same_settings,
    same_width,
)
from audioprune.report.claims import claims_table as judged_table
from audioprune.report.claims import judge as judge_number
from audioprune.report.papers.p3.figures import ORIGINAL, PROPOSED
from audioprune.report.papers.p3.paper import (
    CRITERIA,
    Mean,
    Ticket,
    chosen,
    corpora_of,
    idle_note,
    main_setting,
    means,
    smallest,
)
from audioprune.report.platforms import Platform
from audioprune.report.tables import Table

_ABOUT = 0.05  # "no accuracy lost", "a factor of 1.2": within five points of the multiplier
_CLOSE = 1e-3  # a share of 0.7^n meets the share that the paper rounds
Seed = int | None
Told = Mapping[str, Any]
Pairs = Sequence[tuple[Ticket, Ticket]]


def judge(tickets: Sequence[Ticket], reported: Told, platforms: Sequence[Platform]) -> list[Claim]:
    """Judge all claims of the paper by the given tickets; means run over the lotteries of the most common setting of a corpus."""
    groups = corpora_of(tickets)
    judged: list[Claim] = []
    for corpus, mine in groups:
        found = _judge_on(mine, reported, platforms)
        judged += [
            replace(claim, model=f"{claim.model}; {corpus.title}") if len(groups) > 1 else claim
            for claim in found
        ]
    return judged or _judge_on([], reported, platforms)


def _judge_on(
    tickets: Sequence[Ticket], reported: Told, platforms: Sequence[Platform]
) -> list[Claim]:
    main, told = main_setting(tickets), reported["claims"]
    return [
        _winning(
            "Masked networks (local, magnitude) have a lower error than the unpruned one",
            ORIGINAL,
            main,
            told["masking_best"],
        ),
        _winning(
            "Trimmed networks (global, information) have a lower error than the unpruned one",
            PROPOSED,
            main,
            told["trimming_best"],
        ),
        _at(
            "Trimming (global, information) costs nothing at 95 % removed",
            main,
            told["trimming_95"],
        ),
        _at(
            "Trimming (global, information) costs a factor of at most about 1.2 at 99 % removed",
            main,
            told["trimming_99"],
        ),
        *_prunability(main, told["prunability"]),
        *_scopes(main, told["scope"]),
        _information(main, told["information"]),
        *_resets(main, told["reset"]),
        *_machines(tickets, platforms, told),
    ]


def claims_table(
    tickets: Sequence[Ticket], reported: Told, platforms: Sequence[Platform]
) -> Table:
    """Return the judged claims as a table."""
    notes = (
        "Multipliers are means over models and seeds at one round, with the least and the "
        "largest in brackets; a verdict rests on the "
        "means of the seeds. Networks that are no better than a trivial prediction show nothing.",
        *idle_note(tickets),
        *(f"{note}." for note in reported["notes"]),
    )
    return judged_table("p3_claims", judge(tickets, reported, platforms), reported, notes)


def _claim(
    claim: str, found: Sequence[Ticket], verdict: Verdict, numbers: str, told: Told
) -> Claim:
    labels = ", ".join(dict.fromkeys(str(ticket.label) for ticket in found))
    scales = " | ".join(dict.fromkeys(ticket.job.scale for ticket in found))
    seeds = len({ticket.seed for ticket in found})
    return claim_of(claim, labels, verdict, numbers, _published(told), seeds=seeds, scale=scales)


def _unmeasured(claim: str, reason: str, told: Told) -> Claim:
    return Claim(claim, "-", NOT_MEASURED, reason, _published(told))


def _published(told: Told) -> str:
    return f"{told['text']} ({told['source']})"


def _text(mean: Mean) -> str:
    spread = f" [{mean.least:.3f}, {mean.largest:.3f}]" if mean.runs > 1 else ""
    return f"{mean.mean:.3f}{spread} at {100 * mean.removed:.1f} %"


def _usable(ticket: Ticket) -> bool:
    return ticket.on_schedule and ticket.error is not None


def _at_round(tickets: Iterable[Ticket], iteration: int) -> list[Ticket]:
    return [ticket for ticket in tickets if ticket.iteration == iteration and _usable(ticket)]


def _by_seed(
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


def _lacks(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """Return what lotteries that enter one mean lack: equal training and width of every model, and the same lotteries of every seed."""
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


def _side(tickets: Iterable[Ticket]) -> Side:
    """Return the networks that a verdict rests on, those at the start of their lotteries too, and how many show nothing."""
    tickets = list(tickets)
    firsts = {
        id(ticket.first): replace(ticket, row=ticket.first)
        for ticket in tickets
        if ticket.iteration
    }
    every = [*tickets, *firsts.values()]
    idle = [ticket.no_better for ticket in every if ticket.idle]
    told = f"{idle[0]} in {len(idle)} of {len(every)} networks" if idle else ""
    return Side("what the verdict rests on", tuple(ticket.job for ticket in tickets), None, told)


def _judge(
    tickets: Sequence[Ticket], bound: Bound, number: Callable[[Ticket], float | None] = _error
) -> Verdict:
    """Judge the mean of a number over the lotteries of every seed."""
    return judge_number(_by_seed(tickets, number), bound, _lacks(tickets), (_side(tickets),))


def _winning(
    claim: str, wanted: Mapping[str, Any], tickets: Sequence[Ticket], told: Told
) -> Claim:
    found = chosen(tickets, reset="rewind", **wanted)
    later = [mean for mean in means(found) if mean.iteration]
    if not later:
        return _unmeasured(claim, "not run", told)
    best = min(later, key=lambda mean: mean.mean)
    near = min(later, key=lambda mean: abs(mean.removed - told["removed"]))
    below = [mean for mean in later if mean.mean < 1]
    furthest = (
        f"; below 1 up to {100 * max(mean.removed for mean in below):.1f} %" if below else ""
    )
    verdict = _judge(_at_round(found, best.iteration), Bound(below=1.0))
    numbers = f"lowest {_text(best)}; {_text(near)}{furthest}{_per_model(found, best.iteration)}"
    return _claim(claim, found, verdict, numbers, told)


def _per_model(tickets: Sequence[Ticket], iteration: int) -> str:
    labels = list(dict.fromkeys(str(ticket.label) for ticket in tickets))
    if len(labels) < 2:
        return ""
    there = _at_round(tickets, iteration)
    values = [(label, [ticket.error for ticket in chosen(there, label=label)]) for label in labels]
    return "; there " + ", ".join(
        f"{label} {statistics.fmean(errors):.3f}" for label, errors in values if errors
    )


def _at(claim: str, tickets: Sequence[Ticket], told: Told) -> Claim:
    found = chosen(tickets, reset="rewind", **PROPOSED)
    reached = [mean for mean in means(found) if mean.removed >= told["removed"] - _CLOSE]
    if not reached:
        most = max((mean.removed for mean in means(found)), default=0.0)
        return _unmeasured(
            claim, f"at most {100 * most:.1f} % removed" if found else "not run", told
        )
    first = min(reached, key=lambda mean: mean.removed)
    verdict = _judge(_at_round(found, first.iteration), Bound(at_most=told["multiplier"] + _ABOUT))
    return _claim(
        claim, found, verdict, f"{_text(first)}{_per_model(found, first.iteration)}", told
    )


def _prunability(tickets: Sequence[Ticket], told: Told) -> Iterator[Claim]:
    claim = "Masking nearly all weights frees at most a third of the units"
    for scope in ("local", "global"):
        found = chosen(tickets, mode="mask", reset="rewind", criterion="magnitude", scope=scope)
        ends = means(found, _freed)
        if not ends or ends[-1].iteration == 0:
            yield _unmeasured(f"{claim} ({scope})", "not run", told)
            continue
        last = ends[-1]
        spread = f"[{100 * last.least:.1f}, {100 * last.largest:.1f}]"
        numbers = f"{100 * last.mean:.1f} % {spread} of the units at {100 * last.removed:.1f} %"
        verdict = _judge(_at_round(found, last.iteration), Bound(at_most=1 / 3), _freed)
        if last.removed < told["removed"] - _CLOSE:
            reason = (
                f"{100 * last.removed:.1f} % of the weights are masked, the paper masks "
                f"{100 * told['removed']:g} %"
            )
            verdict = Verdict(NOT_COMPARABLE, reason)
        yield _claim(f"{claim} ({scope})", found, verdict, numbers, told)


def _freed(ticket: Ticket) -> float:
    return ticket.units_masked / max(1, ticket.units)


def _pairs(
    one: Iterable[Ticket], other: Iterable[Ticket], key: Callable[[Ticket], Any]
) -> list[tuple[Ticket, Ticket]]:
    """Return the tickets of equal key and round that both sides have, unpruned ones left out."""
    known = {(key(ticket), ticket.iteration): ticket for ticket in other if _usable(ticket)}
    mine = [ticket for ticket in one if ticket.iteration and _usable(ticket)]
    return [
        (ticket, known[place])
        for ticket in mine
        if (place := (key(ticket), ticket.iteration)) in known
    ]


def _judge_pairs(pairs: Pairs, bound: Bound) -> Verdict:
    """Judge the mean difference of the errors of both sides, seed by seed."""
    found: dict[Seed, list[float]] = {}
    for one, other in pairs:
        found.setdefault(one.seed, []).append(one.error - other.error)
    values = {seed: statistics.fmean(differences) for seed, differences in found.items()}
    both = [ticket for pair in pairs for ticket in pair]
    return judge_number(values, bound, _lacks(both), (_side(both),))


def _means_of(pairs: Pairs) -> tuple[float, float]:
    first, second = zip(*((one.error, other.error) for one, other in pairs), strict=True)
    return statistics.fmean(first), statistics.fmean(second)


def _rounds_below(pairs: Pairs) -> tuple[int, int]:
    """Return in how many rounds the mean of the first side is lower, and how many rounds there are."""
    rounds: dict[int, list[float]] = {}
    for one, other in pairs:
        rounds.setdefault(one.iteration, []).append(one.error - other.error)
    return sum(statistics.fmean(differences) < 0 for differences in rounds.values()), len(rounds)


def _run_of(ticket: Ticket) -> tuple[Any, ...]:
    return ticket.run


def _scopes(tickets: Sequence[Ticket], told: Told) -> Iterator[Claim]:
    trimmed = chosen(tickets, mode="trim", reset="rewind")
    pairs = _pairs(chosen(trimmed, scope="global"), chosen(trimmed, scope="local"), _run_of)
    for low, claim in (
        (True, "Global selection trims better than local up to 90 % removed"),
        (False, "Local is better beyond 90 %"),
    ):
        mine = [pair for pair in pairs if (pair[1].removed <= told["removed"]) == low]
        if not mine:
            yield _unmeasured(claim, "no lottery with both selections at such ratios", told)
            continue
        wide, local = _means_of(mine)
        below, rounds = _rounds_below(mine)
        claimed = below if low else rounds - below
        numbers = (
            f"means over rounds: local {local:.3f}, global {wide:.3f}; as claimed in {claimed} "
            f"of {rounds} rounds"
        )
        verdict = _judge_pairs(mine, Bound(below=0.0) if low else Bound(above=0.0))
        yield _claim(claim, [ticket for pair in mine for ticket in pair], verdict, numbers, told)


def _information(tickets: Sequence[Ticket], told: Told) -> Claim:
    claim = "Information is the best criterion of global trimming up to 90 % removed"
    found = chosen(tickets, mode="trim", scope="global", reset="rewind")
    found = [ticket for ticket in found if ticket.removed <= told["removed"]]
    own = chosen(found, criterion="information")
    cells: dict[str, Verdict] = {}
    numbers = []
    for name in (name for name in CRITERIA if name != "information"):
        pairs = _pairs(
            own,
            chosen(found, criterion=name),
            lambda ticket: (ticket.model, ticket.dataset, ticket.seed),
        )
        if pairs:
            cells[name] = _judge_pairs(pairs, Bound(below=0.0))
            mine, other = _means_of(pairs)
            numbers.append(f"information {mine:.3f} against {name} {other:.3f}")
    if not cells:
        return _unmeasured(claim, "information or its rivals not run", told)
    # A model without normalisation layers has no such criterion.
    named = [name for name in CRITERIA if name not in ("information", "normalization")]
    return _claim(
        claim,
        found,
        all_cells(cells, named),
        f"means over common rounds: {'; '.join(numbers)}",
        told,
    )


def _resets(tickets: Sequence[Ticket], told: Told) -> Iterator[Claim]:
    for words, wanted in (
        ("masked (local, magnitude)", ORIGINAL),
        ("trimmed (global, information)", PROPOSED),
    ):
        claim = f"Rewound networks do better than reinitialised ones, {words}"
        pairs = _pairs(
            chosen(tickets, reset="rewind", **wanted),
            chosen(tickets, reset="reinit", **wanted),
            _run_of,
        )
        if not pairs:
            yield _unmeasured(claim, "not run with both", told)
            continue
        rewound, drawn = _means_of(pairs)
        below, rounds = _rounds_below(pairs)
        numbers = (
            f"means over rounds: rewound {rewound:.3f}, reinitialised {drawn:.3f}; better in "
            f"{below} of {rounds} rounds"
        )
        verdict = _judge_pairs(pairs, Bound(below=0.0))
        yield _claim(claim, [ticket for pair in pairs for ticket in pair], verdict, numbers, told)


def _machines(
    tickets: Sequence[Ticket], platforms: Sequence[Platform], told: Told
) -> Iterator[Claim]:
    """Judge what fits the machines: no network of any round may fit an Arduino cheaply, and the smallest ones must fit the RPi."""
    trimmed = [ticket for ticket in chosen(tickets, mode="trim") if ticket.error is not None]
    last = [ticket for ticket in smallest(trimmed) if ticket.iteration]
    firsts = chosen(trimmed, iteration=0)
    boards = [platform for platform in platforms if platform.family == "Arduino"]
    rounds = [ticket for ticket in trimmed if ticket.iteration]
    yield _arduino(rounds, firsts, boards, told["arduino"])
    board = next((platform for platform in platforms if platform.name == "RPi 1B"), None)
    yield _raspberry(last, firsts, board, told["raspberry"])


def _arduino(
    rounds: Sequence[Ticket], firsts: Sequence[Ticket], boards: Sequence[Platform], told: Told
) -> Claim:
    claim = (
        f"A network fits the drive of an Arduino only at {told['multiplier']:g} times the error "
        f"or more; none fits its memory and speed"
    )
    if not rounds or not boards:
        return _unmeasured(claim, "no trimmed network", told)
    fits = [
        (ticket, ticket.bounds(board)) for ticket in rounds for board in boards if not ticket.idle
    ]
    stored = list({id(ticket): ticket for ticket, bound in fits if bound.fits_drive}.values())
    whole = {id(ticket) for ticket, bound in fits if bound.real_time and bound.fits_memory}
    least: dict[Seed, float] = {}
    for ticket in stored:
        least[ticket.seed] = min(ticket.error, least.get(ticket.seed, ticket.error))
    at_first = any(ticket.bounds(board).fits_drive for ticket in firsts for board in boards)
    lacks = (
        "an unpruned network of this scale fits the drive already" if at_first else "",
        *_settings_of(rounds),
    )
    cells = {
        "drive": judge_number(least, Bound(at_least=told["multiplier"] - _ABOUT), lacks),
        "memory and speed": Verdict(
            NOT_HELD if whole else HELD, f"{len(whole)} of {len(rounds)} networks fit"
        ),
    }
    best = min(stored, key=lambda ticket: ticket.error, default=None)
    numbers = (
        "none fits a drive"
        if best is None
        else f"{best.label} at {best.error:.2f} ({100 * best.removed:.1f} % removed)"
    )
    numbers += f"; memory and speed fit {len(whole)} of {len(rounds)} networks"
    return _claim(claim, rounds, all_cells(cells), numbers, told)


def _raspberry(
    last: Sequence[Ticket], firsts: Sequence[Ticket], board: Platform | None, told: Told
) -> Claim:
    claim = "Trimmed networks fit drive and memory of the RPi 1B"
    if not last or board is None:
        return _unmeasured(claim, "no trimmed network", told)
    fits = [ticket.bounds(board) for ticket in last if not ticket.idle]
    numbers = (
        f"{sum(each.embeddable for each in fits)} of {len(fits)} fit; real-time: "
        f"{sum(each.real_time for each in fits)}"
    )
    at_first = bool(firsts) and all(ticket.bounds(board).embeddable for ticket in firsts)
    lacks = (
        "every unpruned network of this scale fits already" if at_first else "",
        *_settings_of(last),
    )
    good = bool(fits) and all(each.embeddable for each in fits)
    verdict = ready(len({ticket.seed for ticket in last}), lacks) or Verdict(
        HELD if good else NOT_HELD, numbers
    )
    return _claim(claim, last, verdict, numbers, told)


def _settings_of(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """Return what the trainings of a model lack; machines are compared with lotteries of any kind."""
    return tuple(reason for reason in _lacks(tickets) if not reason.startswith("the seeds"))

"""Whether the claims of Esling et al. hold in our lotteries, under the conditions of the paper.

``RULES`` judges them at the scale of the runs, one corpus at a time; nothing is tuned or chosen to
make one hold.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from audioprune.report.claims import (
    NOT_COMPARABLE,
    Bound,
    Claim,
    Seed,
    Verdict,
    all_cells,
    judge,
)
from audioprune.report.papers.p3.machines import fit_machines
from audioprune.report.papers.p3.tickets import (
    CRITERIA,
    ORIGINAL,
    PROPOSED,
    P3Evidence,
    Ticket,
    chosen,
    corpora_of,
    idle_note,
    main_setting,
    means,
)
from audioprune.report.papers.p3.verdicts import (
    ABOUT,
    CLOSE,
    Told,
    at_round,
    claim_about,
    judge_mean,
    lacks_of,
    mean_text,
    side_of,
    unmeasured,
    usable,
)

Pairs = Sequence[tuple[Ticket, Ticket]]


def lotteries(evidence: P3Evidence) -> Iterator[Claim]:
    """Judge all claims, one corpus after the other.

    Means run over the lotteries of the most common setting of a corpus.
    """
    groups = corpora_of(evidence.tickets)
    if not groups:
        yield from _judge_on([], evidence)
    for corpus, mine in groups:
        for each in _judge_on(mine, evidence):
            several = len(groups) > 1
            yield replace(each, model=f"{each.model}; {corpus.title}") if several else each


def _judge_on(tickets: Sequence[Ticket], evidence: P3Evidence) -> Iterator[Claim]:
    main, told = main_setting(tickets), evidence.published["claims"]
    words = "have a lower error than the unpruned one"
    masked, trimmed = told["masking_best"], told["trimming_best"]
    yield _winning(f"Masked networks (local, magnitude) {words}", ORIGINAL, main, masked)
    yield _winning(f"Trimmed networks (global, information) {words}", PROPOSED, main, trimmed)
    words = "Trimming (global, information) costs"
    yield _at(f"{words} nothing at 95 % removed", main, told["trimming_95"])
    yield _at(f"{words} a factor of at most about 1.2 at 99 % removed", main, told["trimming_99"])
    yield from _prunability(main, told["prunability"])
    yield from _scopes(main, told["scope"])
    yield _information(main, told["information"])
    yield from _resets(main, told["reset"])
    yield from fit_machines(tickets, evidence.platforms, told)


RULES = (lotteries,)


def notes(evidence: P3Evidence) -> tuple[str, ...]:
    """Return the sentences below the table of claims."""
    return (
        "Multipliers are means over models and seeds at one round, with the least and the "
        "largest in brackets; a verdict rests on the "
        "means of the seeds. Networks that are no better than a trivial prediction show nothing.",
        *idle_note(evidence.tickets),
        *(f"{note}." for note in evidence.published["notes"]),
    )


def _winning(
    claim: str, wanted: Mapping[str, Any], tickets: Sequence[Ticket], told: Told
) -> Claim:
    found = chosen(tickets, reset="rewind", **wanted)
    later = [mean for mean in means(found) if mean.iteration]
    if not later:
        return unmeasured(claim, "not run", told)
    best = min(later, key=lambda mean: mean.mean)
    near = min(later, key=lambda mean: abs(mean.removed - told["removed"]))
    below = [mean for mean in later if mean.mean < 1]
    furthest = (
        f"; below 1 up to {100 * max(mean.removed for mean in below):.1f} %" if below else ""
    )
    verdict = judge_mean(at_round(found, best.iteration), Bound(below=1.0))
    numbers = (
        f"lowest {mean_text(best)}; {mean_text(near)}{furthest}{_per_model(found, best.iteration)}"
    )
    return claim_about(claim, found, verdict, numbers, told)


def _per_model(tickets: Sequence[Ticket], iteration: int) -> str:
    labels = list(dict.fromkeys(str(ticket.label) for ticket in tickets))
    if len(labels) < 2:
        return ""
    there = at_round(tickets, iteration)
    told = []
    for label in labels:
        errors = [ticket.known_error for ticket in chosen(there, label=label)]
        told += [f"{label} {statistics.fmean(errors):.3f}"] if errors else []
    return f"; there {', '.join(told)}"


def _at(claim: str, tickets: Sequence[Ticket], told: Told) -> Claim:
    found = chosen(tickets, reset="rewind", **PROPOSED)
    reached = [mean for mean in means(found) if mean.removed >= told["removed"] - CLOSE]
    if not reached:
        most = max((mean.removed for mean in means(found)), default=0.0)
        return unmeasured(
            claim, f"at most {100 * most:.1f} % removed" if found else "not run", told
        )
    first = min(reached, key=lambda mean: mean.removed)
    verdict = judge_mean(
        at_round(found, first.iteration), Bound(at_most=told["multiplier"] + ABOUT)
    )
    return claim_about(
        claim, found, verdict, f"{mean_text(first)}{_per_model(found, first.iteration)}", told
    )


def _prunability(tickets: Sequence[Ticket], told: Told) -> Iterator[Claim]:
    claim = "Masking nearly all weights frees at most a third of the units"
    for scope in ("local", "global"):
        found = chosen(tickets, mode="mask", reset="rewind", criterion="magnitude", scope=scope)
        ends = means(found, _freed)
        if not ends or ends[-1].iteration == 0:
            yield unmeasured(f"{claim} ({scope})", "not run", told)
            continue
        last = ends[-1]
        spread = f"[{100 * last.least:.1f}, {100 * last.largest:.1f}]"
        numbers = f"{100 * last.mean:.1f} % {spread} of the units at {100 * last.removed:.1f} %"
        verdict = judge_mean(at_round(found, last.iteration), Bound(at_most=1 / 3), _freed)
        if last.removed < told["removed"] - CLOSE:
            reason = (
                f"{100 * last.removed:.1f} % of the weights are masked, the paper masks "
                f"{100 * told['removed']:g} %"
            )
            verdict = Verdict(NOT_COMPARABLE, reason)
        yield claim_about(f"{claim} ({scope})", found, verdict, numbers, told)


def _freed(ticket: Ticket) -> float:
    return ticket.units_masked / max(1, ticket.units)


def _pairs(
    one: Iterable[Ticket], other: Iterable[Ticket], key: Callable[[Ticket], Any]
) -> list[tuple[Ticket, Ticket]]:
    """Return the tickets of equal key and round that both sides have, unpruned ones left out."""
    known = {(key(ticket), ticket.iteration): ticket for ticket in other if usable(ticket)}
    pairs = []
    for ticket in one:
        place = (key(ticket), ticket.iteration)
        if ticket.iteration and usable(ticket) and place in known:
            pairs.append((ticket, known[place]))
    return pairs


def _judge_pairs(pairs: Pairs, bound: Bound) -> Verdict:
    """Judge the mean difference of the errors of both sides, seed by seed."""
    found: dict[Seed, list[float]] = {}
    for one, other in pairs:
        found.setdefault(one.seed, []).append(one.known_error - other.known_error)
    values = {seed: statistics.fmean(differences) for seed, differences in found.items()}
    both = [ticket for pair in pairs for ticket in pair]
    return judge(values, bound, lacks_of(both), (side_of(both),))


def _means_of(pairs: Pairs) -> tuple[float, float]:
    first = statistics.fmean(one.known_error for one, _ in pairs)
    return first, statistics.fmean(other.known_error for _, other in pairs)


def _rounds_below(pairs: Pairs) -> tuple[int, int]:
    """Return in how many rounds the first side has the lower mean, and the number of rounds."""
    rounds: dict[int, list[float]] = {}
    for one, other in pairs:
        rounds.setdefault(one.iteration, []).append(one.known_error - other.known_error)
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
            yield unmeasured(claim, "no lottery with both selections at such ratios", told)
            continue
        wide, local = _means_of(mine)
        below, rounds = _rounds_below(mine)
        claimed = below if low else rounds - below
        numbers = (
            f"means over rounds: local {local:.3f}, global {wide:.3f}; as claimed in {claimed} "
            f"of {rounds} rounds"
        )
        verdict = _judge_pairs(mine, Bound(below=0.0) if low else Bound(above=0.0))
        yield claim_about(
            claim, [ticket for pair in mine for ticket in pair], verdict, numbers, told
        )


def _information(tickets: Sequence[Ticket], told: Told) -> Claim:
    claim = "Information is the best criterion of global trimming up to 90 % removed"
    found = chosen(tickets, mode="trim", scope="global", reset="rewind")
    found = [ticket for ticket in found if ticket.removed <= told["removed"]]
    own = chosen(found, criterion="information")
    cells: dict[str, Verdict] = {}
    numbers = []
    for name in (name for name in CRITERIA if name != "information"):
        pairs = _pairs(own, chosen(found, criterion=name), _trained_alike)
        if pairs:
            cells[name] = _judge_pairs(pairs, Bound(below=0.0))
            mine, other = _means_of(pairs)
            numbers.append(f"information {mine:.3f} against {name} {other:.3f}")
    if not cells:
        return unmeasured(claim, "information or its rivals not run", told)
    # A model without normalisation layers has no such criterion.
    named = [name for name in CRITERIA if name not in ("information", "normalization")]
    told_means = f"means over common rounds: {'; '.join(numbers)}"
    return claim_about(claim, found, all_cells(cells, named), told_means, told)


def _trained_alike(ticket: Ticket) -> tuple[Any, ...]:
    return ticket.model, ticket.dataset, ticket.seed


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
            yield unmeasured(claim, "not run with both", told)
            continue
        rewound, drawn = _means_of(pairs)
        below, rounds = _rounds_below(pairs)
        numbers = (
            f"means over rounds: rewound {rewound:.3f}, reinitialised {drawn:.3f}; better in "
            f"{below} of {rounds} rounds"
        )
        verdict = _judge_pairs(pairs, Bound(below=0.0))
        yield claim_about(
            claim, [ticket for pair in pairs for ticket in pair], verdict, numbers, told
        )

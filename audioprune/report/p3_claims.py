"""Whether the claims of Esling et al. hold in our lotteries: held, did not hold, or not measured, with the numbers.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audioprune.platforms import Platform
from audioprune.report.claims import HELD, NOT_HELD, NOT_MEASURED, Claim, judged_table
from audioprune.report.p3 import CRITERIA, Mean, Ticket, chosen, idle_note, main_setting, means
from audioprune.report.p3_figures import ORIGINAL, PROPOSED
from audioprune.report.tables import Table

_ABOUT = 0.05  # "no accuracy lost", "a factor of 1.2": within five points of the multiplier


def judge(tickets: Sequence[Ticket], reported: Mapping[str, Any], platforms: Sequence[Platform]) -> list[Claim]:
    """Judge all claims of the paper by the given tickets; means run over the lotteries of the most common setting."""
    main = main_setting(tickets)
    told = reported["claims"]
    return [
        _winning("Masked networks (local, magnitude) have a lower error than the unpruned one", ORIGINAL, main, told["masking_best"]),
        _winning("Trimmed networks (global, information) have a lower error than the unpruned one", PROPOSED, main, told["trimming_best"]),
        _at("Trimming (global, information) costs nothing at 95 % removed", main, told["trimming_95"]),
        _at("Trimming (global, information) costs a factor of at most about 1.2 at 99 % removed", main, told["trimming_99"]),
        *_prunability(main, told["prunability"]),
        *_scopes(main, told["scope"]),
        _information(main, told["information"]),
        *_resets(main, told["reset"]),
        *_machines(tickets, platforms, told),
    ]


def claims_table(tickets: Sequence[Ticket], reported: Mapping[str, Any], platforms: Sequence[Platform]) -> Table:
    """Return the judged claims as a table."""
    notes = (
        "Multipliers are means over models, corpora and seeds at one round, with the least and the largest in brackets.",
        *idle_note(tickets),
        *(f"{note}." for note in reported["notes"]),
    )
    return judged_table("p3_claims", judge(tickets, reported, platforms), reported, notes)


def _claim(claim: str, found: Sequence[Ticket], held: bool, numbers: str, told: Mapping[str, Any]) -> Claim:
    labels = ", ".join(dict.fromkeys(str(ticket.label) for ticket in found))
    scales = " | ".join(dict.fromkeys(ticket.job.scale for ticket in found))
    seeds = len({ticket.seed for ticket in found})
    return Claim(claim, labels, HELD if held else NOT_HELD, numbers, _published(told), seeds, scales)


def _unmeasured(claim: str, reason: str, told: Mapping[str, Any]) -> Claim:
    return Claim(claim, "-", NOT_MEASURED, reason, _published(told))


def _published(told: Mapping[str, Any]) -> str:
    return f"{told['text']} ({told['source']})"


def _text(mean: Mean) -> str:
    spread = f" [{mean.least:.3f}, {mean.largest:.3f}]" if mean.runs > 1 else ""
    return f"{mean.mean:.3f}{spread} at {100 * mean.removed:.1f} %"


def _winning(claim: str, wanted: Mapping[str, Any], tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Claim:
    found = chosen(tickets, reset="rewind", **wanted)
    later = [mean for mean in means(found) if mean.iteration]
    if not later:
        return _unmeasured(claim, "not run", told)
    best = min(later, key=lambda mean: mean.mean)
    near = min(later, key=lambda mean: abs(mean.removed - told["removed"]))
    below = [mean for mean in later if mean.mean < 1]
    furthest = f"; below 1 up to {100 * max(mean.removed for mean in below):.1f} %" if below else ""
    return _claim(claim, found, best.mean < 1, f"lowest {_text(best)}; {_text(near)}{furthest}{_per_model(found, best.iteration)}", told)


def _per_model(tickets: Sequence[Ticket], iteration: int) -> str:
    labels = list(dict.fromkeys(str(ticket.label) for ticket in tickets))
    if len(labels) < 2:
        return ""
    there = [ticket for ticket in tickets if ticket.iteration == iteration and ticket.error is not None]
    values = [(label, [ticket.error for ticket in chosen(there, label=label)]) for label in labels]
    return "; there " + ", ".join(f"{label} {statistics.fmean(errors):.3f}" for label, errors in values if errors)


def _at(claim: str, tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Claim:
    found = chosen(tickets, reset="rewind", **PROPOSED)
    reached = [mean for mean in means(found) if mean.removed >= told["removed"] - 1e-3]
    if not reached:
        most = max((mean.removed for mean in means(found)), default=0.0)
        return _unmeasured(claim, f"at most {100 * most:.1f} % removed" if found else "not run", told)
    first = min(reached, key=lambda mean: mean.removed)
    at = _per_model(found, first.iteration)
    return _claim(claim, found, first.mean <= told["multiplier"] + _ABOUT, f"{_text(first)}{at}", told)


def _prunability(tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Iterator[Claim]:
    claim = "Masking nearly all weights frees at most a third of the units"
    for scope in ("local", "global"):
        found = chosen(tickets, mode="mask", reset="rewind", criterion="magnitude", scope=scope)
        ends = means(found, lambda ticket: ticket.units_masked / max(1, ticket.units))
        if not ends or ends[-1].iteration == 0:
            yield _unmeasured(f"{claim} ({scope})", "not run", told)
            continue
        last = ends[-1]
        numbers = f"{100 * last.mean:.1f} % [{100 * last.least:.1f}, {100 * last.largest:.1f}] of the units at {100 * last.removed:.1f} %"
        yield _claim(f"{claim} ({scope})", found, last.mean <= 1 / 3, numbers, told)


def _scopes(tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Iterator[Claim]:
    trimmed = chosen(tickets, mode="trim", reset="rewind")
    sides = {scope: chosen(trimmed, scope=scope) for scope in ("local", "global")}
    runs = {ticket.run for ticket in sides["local"]} & {ticket.run for ticket in sides["global"]}
    sides = {scope: [ticket for ticket in found if ticket.run in runs] for scope, found in sides.items()}
    for low, claim in ((True, "Global selection trims better than local up to 90 % removed"), (False, "Local is better beyond 90 %")):
        pairs = _rounds(sides, told["removed"], low)
        if not pairs:
            yield _unmeasured(claim, "no lottery with both selections at such ratios", told)
            continue
        better = sum((global_ < local) == low for local, global_ in pairs)
        means_of = [statistics.fmean(side) for side in zip(*pairs, strict=True)]
        both = f"local {means_of[0]:.3f}, global {means_of[1]:.3f}"
        numbers = f"means over rounds: {both}; as claimed in {better} of {len(pairs)} rounds"
        yield _claim(claim, [*sides["local"], *sides["global"]], (means_of[1] < means_of[0]) == low, numbers, told)


def _rounds(sides: Mapping[str, Sequence[Ticket]], limit: float, low: bool) -> list[tuple[float, float]]:
    """Return the mean multipliers (local, global) of every round on one side of a ratio."""
    local, wide = ({mean.iteration: mean for mean in means(sides[scope])} for scope in ("local", "global"))
    common = [number for number in local if number and number in wide]
    return [(local[number].mean, wide[number].mean) for number in common if (local[number].removed <= limit) == low]


def _information(tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Claim:
    claim = "Information is the best criterion of global trimming up to 90 % removed"
    found = chosen(tickets, mode="trim", scope="global", reset="rewind")
    places = {name: {(ticket.model, ticket.dataset, ticket.seed) for ticket in chosen(found, criterion=name)} for name in CRITERIA}
    rivals = [name for name in CRITERIA if places[name] and name != "information"]
    if not places["information"] or not rivals:
        return _unmeasured(claim, "information or its rivals not run", told)
    common = places["information"].intersection(*(places[name] for name in rivals if name != "normalization"))
    scores = {}
    for name in ("information", *rivals):
        mine = [t for t in chosen(found, criterion=name) if (t.model, t.dataset, t.seed) in common]
        kept = [mean.mean for mean in means(mine) if mean.iteration and mean.removed <= told["removed"]]
        if kept and places[name] >= common:
            scores[name] = statistics.fmean(kept)
    if "information" not in scores or len(scores) < 2:
        return _unmeasured(claim, "no model with all criteria", told)
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in sorted(scores.items(), key=lambda item: item[1]))
    return _claim(claim, found, min(scores, key=lambda name: scores[name]) == "information", f"means over rounds: {numbers}", told)


def _resets(tickets: Sequence[Ticket], told: Mapping[str, Any]) -> Iterator[Claim]:
    for words, wanted in (("masked (local, magnitude)", ORIGINAL), ("trimmed (global, information)", PROPOSED)):
        claim = f"Rewound networks do better than reinitialised ones, {words}"
        sides = {reset: chosen(tickets, reset=reset, **wanted) for reset in ("rewind", "reinit")}
        runs = {ticket.run for ticket in sides["rewind"]} & {ticket.run for ticket in sides["reinit"]}
        kept = {reset: means([ticket for ticket in found if ticket.run in runs]) for reset, found in sides.items()}
        fresh = {mean.iteration: mean.mean for mean in kept["reinit"]}
        pairs = [(mean.mean, fresh[mean.iteration]) for mean in kept["rewind"] if mean.iteration and mean.iteration in fresh]
        if not pairs:
            yield _unmeasured(claim, "not run with both", told)
            continue
        rewound, drawn = (statistics.fmean(side) for side in zip(*pairs, strict=True))
        better = sum(one < other for one, other in pairs)
        numbers = f"means over rounds: rewound {rewound:.3f}, reinitialised {drawn:.3f}; better in {better} of {len(pairs)} rounds"
        yield _claim(claim, [ticket for found in sides.values() for ticket in found if ticket.run in runs], rewound < drawn, numbers, told)


def _machines(tickets: Sequence[Ticket], platforms: Sequence[Platform], told: Mapping[str, Any]) -> Iterator[Claim]:
    trimmed = [ticket for ticket in chosen(tickets, mode="trim") if ticket.error is not None]
    boards = [platform for platform in platforms if platform.family == "Arduino"]
    claim = "Some network fits the drive of an Arduino at 2.5 times the error or less; none fits its memory and speed"
    if trimmed and boards:
        found = [(ticket, ticket.bounds(board)) for ticket in trimmed for board in boards]
        stored = [ticket for ticket, bound in found if bound.fits_drive]
        whole = {id(ticket) for ticket, bound in found if bound.real_time and bound.fits_memory}
        best = min(stored, key=lambda ticket: ticket.error, default=None)
        unpruned = "" if best is None or best.iteration else ", an unpruned one at this scale"
        numbers = "none fits a drive"
        if best is not None:
            numbers = f"{best.label} at {best.error:.2f} ({100 * best.removed:.1f} % removed{unpruned})"
        held = best is not None and best.error <= told["arduino"]["multiplier"] and not whole
        numbers += f"; memory and speed fit {len(whole)} of {len(trimmed)} networks"
        yield _claim(claim, trimmed, held, numbers, told["arduino"])
    else:
        yield _unmeasured(claim, "no trimmed network", told["arduino"])
    claim = "Trimmed networks fit drive and memory of the RPi 1B"
    board = next((platform for platform in platforms if platform.name == "RPi 1B"), None)
    if not trimmed or board is None:
        yield _unmeasured(claim, "no trimmed network", told["raspberry"])
        return
    fits = [ticket.bounds(board) for ticket in trimmed if ticket.iteration]
    numbers = f"{sum(each.embeddable for each in fits)} of {len(fits)} fit; real-time: {sum(each.real_time for each in fits)}"
    yield _claim(claim, trimmed, bool(fits) and all(each.embeddable for each in fits), numbers, told["raspberry"])

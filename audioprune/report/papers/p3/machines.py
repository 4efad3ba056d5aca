"""Whether trimmed networks fit the machines that Esling et al. name.

An Arduino must be too small for all of them, and a Raspberry Pi large enough for the smallest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audioprune.report.claims import (
    HELD,
    NOT_HELD,
    Bound,
    Claim,
    Seed,
    Verdict,
    all_cells,
    judge,
    ready,
)
from audioprune.report.papers.p3.tickets import Ticket, chosen, smallest
from audioprune.report.papers.p3.verdicts import (
    ABOUT,
    Told,
    claim_about,
    lacks_of,
    unmeasured,
)
from audioprune.report.platforms import Platform


def fit_machines(
    tickets: Sequence[Ticket], platforms: Sequence[Platform], told: Told
) -> Iterator[Claim]:
    """Judge what fits the machines.

    No network of any round may fit an Arduino cheaply; the smallest ones must fit the RPi.
    """
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
        return unmeasured(claim, "no trimmed network", told)
    live = [ticket for ticket in rounds if not ticket.idle]
    fits = [(ticket, ticket.bounds(board)) for ticket in live for board in boards]
    stored = list({id(ticket): ticket for ticket, bound in fits if bound.fits_drive}.values())
    whole = {id(ticket) for ticket, bound in fits if bound.real_time and bound.fits_memory}
    least: dict[Seed, float] = {}
    for ticket in stored:
        error = ticket.known_error
        least[ticket.seed] = min(error, least.get(ticket.seed, error))
    at_first = any(ticket.bounds(board).fits_drive for ticket in firsts for board in boards)
    lacks = (
        "an unpruned network of this scale fits the drive already" if at_first else "",
        *_settings_of(rounds),
    )
    cells = {
        "drive": judge(least, Bound(at_least=told["multiplier"] - ABOUT), lacks),
        "memory and speed": Verdict(
            NOT_HELD if whole else HELD, f"{len(whole)} of {len(rounds)} networks fit"
        ),
    }
    best = min(stored, key=lambda ticket: ticket.known_error, default=None)
    numbers = (
        "none fits a drive"
        if best is None
        else f"{best.label} at {best.error:.2f} ({100 * best.removed:.1f} % removed)"
    )
    numbers += f"; memory and speed fit {len(whole)} of {len(rounds)} networks"
    return claim_about(claim, rounds, all_cells(cells), numbers, told)


def _raspberry(
    last: Sequence[Ticket], firsts: Sequence[Ticket], board: Platform | None, told: Told
) -> Claim:
    claim = "Trimmed networks fit drive and memory of the RPi 1B"
    if not last or board is None:
        return unmeasured(claim, "no trimmed network", told)
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
    return claim_about(claim, last, verdict, numbers, told)


def _settings_of(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """Return what the trainings of a model lack; lotteries may be of any kind here."""
    return tuple(reason for reason in lacks_of(tickets) if not reason.startswith("the seeds"))

"""The lotteries of Esling et al. (structured lottery tickets): tickets, and their means by round.

``tickets_of`` finds them; ``P3Evidence`` holds them beside the published facts. A ticket is one
network of one lottery, its error is a multiple of that of the unpruned network.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.errors import DataError
from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better_error
from audioprune.report.paper import Evidence
from audioprune.report.platforms import Bounds, Platform, bounds, read_platforms
from audioprune.report.published import Published
from audioprune.report.request import Request
from audioprune.report.runs.corpora import Corpus, by_corpus
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import csv_text

KIND = "lottery"
NO_LOTTERY = "expected runs of pipeline=p3_trim or p3_mask, got none; see `make reproduce-p3`"
SETTING = ("fraction", "scaling", "counted")
CRITERIA = ("magnitude", "gradient", "activation", "normalization", "information")
RESULT_KEYS = (
    "model", "dataset", "seed", "mode", "scope", "criterion", "scaling", "counted", "fraction",
    "min_units", "reset", "rewind", "noise_rel", "iteration", "params", "params_nonzero",
    "mask_sparsity", "units", "units_masked", "flops_s", "disk", "bytes_file", "rw_r", "rw_w",
    "peak_bytes", "rtf", "val", "test", "multiplier", "trivial", "epochs", "monitor", "best_epoch",
    "kept_epoch", "steps", "seconds", "seconds_scoring", "mi_samples",
)  # fmt: skip
FRACTION = 0.3  # of the paper: what goes in one round
PROPOSED = {"mode": "trim", "scope": "global", "criterion": "information"}
ORIGINAL = {"mode": "mask", "scope": "local", "criterion": "magnitude"}
PLAIN = {"mode": "trim", "scope": "local", "criterion": "magnitude"}
_OFF_SCHEDULE = (
    1.15  # a ticket that is this much larger than its round asks for stands at another ratio
)


@dataclass(frozen=True)
class Ticket:
    """One network of one lottery: its row, and the row of the lottery's first network."""

    job: Job
    row: Mapping[str, Any]
    first: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name in RESULT_KEYS or name == "label":
            return self.row.get(name)
        raise AttributeError(name)

    @property
    def run(self) -> tuple[Any, ...]:
        """What tells this lottery from others in a mean: model, corpus, seed, criterion."""
        return self.model, self.dataset, self.seed, self.criterion

    @property
    def error(self) -> float | None:
        """Test error over that of the first network, or None where either is no number."""
        return finite_or_none(self.multiplier)

    @property
    def known_error(self) -> float:
        """The same; NaN where there is none."""
        return math.nan if self.error is None else self.error

    @property
    def idle(self) -> bool:
        """Whether the network is no better than silence or one distribution of all samples."""
        return bool(self.no_better)

    @property
    def no_better(self) -> str:
        """``no better than <baseline>``, or an empty text."""
        return no_better_error(self.test, self.trivial, self.row)

    @property
    def removed(self) -> float:
        """Share of the weights that are masked or taken out, 0..1."""
        if self.mode == "mask":
            return float(self.mask_sparsity or 0.0)
        return 1.0 - self.params / self.first["params"]

    @property
    def ratio(self) -> float:
        """How many times fewer weights are left."""
        return 1.0 / max(1e-6, 1.0 - self.removed)

    @property
    def on_schedule(self) -> bool:
        """Whether the ticket is as small as its round asks for; floors may forbid it."""
        return (1.0 - self.removed) <= _OFF_SCHEDULE * (1.0 - self.fraction) ** self.iteration

    @property
    def traffic(self) -> float:
        """Bytes read and written in one generation step."""
        return float(self.rw_r + self.rw_w)

    def bounds(self, platform: Platform) -> Bounds:
        """Compare the ticket with a platform."""
        return bounds(platform, self.flops_s, self.disk, self.traffic)


def tickets_of(jobs: Iterable[Job]) -> list[Ticket]:
    """Return all tickets of all lotteries, first networks too."""
    found = []
    for job in jobs:
        rows = job.of_kind(KIND)
        first = next((row for row in rows if row.get("iteration") == 0), None)
        if first is not None:
            found += [Ticket(job, row, first) for row in rows]
    return found


def corpora_of(tickets: Sequence[Ticket]) -> list[tuple[Corpus, list[Ticket]]]:
    """Group tickets by the corpus of their lottery, which no mean or figure joins."""
    jobs = list({id(ticket.job): ticket.job for ticket in tickets}.values())
    groups = [(corpus, {id(job) for job in members}) for corpus, members in by_corpus(jobs)]
    return [
        (corpus, [ticket for ticket in tickets if id(ticket.job) in members])
        for corpus, members in groups
    ]


def corpus_titles(tickets: Sequence[Ticket]) -> dict[str, str]:
    """Return the line that names the corpus of every lottery, by its folder."""
    groups = corpora_of(tickets)
    return {str(ticket.job.folder): corpus.title for corpus, mine in groups for ticket in mine}


def idle_text(tickets: Iterable[Ticket]) -> str:
    """Say how many networks are no better than a trivial prediction, or ``-``."""
    every = list(tickets)
    idle = [ticket.no_better for ticket in every if ticket.idle]
    if not idle:
        return "-"
    return idle[0] if len(every) == 1 else f"{idle[0]}: {len(idle)} of {len(every)} networks"


def main_setting(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Return the tickets of the most common setting, which alone can be averaged by round.

    A setting is fraction, scaling and what is counted.
    """
    counts = Counter(tuple(ticket.row.get(key) for key in SETTING) for ticket in tickets)
    chosen = counts.most_common(1)[0][0] if counts else ()
    return [
        ticket for ticket in tickets if tuple(ticket.row.get(key) for key in SETTING) == chosen
    ]


@dataclass(frozen=True)
class Mean:
    """The mean over lotteries at one round, with the least and the largest.

    Attributes:
        iteration: Number of the round.
        removed: Mean share of removed weights, 0..1.
        mean: Mean of the number, with its least and largest.
        runs: Lotteries that entered.
        scales: Scale of each of them.
    """

    iteration: int
    removed: float
    mean: float
    least: float
    largest: float
    runs: int
    scales: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """How many times fewer weights are left."""
        return 1.0 / max(1e-6, 1.0 - self.removed)


def means(
    tickets: Iterable[Ticket],
    number: Callable[[Ticket], float | None] = lambda ticket: ticket.error,
) -> list[Mean]:
    """Average a number round by round.

    Tickets that are off their schedule, or whose number is None, are left out.
    """
    rounds: dict[int, list[tuple[Ticket, float]]] = {}
    for ticket in tickets:
        value = number(ticket)
        if value is not None and ticket.on_schedule:
            rounds.setdefault(ticket.iteration, []).append((ticket, value))
    return [_mean(iteration, rounds[iteration]) for iteration in sorted(rounds)]


def _mean(iteration: int, found: Sequence[tuple[Ticket, float]]) -> Mean:
    values = [value for _, value in found]
    removed = statistics.fmean(ticket.removed for ticket, _ in found)
    scales = tuple(ticket.job.scale for ticket, _ in found)
    return Mean(
        iteration, removed, statistics.fmean(values), min(values), max(values), len(values), scales
    )


def scales_text(scales: Iterable[str]) -> str:
    """Name the scales of the lotteries behind a number, each once."""
    return " | ".join(dict.fromkeys(map(honest_scale, scales)))


def late_note(tickets: Sequence[Ticket]) -> str:
    """Say why some rounds have fewer lotteries than others; empty where all are as long."""
    last = {ticket.job.folder: ticket for ticket in smallest(tickets)}
    furthest = max((ticket.iteration for ticket in last.values()), default=0)
    short = [ticket for ticket in last.values() if ticket.iteration < furthest]
    asked = [_rounds_asked(ticket) for ticket in short]
    stopped = [
        ticket for ticket, rounds in zip(short, asked, strict=True) if rounds > ticket.iteration
    ]
    reasons = {
        "were run for fewer rounds": len(stopped) < len(short),
        "are not finished": any(ticket.job.status != "finished" for ticket in stopped),
        "could remove nothing more": any(ticket.job.status == "finished" for ticket in stopped),
        "are larger there than the round asks for, since units have a floor": not all(
            ticket.on_schedule for ticket in tickets
        ),
        "have no finite error there": any(ticket.error is None for ticket in tickets),
    }
    told = ", or ".join(reason for reason, occurs in reasons.items() if occurs)
    return f" Hollow: rounds without all lotteries; the others {told}." if told else ""


def _rounds_asked(ticket: Ticket) -> int:
    """Return the rounds that a lottery was to have; those it has where that is not recorded."""
    asked = finite_or_none(ticket.job.config.get("pipeline.rounds"))
    return ticket.iteration if asked is None else int(asked)


def chosen(tickets: Iterable[Ticket], **wanted: Any) -> list[Ticket]:
    """Return the tickets with some values, such as ``mode="trim", scope="global"``."""
    found = list(tickets)
    for key, value in wanted.items():
        found = [ticket for ticket in found if ticket.row.get(key) == value]
    return found


def smallest(tickets: Iterable[Ticket]) -> list[Ticket]:
    """Return the last ticket of every lottery."""
    last: dict[str, Ticket] = {}
    for ticket in tickets:
        known = last.get(str(ticket.job.folder))
        if known is None or ticket.iteration >= known.iteration:
            last[str(ticket.job.folder)] = ticket
    return list(last.values())


def idle_note(tickets: Iterable[Ticket]) -> tuple[str, ...]:
    """Say how many networks of each model are no better than a trivial prediction, if any."""
    every = list(tickets)
    idle = Counter(str(ticket.label) for ticket in every if ticket.idle)
    told = [
        f"{count} of {len(chosen(every, label=label))} {label}" for label, count in idle.items()
    ]
    if not told:
        return ()
    note = "No better than silence or a constant prediction, and in the means all the same: "
    return (f"{note}{', '.join(told)} networks.",)


def results_csv(tickets: Iterable[Ticket]) -> str:
    """Return all numbers of all tickets, one line each, with corpus and scale of the run."""
    header = ["run", *RESULT_KEYS, "removed", "remark", "corpus", "corpus_fingerprint", "scale"]
    rows = []
    for ticket in tickets:
        job, numbers = ticket.job, [ticket.row.get(key) for key in RESULT_KEYS]
        told = [ticket.removed, ticket.no_better, job.corpus, job.fingerprint]
        rows.append([job.name, *numbers, *told, honest_scale(job.scale)])
    return csv_text(header, rows)


@dataclass(frozen=True)
class P3Evidence(Evidence):
    """The lotteries of the runs beside the published facts.

    Attributes:
        tickets: All tickets of all lotteries.
        platforms: The machines of the paper.
    """

    tickets: Sequence[Ticket]
    platforms: Sequence[Platform]


def read_evidence(request: Request, published: Published) -> P3Evidence:
    """Return the evidence of a report's runs.

    Raises:
        DataError: A whole report is asked for, and the runs hold no lottery.
    """
    tickets = tickets_of(request.jobs)
    if not tickets and not request.only:
        raise DataError(NO_LOTTERY)
    return P3Evidence(request.jobs, published, tickets, read_platforms())

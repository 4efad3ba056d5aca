"""What the lotteries of Esling et al. (structured lottery tickets for generative audio) gave: tickets, their means, and their tables.

How they are drawn is written in p3_figures.py, what the paper claims in p3_page.py.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.platforms import Bounds, Platform, bounds
from audioprune.report.entries import finite_or_none
from audioprune.report.results import Job, honest_scale
from audioprune.report.tables import Cell, Column, Table, csv_text

KIND = "lottery"
SETTING = ("fraction", "scaling", "budget")
CRITERIA = ("magnitude", "gradient", "activation", "normalization", "information")
RESULT_KEYS = (
    "model", "dataset", "seed", "mode", "scope", "criterion", "scaling", "budget", "fraction", "min_units", "reset", "rewind", "noise_rel",
    "iteration", "params", "params_nonzero", "mask_sparsity", "units", "units_masked", "flops_s", "disk", "bytes_file", "rw_r", "rw_w",
    "peak_bytes", "rtf", "val", "test", "multiplier", "trivial", "epochs", "best_epoch", "steps", "seconds",
    "seconds_scoring", "mi_samples",
)  # fmt: skip
_NO_BETTER = 0.98  # errors of networks that learned nothing scatter a little about the trivial one
_FRACTION = 0.3  # of the paper: what goes in one round
_OFF_SCHEDULE = 1.15  # a ticket that is this much larger than its round asks for stands at another ratio


@dataclass(frozen=True)
class Ticket:
    """One network of one lottery: what its row says, and the row of the same lottery's first network."""

    job: Job
    row: Mapping[str, Any]
    first: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name in RESULT_KEYS or name == "label":
            return self.row.get(name)
        raise AttributeError(name)

    @property
    def run(self) -> tuple[Any, ...]:
        """What tells this lottery from others that a mean runs over: model, corpus, seed, criterion."""
        return self.model, self.dataset, self.seed, self.criterion

    @property
    def error(self) -> float | None:
        """Test error over that of the first network, or None where either is no number."""
        return finite_or_none(self.multiplier)

    @property
    def idle(self) -> bool:
        """Whether the network is no better than what needs none: silence, or one distribution of all samples."""
        return None not in (self.test, self.trivial) and not self.test < _NO_BETTER * self.trivial

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
        """Whether the ticket is as small as its round asks for; floors of the units may forbid it."""
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


def main_setting(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Return the tickets of the most common fraction, scaling and budget, which alone can be averaged round by round."""
    counts = Counter(tuple(ticket.row.get(key) for key in SETTING) for ticket in tickets)
    chosen = counts.most_common(1)[0][0] if counts else ()
    return [ticket for ticket in tickets if tuple(ticket.row.get(key) for key in SETTING) == chosen]


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


def means(tickets: Iterable[Ticket], number: Callable[[Ticket], float | None] = lambda ticket: ticket.error) -> list[Mean]:
    """Average a number round by round; tickets that are off their schedule or whose number is none are left out."""
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
    return Mean(iteration, removed, statistics.fmean(values), min(values), max(values), len(values), scales)


def scales_text(scales: Iterable[str]) -> str:
    """Name the scales of the lotteries behind a number, each once."""
    return " | ".join(dict.fromkeys(map(honest_scale, scales)))


def late_note(tickets: Sequence[Ticket]) -> str:
    """Say why some rounds have fewer lotteries than others, naming only reasons that occur; empty where all lotteries are as long."""
    last = {ticket.job.folder: ticket for ticket in smallest(tickets)}
    furthest = max((ticket.iteration for ticket in last.values()), default=0)
    short = [ticket for ticket in last.values() if ticket.iteration < furthest]
    asked = [_rounds_asked(ticket) for ticket in short]
    stopped = [ticket for ticket, rounds in zip(short, asked, strict=True) if rounds > ticket.iteration]
    reasons = {
        "were run for fewer rounds": len(stopped) < len(short),
        "are not finished": any(ticket.job.status != "finished" for ticket in stopped),
        "could remove nothing more": any(ticket.job.status == "finished" for ticket in stopped),
        "are larger there than the round asks for, since units have a floor": not all(ticket.on_schedule for ticket in tickets),
        "have no finite error there": any(ticket.error is None for ticket in tickets),
    }
    told = ", or ".join(reason for reason, occurs in reasons.items() if occurs)
    return f" Hollow: rounds without all lotteries; the others {told}." if told else ""


def _rounds_asked(ticket: Ticket) -> int:
    """Return the rounds that a lottery was to have; those it has where that is not recorded."""
    asked = finite_or_none(ticket.job.config.get("pipeline.rounds"))
    return ticket.iteration if asked is None else int(asked)


def chosen(tickets: Iterable[Ticket], **wanted: Any) -> list[Ticket]:
    """Return the tickets with some values, such as ``mode="trim", scope="global"``; a tuple lists several."""
    return [t for t in tickets if all(t.row.get(key) in (value if isinstance(value, tuple) else (value,)) for key, value in wanted.items())]


def paired(tickets: Sequence[Ticket], key: str, values: tuple[str, str]) -> tuple[list[Ticket], list[Ticket]]:
    """Return the tickets of two values of one knob, of the lotteries that were run with both."""
    sides = tuple(chosen(tickets, **{key: value}) for value in values)
    runs = [{(ticket.mode, ticket.run) for ticket in side} for side in sides]
    both = runs[0] & runs[1]
    return tuple([ticket for ticket in side if (ticket.mode, ticket.run) in both] for side in sides)


def smallest(tickets: Iterable[Ticket]) -> list[Ticket]:
    """Return the last ticket of every lottery."""
    last: dict[str, Ticket] = {}
    for ticket in tickets:
        known = last.get(str(ticket.job.folder))
        if known is None or ticket.iteration >= known.iteration:
            last[str(ticket.job.folder)] = ticket
    return list(last.values())


def idle_note(tickets: Iterable[Ticket]) -> tuple[str, ...]:
    """Say how many networks of each model are no better than a trivial prediction, or nothing where none is."""
    tickets = list(tickets)
    idle = Counter(str(ticket.label) for ticket in tickets if ticket.idle)
    told = ", ".join(f"{count} of {len(chosen(tickets, label=label))} {label}" for label, count in idle.items())
    return (f"No better than silence or a constant prediction, and in the means all the same: {told} networks.",) if told else ()


def results_csv(tickets: Iterable[Ticket]) -> str:
    """Return all numbers of all tickets, one line each, with the scale of the run."""
    header = ["run", *RESULT_KEYS, "removed", "scale"]
    rows = [[t.job.name, *(t.row.get(key) for key in RESULT_KEYS), t.removed, honest_scale(t.job.scale)] for t in tickets]
    return csv_text(header, rows)


_TRIVIAL_NOTE = (
    "Trivial: the error that needs no network, over that of the unpruned one: silence, or for samples the best constant prediction. "
    f"A network is no better whose error is not at least {100 * (1 - _NO_BETTER):.0f} % below it; its multiplier says little."
)
_LOTTERIES = (
    Column("label", "Model"),
    Column("dataset", "Data"),
    Column("what", "Lottery"),
    Column("seeds", "Seeds", "count"),
    Column("rounds", "Rounds", "count"),
    Column("best", "Lowest multiplier"),
    Column("params", "Params at first", "count"),
    Column("params_last", "Params at last", "count"),
    Column("nonzero", "Non-zeros at first", "count"),
    Column("nonzero_last", "Non-zeros at last", "count"),
    Column("error", "Test error at first", "fine"),
    Column("last", "Multiplier at last", "score"),
    Column("trivial", "Trivial multiplier", "score"),
    Column("idle", "Networks no better"),
    Column("seconds", "Seconds of training", "count"),
    Column("scale", "Scale"),
)


def lottery_table(tickets: Sequence[Ticket]) -> Table:
    """Return one row per kind of lottery: how small it went, the best and the last multiplier, means over seeds."""
    kinds: dict[tuple[Any, ...], list[Ticket]] = {}
    for ticket in tickets:
        kinds.setdefault((ticket.label, ticket.dataset, what(ticket), ticket.job.scale), []).append(ticket)
    rows = [_lottery_row(key, found) for key, found in sorted(kinds.items(), key=lambda item: tuple(map(str, item[0])))]
    notes = (
        f"Multiplier: test error over that of the unpruned network of the same run, {_kept_epoch(tickets)}. "
        "The lowest one is chosen among the rounds by the test error itself, as in the paper.",
        "The removed share is that of all parameters in trimming, and that of the weights that may be masked in masking: neither biases, "
        "normalisations nor output layers.",
        _TRIVIAL_NOTE,
    )
    return Table("p3_lotteries", "Lotteries: sizes and test error multipliers", _LOTTERIES, tuple(rows), notes)


def _kept_epoch(tickets: Iterable[Ticket]) -> str:
    """Say of which epoch the scored networks are."""
    rules = {str(ticket.job.config.get("training.keep") or "best") for ticket in tickets}
    words = {"best": "of the epoch with the best validation", "last": "of the last epoch"}
    return " or, where a run keeps it, ".join(words.get(rule, rule) for rule in sorted(rules)) or words["best"]


def what(ticket: Ticket) -> str:
    """Say in words what kind of lottery a ticket is of."""
    verb = {"trim": "trimming", "mask": "masking"}.get(str(ticket.mode), str(ticket.mode))
    extra = "" if ticket.reset == "rewind" else f", {ticket.reset}"
    setting = "" if (ticket.scaling, ticket.budget) == ("max", "weights") else f", {ticket.scaling}, {ticket.budget}"
    share = "" if ticket.fraction in (None, _FRACTION) else f", {100 * ticket.fraction:g} % a round"
    return f"{verb}, {ticket.scope}, {ticket.criterion}{extra}{setting}{share}"


def _lottery_row(key: tuple[Any, ...], found: Sequence[Ticket]) -> dict[str, Cell]:
    rounds: dict[int, list[Ticket]] = {}
    for ticket in found:
        rounds.setdefault(ticket.iteration, []).append(ticket)
    errors = {number: _average(ticket.error for ticket in group) for number, group in rounds.items()}
    later = {number: error for number, error in errors.items() if number and error is not None}
    best = min(later, key=lambda number: later[number]) if later else None
    last = max(rounds)
    removed = _average(ticket.removed for ticket in rounds[best]) if best is not None else None
    label, dataset, words, scale = key
    return {
        "label": label,
        "dataset": dataset,
        "what": words,
        "seeds": len({ticket.seed for ticket in found}),
        "rounds": last,
        "best": "-" if best is None else f"{later[best]:.3f} at {100 * removed:.1f} %",
        "params": _average(ticket.params for ticket in rounds[0]),
        "params_last": _average(ticket.params for ticket in rounds[last]),
        "nonzero": _average(finite_or_none(ticket.params_nonzero) for ticket in rounds[0]),
        "nonzero_last": _average(finite_or_none(ticket.params_nonzero) for ticket in rounds[last]),
        "error": _average(finite_or_none(ticket.test) for ticket in rounds[0]),
        "last": errors[last],
        "trivial": _average(t.trivial / t.test for t in rounds[0] if None not in (t.trivial, finite_or_none(t.test))),
        "idle": f"{sum(ticket.idle for ticket in found)} of {len(found)}" if found[0].trivial is not None else "-",
        "seconds": sum(finite_or_none(ticket.seconds) or 0.0 for ticket in found),
        "scale": honest_scale(scale),
    }


def _average(values: Iterable[float | None]) -> float | None:
    kept = [float(value) for value in values if value is not None]
    return statistics.fmean(kept) if kept else None


_PLATFORMS = (
    Column("platform", "Platform"),
    Column("limits", "CPU, FLOPS, drive, RAM"),
    Column("label", "Model"),
    Column("full", "Unpruned"),
    Column("embeddable", "Embeddable trimmed"),
    Column("embeddable_at", "Lowest multiplier embeddable"),
    Column("drive_at", "Lowest multiplier on the drive"),
    Column("real_time", "Real-time trimmed"),
    Column("real_time_at", "Lowest multiplier real-time"),
    Column("both_at", "Lowest multiplier both"),
    Column("scale", "Scale"),
)


def platform_table(tickets: Sequence[Ticket], platforms: Sequence[Platform]) -> Table:
    """Return which trimmed networks fit which machine, and at which cost in error.

    Args:
        tickets: Tickets of any kind; masked ones, which are no smaller, are left out.
        platforms: The machines.

    Source: Esling et al., Table 1 and Sec. 6.
    """
    trimmed = chosen(tickets, mode="trim")
    kinds: dict[tuple[str, str], list[Ticket]] = {}
    for ticket in trimmed:
        kinds.setdefault((str(ticket.label), ticket.job.scale), []).append(ticket)
    nothing = {("-", ""): []}
    rows = [_platform_row(platform, label, found) for platform in platforms for (label, _), found in (kinds or nothing).items()]
    notes = (
        "Real-time: operations for one second of audio do not exceed the machine's. Embeddable: the parameters fit on the drive, and what "
        "one generation step reads and writes into the memory: the paper compares accesses with its size. Peak use stands with the costs.",
        "One step is a sample of WaveNet, a frame of 160 samples of DDSP, whose synthesizer's operations are added, and a note of SING.",
        "The operations per second of the machines are the paper's, inferred there from the properties of their processors.",
    )
    return Table("p3_platforms", "Machines (after Esling et al., Table 1) and the networks that fit them", _PLATFORMS, tuple(rows), notes)


def _platform_row(platform: Platform, label: str, tickets: Sequence[Ticket]) -> dict[str, Cell]:
    found = [(ticket, ticket.bounds(platform)) for ticket in tickets if ticket.error is not None]
    later = [(ticket, bound) for ticket, bound in found if ticket.iteration]

    def count(fits: Callable[[Bounds], bool]) -> str:
        return f"{sum(fits(bound) for _, bound in later)} of {len(later)}"

    def lowest(fits: Callable[[Bounds], bool]) -> str:
        fitting = [ticket for ticket, bound in found if fits(bound)]
        if not fitting:
            return "none fits"
        best = min(fitting, key=lambda ticket: ticket.error)
        return f"{best.error:.2f} ({100 * best.removed:.1f} % removed)"

    first = [bound for ticket, bound in found if ticket.iteration == 0]
    return {
        "platform": platform.name,
        "limits": f"{_si(platform.clock_hz)}Hz, {_si(platform.flops)}, {_si(platform.drive_bytes)}B, {_si(platform.ram_bytes)}B",
        "label": label,
        "full": _fits_text(first[0]) if first else "not run",
        "embeddable": count(lambda bound: bound.embeddable),
        "embeddable_at": lowest(lambda bound: bound.embeddable),
        "drive_at": lowest(lambda bound: bound.fits_drive),
        "real_time": count(lambda bound: bound.real_time),
        "real_time_at": lowest(lambda bound: bound.real_time),
        "both_at": lowest(lambda bound: bound.real_time and bound.embeddable),
        "scale": honest_scale(tickets[0].job.scale) if tickets else "not run",
    }


def _fits_text(bound: Bounds) -> str:
    fits = {"real-time": bound.real_time, "drive": bound.fits_drive, "memory": bound.fits_memory}
    return ", ".join(name for name, good in fits.items() if good) or "fits nothing"


def _si(number: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:g} {letter}"
    return f"{number:g} "


_COSTS = (
    Column("label", "Model"),
    Column("what", "Lottery"),
    Column("seed", "Seed", "count"),
    Column("error", "Multiplier", "score"),
    Column("removed", "Removed weights", "share"),
    Column("params", "Params", "count"),
    Column("flops", "FLOP per s of audio", "millions"),
    Column("disk", "Disk (B)", "count"),
    Column("read", "Read per step (B)", "count"),
    Column("written", "Written per step (B)", "count"),
    Column("peak", "Peak memory (B)", "count"),
    Column("rtf", "Real-time factor here", "fine"),
    Column("fits", "Real-time on / embeddable on"),
    Column("scale", "Scale"),
)


def cost_table(tickets: Sequence[Ticket], platforms: Sequence[Platform]) -> Table:
    """Return what the smallest trimmed network of every lottery costs, and the first network of every model."""
    trimmed = chosen(tickets, mode="trim")
    firsts = {(ticket.label, ticket.job.scale): ticket for ticket in reversed(chosen(trimmed, iteration=0))}
    rows = [_cost_row(ticket, platforms) for ticket in [*firsts.values(), *smallest(trimmed)]]
    rows.sort(key=lambda row: (str(row["label"]), -float(row["params"])))
    notes = (
        "Peak memory: parameters, what is remembered between steps, and the largest layer's input and output. The real-time factor is "
        "measured: seconds of one thread of this machine per second of audio.",
    )
    return Table("p3_costs", "Costs of the unpruned and of the smallest networks", _COSTS, tuple(rows), notes)


def _cost_row(ticket: Ticket, platforms: Sequence[Platform]) -> dict[str, Cell]:
    real_time = [platform.name for platform in platforms if ticket.bounds(platform).real_time]
    embeddable = [platform.name for platform in platforms if ticket.bounds(platform).embeddable]
    return {
        "label": ticket.label,
        "what": "unpruned" if ticket.iteration == 0 else what(ticket),
        "seed": ticket.seed,
        "error": ticket.error,
        "removed": ticket.removed,
        "params": ticket.params,
        "flops": ticket.flops_s,
        "disk": ticket.disk,
        "read": ticket.rw_r,
        "written": ticket.rw_w,
        "peak": ticket.peak_bytes,
        "rtf": ticket.rtf,
        "fits": f"{', '.join(real_time) or 'none'} / {', '.join(embeddable) or 'none'}",
        "scale": honest_scale(ticket.job.scale),
    }

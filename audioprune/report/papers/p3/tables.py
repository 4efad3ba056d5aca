"""Tables of the lotteries of Esling et al.: sizes and multipliers, machines, costs.

Which tickets there are is decided in ``tickets``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import TRIVIAL_SHARE
from audioprune.report.model_tables import remark_columns
from audioprune.report.papers.p3.tickets import (
    FRACTION,
    Ticket,
    chosen,
    corpus_titles,
    idle_text,
    smallest,
)
from audioprune.report.platforms import Bounds, Platform
from audioprune.report.runs.job import scale_notes
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table

_TRIVIAL_NOTE = (
    "Trivial: the error that needs no network, over that of the unpruned one: silence, or for "
    "samples the best constant prediction. "
    f"A network is no better whose error is not at least {100 * (1 - TRIVIAL_SHARE):.0f} % "
    f"below it; its multiplier says little."
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
    """Return sizes and multipliers, means over seeds, one row per kind of lottery."""
    kinds: dict[tuple[Any, ...], list[Ticket]] = {}
    titles = corpus_titles(tickets)
    for ticket in tickets:
        corpus = titles[str(ticket.job.folder)]
        key = (ticket.label, ticket.dataset, what(ticket), ticket.job.scale, corpus)
        kinds.setdefault(key, []).append(ticket)
    in_order = sorted(kinds, key=lambda key: tuple(map(str, key)))
    rows = [_lottery_row(key, kinds[key]) for key in in_order]
    notes = (
        f"Multiplier: test error over that of the unpruned network of the same run, "
        f"{_kept_epoch(tickets)}. "
        "The lowest one is chosen among the rounds by the test error itself, as in the paper.",
        "The removed share is that of all parameters in trimming, and that of the weights that "
        "may be masked in masking: neither biases, "
        "normalisations nor output layers.",
        _TRIVIAL_NOTE,
    )
    columns = _with_remarks(_LOTTERIES, rows)
    return Table(
        "p3_lotteries",
        "Lotteries: sizes and test error multipliers",
        columns,
        tuple(rows),
        (*notes, *_scale_notes(tickets)),
    )


def _with_remarks(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]]
) -> tuple[Column, ...]:
    return (*columns[:-1], *remark_columns(rows), columns[-1])


def _scale_notes(tickets: Iterable[Ticket]) -> tuple[str, ...]:
    return scale_notes({id(ticket.job): ticket.job for ticket in tickets}.values())


def _kept_epoch(tickets: Iterable[Ticket]) -> str:
    """Say of which epoch the scored networks are."""
    rules = {str(ticket.job.config.get("training.keep") or "best") for ticket in tickets}
    words = {"best": "of the epoch with the best validation", "last": "of the last epoch"}
    told = [words.get(rule, rule) for rule in sorted(rules)]
    return " or, where a run keeps it, ".join(told) or words["best"]


def what(ticket: Ticket) -> str:
    """Say in words what kind of lottery a ticket is of."""
    verb = {"trim": "trimming", "mask": "masking"}.get(str(ticket.mode), str(ticket.mode))
    extra = "" if ticket.reset == "rewind" else f", {ticket.reset}"
    usual = (ticket.scaling, ticket.counted) == ("max", "weights")
    setting = "" if usual else f", {ticket.scaling}, {ticket.counted}"
    share = "" if ticket.fraction in (None, FRACTION) else f", {100 * ticket.fraction:g} % a round"
    return f"{verb}, {ticket.scope}, {ticket.criterion}{extra}{setting}{share}"


def _lottery_row(key: tuple[Any, ...], found: Sequence[Ticket]) -> dict[str, Cell]:
    rounds: dict[int, list[Ticket]] = {}
    for ticket in found:
        rounds.setdefault(ticket.iteration, []).append(ticket)
    errors = {number: _average(each.error for each in rounds[number]) for number in rounds}
    last = max(rounds)
    idle = sum(ticket.idle for ticket in found)
    label, dataset, words, scale, corpus = key
    return {
        "label": label,
        "dataset": dataset,
        "what": words,
        "seeds": len({ticket.seed for ticket in found}),
        "rounds": last,
        "best": _best_text(rounds, errors),
        "params": _average(ticket.params for ticket in rounds[0]),
        "params_last": _average(ticket.params for ticket in rounds[last]),
        "nonzero": _average(finite_or_none(ticket.params_nonzero) for ticket in rounds[0]),
        "nonzero_last": _average(finite_or_none(ticket.params_nonzero) for ticket in rounds[last]),
        "error": _average(finite_or_none(ticket.test) for ticket in rounds[0]),
        "last": errors[last],
        "trivial": _average(map(_trivial, rounds[0])),
        "idle": "-" if found[0].trivial is None else f"{idle} of {len(found)}",
        "seconds": sum(finite_or_none(ticket.seconds) or 0.0 for ticket in found),
        "remark": idle_text(found),
        "corpus": corpus,
        "scale": honest_scale(scale),
    }


def _best_text(rounds: Mapping[int, Sequence[Ticket]], errors: Mapping[int, float | None]) -> str:
    """Say the lowest multiplier after the first network, and how much was removed there."""
    later = {number: error for number, error in errors.items() if number and error is not None}
    if not later:
        return "-"
    best = min(later, key=lambda number: later[number])
    removed = statistics.fmean(ticket.removed for ticket in rounds[best])
    return f"{later[best]:.3f} at {100 * removed:.1f} %"


def _trivial(ticket: Ticket) -> float | None:
    """Return the error of what needs no network over that of the network."""
    if ticket.trivial is None or finite_or_none(ticket.test) is None:
        return None
    return float(ticket.trivial / ticket.test)


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
    kinds: dict[tuple[str, str, str], list[Ticket]] = {}
    titles = corpus_titles(trimmed)
    for ticket in trimmed:
        key = (str(ticket.label), ticket.job.scale, titles[str(ticket.job.folder)])
        kinds.setdefault(key, []).append(ticket)
    rows: list[dict[str, Cell]] = []
    for platform in platforms:
        for (label, _, corpus), found in (kinds or {("-", "", ""): []}).items():
            rows.append(_platform_row(platform, label, found) | {"corpus": corpus})
    notes: tuple[str, ...] = (
        "Real-time: operations for one second of audio do not exceed the machine's. Embeddable: "
        "the parameters fit on the drive, and what "
        "one generation step reads and writes into the memory: the paper compares accesses with "
        "its size. Peak use stands with the costs.",
        "One step is a sample of WaveNet, a frame of 160 samples of DDSP, whose synthesizer's "
        "operations are added, and a note of SING.",
        "The operations per second of the machines are the paper's, inferred there from the "
        "properties of their processors.",
    )
    if any(ticket.idle for ticket in trimmed):
        notes += (
            "Networks that are no better than a trivial prediction are left out: that they fit "
            "is no achievement.",
        )
    columns = _with_remarks(_PLATFORMS, rows)
    caption = "Machines (after Esling et al., Table 1) and the networks that fit them"
    return Table("p3_platforms", caption, columns, tuple(rows), (*notes, *_scale_notes(trimmed)))


def _platform_row(platform: Platform, label: str, tickets: Sequence[Ticket]) -> dict[str, Cell]:
    live = [ticket for ticket in tickets if ticket.error is not None and not ticket.idle]
    found = [(ticket, ticket.bounds(platform)) for ticket in live]
    later = [(ticket, bound) for ticket, bound in found if ticket.iteration]

    def count(fits: Callable[[Bounds], bool]) -> str:
        return f"{sum(fits(bound) for _, bound in later)} of {len(later)}"

    def lowest(fits: Callable[[Bounds], bool]) -> str:
        fitting = [ticket for ticket, bound in found if fits(bound)]
        if not fitting:
            return "none fits"
        best = min(fitting, key=lambda ticket: ticket.known_error)
        return f"{best.known_error:.2f} ({100 * best.removed:.1f} % removed)"

    first = [bound for ticket, bound in found if ticket.iteration == 0]
    clock, flops = _si(platform.clock_hz), _si(platform.flops)
    drive, ram = _si(platform.drive_bytes), _si(platform.ram_bytes)
    return {
        "platform": platform.name,
        "limits": f"{clock}Hz, {flops}, {drive}B, {ram}B",
        "label": label,
        "full": _fits_text(first[0]) if first else "not run",
        "embeddable": count(lambda bound: bound.embeddable),
        "embeddable_at": lowest(lambda bound: bound.embeddable),
        "drive_at": lowest(lambda bound: bound.fits_drive),
        "real_time": count(lambda bound: bound.real_time),
        "real_time_at": lowest(lambda bound: bound.real_time),
        "both_at": lowest(lambda bound: bound.real_time and bound.embeddable),
        "remark": idle_text(tickets),
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
    """Return what the smallest network of every lottery and the first of every model cost."""
    trimmed = chosen(tickets, mode="trim")
    titles = corpus_titles(trimmed)

    def kind(ticket: Ticket) -> tuple[str, str, str]:
        return str(ticket.label), ticket.job.scale, titles[str(ticket.job.folder)]

    firsts = {kind(ticket): ticket for ticket in reversed(chosen(trimmed, iteration=0))}
    shown = [*firsts.values(), *smallest(trimmed)]
    shown.sort(key=lambda ticket: (str(ticket.label), -float(ticket.params)))
    rows = []
    for ticket in shown:
        row = _cost_row(ticket, platforms)
        rows.append({**row, "corpus": titles[str(ticket.job.folder)]})
    notes = (
        "Peak memory: parameters, what is remembered between steps, and the largest layer's "
        "input and output. The real-time factor is "
        "measured: seconds of one thread of this machine per second of audio.",
    )
    columns = _with_remarks(_COSTS, rows)
    return Table(
        "p3_costs",
        "Costs of the unpruned and of the smallest networks",
        columns,
        tuple(rows),
        (*notes, *_scale_notes(trimmed)),
    )


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
        "remark": idle_text([ticket]),
        "fits": f"{', '.join(real_time) or 'none'} / {', '.join(embeddable) or 'none'}",
        "scale": honest_scale(ticket.job.scale),
    }

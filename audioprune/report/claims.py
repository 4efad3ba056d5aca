"""Whether the claims of Tan & Wang (ICASSP 2021) hold in our runs: held, did not hold, or not measured, with the numbers.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.entries import Entry, Value, entries
from audioprune.report.figures import Line
from audioprune.report.p2 import MODELS, by_row, is_structured, pesq_of, published_rows, remaining_lines, set_apart, values_of
from audioprune.report.results import Job, Request, honest_scale, read_reported, without_width
from audioprune.report.tables import Cell, Column, Table, metric_column, write_table
from audioprune.report.verdicts import HELD, NOT_HELD, NOT_MEASURED, Claim

LOSS_POINTS = 2.0  # the largest drop in Table 2 is 1.99 STOI points (TCNN, -5 dB)
STRUCTURED_LOSS_POINTS = 1.0  # in Table 2 the largest is 0.11 points (GCRN, 0 dB)
SAME_SIZE = (0.8, 1.5)  # parameters of the baseline / of the pruned model; 1.26 and 1.07 in Table 1
_BEATS = "A pruned model beats an unpruned one of about its size (mean STOI and PESQ higher)"
_FURTHER = "Sparse regularisation lets pruning go further (fewer parameters left after the last iteration)"
_COMPRESSED = f"Compression costs at most about {LOSS_POINTS:g} STOI points at any SNR"
_STRUCTURED = f"Structured compression costs at most {STRUCTURED_LOSS_POINTS:g} STOI point at any SNR"
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


@dataclass(frozen=True)
class _Evidence:
    jobs: Sequence[Job]
    rows: Mapping[str, list[Entry]]
    pesq: str
    reported: Mapping[str, Any]


def judge(jobs: Sequence[Job], reported: Mapping[str, Any]) -> list[Claim]:
    """Judge all claims of the paper by the given jobs."""
    found = entries(jobs)
    evidence = _Evidence(jobs, by_row(found), pesq_of(found, reported), reported)
    return [claim for judged in (_beats_same_size, _prunes_further, _compressed, _structured) for claim in judged(evidence)]


def claims_table(jobs: Sequence[Job], reported: Mapping[str, Any], name: str = "p2_claims") -> Table:
    """Return the judged claims as a table."""
    return judged_table(name, judge(jobs, reported), reported)


def judged_table(name: str, judged: Iterable[Claim], reported: Mapping[str, Any], notes: Sequence[str] = ()) -> Table:
    """Return the judged claims of any paper as a table.

    Args:
        name: Name of the table.
        judged: The claims.
        reported: The paper's published facts, of which ``authors`` and ``venue`` are named.
        notes: Sentences below the table.
    """
    rows = tuple(_claim_row(claim) for claim in judged)
    caption = f"Claims of {reported['authors']} ({reported['venue']}) and what our runs say"
    return Table(name, caption, _COLUMNS, rows, ("A status speaks of our runs at their scale, not of the paper.", *notes))


def _claim_row(claim: Claim) -> dict[str, Cell]:
    scale = claim.scale if claim.scale == "-" else honest_scale(claim.scale)
    return {**vars(claim), "reason": claim.reason or "-", "seeds": claim.seeds or "-", "scale": scale}


def measured(table: Table) -> bool:
    """Tell whether any claim of a table was measured."""
    return any(row["status"] != NOT_MEASURED for row in table.rows)


def _beats_same_size(evidence: _Evidence) -> Iterator[Claim]:
    published = published_rows(evidence.reported, "table_1")
    for model in MODELS:
        pruned, baseline = f"{model}_P", f"{model}_B"
        if pruned not in published and not (pruned in evidence.rows and baseline in evidence.rows):
            continue
        told = _published_change(published, pruned, baseline)
        yield from _pairs(evidence, _BEATS, (pruned, baseline), told, _judge_same_size)


def _compressed(evidence: _Evidence) -> Iterator[Claim]:
    published = published_rows(evidence.reported, "table_2")
    for model in MODELS:
        pair = (f"{model}_C", f"{model}_U")
        yield from _pairs(evidence, _COMPRESSED, pair, _published_change(published, *pair), _judge_drop(LOSS_POINTS))


def _structured(evidence: _Evidence) -> Iterator[Claim]:
    published = published_rows(evidence.reported, "table_2")
    for model in MODELS:
        pair = (f"{model}_C-SP", f"{model}_U")
        if pair[0] in published or pair[0] in evidence.rows:
            yield from _pairs(evidence, _STRUCTURED, pair, _published_change(published, *pair), _judge_drop(STRUCTURED_LOSS_POINTS))


def _pairs(evidence: _Evidence, claim: str, names: tuple[str, str], published: str, judge_pair: Any) -> Iterator[Claim]:
    """Judge every entry of the first row name against its partner of the second, or say what is missing."""
    subject = f"{names[0]} against {names[1]}"
    absent = [name for name in names if name not in evidence.rows]
    if absent:
        yield Claim(claim, subject, NOT_MEASURED, f"{' and '.join(absent)} not run", published)
        return
    for one in evidence.rows[names[0]]:
        other = _partner(one, evidence.rows[names[1]])
        if other is None:
            yield Claim(claim, subject, NOT_MEASURED, f"{names[0]} and {names[1]} were run at different scales", published)
            continue
        told = ", ".join(f"{key}={value}" for key, value in values_of(one, set_apart(evidence.rows[names[0]])).items())
        status, numbers = judge_pair(one, other, evidence.pesq)
        seeds = min(len(one.seeds), len(other.seeds))
        yield Claim(claim, f"{subject} ({told})" if told else subject, status, numbers, published, seeds, one.scale)


def _partner(entry: Entry, others: Sequence[Entry]) -> Entry | None:
    """Return the entry to compare with: of the same jobs, or else of the same scale apart from the width of the model."""
    same_jobs = [other for other in others if {job.folder for job in entry.jobs} & {job.folder for job in other.jobs}]
    same_scale = [other for other in others if without_width(other.scale) == without_width(entry.scale)]
    return next(iter([*same_jobs, *same_scale]), None)


def _judge_same_size(pruned: Entry, baseline: Entry, pesq: str) -> tuple[str, str]:
    sizes = (baseline.size("nonzero").mean, pruned.size("nonzero").mean)
    told = "sizes not recorded"
    if None not in sizes and sizes[1]:
        ratio = sizes[0] / sizes[1]
        told = f"the baseline has {ratio:.2f} times the parameters"
        if not SAME_SIZE[0] <= ratio <= SAME_SIZE[1]:
            return NOT_MEASURED, f"not of the same size: {told}"
    gains = [_gain(pruned, baseline, metric) for metric in ("stoi", pesq)]
    known = [gain for gain in gains if gain is not None]
    if not known:
        return NOT_MEASURED, "neither STOI nor PESQ was measured for both"
    numbers = _changes(pruned, baseline, ("stoi", pesq))
    return (HELD if all(gain > 0 for gain in known) else NOT_HELD), f"{numbers}; {told}{_spread(pruned, baseline)}"


def _judge_drop(limit: float) -> Any:
    def judge_pair(compressed: Entry, whole: Entry, pesq: str) -> tuple[str, str]:
        drops = [-change for _, change in _by_snr(compressed, whole, "stoi")]
        if not drops:
            return NOT_MEASURED, "STOI was not measured for both"
        status = HELD if round(100 * max(drops), 2) <= limit else NOT_HELD
        return status, f"{_changes(compressed, whole, ('stoi', pesq))}{_spread(compressed, whole)}"

    return judge_pair


def _gain(one: Entry, other: Entry, metric: str) -> float | None:
    changes = [change for _, change in _by_snr(one, other, metric)]
    return sum(changes) / len(changes) if changes else None


def _by_snr(one: Entry, other: Entry, metric: str) -> list[tuple[float | None, float]]:
    """Return (SNR, change of the mean) wherever both entries were measured."""
    pairs = [(snr, one.score(metric, snr).mean, other.score(metric, snr).mean) for snr in one.snrs() if snr in other.snrs()]
    return [(snr, left - right) for snr, left, right in pairs if left is not None and right is not None]


def _changes(one: Entry, other: Entry, metrics: Sequence[str]) -> str:
    """Say the changes per SNR, such as ``STOI +0.83 / +1.38 points at -5 / 0 dB``."""
    told = []
    for metric in metrics:
        changes = _by_snr(one, other, metric)
        if changes:
            told.append(_change_text(metric, [snr for snr, _ in changes], [change for _, change in changes]))
    return "; ".join(told)


def _change_text(metric: str, snrs: Sequence[float | None], changes: Sequence[float]) -> str:
    factor, unit = (100, " points") if metric == "stoi" else (1, "")
    numbers = " / ".join(f"{factor * change:+.2f}" for change in changes)
    places = " / ".join(f"{snr:g}" for snr in snrs if snr is not None)
    return f"{metric_column(metric, metric).title} {numbers}{unit}" + (f" at {places} dB" if places else "")


def _spread(one: Entry, other: Entry) -> str:
    """Say when the mean change of STOI is smaller than the deviation over the seeds."""
    left, right = one.score("stoi"), other.score("stoi")
    if left.std is None or right.std is None or abs(left.mean - right.mean) >= math.hypot(left.std, right.std):
        return ""
    return "; the mean change of STOI is within the deviation over seeds"


def _published_change(published: Mapping[str, Mapping[str, Any]], one: str, other: str) -> str:
    if one not in published or other not in published:
        return "-"
    left, right = published[one], published[other]
    told = [
        f"{name} {' / '.join(f'{a - b:+.2f}' for a, b in zip(left[key], right[key], strict=True))}{unit}"
        for name, key, unit in (("STOI", "stoi_percent", " points"), ("PESQ", "pesq", ""))
    ]
    return "; ".join(told)


def _prunes_further(evidence: _Evidence) -> Iterator[Claim]:
    # An interrupted run stands at some iteration that says nothing about where pruning ends.
    jobs = [job for job in evidence.jobs if not is_structured(job.pipeline) and job.status == "finished"]
    without, with_ = (_last_points(jobs, kind) for kind in (False, True))
    told = "Figure 2, curves without numbers"
    for model in [name for name in MODELS if name in without or name in with_] or ["all models"]:
        absent = [text for text, found in (("without", without), ("with", with_)) if model not in found]
        if absent:
            yield Claim(_FURTHER, model, NOT_MEASURED, f"no pruning {' or '.join(absent)} sparse regularisation was finished", told)
            continue
        (line_0, left_0), (line_1, left_1) = without[model], with_[model]
        if without_width(line_0.scale) != without_width(line_1.scale):
            yield Claim(_FURTHER, model, NOT_MEASURED, "the runs with and without were made at different scales", told)
            continue
        numbers = f"{_left_text(line_1, left_1)} with, {_left_text(line_0, left_0)} without"
        status = HELD if left_1.mean < left_0.mean else NOT_HELD
        yield Claim(_FURTHER, model, status, numbers, told, min(left_0.seeds, left_1.seeds), line_1.scale)


def _last_points(jobs: Sequence[Job], regularised: bool) -> dict[str, tuple[Line, Value]]:
    """Return per model the line that ends with the fewest parameters, and its last value."""
    best: dict[str, tuple[Line, Value]] = {}
    for line in remaining_lines(jobs, regularised):
        model, last = line.name.split(" ")[0], line.points[-1][1]
        if last.mean is not None and (model not in best or last.mean < best[model][1].mean):
            best[model] = (line, last)
    return best


def _left_text(line: Line, value: Value) -> str:
    deviation = f" ± {100 * value.std:.1f}" if value.std is not None else ""
    told = line.name.partition(" ")[2]
    return f"{100 * value.mean:.1f}{deviation} % left after {line.points[-1][0]:g} iterations {told}".strip()


def write_claims(request: Request) -> list[Path]:
    """Write p2_claims in all formats."""
    return write_table(claims_table(request.jobs, read_reported(request.reported, "p2")), request.out)


KINDS = {"p2_claims": write_claims}

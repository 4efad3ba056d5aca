"""Whether the claims of Tan & Wang (ICASSP 2021) hold in our runs, with the numbers and the reason.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold. The
statuses and the conditions that all papers share stand in verdicts.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.baselines import no_better
from audioprune.report.claims import (
    NOT_MEASURED,
    Bound,
    Claim,
    Side,
    Verdict,
    all_cells,
    claim_of,
    conditions_of,
    interval,
    paired,
)
from audioprune.report.claims import judge as judge_numbers
from audioprune.report.entries import Entry, entries, mean_of
from audioprune.report.model_states import finite_or_none
from audioprune.report.papers.p2.paper import (
    MODELS,
    by_row,
    deviations,
    is_regularised,
    is_structured,
    line_groups,
    pesq_of,
    published_rows,
    set_apart,
    values_of,
)
from audioprune.report.runs import (
    Job,
    Request,
    honest_scale,
    joined_scales,
    read_reported,
    scale_notes,
    without_width,
)
from audioprune.report.tables import Cell, Column, Table, metric_column, write_table

# The widest intervals over seeds that can show a change of STOI, of PESQ, and of the share of
# parameters that is left.
_MARGINS = (0.04, 0.4)
_MARGIN_LEFT = 0.25
_FIGURE_2 = "Figure 2, curves without numbers"
LOSS_POINTS = 2.0  # the largest drop in Table 2 is 1.99 STOI points (TCNN, -5 dB)
STRUCTURED_LOSS_POINTS = 1.0  # in Table 2 the largest is 0.11 points (GCRN, 0 dB)
SAME_SIZE = (
    0.8,
    1.5,
)  # parameters of the baseline / of the pruned model; 1.26 and 1.07 in Table 1
_BEATS = "A pruned model beats an unpruned one of about its size (mean STOI and PESQ higher)"
_FURTHER = (
    "Sparse regularisation lets pruning go further (fewer parameters left after the last "
    "iteration)"
)
_COMPRESSED = f"Compression costs at most about {LOSS_POINTS:g} STOI points at any SNR"
_STRUCTURED = (
    f"Structured compression costs at most {STRUCTURED_LOSS_POINTS:g} STOI point at any SNR"
)
_RULES = (
    "Judged by Student's t interval over at least 3 seeds, paired by seed, at all SNRs of the "
    "paper; both sides must share corpus, "
    "settings, seeds and (but for the baseline) width, something must have been removed, and "
    "each model must beat the mixture.",
    f"Wider intervals than {100 * _MARGINS[0]:g} points of STOI, {_MARGINS[1]:g} of PESQ and "
    f"{100 * _MARGIN_LEFT:g} points of the "
    "parameters left compare nothing.",
)
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

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs that the paper's claims name."""
        return tuple(map(float, self.reported["snr_db"]))


def judge(jobs: Sequence[Job], reported: Mapping[str, Any]) -> list[Claim]:
    """Judge all claims of the paper by the given jobs."""
    found = entries(jobs)
    evidence = _Evidence(jobs, by_row(found), pesq_of(found, reported), reported)
    return [
        claim
        for judged in (_beats_same_size, _prunes_further, _compressed, _structured)
        for claim in judged(evidence)
    ]


def claims_table(
    jobs: Sequence[Job], reported: Mapping[str, Any], name: str = "p2_claims"
) -> Table:
    """Return the judged claims as a table."""
    found = entries(jobs)
    notes = (*_RULES, *deviations(found), *scale_notes(jobs))
    return judged_table(name, judge(jobs, reported), reported, notes)


def judged_table(
    name: str, judged: Iterable[Claim], reported: Mapping[str, Any], notes: Sequence[str] = ()
) -> Table:
    """Return the judged claims of any paper as a table.

    Args:
        name: Name of the table.
        judged: The claims.
        reported: The paper's published facts, of which ``authors`` and ``venue`` are named.
        notes: Sentences below the table.
    """
    rows = tuple(_claim_row(claim) for claim in judged)
    caption = f"Claims of {reported['authors']} ({reported['venue']}) and what our runs say"
    return Table(
        name,
        caption,
        _COLUMNS,
        rows,
        ("A status speaks of our runs at their scale, not of the paper.", *notes),
    )


def _claim_row(claim: Claim) -> dict[str, Cell]:
    scale = claim.scale if claim.scale == "-" else honest_scale(claim.scale)
    return {
        **vars(claim),
        "reason": claim.reason or "-",
        "seeds": claim.seeds or "-",
        "scale": scale,
    }


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
        yield from _pairs(
            evidence,
            _COMPRESSED,
            pair,
            _published_change(published, *pair),
            _judge_drop(LOSS_POINTS),
        )


def _structured(evidence: _Evidence) -> Iterator[Claim]:
    published = published_rows(evidence.reported, "table_2")
    for model in MODELS:
        pair = (f"{model}_C-SP", f"{model}_U")
        if pair[0] in published or pair[0] in evidence.rows:
            yield from _pairs(
                evidence,
                _STRUCTURED,
                pair,
                _published_change(published, *pair),
                _judge_drop(STRUCTURED_LOSS_POINTS),
            )


def _pairs(
    evidence: _Evidence, claim: str, names: tuple[str, str], published: str, judge_pair: _Judge
) -> Iterator[Claim]:
    """Judge every entry of the first row name against its partner of the second, or say what is missing."""
    subject = f"{names[0]} against {names[1]}"
    absent = [name for name in names if name not in evidence.rows]
    if absent:
        yield Claim(claim, subject, NOT_MEASURED, f"{' and '.join(absent)} not run", published)
        return
    for one in evidence.rows[names[0]]:
        pair = _Pair(names, one, _partner(names, one, evidence.rows[names[1]]))
        told = ", ".join(
            f"{key}={value}"
            for key, value in values_of(one, set_apart(evidence.rows[names[0]])).items()
        )
        title = f"{subject} ({told})" if told else subject
        verdict, numbers = judge_pair(pair, evidence)
        yield claim_of(
            claim, title, verdict, numbers, published, seeds=len(pair.seeds), scale=one.scale
        )


def _partner(names: tuple[str, str], entry: Entry, others: Sequence[Entry]) -> Entry:
    """Return the entry to compare with: of the same jobs, or else the one that lacks the fewest conditions of a comparison."""
    same_jobs = [
        other
        for other in others
        if {job.folder for job in entry.jobs} & {job.folder for job in other.jobs}
    ]
    return (
        same_jobs[0]
        if same_jobs
        else min(others, key=lambda other: len(_Pair(names, entry, other).conditions(width=False)))
    )


@dataclass(frozen=True)
class _Pair:
    """A model that was made smaller, and what it stands against."""

    names: tuple[str, str]
    one: Entry
    other: Entry

    @property
    def seeds(self) -> list[int | None]:
        """Seeds that both sides have."""
        return [seed for seed in self.one.seeds if seed in self.other.seeds]

    def sides(self, removed: bool = True) -> tuple[Side, Side]:
        """Return both sides; the first says what was removed."""
        share = self.removed() if removed else None
        one = Side(self.names[0], self.one.jobs, share, no_better(self.one))
        return one, Side(self.names[1], self.other.jobs, None, no_better(self.other))

    def removed(self) -> float | None:
        """Return the least share of its prunable weights that a seed of the first side lost, or None where any was not recorded."""
        shares = list(self.one.size_by_seed("sparsity").values())
        trimmed = [_taken_out(row) for row in self.one.sizes]
        return min(map(max, shares, trimmed)) if shares and None not in shares else None

    def conditions(self, width: bool) -> tuple[str, ...]:
        """Return what the comparison lacks."""
        sides = self.sides()
        scales = [without_width(entry.scale) for entry in (self.one, self.other)]
        found = [
            f"{self.names[0]} and {self.names[1]} were run at different scales"
            if scales[0] != scales[1]
            else "",
            f"how much was removed from {self.names[0]} is not recorded"
            if sides[0].removed is None
            else "",
            set_by_hand(sides[0]),
        ]
        return (*conditions_of(*sides, width=width), *filter(None, found))

    def differences(self, metric: str, snrs: Iterable[float]) -> dict[int | None, float]:
        """Return per seed the change of a mean over conditions; a seed that lacks any condition has none."""
        places = [
            key
            for key in dict.fromkeys([*self.one.conditions(), *self.other.conditions()])
            if key[1] in snrs
        ]
        return paired(self.one.by_seed(metric, places), self.other.by_seed(metric, places))


_Judge = Callable[[_Pair, "_Evidence"], tuple[Verdict, str]]


def _taken_out(size: Mapping[str, Any]) -> float:
    """Return the share of the parameters of the uncompressed model that a trimmed one has no more."""
    whole, left = (
        finite_or_none(size.get("bytes_uncompressed")),
        finite_or_none(size.get("bytes_fp32")),
    )
    return 1 - left / whole if whole and left is not None else 0.0


def set_by_hand(side: Side) -> str:
    """Return that the sparsity of a side was given and not found by a sensitivity analysis, as it is in the paper."""
    rows = [row for job in side.jobs for row in job.iterations()]
    given = sorted(
        {
            f"{row['sparsity']:g}"
            for row in rows
            if "alpha_1" not in row and finite_or_none(row.get("sparsity")) is not None
        }
    )
    return f"the sparsity of {side.name} was set by hand ({', '.join(given)})" if given else ""


def _judge_same_size(pair: _Pair, evidence: _Evidence) -> tuple[Verdict, str]:
    ratios, size_told = _ratios(pair)
    metrics = ("stoi", evidence.pesq)
    conditions = [*pair.conditions(width=False), *_unlike_in_size(ratios)]
    cells = {
        metric_column(metric, metric).title: judge_numbers(
            pair.differences(metric, evidence.snrs),
            Bound(above=0.0, margin=_MARGINS[place]),
            conditions,
            pair.sides(),
        )
        for place, metric in enumerate(metrics)
    }
    numbers = "; ".join(
        filter(
            None,
            (
                _changes(pair.one, pair.other, metrics),
                size_told,
                _intervals(pair, evidence, metrics),
            ),
        )
    )
    return all_cells(cells), f"{numbers}{_spread(pair.one, pair.other)}"


def _ratios(pair: _Pair) -> tuple[dict[int | None, float], str]:
    """Return per seed how many times more parameters the baseline has, and the same in words."""
    small, large = pair.one.size_by_seed("nonzero"), pair.other.size_by_seed("nonzero")
    ratios = {
        seed: large[seed] / small[seed]
        for seed in pair.seeds
        if small.get(seed) and large.get(seed) is not None
    }
    if not ratios:
        return {}, "sizes not recorded"
    least, most = min(ratios.values()), max(ratios.values())
    told = f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"
    return ratios, f"the baseline has {told} times the parameters"


def _unlike_in_size(ratios: Mapping[int | None, float]) -> list[str]:
    if not ratios:
        return ["the sizes are not recorded"]
    outside = [
        f"{ratio:.2f} times in seed {seed}"
        for seed, ratio in ratios.items()
        if not SAME_SIZE[0] <= ratio <= SAME_SIZE[1]
    ]
    return [f"not of the same size in every seed: {', '.join(outside)}"] if outside else []


def _judge_drop(limit: float) -> _Judge:
    def judge_pair(pair: _Pair, evidence: _Evidence) -> tuple[Verdict, str]:
        bound = Bound(at_most=limit / 100, margin=_MARGINS[0])
        conditions = pair.conditions(width=True)
        cells = {}
        for snr in evidence.snrs:
            drops = {seed: -change for seed, change in pair.differences("stoi", (snr,)).items()}
            cells[f"{snr:g} dB"] = judge_numbers(drops, bound, conditions, pair.sides())
        metrics = ("stoi", evidence.pesq)
        numbers = "; ".join(
            filter(
                None,
                (_changes(pair.one, pair.other, metrics), _intervals(pair, evidence, ("stoi",))),
            )
        )
        return all_cells(
            cells
        ), f"{numbers or 'STOI was not measured for both'}{_spread(pair.one, pair.other)}"

    return judge_pair


def _intervals(pair: _Pair, evidence: _Evidence, metrics: Sequence[str]) -> str:
    """Say the mean change over all SNRs with its interval over seeds, where there is one."""
    told = []
    for metric in metrics:
        found = interval(pair.differences(metric, evidence.snrs).values())
        if found:
            factor, unit = (100, " points") if metric == "stoi" else (1, "")
            told.append(f"{metric_column(metric, metric).title} {found.text(factor, unit=unit)}")
    return f"mean change with its 95 % interval over seeds: {', '.join(told)}" if told else ""


def _by_snr(one: Entry, other: Entry, metric: str) -> list[tuple[float | None, float]]:
    """Return (SNR, change of the mean) wherever both entries were measured."""
    pairs = [
        (snr, one.score(metric, snr).mean, other.score(metric, snr).mean)
        for snr in one.snrs()
        if snr in other.snrs()
    ]
    return [
        (snr, left - right) for snr, left, right in pairs if left is not None and right is not None
    ]


def _changes(one: Entry, other: Entry, metrics: Sequence[str]) -> str:
    """Say the changes per SNR, such as ``STOI +0.83 / +1.38 points at -5 / 0 dB``."""
    told = []
    for metric in metrics:
        changes = _by_snr(one, other, metric)
        if changes:
            told.append(
                _change_text(
                    metric, [snr for snr, _ in changes], [change for _, change in changes]
                )
            )
    return "; ".join(told)


def _change_text(metric: str, snrs: Sequence[float | None], changes: Sequence[float]) -> str:
    factor, unit = (100, " points") if metric == "stoi" else (1, "")
    numbers = " / ".join(f"{factor * change:+.2f}" for change in changes)
    places = " / ".join(f"{snr:g}" for snr in snrs if snr is not None)
    return f"{metric_column(metric, metric).title} {numbers}{unit}" + (
        f" at {places} dB" if places else ""
    )


def _spread(one: Entry, other: Entry) -> str:
    """Say when the mean change of STOI is smaller than the deviation over the seeds."""
    left, right = one.score("stoi"), other.score("stoi")
    if (
        left.std is None
        or right.std is None
        or abs(left.mean - right.mean) >= math.hypot(left.std, right.std)
    ):
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
    jobs = [
        job
        for job in evidence.jobs
        if not is_structured(job.pipeline) and job.status == "finished" and job.iterations()
    ]
    groups = {
        kind: line_groups([job for job in jobs if is_regularised(job) == kind])
        for kind in (False, True)
    }
    models = {
        kind: {_model_of(group) for group in named.values()} for kind, named in groups.items()
    }
    for model in [name for name in MODELS if name in models[False] | models[True]] or [
        "all models"
    ]:
        absent = [
            word
            for word, kind in (("without", False), ("with", True))
            if model not in models[kind]
        ]
        if absent:
            numbers = f"no pruning {' or '.join(absent)} sparse regularisation was finished"
            yield Claim(_FURTHER, model, NOT_MEASURED, numbers, _FIGURE_2)
            continue
        sides = {
            kind: {name: group for name, group in named.items() if _model_of(group) == model}
            for kind, named in groups.items()
        }
        for name, group in sides[True].items():
            yield _judge_further(name, group, sides[False])


def _model_of(group: Sequence[Job]) -> str:
    return group[0].model.upper()


def _judge_further(name: str, group: Sequence[Job], rivals: Mapping[str, Sequence[Job]]) -> Claim:
    """Judge one group of regularised runs against the unregularised group that lacks the fewest conditions of a comparison."""
    with_ = _pruned_side(f"{name} with", group)
    sides = [
        (with_, _pruned_side(f"{rival} without", members)) for rival, members in rivals.items()
    ]
    pair = min(sides, key=lambda pair: len(_conditions_further(*pair)))
    left = [{job.seed: _last_share(job) for job in side.jobs} for side in pair]
    verdict = judge_numbers(
        paired(*left), Bound(below=0.0, margin=_MARGIN_LEFT), _conditions_further(*pair), pair
    )
    numbers = "; ".join(f"{side.name}: {_left_text(side.jobs)}" for side in pair)
    scale = joined_scales(job.scale for job in group)
    return claim_of(
        _FURTHER, name, verdict, numbers, _FIGURE_2, seeds=len(paired(*left)), scale=scale
    )


def _pruned_side(name: str, group: Sequence[Job]) -> Side:
    marks = (
        no_better(entry)
        for entry in entries(group)
        if entry.variant == "pruned" and entry.iteration is None
    )
    shares = [share for job in group if (share := _last_share(job)) is not None]
    return Side(
        name, tuple(group), 1 - max(shares) if shares else None, next(filter(None, marks), "")
    )


def _conditions_further(one: Side, other: Side) -> tuple[str, ...]:
    pipelines = dict.fromkeys(job.pipeline for side in (one, other) for job in side.jobs)
    scales = dict.fromkeys(job.scale for side in (one, other) for job in side.jobs)
    found = (
        f"the pipelines differ ({' | '.join(pipelines)})" if len(pipelines) > 1 else "",
        "the runs with and without were made at different scales" if len(scales) > 1 else "",
        *map(set_by_hand, (one, other)),
        *conditions_of(
            one, other, within=("training", "task", "pipeline"), apart=("lambda_1", "lambda_2")
        ),
    )
    return tuple(filter(None, found))


def _last_share(job: Job) -> float | None:
    """Return the share of the parameters that is left after the last iteration of a job."""
    rows = job.iterations()
    return (
        finite_or_none(max(rows, key=lambda row: row["iteration"]).get("remaining_share"))
        if rows
        else None
    )


def _left_text(jobs: Sequence[Job]) -> str:
    value = mean_of([_last_share(job) for job in jobs])
    counts = sorted({max(row["iteration"] for row in job.iterations()) for job in jobs})
    deviation = f" ± {100 * value.std:.1f}" if value.std is not None else ""
    return (
        f"{100 * value.mean:.1f}{deviation} % left after {' or '.join(map(str, counts))} "
        f"iterations"
    )


def write_claims(request: Request) -> list[Path]:
    """Write p2_claims in all formats."""
    return write_table(
        claims_table(request.jobs, read_reported(request.reported, "p2")), request.out
    )


KINDS = {"p2_claims": write_claims}

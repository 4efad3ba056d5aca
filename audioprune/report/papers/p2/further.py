"""Whether sparse regularisation lets pruning go further: the claim behind Figure 2 of Tan & Wang.

``prunes_further`` judges every group of regularised runs against the unregularised runs of the
same model, by the share of parameters left after the last iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from audioprune.report.baselines import no_better
from audioprune.report.claims import (
    NOT_MEASURED,
    Bound,
    Claim,
    Side,
    claim_of,
    conditions_of,
    judge,
)
from audioprune.report.figures.remaining import line_groups
from audioprune.report.papers.p2.pairs import set_by_hand
from audioprune.report.papers.p2.rows import MODELS, P2Evidence, is_regularised, is_structured
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import mean_of
from audioprune.report.runs.intervals import paired
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import joined_scales

# The widest interval over seeds, of the share of parameters left, that can show a difference.
WIDEST_LEFT = 0.25
Groups = Mapping[str, Sequence[Job]]
_PUBLISHED = "Figure 2, curves without numbers"
_CLAIM = (
    "Sparse regularisation lets pruning go further (fewer parameters left after the last "
    "iteration)"
)


def prunes_further(evidence: P2Evidence) -> Iterator[Claim]:
    """Judge the claim for every model that was pruned with or without sparse regularisation."""
    # An interrupted run stands at some iteration that says nothing about where pruning ends.
    ended = [job for job in evidence.jobs if job.status == "finished" and job.iterations()]
    jobs = [job for job in ended if not is_structured(job.pipeline)]
    with_ = line_groups([job for job in jobs if is_regularised(job)])
    without = line_groups([job for job in jobs if not is_regularised(job)])
    run = {_model_of(group) for group in (*with_.values(), *without.values())}
    for model in [name for name in MODELS if name in run] or ["all models"]:
        yield from _of_model(model, _groups_of(model, with_), _groups_of(model, without))


def _groups_of(model: str, groups: Groups) -> Groups:
    return {name: group for name, group in groups.items() if _model_of(group) == model}


def _model_of(group: Sequence[Job]) -> str:
    return group[0].model.upper()


def _of_model(model: str, with_: Groups, without: Groups) -> Iterator[Claim]:
    sides = (("without", without), ("with", with_))
    absent = [word for word, groups in sides if not groups]
    if absent:
        numbers = f"no pruning {' or '.join(absent)} sparse regularisation was finished"
        yield Claim(_CLAIM, model, NOT_MEASURED, numbers, _PUBLISHED)
        return
    for name, group in with_.items():
        yield _judge_group(name, group, without)


def _judge_group(name: str, group: Sequence[Job], rivals: Groups) -> Claim:
    """Judge one group against the unregularised group that lacks the fewest conditions."""
    one = _side(f"{name} with", group)
    others = [_side(f"{rival} without", members) for rival, members in rivals.items()]
    other = min(others, key=lambda side: len(lacks(one, side)))
    left, right = ({job.seed: _last_share(job) for job in side.jobs} for side in (one, other))
    differences = paired(left, right)
    bound = Bound(below=0.0, margin=WIDEST_LEFT)
    verdict = judge(differences, bound, lacks(one, other), (one, other))
    numbers = "; ".join(f"{side.name}: {_left_text(side.jobs)}" for side in (one, other))
    scale = joined_scales(job.scale for job in group)
    return claim_of(
        _CLAIM, name, verdict, numbers, _PUBLISHED, seeds=len(differences), scale=scale
    )


def _side(name: str, group: Sequence[Job]) -> Side:
    final = [entry for entry in entries(group) if entry.iteration is None]
    marks = (no_better(entry) for entry in final if entry.variant == "pruned")
    shares = [share for job in group if (share := _last_share(job)) is not None]
    removed = 1 - max(shares) if shares else None
    return Side(name, tuple(group), removed, next(filter(None, marks), ""))


def lacks(one: Side, other: Side) -> tuple[str, ...]:
    """Return what a comparison of two prunings lacks, in words."""
    jobs = (*one.jobs, *other.jobs)
    pipelines = dict.fromkeys(job.pipeline for job in jobs)
    found = []
    if len(pipelines) > 1:
        found.append(f"the pipelines differ ({' | '.join(pipelines)})")
    if len({job.scale for job in jobs}) > 1:
        found.append("the runs with and without were made at different scales")
    found += [set_by_hand(one), set_by_hand(other)]
    within, apart = ("training", "task", "pipeline"), ("lambda_1", "lambda_2")
    found += conditions_of(one, other, within=within, apart=apart)
    return tuple(filter(None, found))


def _last_share(job: Job) -> float | None:
    """Return the share of the parameters that is left after the last iteration of a job."""
    rows = job.iterations()
    if not rows:
        return None
    return max(rows, key=lambda row: row.iteration).remaining_share


def _left_text(jobs: Sequence[Job]) -> str:
    value = mean_of([_last_share(job) for job in jobs])
    mean = 100 * (value.mean or 0.0)
    counts = sorted({max(row.iteration for row in job.iterations()) for job in jobs})
    deviation = f" ± {100 * value.std:.1f}" if value.std is not None else ""
    after = f"after {' or '.join(map(str, counts))} iterations"
    return f"{mean:.1f}{deviation} % left {after}"

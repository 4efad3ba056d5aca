"""Which rows of several jobs are one: unprocessed inputs, and models that every job scores again.

``mixtures`` joins the unprocessed scores of all jobs, ``without_repeats`` keeps one of several
equal rows of the uncompressed model. Rows that disagree stay apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from audioprune.experiment.rows import QualityRow
from audioprune.report.runs.corpora import OF_TRAINING
from audioprune.report.runs.entry import Cells, Entry
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import joined_scales, without_width
from audioprune.report.runs.seeds import volatile_keys
from audioprune.report.runs.states import states_of

Members = list[tuple[Job, Cells]]
Groups = dict[tuple[str, int], Members]


def mixtures(jobs: Sequence[Job]) -> list[Entry]:
    """Join the unprocessed scores of all jobs on the same data.

    Jobs that disagree give rows of their own.
    """
    groups: Groups = {}
    left_out = volatile_keys(jobs)
    for job in jobs:
        states = states_of(job).items()
        cells = next((state.scores for name, state in states if name.variant == "mixture"), None)
        if cells:
            _file_mixture(groups, _test_data(job, left_out), job, cells)
    return [_mixture(members) for members in groups.values()]


def _test_data(job: Job, left_out: frozenset[str]) -> str:
    """Return what is configured of a job's test data, as text."""
    data = {
        key: repr(value)
        for key, value in job.config.items()
        if key.startswith("data.")
        and key not in left_out
        and key.rpartition(".")[2] not in OF_TRAINING
    }
    return json.dumps(data, sort_keys=True)


def _mixture(members: Members) -> Entry:
    jobs = tuple(job for job, _ in members)
    return Entry(
        "Mixture",
        "mixture",
        scale=joined_scales(without_width(job.scale) for job in jobs),
        seeds=tuple(job.seed for job in jobs),
        jobs=jobs,
        scores=tuple(cells for _, cells in members),
    )


def _file_mixture(groups: Groups, data: str, job: Job, cells: Cells) -> None:
    """Put a job's scores into the first group on its data that they do not contradict."""
    for place in range(len(groups) + 1):
        members = groups.setdefault((data, place), [])
        seeds = [other.seed for other, _ in members]
        if job.seed not in seeds:
            members.append((job, cells))
            return
        twin = seeds.index(job.seed)
        if _agree(members[twin][1], cells):
            members[twin] = (members[twin][0], _merged(members[twin][1], cells))
            return


def _agree(one: Cells, other: Cells) -> bool:
    """Tell whether two sets of scores contradict nowhere."""
    return all(_same(one[condition], other[condition]) for condition in one.keys() & other.keys())


def _same(left: QualityRow, right: QualityRow) -> bool:
    shared = left.metrics.keys() & right.metrics.keys()
    same_count = left.get("n") == right.get("n")
    return same_count and all(left.metric(name) == right.metric(name) for name in shared)


def _merged(one: Cells, other: Cells) -> Cells:
    merged = {**other, **one}
    for condition in one.keys() & other.keys():
        row = one[condition]
        metrics = {**other[condition].metrics, **row.metrics}
        merged[condition] = replace(row, more={**row.more, "metrics": metrics})
    return merged


def without_repeats(found: Sequence[Entry]) -> list[Entry]:
    """Keep one of several equal rows of the uncompressed model.

    Every job of a sweep scores that model again.
    """
    kept: list[Entry] = []
    places: dict[tuple[object, ...], list[int]] = {}
    for entry in found:
        alike = []
        if entry.variant == "uncompressed":
            alike = places.setdefault(_identity(entry), [])
        twin = next((place for place in alike if _same_measured(entry, kept[place])), None)
        if twin is None:
            alike.append(len(kept))
            kept.append(entry)
        else:
            kept[twin] = _shared(kept[twin], entry)
    return kept


def _shared(one: Entry, other: Entry) -> Entry:
    """Return one entry for two equal ones: of both jobs, with what their configurations share."""
    config = {
        key: value if value == other.config.get(key) else "" for key, value in one.config.items()
    }
    pipeline = one.pipeline if one.pipeline == other.pipeline else ""
    return replace(one, config=config, pipeline=pipeline, jobs=(*one.jobs, *other.jobs))


def _same_measured(one: Entry, other: Entry) -> bool:
    if _measured(one) != _measured(other):
        return False
    return all(one.size(name) == other.size(name) for name in ("params", "nonzero", "bytes_fp32"))


def _identity(entry: Entry) -> tuple[object, ...]:
    return entry.variant, entry.label, entry.scale, entry.seeds, entry.step


def _measured(entry: Entry) -> list[dict[tuple[str, float | None], object]]:
    return [{key: row.get("metrics") for key, row in per.items()} for per in entry.scores]

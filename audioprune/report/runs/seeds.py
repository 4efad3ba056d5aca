"""Which jobs differ by their seed only, and in which settings the others differ.

``join_seeds`` groups jobs whose numbers are joined to a mean; ``differences`` names the
configuration keys that a table must show.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from audioprune.report.runs.corpora import by_corpus, grouped
from audioprune.report.runs.job import Job

# What changes from job to job without changing what is measured. A seed is what the mean runs
# over.
_VOLATILE = frozenset({"seed", "runtime", "hydra", "checkpoint", "name", "hash", "verb"})
# the network that a run imitates is, like its checkpoint, that of its seed
_TEACHERS = frozenset({"task.teacher", "task.teacher_sha256"})
_TOLD_ELSEWHERE = frozenset({"model", "model.name", "pipeline", "pipeline.name", "scale"})


def volatile_keys(jobs: Iterable[Job]) -> frozenset[str]:
    """Return the configuration keys that leave the experiment the same.

    They are seeds that follow the job's own, folders and names.

    A seed of its own, such as a fixed seed of the data, is no such key: another value is another
    experiment.
    """
    jobs = list(jobs)
    keys = {key for job in jobs for key in job.config}
    return frozenset(key for key in keys if _is_volatile(key, jobs))


def _is_volatile(key: str, jobs: list[Job]) -> bool:
    parts = key.split(".")
    if parts[-1] == "seed":
        return all(job.config[key] == job.seed for job in jobs if key in job.config)
    return parts[0] in _VOLATILE or parts[-1] == "name" or key in _TEACHERS


def differences(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the configuration keys whose values differ between jobs that have them.

    Left out are volatile keys, the names of model and pipeline, keys of a model or a step that
    these names already tell, and a step's copy of a key that stands nearer to the root.
    """
    jobs = [job for job in jobs if job.config]
    keys = sorted(
        {key for job in jobs for key in job.config}, key=lambda key: (key.count("."), key)
    )
    chosen: dict[tuple[str, tuple[str, ...]], str] = {}
    left_out = volatile_keys(jobs) | _TOLD_ELSEWHERE
    for key in keys:
        if key not in left_out and _differs(key, jobs):
            values = tuple(repr(job.config.get(key)) for job in jobs)
            chosen.setdefault((key.rpartition(".")[2], values), key)
    return tuple(sorted(chosen.values()))


def _differs(key: str, jobs: list[Job]) -> bool:
    values = {repr(job.config[key]) for job in jobs if key in job.config}
    return len(values) > 1 and not _told_by_name(key, jobs)


def _told_by_name(key: str, jobs: list[Job]) -> bool:
    """Tell whether the name of the model or of the pipeline already says the value."""
    names = {"model": lambda job: job.model, "pipeline.steps": lambda job: job.pipeline}
    name_of = next((names[part] for part in names if key.startswith(f"{part}.")), None)
    if name_of is None:
        return False
    seen = {(name_of(job), repr(job.config[key])) for job in jobs if key in job.config}
    return len(seen) == len({name for name, _ in seen})


def models_in_turn(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Put the first job of every model first, then the second of every model, and so on.

    Where only few jobs are shown, no model is left out.
    """
    seen: dict[str, int] = {}
    placed = []
    for job in jobs:
        seen[job.model] = seen.get(job.model, 0) + 1
        placed.append((seen[job.model], job))
    return tuple(job for _, job in sorted(placed, key=lambda each: each[0]))


def join_seeds(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """Group jobs that differ by their seed only and were run on one corpus, see ``by_corpus``.

    Two jobs of one seed never fall into one group: such a group is split by its checkpoint, and if
    that agrees too, job by job.
    """
    jobs = list(jobs)
    left_out = volatile_keys(jobs)
    groups = [
        group
        for _, members in by_corpus(jobs)
        for group in grouped(members, lambda job: _signature(job, left_out))
    ]
    split = [
        part
        for group in groups
        for part in (grouped(group, _checkpoint) if _repeats(group) else [group])
    ]
    return [
        part
        for group in split
        for part in ([(job,) for job in group] if _repeats(group) else [group])
    ]


def _repeats(group: tuple[Job, ...]) -> bool:
    return len({job.seed for job in group}) < len(group)


def _signature(job: Job, left_out: frozenset[str]) -> str:
    kept = {key: repr(value) for key, value in job.config.items() if key not in left_out}
    return json.dumps(
        [job.verb, job.model, job.pipeline, job.scale, kept or str(job.folder)], sort_keys=True
    )


def _checkpoint(job: Job) -> str:
    return str(job.config.get("checkpoint"))

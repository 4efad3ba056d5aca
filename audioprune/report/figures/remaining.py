"""How many parameters are left after each pruning iteration, one line per group of runs.

``remaining_lines`` gives the lines; ``line_groups`` joins runs over their seeds and names the
groups. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audioprune.report.figures.drawing import Line
from audioprune.report.runs.entry import Value, mean_of
from audioprune.report.runs.job import Job
from audioprune.report.runs.seeds import differences, join_seeds


def remaining_lines(jobs: Iterable[Job]) -> tuple[Line, ...]:
    """Return the share of parameters left per pruning iteration; iteration 0 is the whole model.

    Args:
        jobs: Jobs with iteration rows; others are passed over.
    """
    groups = line_groups([job for job in jobs if job.iterations()])
    return tuple(Line(name, _remaining(group), group[0].scale) for name, group in groups.items())


def line_groups(jobs: Iterable[Job]) -> dict[str, tuple[Job, ...]]:
    """Join jobs over seeds, by the name of their line.

    A name is that of the model. Where models repeat, it says what sets the group apart.
    """
    groups = join_seeds(jobs)
    labels = [_label(group[0]) for group in groups]
    twins: dict[str, list[Job]] = {}
    for label, group in zip(labels, groups, strict=True):
        twins.setdefault(label, []).append(group[0])
    keys = {label: differences(jobs) for label, jobs in twins.items() if len(jobs) > 1}
    named: dict[str, tuple[Job, ...]] = {}
    for label, group in zip(labels, groups, strict=True):
        told = _values(group[0], keys.get(label, ()))
        name = f"{label} ({told})" if told else label
        named[name if name not in named else f"{name} {group[0].name}"] = group
    return named


def _values(job: Job, keys: Iterable[str]) -> str:
    """Return what a job has under the keys that set it apart."""
    own = [key for key in keys if key in job.config]
    return ", ".join(f"{key.rpartition('.')[2]}={job.config[key]}" for key in own)


def _label(job: Job) -> str:
    labels = (row.label for row in job.iterations() if row.label)
    return next(labels, job.model.upper())


def _remaining(group: Sequence[Job]) -> tuple[tuple[float, Value], ...]:
    shares = [{row.iteration: row.remaining_share for row in job.iterations()} for job in group]
    last = max(iteration for per_job in shares for iteration in per_job)
    points = [(0.0, Value(1.0, None, len(group)))]
    for step in range(1, last + 1):
        measured = [per_job[step] for per_job in shares if step in per_job]
        points.append((float(step), mean_of(measured)))
    return tuple(points)

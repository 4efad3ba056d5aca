"""Which rows of one job belong to one state of its model, and what a state is called.

``states_of`` sorts the score and size rows of a job. States of several jobs are joined to entries
in entries.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from audioprune.experiment.results import GIVEN
from audioprune.experiment.rows import QualityRow, SizeRow
from audioprune.experiment.rows import finite_or_none as finite_or_none
from audioprune.report.runs.job import Job

Condition = tuple[str, float | None]
"""Noise, or the name of the test condition, and the signal-to-noise ratio in dB."""
_SPARSE = 0.01  # a trained dense model has single zeros by chance, a pruned one has more


class StateName(NamedTuple):
    """What a state is called: the model's label, its variant, pruning iteration and step."""

    label: str
    variant: str
    iteration: int | None
    step: str


@dataclass
class State:
    """The score row of every condition, and the size row; an empty one where none was written."""

    scores: dict[Condition, QualityRow] = field(default_factory=dict)
    size: SizeRow = SizeRow()


States = Mapping[StateName, State]


def condition_of(row: QualityRow) -> Condition:
    """Return the noise and the SNR in dB of a score row."""
    return row.noise, row.snr_db


def states_of(job: Job) -> States:
    """Collect the score and size rows of a job by the state that they belong to."""
    states: dict[StateName, State] = {}
    for score in _tested(job.rows_of(QualityRow)):
        states.setdefault(_name(job, score), State()).scores[condition_of(score)] = score
    for size in job.rows_of(SizeRow):
        states.setdefault(_name(job, size), State()).size = size
    named = _named_by_step_if_needed(_with_final(_called_by_what_they_are(job, states)))
    return _with_uncompressed_size(named)


def _tested(rows: list[QualityRow]) -> list[QualityRow]:
    return [row for row in rows if row.is_test] or rows


def _name(job: Job, row: QualityRow | SizeRow) -> StateName:
    step = _step(row)
    return StateName(row.label or job.model, row.variant, _iteration(row, step), step)


def _step(row: QualityRow | SizeRow) -> str:
    """Return the path of the pipeline step that wrote a row.

    It is the key of the row without the condition or ``size``.
    """
    condition = row.condition if isinstance(row, QualityRow) else ""
    for ending in (condition, "size"):
        if ending and row.key.endswith(f"/{ending}"):
            return row.key.removesuffix(f"/{ending}")
    return row.key.rpartition("/")[0]


def _iteration(row: QualityRow | SizeRow, step: str) -> int | None:
    """Return the number of the pruning iteration.

    It is the row's own, or one more than the repetition in the step's path.
    """
    if row.iteration is not None:
        return row.iteration
    if row.variant == "mixture":
        return None
    repetition = re.search(r"(?:^|/)(\d+)(?:/|$)", step)
    return int(repetition.group(1)) + 1 if repetition else None


def _called_by_what_they_are(job: Job, states: States) -> States:
    """Call no model uncompressed that came from a pruned file."""
    if not job.config.get("checkpoint"):
        return states
    named = {}
    for name, state in states.items():
        sparse = (state.size.sparsity or 0.0) > _SPARSE
        given = sparse and name.variant == "uncompressed"
        named[name._replace(variant=GIVEN) if given else name] = state
    return named


def _with_final(states: States) -> States:
    """Let the last iteration be the final state of what was scored within repetitions only."""
    added = {}
    for name, state in states.items():
        twins = [other.iteration for other in states if other[:2] == name[:2]]
        if name.iteration is not None and _is_last(name.iteration, twins):
            added[StateName(name.label, name.variant, None, "")] = state
    return {**states, **added}


def _is_last(iteration: int, iterations: Iterable[int | None]) -> bool:
    return all(other is not None and other <= iteration for other in iterations)


def _named_by_step_if_needed(states: States) -> States:
    """Leave out the step of a state wherever the rest of its name says which state it is."""
    named = {}
    for name, state in states.items():
        twins = [other for other in states if other[:3] == name[:3]]
        named[name if len(twins) > 1 else name._replace(step="")] = state
    return named


def _with_uncompressed_size(states: States) -> States:
    """Give every size row the bytes of the uncompressed model of the same job.

    A job that never scored the uncompressed model goes by the parameters it was trained with;
    without these there is no rate.
    """
    whole = [state.size for name, state in states.items() if name.variant == "uncompressed"]
    base = next((size.bytes_fp32 for size in whole if size.is_written), None)
    found = {}
    for name, state in states.items():
        trained = state.size.number("params_trained")
        of_training = 4 * trained if trained else None
        size = replace(state.size, bytes_uncompressed=base or of_training)
        found[name] = State(state.scores, size if state.size.is_written else state.size)
    return found

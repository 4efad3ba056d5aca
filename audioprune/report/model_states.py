"""Which rows of one job belong to one state of its model, and what a state is called.

States of several jobs are joined to entries in entries.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from audioprune.experiment.results import GIVEN
from audioprune.report.runs import Job

Condition = tuple[str, float | None]
States = dict[tuple[str, str, int | None, str], dict[str, Any]]
_SPARSE = 0.01  # a trained dense model has single zeros by chance, a pruned one has more


def finite_or_none(value: Any) -> float | None:
    """Return a number as float, and None for everything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def condition_of(row: Mapping[str, Any]) -> Condition:
    """Return (noise, SNR in dB) of a score row; a row without noise goes by the name of its test condition."""
    return str(row.get("noise") or row.get("condition") or ""), finite_or_none(row.get("snr_db"))


def states_of(job: Job) -> States:
    """Collect the score and size rows of a job by (label, variant, iteration, step)."""
    states: States = {}
    for row in _tested(job.of_kind("score")) + job.of_kind("size"):
        step = _step(row)
        key = (
            str(row.get("label") or job.model),
            str(row.get("variant") or ""),
            _iteration(row, step),
            step,
        )
        state = states.setdefault(key, {"scores": {}, "size": {}})
        if row["kind"] == "score":
            state["scores"][condition_of(row)] = row
        else:
            state["size"] = row
    return _with_uncompressed_size(
        _named_by_step_if_needed(_with_final(_called_by_what_they_are(job, states)))
    )


def _called_by_what_they_are(job: Job, states: States) -> States:
    """Call no model uncompressed that came with weights taken out.

    New rows say so themselves (steps.Evaluate); rows of older runs do not.
    """
    if not job.config.get("checkpoint"):
        return states
    named = {}
    for (label, variant, iteration, step), state in states.items():
        sparse = (finite_or_none(state["size"].get("sparsity")) or 0.0) > _SPARSE
        named[
            (label, GIVEN if sparse and variant == "uncompressed" else variant, iteration, step)
        ] = state
    return named


def _tested(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tested = [row for row in rows if row.get("split") not in ("train", "valid", "validation")]
    return tested or rows


def _step(row: Mapping[str, Any]) -> str:
    """Return the path of the pipeline step that wrote a row: its key without the condition or ``size``."""
    key, last = str(row.get("key") or ""), str(row.get("condition") or "")
    for ending in (f"/{last}", "/size"):
        if ending != "/" and key.endswith(ending):
            return key[: -len(ending)]
    return key.rpartition("/")[0]


def _iteration(row: Mapping[str, Any], step: str) -> int | None:
    """Return the number of the pruning iteration: the row's own, or one more than the repetition in the step's path."""
    if isinstance(row.get("iteration"), int):
        return row["iteration"]
    if row.get("variant") == "mixture":
        return None
    repetition = re.search(r"(?:^|/)(\d+)(?:/|$)", step)
    return int(repetition.group(1)) + 1 if repetition else None


def _with_final(states: States) -> States:
    """Let the last iteration stand as the final state of a variant that was scored inside the repetition only."""
    added = {}
    for label, variant, iteration, step in states:
        others = [key for key in states if key[:2] == (label, variant)]
        if iteration is not None and all(
            key[2] is not None and key[2] <= iteration for key in others
        ):
            added[(label, variant, None, "")] = states[(label, variant, iteration, step)]
    return {**states, **added}


def _named_by_step_if_needed(states: States) -> States:
    named = {}
    for (label, variant, iteration, step), state in states.items():
        twins = [key for key in states if key[:3] == (label, variant, iteration)]
        named[(label, variant, iteration, step if len(twins) > 1 else "")] = state
    return named


def _with_uncompressed_size(states: States) -> States:
    """Give every size row the bytes that its compression rate is relative to: the uncompressed model of the same job.

    A job that never scored the uncompressed model goes by the parameters it was trained with;
    without these there is no rate.
    """
    base = next(
        (
            state["size"].get("bytes_fp32")
            for key, state in states.items()
            if key[1] == "uncompressed" and state["size"]
        ),
        None,
    )
    found = {}
    for key, state in states.items():
        size = state["size"]
        trained = 4 * size["params_trained"] if size.get("params_trained") else None
        found[key] = {
            **state,
            "size": {**size, "bytes_uncompressed": base or trained} if size else {},
        }
    return found

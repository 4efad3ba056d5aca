"""Which networks of Chen's kind the runs hold, with their accuracy, sparsity and size per seed.

``models_of`` finds them; ``P4Evidence`` holds them beside the published cells. No number is
printed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.claims import Seed
from audioprune.report.paper import Evidence
from audioprune.report.published import Published
from audioprune.report.request import Request
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry, Value, mean_of
from audioprune.report.runs.job import Job

BASELINE, LITERAL, REACH, PROXSG = "p4_baseline", "p4_literal", "p4_reach", "p4_proxsg"
RHO = "model.rho"  # sets the receptive field of CP-ResNet; ADMM has a rho of its own
DENSE = ("sgd", "adam")  # methods without regulariser
METHOD_NAMES = {
    "hspg": "HSPG",
    "proxsg": "ProxSG",
    "obproxsg": "OBProxSG",
    "admm": "ADMM",
    "sgd": "SGD",
    "adam": "Adam",
}
_LAST_VARIANTS = ("trimmed", "pruned", "uncompressed")


@dataclass(frozen=True)
class Model:
    """One trained network over its seeds: its last scores, its training and its trim.

    Attributes:
        entry: Scores and sizes of the last state that was written.
        before: The same of the state before the trim; of a dense network, of the same state.
        method: Name of the optimiser as in ``audioprune.steps.TrainSparse``.
        corpus: Name of the data.
        told: Knobs that set it apart from the other networks of its kind and pipeline, such as
            ``reach=2.0``.
    """

    entry: Entry
    before: Entry
    method: str
    corpus: str
    told: str = ""

    @property
    def name(self) -> str:
        """Method and pipeline, and what sets them apart: ``HSPG, p4_reach (reach=2.5)``."""
        words = f"{METHOD_NAMES.get(self.method, self.method)}, {self.entry.pipeline}"
        return f"{words} ({self.told})" if self.told else words

    @property
    def title(self) -> str:
        """Model and name."""
        return f"{self.entry.label} {self.name}"

    def trained(self, key: str) -> Value:
        """Return a number of the training."""
        return mean_of(finite_or_none(sparse_row(job).get(key)) for job in self.entry.jobs)

    def groups(self, key: str) -> Value:
        """Return a number that was recorded before the trim."""
        return mean_of(
            finite_or_none(row.get(key))
            for job in self.entry.jobs
            for row in job.of_kind("groups")
        )

    @property
    def first_job(self) -> Job:
        """The job of the smallest seed, where figures show one."""
        return min(self.entry.jobs, key=lambda job: (job.seed is None, job.seed or 0))

    @property
    def sparsity(self) -> Value:
        """Share of zero filters, the paper's measure; 0 for a network without regulariser."""
        found = self.groups("filter_sparsity")
        if found.mean is not None or self.method not in DENSE:
            return found
        return Value(0.0, None, len(self.entry.seeds))


def models_of(jobs: Sequence[Job]) -> list[Model]:
    """Return every network that was trained for scenes.

    Of a kind the baselines come first, then pipelines by name, each by rising sparsity.
    """
    chosen = [job for job in jobs if sparse_row(job)]
    found: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in final(entries(chosen)):
        if entry.variant in _LAST_VARIANTS and entry.jobs and sparse_row(entry.jobs[0]):
            folders = tuple(sorted(str(job.folder) for job in entry.jobs))
            found.setdefault(folders, {})[entry.variant] = entry
    return sorted(_told_apart([_model(states) for states in found.values()]), key=_place)


def _place(model: Model) -> tuple[str, int, str, float]:
    pipeline, first = model.entry.pipeline, (BASELINE, LITERAL, PROXSG)
    place = first.index(pipeline) if pipeline in first else 9
    return model.entry.label, place, pipeline, model.sparsity.mean or 0.0


def _is_knob(key: str) -> bool:
    knob = key.startswith(("pipeline.", "training.", "data.seed", RHO))
    return knob and not key.startswith("pipeline.steps")


def _short(key: str) -> str:
    return key if key == RHO else key.rpartition(".")[2]


def sparse_row(job: Job) -> Mapping[str, Any]:
    return next((row for row in job.of_kind("train") if row.get("method") in METHOD_NAMES), {})


def _told_apart(models: Sequence[Model]) -> list[Model]:
    """Name the knobs that differ among the networks of one kind, pipeline and corpus."""
    named = []
    for model in models:
        kin = [other.entry.config for other in models if _kind(other) == _kind(model)]
        own = model.entry.config
        keys = [key for key in own if _is_knob(key) and len({each.get(key) for each in kin}) > 1]
        told = ", ".join(f"{_short(key)}={own[key]}" for key in keys if own[key])
        named.append(replace(model, told=told))
    return named


def _kind(model: Model) -> tuple[str, str, str]:
    return model.entry.label, model.entry.pipeline, model.entry.corpus.title


def _model(states: Mapping[str, Entry]) -> Model:
    last = next(states[variant] for variant in _LAST_VARIANTS if variant in states)
    job = last.jobs[0]
    return Model(
        last,
        states.get("pruned", last),
        str(sparse_row(job).get("method")),
        str(job.config.get("data.name") or ""),
    )


def accuracy(entry: Entry, metric: str = "accuracy") -> Value:
    """Return the accuracy of an entry over all test clips, 0..1."""
    return entry.score(metric)


def percent(value: Value) -> float:
    """Return a measured share in percent; NaN where it was not measured."""
    return math.nan if value.mean is None else 100 * value.mean


def accuracies(model: Model) -> dict[Seed, float | None]:
    """Return the accuracy of every seed over all test clips, 0..1."""
    found: dict[Seed, float | None] = {}
    for seed, cells in zip(model.entry.seeds, model.entry.scores, strict=False):
        scores = [row.metric("accuracy") for row in cells.values()]
        known = [score for score in scores if score is not None]
        found[seed] = sum(known) / len(known) if known else None
    return found


def clips_right(model: Model) -> dict[Seed, dict[str, float]]:
    """Return for every seed which test clips it was right about, 1 or 0 by the name of the clip.

    Nothing for a seed whose run kept no clips.
    """
    return model.entry.by_item("accuracy", model.entry.conditions())


def shares(model: Model, key: str = "filter_sparsity") -> dict[Seed, float | None]:
    """Return the share of zero filters or groups of every seed before the trim.

    It is 0 for a network without regulariser.
    """
    rows = [(job.seed, row) for job in model.entry.jobs for row in job.of_kind("groups")]
    found = {seed: finite_or_none(row.get(key)) for seed, row in rows}
    if not found and model.method in DENSE:
        return dict.fromkeys(model.entry.seeds, 0.0)
    return found


@dataclass(frozen=True)
class P4Evidence(Evidence):
    """The networks of the runs beside the published cells."""

    @cached_property
    def models(self) -> list[Model]:
        """All networks that were trained for scenes."""
        return models_of(self.jobs)


def read_evidence(request: Request, published: Published) -> P4Evidence:
    """Return the evidence of a report's runs."""
    return P4Evidence(request.jobs, published)

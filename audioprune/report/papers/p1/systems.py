"""The enhancers of Plain & Biswas in our runs, under the paper's names: sizes, scores, layers.

``systems_of`` finds them; ``P1Evidence`` holds them beside the published facts. No number is
printed here.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.paper import Evidence
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry, Value, mean_of
from audioprune.report.runs.job import Job

DCAE, DCAE_10, DCAE_PR, POST = "DCAE", "DCAE_10", "DCAE_pr", "DCAE_pr, post-training"
_ORDER = (DCAE, DCAE_10, DCAE_PR, POST)
_POST_PIPELINE = "p1_post"


@dataclass(frozen=True)
class System:
    """One enhancer over its seeds, under the paper's name.

    Attributes:
        kind: ``DCAE``, ``DCAE_10``, ``DCAE_pr`` (pruned during training) or ``DCAE_pr,
            post-training``.
        entry: Scores and sizes of the written file.
        told: Knobs that set it apart from others of its kind.
    """

    kind: str
    entry: Entry
    told: str = ""

    @property
    def name(self) -> str:
        """Kind with what sets it apart."""
        return f"{self.kind} ({self.told})" if self.told else self.kind

    def metrics(self) -> list[str]:
        """Return the names of the metrics, in the order they were measured."""
        return self.entry.metrics()

    def number(self, field: str, metric: str) -> Value:
        """Return a field of the score rows, such as ``gain`` or ``ci95``, for a metric.

        It is the mean over conditions, then over seeds.
        """
        return mean_of(self.per_seed(field, metric).values())

    def per_seed(self, field: str, metric: str) -> dict[int | None, float | None]:
        """Return the same of every seed: the mean over conditions."""
        per_seed = {}
        for seed, cells in zip(self.entry.seeds, self.entry.scores, strict=False):
            found = [finite_or_none((row.get(field) or {}).get(metric)) for row in cells.values()]
            known = [value for value in found if value is not None]
            per_seed[seed] = statistics.fmean(known) if known else None
        return per_seed

    def coded(self, metric: str) -> Value:
        """Return the metric of the coded input."""
        rows = [
            [row for row in job.of_kind("score") if row.get("variant") == "mixture"]
            for job in self.entry.jobs
        ]
        values = [
            [finite_or_none((row.get("metrics") or {}).get(metric)) for row in own] for own in rows
        ]
        return mean_of(
            statistics.fmean(known) if (known := [v for v in own if v is not None]) else None
            for own in values
        )

    def trained(self, key: str) -> Value:
        """Return ``epochs`` or ``seconds`` of all trainings before the system was written.

        Of several jobs of one seed, some of which began from a checkpoint, the one that trained
        most counts.
        """
        most: dict[int | None, float] = {}
        for job in self.entry.jobs:
            rows = _trainings(job, self.entry.variant)
            total = sum(finite_or_none(row.get(key)) or 0.0 for row in rows)
            most[job.seed] = max(total, most.get(job.seed, 0.0))
        return mean_of(total or None for total in most.values())

    @property
    def layers(self) -> list[Layer]:
        """Sparsity of every weight tensor, mean over the seeds; empty where not recorded."""
        return _layers(
            [job.of_kind("weights")[-1] for job in self.entry.jobs if job.of_kind("weights")]
        )

    @property
    def layers_per_seed(self) -> dict[int | None, list[Layer]]:
        """The same of every seed that recorded it."""
        return {
            job.seed: _layers(job.of_kind("weights")[-1:])
            for job in self.entry.jobs
            if job.of_kind("weights")
        }


@dataclass(frozen=True)
class Layer:
    """One weight tensor.

    Attributes:
        name: Short name, such as ``enc7``.
        weights: Number of weights.
        weight_share: Their share of all weights.
        sparsity: Share of zeros among them.
        zero_share: Share of all zeros that they hold.
    """

    name: str
    weights: int
    weight_share: float
    sparsity: float
    zero_share: float

    @property
    def depth(self) -> int | None:
        """Number of layers between this one and the outside; None in another kind of network."""
        match = re.fullmatch(r"(enc|dec)(\d+)", self.name)
        return int(match[2]) if match else None


def _layers(rows: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers of some rows of one network, mean over the rows."""
    if not rows:
        return []
    counts: Mapping[str, float] = rows[0]["weights_per_tensor"]
    shares = {
        name: statistics.fmean(row["sparsity_per_tensor"][name] for row in rows) for name in counts
    }
    zeros = sum(counts[name] * shares[name] for name in counts)
    total = sum(counts.values())
    return [
        Layer(
            short_layer(name),
            int(counts[name]),
            counts[name] / total,
            share,
            counts[name] * share / zeros if zeros else 0.0,
        )
        for name, share in shares.items()
    ]


def _trainings(job: Job, variant: str) -> list[Mapping[str, Any]]:
    """Return the rows of all trainings before the size of a variant was recorded."""
    written = next(
        (
            at
            for at, row in enumerate(job.rows)
            if (row.get("kind"), row.get("variant")) == ("size", variant)
        ),
        len(job.rows),
    )
    return [row for row in job.rows[:written] if row.get("kind") == "train"]


def short_layer(name: str) -> str:
    """Return the short name of a weight tensor: ``enc7`` for ``enc_blocks.7.conv.weight``."""
    match = re.search(r"(enc|dec)_blocks\.(\d+)\.", name)
    return f"{match[1]}{match[2]}" if match else name.removesuffix(".weight")


def systems_of(jobs: Sequence[Job], reported: Mapping[str, Any]) -> list[System]:
    """Return every unpruned and pruned model of the paper's kinds, in the paper's order."""
    names: Mapping[str, str] = reported["models"]
    found = [
        (_kind(entry, names[entry.model]), entry)
        for entry in final(entries(jobs))
        if entry.model in names and entry.jobs
    ]
    systems = _told_apart([System(kind, entry) for kind, entry in found if kind])
    return sorted(
        systems,
        key=lambda system: _ORDER.index(system.kind) if system.kind in _ORDER else len(_ORDER),
    )


def _kind(entry: Entry, name: str) -> str:
    """Return the paper's name of an entry, empty for one that it does not have."""
    if entry.variant == "uncompressed":
        return name
    if entry.variant != "pruned":
        return ""
    if name != DCAE:
        return f"{name} pruned"
    return POST if entry.pipeline.startswith(_POST_PIPELINE) else DCAE_PR


def _told_apart(systems: Sequence[System]) -> list[System]:
    """Give each system the knobs whose values differ among the systems of its kind."""
    named = []
    for system in systems:
        kin = [other.entry for other in systems if other.kind == system.kind]
        keys = [
            key for key in system.entry.config if len({entry.config.get(key) for entry in kin}) > 1
        ]
        told = [
            f"{key.rpartition('.')[2]}={system.entry.config[key]}"
            for key in keys
            if system.entry.config[key]
        ]
        if len({entry.pipeline for entry in kin}) > 1 and system.entry.pipeline:
            told.append(system.entry.pipeline)
        # steps repeat the knobs of their pipeline
        named.append(replace(system, told=", ".join(dict.fromkeys(told))))
    return named


def partner(system: System, systems: Iterable[System], kind: str) -> System | None:
    """Return the system of a kind to compare with.

    As far as there is one, it has the same corpus, scale and knobs.
    """

    def nearness(other: System) -> tuple[bool, bool, bool]:
        one_corpus = len(by_corpus([*system.entry.jobs, *other.entry.jobs])) == 1
        return one_corpus, other.entry.scale == system.entry.scale, other.told == system.told

    return max((other for other in systems if other.kind == kind), key=nearness, default=None)


def change(system: System, systems: Iterable[System], size: str) -> float | None:
    """Return by which fraction a size differs from that of the unpruned model of its scale.

    None without that model.
    """
    base = partner(system, systems, DCAE)
    if base is None or base.entry.scale != system.entry.scale:
        return None
    before, after = base.entry.size(size).mean, system.entry.size(size).mean
    return None if not before or after is None else after / before - 1


def metrics_of(systems: Iterable[System]) -> list[str]:
    """Return all metrics that were measured, in the order they first occur."""
    return list(dict.fromkeys(metric for system in systems for metric in system.metrics()))


@dataclass(frozen=True)
class P1Evidence(Evidence):
    """The enhancers of the runs beside the published facts.

    Attributes:
        systems: All unpruned and pruned models of the paper's kinds.
        ratings: Statistics of a listening test, or None.
    """

    systems: Sequence[System]
    ratings: Mapping[str, Any] | None = None

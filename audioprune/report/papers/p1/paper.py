"""What runs of Plain & Biswas (pruning of an audio-enhancing GAN) gave: systems, their sizes, scores and layers, and their tables.

How they are drawn is written in p1_figures.py, what the paper claims in p1_page.py.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.model_tables import jobs_of, notes_of, remark_columns, told_of
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry, Value, mean_of
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table, metric_column

DCAE, DCAE_10, DCAE_PR, POST = "DCAE", "DCAE_10", "DCAE_pr", "DCAE_pr, post-training"
_ORDER = (DCAE, DCAE_10, DCAE_PR, POST)
_POST_PIPELINE = "p1_post"
STAND_IN = (
    "The metrics are stand-ins for listening: they punish a generator for what it invents. "
    "Intervals are those of the mean over the "
    "recordings (95 %), each recording averaged over the seeds of the generator's noise; gains "
    "are paired by recording with the coded "
    "input and positive where the model is better. L1 and LSD are distances: smaller is better."
)


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
        """Return a metric's entry in a field of the score rows, such as ``gain`` or ``ci95``: mean over conditions, then over seeds."""
        return mean_of(self.per_seed(field, metric).values())

    def per_seed(self, field: str, metric: str) -> dict[int | None, float | None]:
        """Return the same of every seed: the mean over conditions."""
        per_seed = {}
        for seed, cells in zip(self.entry.seeds, self.entry.scores, strict=False):
            found = [finite_or_none((row.get(field) or {}).get(metric)) for row in cells.values()]
            known = [value for value in found if value is not None]
            per_seed[seed] = statistics.fmean(known) if known else None
        return per_seed

    def sizes(self, name: str) -> dict[int | None, float | None]:
        """Return a number of the size rows of every seed."""
        return {
            seed: finite_or_none(row.get(name))
            for seed, row in zip(self.entry.seeds, self.entry.sizes, strict=False)
        }

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
        """Return a number of the trainings that came before the system was written, added up: ``epochs`` or ``seconds``.

        Of several jobs of one seed, some of which began from a checkpoint, the one that trained
        most counts.
        """
        most: dict[int | None, float] = {}
        for job in self.entry.jobs:
            total = sum(
                finite_or_none(row.get(key)) or 0.0 for row in _trainings(job, self.entry.variant)
            )
            most[job.seed] = max(total, most.get(job.seed, 0.0))
        return mean_of(total or None for total in most.values())

    @property
    def layers(self) -> list[Layer]:
        """Sparsity of every weight tensor, mean over the seeds; empty where it was not recorded."""
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
    """One weight tensor: its name as in ``enc7``, weights, share of all weights, share of zeros in it, share of all zeros."""

    name: str
    weights: int
    weight_share: float
    sparsity: float
    zero_share: float

    @property
    def depth(self) -> int | None:
        """Number of layers between this one and the outside of the network; None for a tensor of another kind of network."""
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
    """Return the short name of a weight tensor: ``enc7`` for ``enc_blocks.7.conv.weight``, others without ``.weight``."""
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
        named.append(
            replace(system, told=", ".join(dict.fromkeys(told)))
        )  # steps repeat the knobs of their pipeline
    return named


def partner(system: System, systems: Iterable[System], kind: str) -> System | None:
    """Return the system of a kind to compare with: on the same corpus, at the same scale, with the same knobs, as far as there is one."""

    def nearness(other: System) -> tuple[bool, bool, bool]:
        one_corpus = len(by_corpus([*system.entry.jobs, *other.entry.jobs])) == 1
        return one_corpus, other.entry.scale == system.entry.scale, other.told == system.told

    return max((other for other in systems if other.kind == kind), key=nearness, default=None)


def change(system: System, systems: Iterable[System], size: str) -> float | None:
    """Return by which fraction a system's size differs from that of the unpruned model of its scale; None without that model."""
    base = partner(system, systems, DCAE)
    if base is not None and base.entry.scale != system.entry.scale:
        return None
    before, after = (
        None if each is None else each.entry.size(size).mean for each in (base, system)
    )
    return None if not before or after is None else after / before - 1


def metrics_of(systems: Iterable[System]) -> list[str]:
    """Return all metrics that were measured, in the order they first occur."""
    return list(dict.fromkeys(metric for system in systems for metric in system.metrics()))


def model_table(systems: Sequence[System], reported: Mapping[str, Any]) -> Table:
    """Return the models with parameters, non-zeros, sparsity, sizes, MACs and scores, ours apart from the published.

    Source: Plain & Biswas, slides "Distiller Configuration File" and "Comparison with an Unpruned
    Smaller Model".
    """
    metrics = metrics_of(systems)
    columns = [
        Column("name", "Model"),
        Column("what", "Source"),
        Column("params", "Parameters", "count"),
    ]
    columns += [
        Column("nonzero", "Non-zeros", "count"),
        Column("sparsity", "Sparsity of the weights", "percent"),
    ]
    columns += [
        Column("params_change", "Parameters against DCAE", "share"),
        Column("nonzero_change", "Non-zeros against DCAE", "share"),
    ]
    columns += [
        Column("fp32", "fp32", "mebibytes"),
        Column("file", "File", "mebibytes"),
        Column("macs", "MACs/s", "millions"),
    ]
    columns += [metric_column(metric, metric) for metric in metrics]
    ours = [
        *_coded_rows(systems, metrics),
        *(_model_row(system, systems, metrics) for system in systems),
    ]
    columns += [*remark_columns(ours), Column("seeds", "Seeds", "count"), Column("scale", "Scale")]
    blank: dict[str, Cell] = dict.fromkeys((column.key for column in columns), "-")
    rows = [
        blank | {**row, "what": f"published, {row['source']}", "scale": "published"}
        for row in reported["rows"]
    ]
    rows = [row | {"corpus": "Published"} for row in rows] + [blank | row for row in ours]
    notes = (
        STAND_IN,
        "Sparsity counts the weights of convolutions alone, non-zeros all parameters.",
        *_closed(reported["notes"]),
    )
    notes += notes_of(rows, jobs_of(system.entry for system in systems))
    return Table(
        "p1_models",
        f"Models (after {reported['authors']}, {reported['venue']})",
        tuple(columns),
        tuple(rows),
        notes,
    )


def _closed(notes: Iterable[str]) -> list[str]:
    return [f"{' '.join(note.split())}." for note in notes]


def _coded_rows(systems: Sequence[System], metrics: Sequence[str]) -> list[dict[str, Cell]]:
    """Return the coded input of every corpus and scale."""
    first = {
        (system.entry.corpus.title, system.entry.scale): system for system in reversed(systems)
    }
    rows = []
    for (corpus, scale), system in reversed(first.items()):
        scores: dict[str, Cell] = {metric: system.coded(metric) for metric in metrics}
        rows.append(
            {
                "name": "Coded input",
                "what": "ours",
                "corpus": corpus,
                "scale": honest_scale(scale),
                **scores,
            }
        )
    return rows


def _model_row(
    system: System, systems: Sequence[System], metrics: Sequence[str]
) -> dict[str, Cell]:
    entry = system.entry
    row: dict[str, Cell] = {
        "name": system.name,
        "what": "ours",
        "params": entry.size("params"),
        "nonzero": entry.size("nonzero"),
    }
    row |= {
        "sparsity": entry.size("sparsity"),
        "fp32": entry.size("bytes_fp32"),
        "file": entry.size("bytes_file"),
    }
    row |= {
        "macs": entry.size("macs_per_second"),
        "seeds": len(entry.seeds),
        "scale": honest_scale(entry.scale),
    }
    row |= {
        "params_change": change(system, systems, "params"),
        "nonzero_change": change(system, systems, "nonzero"),
    }
    return row | {metric: entry.score(metric) for metric in metrics} | told_of(entry)


_SCORES = (
    Column("name", "Model"),
    Column("metric", "Metric"),
    Column("score", "Score", "fine"),
    Column("ci95", "Half 95 % interval", "fine"),
    Column("coded", "Coded input", "fine"),
    Column("gain", "Gain over coded", "fine"),
    Column("gain_ci95", "Half 95 % interval of the gain", "fine"),
    Column("z_std", "SD over noise seeds", "fine"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def score_table(systems: Sequence[System]) -> Table:
    """Return every metric of every model with its interval, its gain over the coded input and the spread over the noise's seeds."""
    rows = []
    for system in systems:
        for metric in system.metrics():
            row: dict[str, Cell] = {
                "name": system.name,
                "metric": metric_column(metric, metric).title,
            }
            row |= {"score": system.entry.score(metric), "coded": system.coded(metric)}
            row |= {
                field: system.number(field, metric)
                for field in ("ci95", "gain", "gain_ci95", "z_std")
            }
            row |= {"seeds": len(system.entry.seeds), "scale": honest_scale(system.entry.scale)}
            rows.append(row | told_of(system.entry))
    notes = (
        STAND_IN,
        "Scores stand in their own units: STOI as a fraction, LSD and SI-SDR in dB.",
    )
    notes += notes_of(rows, jobs_of(system.entry for system in systems))
    columns = (*_SCORES[:-2], *remark_columns(rows), *_SCORES[-2:])
    return Table(
        "p1_scores",
        "Scores of the models and gains over the coded input",
        columns,
        tuple(rows),
        notes,
    )


def timing_table(systems: Sequence[System], reported: Mapping[str, Any]) -> Table:
    """Return pruning during training beside pruning after it, below the unpruned model: sparsity, training, gains.

    Source: Plain & Biswas, slide "Model Pruning".
    """
    shown = [system for system in systems if system.kind in (DCAE, DCAE_PR, POST)]
    metrics = metrics_of(shown)
    words = {DCAE: "not pruned", DCAE_PR: "during training", POST: "after training"}
    columns = [
        Column("when", "Pruned"),
        Column("name", "Model"),
        Column("sparsity", "Sparsity of the weights", "percent"),
    ]
    columns += [
        Column("nonzero_change", "Non-zeros against DCAE", "share"),
        Column("epochs", "Epochs trained", "count"),
    ]
    columns += [Column("seconds", "Seconds of training", "count")]
    columns += [
        replace(metric_column(metric, metric), title=f"{metric_column(metric, metric).title} gain")
        for metric in metrics
    ]
    rows = []
    for system in shown:
        row: dict[str, Cell] = {
            "when": words[system.kind],
            "name": system.name,
            "sparsity": system.entry.size("sparsity"),
        }
        row |= {"nonzero_change": change(system, systems, "nonzero")}
        row |= {key: system.trained(key) for key in ("epochs", "seconds")}
        row |= {metric: system.number("gain", metric) for metric in metrics}
        row |= {"seeds": len(system.entry.seeds), "scale": honest_scale(system.entry.scale)}
        rows.append(row | told_of(system.entry))
    columns += [*remark_columns(rows), Column("seeds", "Seeds", "count"), Column("scale", "Scale")]
    told = reported["claims"]["during"]
    notes = (f"Published: {told['text']} ({told['source']}).", "Gains are over the coded input, positive where the model is better.",
             "Epochs and seconds are those of the run itself; a run from a checkpoint leaves "
             "out what made it.",
             *notes_of(rows, jobs_of(system.entry for system in shown)))  # fmt: skip
    return Table(
        "p1_timing", "Pruning after and during training", tuple(columns), tuple(rows), notes
    )


def layer_table(systems: Sequence[System]) -> Table:
    """Return how sparse every layer of every pruned model is, and which share of all zeros it holds.

    Source: Plain & Biswas, slide "Distribution of Sparsity Across Layers".
    """
    shown = [system for system in systems if system.layers and system.entry.variant == "pruned"]
    columns = [
        Column("layer", "Layer"),
        Column("weights", "Weights", "count"),
        Column("weight_share", "Share of the weights", "percent"),
    ]
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    for place, system in enumerate(shown):
        columns.append(Column(f"sparsity{place}", f"{system.name}: sparsity", "percent"))
        columns.append(Column(f"zeros{place}", f"{system.name}: share of all zeros", "percent"))
        for layer in system.layers:
            corpus = system.entry.corpus.title
            blank: dict[str, Cell] = {
                "layer": layer.name,
                "weights": layer.weights,
                "weight_share": layer.weight_share,
                "corpus": corpus,
            }
            row = rows.setdefault((corpus, layer.name), blank)
            row |= {f"sparsity{place}": layer.sparsity, f"zeros{place}": layer.zero_share}
    keys = [key for place in range(len(shown)) for key in (f"sparsity{place}", f"zeros{place}")]
    for row in rows.values():
        row |= {key: row.get(key, "-") for key in keys}
    notes = tuple(f"{system.name}: {_layer_facts(system)}." for system in shown)
    return Table(
        "p1_layers", "Sparsity of the layers", tuple(columns), tuple(rows.values()), notes
    )


def _layer_facts(system: System) -> str:
    """Say the scale of a system, its seeds, and what it is no better than."""
    seeds = len(system.layers_per_seed)
    told = (
        honest_scale(system.entry.scale),
        f"mean over {seeds} seed{'s' * (seeds != 1)}",
        no_better(system.entry),
    )
    return ", ".join(filter(None, told))

"""Tables of Plain & Biswas: models, scores, pruning during and after training, layers.

Which models there are is decided in ``systems``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from audioprune.report.baselines import no_better
from audioprune.report.model_tables import jobs_of, notes_of, remark_columns, told_of
from audioprune.report.papers.p1.systems import (
    DCAE,
    DCAE_PR,
    POST,
    P1Evidence,
    System,
    change,
    metrics_of,
)
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table, metric_column

STAND_IN = (
    "The metrics are stand-ins for listening: they punish a generator for what it invents. "
    "Intervals are those of the mean over the "
    "recordings (95 %), each recording averaged over the seeds of the generator's noise; gains "
    "are paired by recording with the coded "
    "input and positive where the model is better. L1 and LSD are distances: smaller is better."
)


def model_table(evidence: P1Evidence) -> Table:
    """Return the models with sizes, sparsity, MACs and scores, ours apart from the published.

    Source: Plain & Biswas, slides "Distiller Configuration File" and "Comparison with an Unpruned
    Smaller Model".
    """
    systems, reported = evidence.systems, evidence.published
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
    notes: tuple[str, ...] = (
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


def score_table(evidence: P1Evidence) -> Table:
    """Return every metric of every model: interval, gain over the input, spread over noise."""
    systems = evidence.systems
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
    notes: tuple[str, ...] = (
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


def timing_table(evidence: P1Evidence) -> Table:
    """Return sparsity, training and gains of pruning during training and after it.

    Source: Plain & Biswas, slide "Model Pruning".
    """
    systems, reported = evidence.systems, evidence.published
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
    notes = (
        f"Published: {told['text']} ({told['source']}).",
        "Gains are over the coded input, positive where the model is better.",
        "Epochs and seconds are those of the run itself; a run from a checkpoint leaves "
        "out what made it.",
        *notes_of(rows, jobs_of(system.entry for system in shown)),
    )
    return Table(
        "p1_timing", "Pruning after and during training", tuple(columns), tuple(rows), notes
    )


def layer_table(evidence: P1Evidence) -> Table:
    """Return how sparse the layers of pruned models are, and which share of all zeros they hold.

    Source: Plain & Biswas, slide "Distribution of Sparsity Across Layers".
    """
    pruned = [system for system in evidence.systems if system.entry.variant == "pruned"]
    shown = [system for system in pruned if system.layers]
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

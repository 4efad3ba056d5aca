"""The short table of runs: what each model costs, what it scores, what that is worth.

``run_table`` builds it; its columns fit a terminal. Sizes and scores are those of the other
tables of a report; what a score is compared with needs no model: the input, chance, silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audioprune.experiment.results import UNCOMPRESSED
from audioprune.report.model_tables import config_cells, main_metrics, told_of
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table, metric_column, number_text

_SIZES = (
    Column("params", "Params", "counted"),
    Column("bytes_file", "File", "bytes"),
    Column("rate_file", "Ratio", "times"),
    Column("macs_per_second", "MACs/s", "counted"),
)
_CONFIG = "config:"


@dataclass(frozen=True)
class Baseline:
    """What needs no model, as one model's scores are compared with it.

    Attributes:
        name: Such as ``input`` or ``chance``.
        value: Its score.
    """

    name: str
    value: float


def run_table(found: Sequence[Entry], name: str = "models") -> Table:
    """Return the table of some entries: one row each.

    Args:
        found: Final entries of runs, inputs among them.
        name: Name of the table.
    """
    metrics = main_metrics(found)
    config = dict.fromkeys(f"{_CONFIG}{key}" for entry in found for key in entry.config)
    blank: dict[str, Cell] = dict.fromkeys(config, "-")
    rows = tuple(blank | _row(entry, found, metrics) for entry in found)
    columns = [Column("title", "Model")]
    columns += [Column(key, key.rpartition(".")[2].removeprefix(_CONFIG)) for key in config]
    columns += _SIZES
    for metric in metrics:
        columns += [metric_column(metric, metric), *_change_column(metric, found, rows)]
    columns.append(Column("verdict", "Verdict"))
    models = [entry for entry in found if not _is_input(entry)]
    scales = dict.fromkeys(honest_scale(entry.scale) for entry in models)
    notes = [f"Scale: {scale}" for scale in scales if scale]
    names = list(dict.fromkeys(entry.label for entry in models))
    caption = f"{', '.join(names)}: sizes, scores, verdicts"
    return Table(name, caption, tuple(columns), rows, tuple(notes))


def _change_column(
    metric: str, found: Sequence[Entry], rows: Sequence[Mapping[str, Cell]]
) -> list[Column]:
    """Return the column that compares a metric with its baseline, where there is one."""
    baselines = [baseline_of(entry, found, metric) for entry in found]
    names = dict.fromkeys(each.name for each in baselines if each is not None)
    if not names:
        return []
    style = f"change_{metric_column(metric, metric).style}"
    return [Column(f"change:{metric}", f"vs {' or '.join(names)}", style)]


def _is_input(entry: Entry) -> bool:
    return entry.variant == "mixture"


def _row(entry: Entry, found: Sequence[Entry], metrics: Sequence[str]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"title": entry.title, "corpus": entry.corpus.title}
    row |= config_cells(entry)
    for column in _SIZES:
        row[column.key] = "-" if _is_input(entry) else _known(entry.size(column.key))
    for metric in metrics:
        score, baseline = entry.score(metric), baseline_of(entry, found, metric)
        row[metric] = _known(score)
        row[f"change:{metric}"] = "-"
        if baseline is not None and score.mean is not None:
            row[f"change:{metric}"] = Value(score.mean - baseline.value)
    return row | {"verdict": _verdict(entry, found, metrics)}


def _known(value: Value) -> Cell:
    """Return a value without the reason for a missing one, which other tables tell."""
    return "-" if value.mean is None else replace(value, reason="", n=None, n_valid=None)


def baseline_of(entry: Entry, found: Sequence[Entry], metric: str) -> Baseline | None:
    """Return what a model's score is compared with, or None where there is nothing."""
    if _is_input(entry) or entry.status:
        return None
    inputs = [each for each in found if _is_input(each) and each.corpus == entry.corpus]
    for each in inputs[:1]:
        value = each.score(metric).mean
        if value is not None:
            return Baseline("input", value)
    rows = [row for cells in entry.scores for row in cells.values()]
    chances = [row.number("chance") for row in rows if row.get("chance") is not None]
    if metric in ("accuracy", "accuracy_macro") and chances and chances[0] is not None:
        return Baseline("chance", chances[0])
    trivial = [row.number("trivial") for row in rows if row.get("trivial") is not None]
    if metric == "error" and trivial and None not in trivial:
        known = [value for value in trivial if value is not None]
        name = str(rows[0].get("trivial_name") or "silence")
        return Baseline(name, sum(known) / len(known))
    return None


def _dense_of(entry: Entry, found: Sequence[Entry]) -> Entry | None:
    """Return the uncompressed model of the same label on the same corpus."""
    if _is_input(entry) or entry.variant in UNCOMPRESSED:
        return None
    same = [
        each
        for each in found
        if each.variant in UNCOMPRESSED
        and (each.label, each.corpus, each.config) == (entry.label, entry.corpus, entry.config)
    ]
    return same[0] if len(same) == 1 else None


def _verdict(entry: Entry, found: Sequence[Entry], metrics: Sequence[str]) -> str:
    """Say what a model is worth, in a few words."""
    if _is_input(entry):
        return "-"
    if entry.status:
        return entry.reason
    remark = str(told_of(entry)["remark"])
    if remark != "-":
        return remark
    if not metrics:
        return "not scored"
    metric, dense = metrics[0], _dense_of(entry, found)
    if dense is None:
        baseline = baseline_of(entry, found, metric)
        return f"better than {baseline.name}" if baseline else "no baseline"
    now, before = entry.score(metric).mean, dense.score(metric).mean
    if now is None or before is None:
        return "not scored"
    style = metric_column(metric, metric).style
    if number_text(now, style) == number_text(before, style):
        return f"as {dense.variant}"
    side = "above" if now > before else "below"
    return f"{number_text(abs(now - before), style)} {side} {dense.variant}"

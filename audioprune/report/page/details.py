"""What a row of the main table opens to: pipeline, history, files, and what was removed where.

``details_of`` gives it for one model; ``layers_of`` the share of each layer that a run kept. All
of it is read from the run folder and its rows; files are named, not linked, for a page is moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.experiment.rows import QualityRow, SizeRow, SparsityRow, TrainRow
from audioprune.report.page.verdicts import bytes_text
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job
from audioprune.report.tables import METRICS, few, number_text

_TARGET = "._target_"
_MOST_SETTINGS = 4
_MODEL_FILES = (".apz", ".safetensors", ".onnx")


@dataclass(frozen=True)
class Layer:
    """What a run kept of one layer: a share, 0..1, and the same in words."""

    name: str
    kept: float
    text: str


@dataclass(frozen=True)
class Details:
    """All that is known of one model.

    Attributes:
        runs: Name and status of every run behind it.
        pipeline: Steps in order: depth, name, kind and settings.
        history: What the first run did, line by line.
        folder: Where the first run lies.
        models: Name and size of its model files.
        files: The same of all others.
        command: The command that repeats it.
        load: Python words that load its file; empty without one.
    """

    runs: tuple[tuple[str, str], ...]
    pipeline: tuple[tuple[int, str, str, str], ...]
    history: tuple[str, ...]
    folder: str
    models: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    command: str
    load: str


def details_of(entry: Entry) -> Details:
    """Return what is known of an entry; history and files are those of its first run."""
    job = entry.jobs[0]
    runs = tuple((each.name, _status(each)) for each in entry.jobs)
    files = _files(job)
    models = tuple(each for each in files if each[0].endswith(_MODEL_FILES))
    others = tuple(each for each in files if each not in models)
    own = next((row.file for row in entry.sizes if row.file), None)
    path = job.folder / own if own else None
    load = f"audioprune.load({str(path)!r})" if path and path.is_file() else ""
    return Details(
        runs,
        pipeline_of(job),
        tuple(_history(job)),
        str(job.folder),
        models,
        others,
        job.command,
        load,
    )


def _status(job: Job) -> str:
    took = f" in {job.seconds:.0f} s" if job.seconds is not None else ""
    return f"{job.status}{took}" + (f": {job.reason}" if job.reason else "")


def pipeline_of(job: Job) -> tuple[tuple[int, str, str, str], ...]:
    """Return the steps of a run in order: depth, name, kind, and its chief settings."""
    steps = []
    for key, target in job.config.items():
        if not (key.startswith("pipeline.steps.") and key.endswith(_TARGET)):
            continue
        path = key.removesuffix(_TARGET)
        names = path.removeprefix("pipeline.").split(".")
        depth = names.count("steps") - 1
        settings = _settings(job.config, path)
        steps.append((depth, names[-1], str(target).rpartition(".")[2], settings))
    return tuple(steps)


def _settings(config: Mapping[str, Any], path: str) -> str:
    """Return the settings of a step that are no null and no list, as ``name=value``."""
    told = []
    for key, value in config.items():
        name = key.removeprefix(f"{path}.")
        known = key.startswith(f"{path}.") and "." not in name and name != "_target_"
        if known and value is not None and not str(value).startswith(("[", "{")):
            told.append(f"{name}={value}")
    return few(told, _MOST_SETTINGS)


def _history(job: Job) -> list[str]:
    """Say what a run did, in the order of its rows; scores are means over the conditions."""
    told: list[str] = []
    scores: dict[str, list[QualityRow]] = {}
    for row in job.rows:
        kind = row.get("kind")
        if kind == TrainRow.KIND:
            told.append(_trained(TrainRow.read(row)))
        elif kind == SparsityRow.KIND:
            told.append(_pruned(SparsityRow.read(row)))
        elif kind == QualityRow.KIND and row.get("variant") != "mixture":
            scores.setdefault(_step_of(row), []).append(QualityRow.read(row))
        elif kind == SizeRow.KIND:
            size = SizeRow.read(row)
            told.append(_stored(size, scores.get(_step_of(row), [])))
    return told


def _step_of(row: Mapping[str, Any]) -> str:
    return str(row.get("key") or "").rpartition("/")[0]


def _trained(row: TrainRow) -> str:
    best = f", {row.monitor} {row.kept:.4g} at the kept epoch" if row.kept is not None else ""
    took = f", {row.seconds:.0f} s" if row.seconds is not None else ""
    return f"{row.key}: trained {row.epochs or 0} epochs, {row.steps or 0} steps{best}{took}"


def _pruned(row: SparsityRow) -> str:
    left = row.remaining_share
    share = "" if left is None else f", {number_text(left, 'share')} % of the parameters left"
    return f"{row.key}: pruned{share}"


def _stored(row: SizeRow, scores: Sequence[QualityRow]) -> str:
    size = "" if row.bytes_file is None else f", file of {bytes_text(row.bytes_file)}"
    told = ""
    names = list(dict.fromkeys(name for each in scores for name in each.metrics))
    for metric in [name for name in ("stoi", "accuracy", "error") if name in names] or names[:1]:
        title, style = METRICS.get(metric, (metric, "fine"))
        known = [value for each in scores if (value := each.metric(metric)) is not None]
        if known:
            told = f", {title} {number_text(sum(known) / len(known), style)}"
            break
    return f"{row.key.removesuffix('/size')}: {row.variant}{size}{told}"


def _files(job: Job) -> list[tuple[str, str]]:
    """Return the files of a run folder; nothing for collected runs."""
    if not job.folder.is_dir():
        return []
    found = sorted(path for path in job.folder.iterdir() if path.is_file())
    shown = [path for path in found if not path.name.startswith(".")]
    return [(path.name, bytes_text(path.stat().st_size)) for path in shown]


def layers_of(job: Job) -> list[Layer]:
    """Return what a run kept of every layer, after its last pruning or trimming.

    Weights where tensors were pruned, units where units were trimmed; nothing where neither was
    recorded.
    """
    trims = job.of_kind("trim")
    if trims and isinstance(trims[-1].get("units_before"), dict):
        return _units(trims[-1]["units_before"], trims[-1].get("units_after") or {})
    tickets = [row for row in job.of_kind("ticket") if isinstance(row.get("units"), dict)]
    if len(tickets) > 1 and tickets[0]["units"] != tickets[-1]["units"]:
        return _units(tickets[0]["units"], tickets[-1]["units"])
    rows = [row for row in job.rows_of(SparsityRow) if row.density_per_tensor]
    if rows:
        shares = rows[-1].density_per_tensor.items()
        return [Layer(name, kept, f"{100 * kept:.1f} % of the weights") for name, kept in shares]
    return _groups(job)


def _units(before: Mapping[str, int], after: Mapping[str, int]) -> list[Layer]:
    return [
        Layer(name, after.get(name, 0) / count, f"{after.get(name, 0)} of {count} units")
        for name, count in before.items()
        if count
    ]


def _groups(job: Job) -> list[Layer]:
    rows = [row for row in job.of_kind("groups") if isinstance(row.get("layers"), list)]
    if not rows:
        return []
    return [
        Layer(
            str(layer["name"]),
            1 - layer["zero"] / layer["filters"],
            f"{layer['filters'] - layer['zero']} of {layer['filters']} filters",
        )
        for layer in rows[-1]["layers"]
        if layer.get("filters")
    ]

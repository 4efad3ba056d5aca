"""Parts of the page that show how a model came about: training, what was removed, confusions.

``training_section`` draws the losses of every epoch, ``removed_section`` gives a bar for every
layer, ``confusion_section`` a matrix for every classifier. A part without data is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from audioprune.experiment.rows import QualityRow, finite_or_none
from audioprune.files import read_lines
from audioprune.report.figures.drawing import (
    Figure,
    Line,
    Panel,
    line_figure,
    on_corpus,
    per_corpus,
)
from audioprune.report.figures.remaining import line_groups
from audioprune.report.page.details import layers_of
from audioprune.report.page.sections import Bars, Matrix, Section
from audioprune.report.page.verdicts import mark_of
from audioprune.report.runs.entry import Entry, mean_of
from audioprune.report.runs.job import Job, label_of

T = TypeVar("T")
MOST_MODELS = 8
_MOST_LAYERS = 60
_CURVES = (
    ("loss", "Training loss", "loss"),
    ("valid_loss", "Validation loss", "loss"),
    ("valid_accuracy", "Validation accuracy (%)", "percent"),
)
_MOST_CLASSES = 24


def training_section(jobs: Sequence[Job], folder: Path) -> Section:
    """Draw loss and validation of every epoch, fine-tuning behind training, seeds joined."""
    drawn: list[Figure] = []
    for stem, corpus, members in per_corpus("training", jobs):
        logs = {id(job): _epochs(job) for job in members}
        groups = line_groups([job for job in members if logs[id(job)]])
        panels = [
            Panel(title, title, style, lines)
            for key, title, style in _CURVES
            if (lines := _lines(groups, logs, key))
        ]
        if panels:
            caption = "Training, epoch by epoch; fine-tuning after pruning follows the training."
            told = on_corpus(caption, corpus)
            drawn.append(line_figure(folder, stem, panels, len(panels), "Epoch", told))
    return Section("Training", figures=tuple(drawn))


def _epochs(job: Job) -> list[dict[str, Any]]:
    """Return what was logged of every epoch, in the order of the trainings."""
    logs = sorted((job.folder / "training").glob("*/log.jsonl"), key=lambda path: path.parent.name)
    order = {row.get("key"): place for place, row in enumerate(job.of_kind("train"))}
    logs.sort(key=lambda path: order.get(path.parent.name.replace("-", "/"), -1))
    return [line for path in logs for line in read_lines(path) if isinstance(line, dict)]


def _lines(
    groups: Mapping[str, Sequence[Job]], logs: Mapping[int, list[dict[str, Any]]], key: str
) -> tuple[Line, ...]:
    lines = []
    for name, group in groups.items():
        columns = [[finite_or_none(row.get(key)) for row in logs[id(job)]] for job in group]
        longest = max(map(len, columns))
        points = []
        for place in range(longest):
            values = [each[place] for each in columns if place < len(each)]
            if any(value is not None for value in values):
                points.append((float(place + 1), mean_of(values)))
        if points:
            lines.append(Line(name, tuple(points), group[0].scale))
    return tuple(lines)


def removed_section(jobs: Sequence[Job]) -> Section:
    """Return bars of what was kept of every layer, one chart for every model."""
    charts: list[Bars] = []
    seen: dict[str, int] = {}
    for job in jobs:
        layers = layers_of(job)
        if not layers:
            continue
        shown = tuple((each.name, each.kept, each.text) for each in layers[:_MOST_LAYERS])
        seen[label_of(job)] = seen.get(label_of(job), 0) + 1
        apart = f" ({job.name})" if seen[label_of(job)] > 1 else ""
        charts.append(Bars(f"{label_of(job)}{apart}, left of each layer", shown))
    left_out = "{} more runs removed something; the rows of their folders say what."
    bars, notes = _first(charts, left_out)
    return Section("What was removed where", bars=bars, notes=notes)


def confusion_section(found: Sequence[Entry]) -> Section:
    """Return the confusions of every classifier, the clips of all seeds added."""
    matrices = []
    for entry in found:
        rows = [row for cells in entry.scores for row in cells.values()]
        names, counts = _confusion(rows)
        if names:
            mark = mark_of(entry)
            caption = f"{entry.title}{f' ({mark})' if mark else ''}"
            matrices.append(Matrix(caption, names, counts))
    left_out = "The confusions of {} more models are in the rows of their runs."
    shown, notes = _first(matrices, left_out)
    return Section("Confusions of classes", matrices=shown, notes=notes)


def _first(several: Sequence[T], left_out: str) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Return what is shown of several models, and a note that counts the others."""
    more = len(several) - MOST_MODELS
    return tuple(several[:MOST_MODELS]), ((left_out.format(more),) if more > 0 else ())


def _confusion(rows: Sequence[QualityRow]) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Add the confusions of rows that name the same classes; nothing where none does."""
    names: tuple[str, ...] = ()
    total: list[list[int]] = []
    for row in rows:
        counts, own = row.get("confusion"), row.get("classes")
        if not counts or not own or len(own) > _MOST_CLASSES or names not in ((), tuple(own)):
            continue
        names = tuple(map(str, own))
        total = total or [[0] * len(names) for _ in names]
        total = [
            [before + int(now) for before, now in zip(line, more, strict=True)]
            for line, more in zip(total, counts, strict=True)
        ]
    return names, tuple(map(tuple, total))

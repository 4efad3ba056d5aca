"""The figure of confusions: which scene is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, footer_of, save_figure
from audioprune.report.figures.theme import WIDTH, chosen_text
from audioprune.report.figures.views import Axis, sheet, squares, texts, view
from audioprune.report.papers.p4.networks import Model, accuracy
from audioprune.report.tables import csv_text

_DARK = 55  # percent: squares on which letters are white
_SQUARE = 22  # pixels


def confusion_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw which scene is taken for which, all seeds added."""
    read = [(model, *_confusion(model)) for model in models]
    read = [item for item in read if item[1]][:4]
    if not read:
        return None
    caption = "Confusions on the test clips in percent of the true class (rows), all seeds added."
    views = [_view(model, counts, names) for model, counts, names in read]
    rows = [
        [model.title, names[i], names[j], value]
        for model, counts, names in read
        for i, line in enumerate(counts)
        for j, value in enumerate(line)
    ]
    table = csv_text(["row", "true", "predicted", "clips"], rows)
    named = "; ".join(item[0].title for item in read)
    footer = footer_of([item[0].entry.scale for item in read])
    chart = Chart(sheet(views, footer), f"{caption} Networks: {named}.")
    return save_figure(chart, folder, "p4_confusion", table, caption)


def _view(model: Model, counts: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    places = {str(place): name for place, name in enumerate(names)}
    cells: list[dict[str, Any]] = []
    for i, line in enumerate(counts):
        for j, clips in enumerate(line):
            share = 100 * clips / max(1, sum(line))
            told = f"{names[i]} taken for {names[j]}\n{clips} clips, {share:.0f} %"
            cell = {"x": str(j), "y": str(i), "value": share, "text": f"{share:.0f}"}
            cells.append({**cell, "told": told})
    seen = [cell for cell in cells if cell["value"] >= 1]
    layers = [
        squares(cells, "Clips of the true class (%)", 0, 100, "blues"),
        texts([cell for cell in seen if cell["value"] <= _DARK], size=8),
        texts([cell for cell in seen if cell["value"] > _DARK], size=8, color="#fdfdfd"),
    ]
    label, order = chosen_text(places, "datum.label"), tuple(places)
    x = Axis("Taken for", names=order, angle=-60.0, label=label)
    y = Axis("True class", names=order, label=label)
    right = accuracy(model.entry).mean
    title = f"{model.title}: {100 * right:.1f} %" if right is not None else model.title
    size = min(_SQUARE * len(names), WIDTH - 110)
    return view(x, y, layers, title=title, width=size, height=size)


def _confusion(model: Model) -> tuple[list[list[int]], list[str]]:
    found = [row for cells in model.entry.scores for row in cells.values() if row.get("confusion")]
    if not found:
        return [], []
    total = [
        [sum(row["confusion"][i][j] for row in found) for j in range(len(line))]
        for i, line in enumerate(found[0]["confusion"])
    ]
    return total, [str(name) for name in found[0]["classes"]]

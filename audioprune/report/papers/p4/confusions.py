"""The figure of confusions: which scene is taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.report.figures.drawing import (
    Figure,
    footer_of,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.papers.p4.networks import Model, accuracy
from audioprune.report.tables import csv_text


def confusion_figure(folder: Path, models: Sequence[Model]) -> Figure | None:
    """Draw which scene is taken for which, all seeds added."""
    read = [(model, *_confusion(model)) for model in models]
    read = [item for item in read if item[1]][:4]
    if not read:
        return None
    caption = "Confusions on the test clips in percent of the true class (rows), all seeds added."
    columns = min(2, len(read))
    with styled():
        canvas = new_canvas(
            4.4 * columns,
            4.1 * math.ceil(len(read) / columns),
            footer_of([item[0].entry.scale for item in read]),
        )
        axes = canvas.subplots(math.ceil(len(read) / columns), columns, squeeze=False)
        rows: list[list[Any]] = []
        for place, ax in enumerate(axes.flat):
            if place >= len(read):
                ax.set_axis_off()
                continue
            model, counts, names = read[place]
            shares = [[100 * value / max(1, sum(line)) for value in line] for line in counts]
            ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            ax.grid(False)
            for i, line in enumerate(shares):
                for j, share in enumerate(line):
                    if share >= 1:
                        ax.text(
                            j,
                            i,
                            f"{share:.0f}",
                            ha="center",
                            va="center",
                            fontsize=6.5,
                            color="white" if share > 55 else "black",
                        )
            ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
            ax.set_yticks(range(len(names)), names, fontsize=7)
            right = accuracy(model.entry).mean
            ax.set_title(
                f"{model.title}: {100 * right:.1f} %" if right is not None else model.title,
                loc="left",
                fontsize=8,
            )
            rows += [
                [model.title, names[i], names[j], value]
                for i, line in enumerate(counts)
                for j, value in enumerate(line)
            ]
        table = csv_text(["row", "true", "predicted", "clips"], rows)
        named = "; ".join(item[0].title for item in read)
        return save_figure(
            canvas, folder, "p4_confusion", table, caption, f"{caption} Networks: {named}."
        )


def _confusion(model: Model) -> tuple[list[list[int]], list[str]]:
    found = [row for cells in model.entry.scores for row in cells.values() if row.get("confusion")]
    if not found:
        return [], []
    total = [
        [sum(row["confusion"][i][j] for row in found) for j in range(len(line))]
        for i, line in enumerate(found[0]["confusion"])
    ]
    return total, [str(name) for name in found[0]["classes"]]

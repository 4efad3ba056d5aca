"""The picture of the projection: which steps of two weights become zero.

It is drawn from the formulas and needs no runs.
"""

from __future__ import annotations

import math
from pathlib import Path

from audioprune.report.figures.drawing import (
    COLORS,
    Figure,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.tables import csv_text

_EPSILON, _STEP = 0.4, 0.25  # of the picture of the projection


def projection_figure(folder: Path) -> Figure:
    """Draw for two weights which steps a proximal and a half-space step project to zero.

    Source: after Chen, "HSPG", whose panels (a) and (b) are the half-space projection and a
    projection region. The second panel here compares the proximal step, so that neither has a
    letter.
    """
    from matplotlib.patches import Circle, Polygon

    caption = (
        "Which trial points become zero, for a group of two weights at x. Half-space step: all "
        "beyond the line "
        f"<x+, x> = epsilon |x|^2 (epsilon = {_EPSILON:g}). Proximal step: the circle of radius "
        f"a * lambda alone."
    )
    x, trial = (1.2, 0.9), (-0.35, 0.45)
    with styled():
        canvas = new_canvas(7.0, 3.4, "Drawn from the formulas, not measured")
        axes = canvas.subplots(1, 2, sharex=True, sharey=True)
        square = x[0] ** 2 + x[1] ** 2
        foot = (_EPSILON * x[0], _EPSILON * x[1])
        along = (-x[1] / math.sqrt(square), x[0] / math.sqrt(square))
        back = (-x[0] / math.sqrt(square), -x[1] / math.sqrt(square))
        ends = [(foot[0] + side * 4 * along[0], foot[1] + side * 4 * along[1]) for side in (-1, 1)]
        far = [(end[0] + 5 * back[0], end[1] + 5 * back[1]) for end in reversed(ends)]
        axes[0].add_patch(
            Polygon([*ends, *far], closed=True, color=COLORS[0], alpha=0.18, label="becomes zero")
        )
        axes[1].add_patch(Circle((0, 0), _STEP, color=COLORS[0], alpha=0.3, label="becomes zero"))
        for ax, title in zip(axes, ("half-space step", "proximal step"), strict=True):
            ax.annotate("", trial, x, arrowprops={"arrowstyle": "->", "color": "#555555"})
            ax.plot(*x, "o", color=COLORS[1], label="x")
            ax.plot(*trial, "s", color=COLORS[2], label="trial point")
            ax.plot(0, 0, "P", color="#000000", label="zero")
            ax.set(
                xlim=(-1.6, 1.9),
                ylim=(-1.3, 1.6),
                aspect="equal",
                xlabel="first weight",
                ylabel="second weight",
            )
            ax.set_title(title, loc="left")
        axes[1].legend(loc="lower right", fontsize=7.5)
        lines = [
            ["x", *x],
            ["trial", *trial],
            ["epsilon", _EPSILON, None],
            ["a * lambda", _STEP, None],
        ]
        table = csv_text(["what", "first", "second"], lines)
        return save_figure(canvas, folder, "p4_projection", table, caption, caption)

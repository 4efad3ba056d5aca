"""A figure of how much better each model is than what needs no model: ``task_figures``.

One figure for each corpus and metric, a point with its interval for every model. Numbers are those
of task.py; nothing is judged here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from audioprune.report.figures.drawing import (
    COLORS,
    Figure,
    corpus_folders,
    footer_of,
    new_canvas,
    save_figure,
    slug,
    styled,
)
from audioprune.report.results.task import Gain, all_gains
from audioprune.report.runs.entry import Entry
from audioprune.report.tables import FORMATS, METRICS, csv_text

_ROW_IN = 0.32
_LEAST_IN = 1.1
_NAME_CHARS = 40
_HEADER = ("model", "against", "metric", "gain", "low", "high", "over", "seeds")


def task_figures(found: Sequence[Entry], folder: Path) -> list[Figure]:
    """Draw the figures.

    Args:
        found: Final entries of the runs.
        folder: Where the figures go.
    """
    gains = all_gains(found)
    places = corpus_folders(folder, (gain.entry.corpus.title for gain in gains))
    drawn = []
    for title, (place, sentence) in places.items():
        own = [gain for gain in gains if gain.entry.corpus.title == title]
        for metric in dict.fromkeys(gain.metric for gain in own):
            some = [gain for gain in own if gain.metric == metric]
            drawn.append(_figure(place, metric, some, sentence))
    return drawn


def _figure(folder: Path, metric: str, gains: Sequence[Gain], sentence: str) -> Figure:
    title, style = METRICS.get(metric, (metric, "fine"))
    kind = FORMATS.get(style, FORMATS["fine"])
    unit = f" ({'points' if kind.unit == '%' else kind.unit})" if kind.unit else ""
    footer = footer_of([gain.entry.scale for gain in gains])
    with styled():
        canvas = new_canvas(7.0, _LEAST_IN + _ROW_IN * len(gains), footer)
        ax = canvas.subplots()
        for place, gain in enumerate(gains):
            ends = gain.interval
            half = kind.factor * (ends.mean - ends.low) if ends else None
            ax.errorbar(
                [kind.factor * gain.mean],
                [place],
                xerr=half,
                fmt="o",
                color=COLORS[0],
                markerfacecolor="white" if gain.mark else COLORS[0],
                capsize=3,
            )
        ax.axvline(0.0, color="#555555", linestyle=(0, (4, 3)), linewidth=1.2)
        names = ["\n".join(textwrap.wrap(gain.name, _NAME_CHARS)[:2]) for gain in gains]
        ax.set_yticks(range(len(gains)), names)
        ax.set_ylim(len(gains) - 0.5, -0.5)
        ax.set_xlabel(f"{title}{unit}: gain over {gains[0].against}")
        against = gains[0].against
        caption = (
            f"{title}: gain of every model over {against}, mean over all test conditions with its "
            f"95 % interval where there are two seeds or more. Hollow: no better than what needs "
            f"no model.{sentence}"
        )
        told = "; ".join(f"{gain.name} {kind.factor * gain.mean:+.2f}" for gain in gains[:12])
        stem = f"gain-{slug(metric)}"
        table = csv_text(_HEADER, [gain.line(kind.factor) for gain in gains])
        return save_figure(canvas, folder, stem, table, caption, f"{caption} {told}.")

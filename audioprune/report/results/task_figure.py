"""A figure of how much better each model is than what needs no model: ``task_figures``.

One figure for each corpus and metric, a point with its interval for every model. Numbers are those
of task.py; nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import (
    Figure,
    corpus_folders,
    footer_of,
    save_figure,
    slug,
)
from audioprune.report.figures.theme import WIDTH, chosen_text, wrapped
from audioprune.report.figures.views import (
    Axis,
    dots,
    heights,
    rule,
    score_axis,
    sheet,
    view,
    whiskers,
)
from audioprune.report.results.task import Gain, all_gains
from audioprune.report.runs.entry import Entry
from audioprune.report.tables import FORMATS, METRICS, csv_text

_ROW_PX, _NAME_PX = 26, 135
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
    points: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    for place, gain in enumerate(gains):
        known, mean = _ends(gain, kind.factor), kind.factor * gain.mean
        names[str(place)] = wrapped(gain.name, _NAME_PX)[:2]
        told = f"{gain.name}\n{title}{unit}: {mean:+.4g}"
        point = {"x": mean, "y": str(place), "row": gain.entry.identity, "told": told}
        points.append({**point, "hollow": bool(gain.mark), **known})
    against = gains[0].against
    x = score_axis(f"{title}{unit}: gain over {against}", [0.0, *heights(points, "x")])
    y = Axis("", names=tuple(names), grid=True, label=chosen_text(names, "datum.label"))
    zero = rule(0.0, upright=True, dashed=True)
    layers = [zero, *whiskers(points, flat=True), *dots(points)]
    drawn = view(x, y, layers, width=WIDTH - _NAME_PX - 18, height=_ROW_PX * len(gains))
    footer = footer_of([gain.entry.scale for gain in gains])
    caption = (
        f"{title}: gain of every model over {against}, mean over all test conditions with its "
        f"95 % interval where there are two seeds or more. Hollow: no better than what needs "
        f"no model.{sentence}"
    )
    listed = "; ".join(f"{gain.name} {kind.factor * gain.mean:+.2f}" for gain in gains[:12])
    chart = Chart(sheet([drawn], footer, marks=True), f"{caption} {listed}.")
    table = csv_text(_HEADER, [gain.line(kind.factor) for gain in gains])
    return save_figure(chart, folder, f"gain-{slug(metric)}", table, caption)


def _ends(gain: Gain, factor: float) -> dict[str, float]:
    ends = gain.interval
    return {"low": factor * ends.low, "high": factor * ends.high} if ends else {}

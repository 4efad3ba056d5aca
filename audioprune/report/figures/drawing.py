"""How numbers are drawn: every figure is a PNG and a CSV with its numbers.

``save_figure`` writes both, ``line_figure`` draws curves over iterations. The footer of a figure
says the scale of its runs.

What is drawn is chosen by the callers; matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import io
import math
import re
import string
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.files import write_atomic
from audioprune.report.figures.chart import Chart
from audioprune.report.runs.corpora import Corpus, by_corpus
from audioprune.report.runs.entry import Value
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, csv_text

# Okabe and Ito's colours, which stay apart under every colour blindness; their yellow is too pale
# on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")
DPI = 150
MAX_TENSORS = 80
"""Most tensors that a figure of curves draws; its CSV file holds all."""
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "axes.formatter.use_locale": False,
}
_LINE_IN = 0.17  # height of one footer line, inches


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its files, a caption, and a description for those who cannot see it.

    Attributes:
        png: The picture of pixels.
        csv: The numbers.
        caption: What stands below it.
        alt: What it shows, in words.
        chart: Its specification; None for a picture that has none.
        files: Everything that was written for it.
    """

    png: Path
    csv: Path
    caption: str
    alt: str
    chart: Chart | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Line:
    """One curve: a value for every x."""

    name: str
    points: tuple[tuple[float, Value], ...]
    scale: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``level`` is a named horizontal line, ``style`` a format of the tables."""

    title: str
    y_label: str
    style: str
    lines: tuple[Line, ...]
    level: tuple[str, float] | None = None


def slug(text: str) -> str:
    """Make a text, such as the name of a job, fit for the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def per_corpus(name: str, jobs: Iterable[Job]) -> list[tuple[str, Corpus, tuple[Job, ...]]]:
    """Share jobs out to one figure per corpus.

    Args:
        name: Stem of the files, kept where there is only one corpus.
        jobs: All jobs of the report.

    Returns:
        For each corpus the stem of its figure, the corpus, and its jobs.
    """
    found = by_corpus(jobs)
    if len(found) < 2:
        return [(name, corpus, members) for corpus, members in found]
    stems = [
        slug(f"{name}-{place}-{corpus.name or 'corpus'}")
        for place, (corpus, _) in enumerate(found, 1)
    ]
    return [(stem, *each) for stem, each in zip(stems, found, strict=True)]


def on_corpus(caption: str, corpus: Corpus) -> str:
    """Add to a caption which corpus its numbers come from, where that is known."""
    return caption if corpus == Corpus() else f"{caption} {corpus.title}."


def lettered(titles: Sequence[str]) -> tuple[str, ...]:
    """Letter all panels of a paper's figure in its order, whichever of them can be drawn."""
    return tuple(
        f"({letter}) {title}"
        for letter, title in zip(string.ascii_lowercase, titles, strict=False)
    )


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the package's style, whatever the user's own matplotlib settings are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_canvas(width: float, height: float, footer: str) -> Any:
    """Return an empty matplotlib figure (inches) with the footer and the space for it."""
    from matplotlib.figure import Figure as Canvas

    lines = textwrap.wrap(footer, max(40, int(width * 17)))
    room = _LINE_IN * len(lines) + 0.06
    canvas = Canvas(figsize=(width, height + room))
    free = (0.0, room / (height + room), 1.0, height / (height + room))
    canvas.set_layout_engine("constrained", rect=free)
    canvas.text(
        0.008, 0.04 / (height + room), "\n".join(lines), fontsize=7.5, color="#555555", va="bottom"
    )
    return canvas


def save_figure(
    canvas: Any, folder: Path, name: str, table: str, caption: str, alt: str
) -> Figure:
    """Write ``<name>.png`` and ``<name>.csv``; the same figure gives the same bytes."""
    png = write_atomic(folder / f"{name}.png", png_of(canvas))
    return Figure(png, write_atomic(folder / f"{name}.csv", table), caption, alt)


def png_of(canvas: Any) -> bytes:
    """Draw a figure, once: ``savefig`` draws all of it before, for its layout alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream, dpi = io.BytesIO(), canvas.dpi
    canvas.set_dpi(DPI)
    FigureCanvasAgg(canvas).print_png(stream, metadata={"Software": None})
    canvas.set_dpi(dpi)
    return stream.getvalue()


def corpus_folders(folder: Path, titles: Iterable[str]) -> dict[str, tuple[Path, str]]:
    """Return for every corpus, by its title, where its figures go and the sentence that names it.

    No figure joins two corpora. Where there is one only, its figures are in the folder itself and
    need no sentence.
    """
    names = list(dict.fromkeys(titles))
    places = {
        title: (folder if place == 1 else folder / f"corpus-{place}", f" {title}.")
        for place, title in enumerate(names, 1)
    }
    return places if len(names) > 1 else {title: (folder, "") for title in names}


def footer_of(scales: Sequence[str]) -> str:
    """Say the scale of all runs of a figure, each once."""
    return "Scale: " + " | ".join(dict.fromkeys(honest_scale(scale) for scale in scales if scale))


def line_figure(
    folder: Path, name: str, panels: Sequence[Panel], columns: int, x_label: str, caption: str
) -> Figure:
    """Draw curves over pruning iterations, one colour and marker per name in all panels.

    Args:
        folder: Where the PNG and the CSV go.
        name: Stem of both files.
        panels: In reading order.
        columns: Panels per row.
        x_label: Label of the x axes.
        caption: Caption on the page.
    """
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    rows = math.ceil(len(panels) / columns)
    footer = footer_of([line.scale for panel in panels for line in panel.lines])
    longest = max(
        len(name) for name in [*names, *(panel.level[0] for panel in panels if panel.level)]
    )
    with styled():
        canvas = new_canvas(3.5 * columns + 0.6 + 0.075 * longest, 2.7 * rows, footer)
        axes = canvas.subplots(rows, columns, squeeze=False, sharey="row")
        for place, ax in enumerate(axes.flat):
            if place < len(panels):
                _draw_panel(ax, panels[place], names, x_label)
            else:
                ax.set_axis_off()
        handles = {
            label: handle
            for ax in axes.flat
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
        table = csv_text(
            ["panel", "line", "x", "mean", "std", "seeds", "scale"], _panel_rows(panels)
        )
        return save_figure(
            canvas,
            folder,
            name,
            table,
            caption,
            f"{caption} Lines: {', '.join(names)}. {_trend(panels)}",
        )


def _draw_panel(ax: Any, panel: Panel, names: Sequence[str], x_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    factor = FORMATS[panel.style].factor
    for line in panel.lines:
        index = names.index(line.name)
        points = [(x, value) for x, value in line.points if value.mean is not None]
        spread = [factor * (value.std or 0.0) for _, value in points]
        ax.errorbar(
            [x for x, _ in points],
            [factor * (value.mean or 0.0) for _, value in points],
            yerr=spread if any(spread) else None,
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=DASHES[index // len(COLORS) % len(DASHES)],
            capsize=2,
            label=line.name,
        )
    if panel.level:
        ax.axhline(
            factor * panel.level[1],
            color="#555555",
            linestyle=(0, (4, 3)),
            linewidth=1.2,
            label=panel.level[0],
        )
    ax.set_title(panel.title, loc="left")
    ax.set_xlabel(x_label)
    ax.set_ylabel(panel.y_label)
    ax.tick_params(labelleft=True)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _panel_rows(panels: Sequence[Panel]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for panel in panels:
        factor = FORMATS[panel.style].factor
        for line in panel.lines:
            for x, value in line.points:
                mean, std = times(factor, value.mean), times(factor, value.std)
                scale = honest_scale(line.scale)
                rows.append([panel.title, line.name, x, mean, std, value.seeds, scale])
        if panel.level:
            name, level = panel.level
            rows.append([panel.title, name, None, factor * level, None, None, None])
    return rows


def log_axis(ax: Any) -> None:
    """Make the x axis logarithmic, with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def times(factor: float, number: float | None) -> float | None:
    """Multiply a number that may be missing."""
    return None if number is None else factor * number


def _trend(panels: Sequence[Panel]) -> str:
    """Say where each curve starts and ends, for readers of the alternative text."""
    told = []
    for panel in panels:
        factor = FORMATS[panel.style].factor
        for line in panel.lines:
            means = [factor * value.mean for _, value in line.points if value.mean is not None]
            if means:
                told.append(f"{panel.title}, {line.name}: from {means[0]:.2f} to {means[-1]:.2f}")
    return "; ".join(told[:12]) + "."


def first_of(drawn: int, total: int) -> str:
    """Say in a caption that only the first tensors are drawn; nothing where all are."""
    if drawn >= total:
        return ""
    return f" The first {drawn} of {total} tensors are drawn; the CSV holds all."

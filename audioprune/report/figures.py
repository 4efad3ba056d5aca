"""How numbers are drawn: every figure is a PNG with its numbers in a CSV beside it and the scale of the run in its footer.

What is drawn is chosen by the callers; matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.files import write_atomic
from audioprune.report.clips import Clip, version_text
from audioprune.report.entries import Entry, Value, condition_text, finite_or_none
from audioprune.report.results import Job, honest_scale
from audioprune.report.tables import FORMATS, METRICS, csv_text, main_metrics

# Okabe and Ito's colours, which stay apart under every colour blindness; their yellow is too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")
DPI = 150
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
_MAX_FRAMES = 300
_FLOOR_DB = -70.0
_MAX_TENSORS = 80


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its files, a caption, and a description for those who cannot see it."""

    png: Path
    csv: Path
    caption: str
    alt: str


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


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def _new(width: float, height: float, footer: str) -> Any:
    """Return an empty matplotlib figure (inches) with the footer written and its space kept free."""
    from matplotlib.figure import Figure as Canvas

    lines = textwrap.wrap(footer, max(40, int(width * 17)))
    room = _LINE_IN * len(lines) + 0.06
    canvas = Canvas(figsize=(width, height + room), layout="constrained")
    canvas.get_layout_engine().set(rect=(0, room / (height + room), 1, height / (height + room)))
    canvas.text(0.008, 0.04 / (height + room), "\n".join(lines), fontsize=7.5, color="#555555", va="bottom")
    return canvas


def _save(canvas: Any, folder: Path, name: str, table: str, caption: str, alt: str) -> Figure:
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    png = write_atomic(folder / f"{name}.png", stream.getvalue())
    return Figure(png, write_atomic(folder / f"{name}.csv", table), caption, alt)


def footer_of(scales: Sequence[str]) -> str:
    """Say the scale of all runs of a figure, each once."""
    return "Scale: " + " | ".join(dict.fromkeys(honest_scale(scale) for scale in scales if scale))


def line_figure(folder: Path, name: str, panels: Sequence[Panel], columns: int, x_label: str, caption: str) -> Figure:
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
    longest = max(len(name) for name in names)
    with _styled():
        canvas = _new(3.5 * columns + 0.6 + 0.075 * longest, 2.7 * rows, footer)
        axes = canvas.subplots(rows, columns, squeeze=False)
        for place, ax in enumerate(axes.flat):
            if place < len(panels):
                _draw_panel(ax, panels[place], names, x_label)
            else:
                ax.set_axis_off()
        handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        canvas.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
        table = csv_text(["panel", "line", "x", "mean", "std", "seeds", "scale"], _panel_rows(panels))
        return _save(canvas, folder, name, table, caption, f"{caption} Lines: {', '.join(names)}. {_trend(panels)}")


def _draw_panel(ax: Any, panel: Panel, names: Sequence[str], x_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    factor = FORMATS[panel.style].factor
    for line in panel.lines:
        index = names.index(line.name)
        points = [(x, value) for x, value in line.points if value.mean is not None]
        ax.errorbar(
            [x for x, _ in points],
            [factor * value.mean for _, value in points],
            yerr=[factor * (value.std or 0.0) for _, value in points] if any(value.std for _, value in points) else None,
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=DASHES[index // len(COLORS) % len(DASHES)],
            capsize=2,
            label=line.name,
        )
    if panel.level:
        ax.axhline(factor * panel.level[1], color="#555555", linestyle=(0, (4, 3)), linewidth=1.2, label=panel.level[0])
    ax.set_title(panel.title, loc="left")
    ax.set_xlabel(x_label)
    ax.set_ylabel(panel.y_label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _panel_rows(panels: Sequence[Panel]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for panel in panels:
        factor = FORMATS[panel.style].factor
        for line in panel.lines:
            for x, value in line.points:
                mean, std = (None if number is None else factor * number for number in (value.mean, value.std))
                rows.append([panel.title, line.name, x, mean, std, value.seeds, honest_scale(line.scale)])
        if panel.level:
            rows.append([panel.title, panel.level[0], None, factor * panel.level[1], None, None, None])
    return rows


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


def spectrogram_figure(folder: Path, name: str, clip: Clip) -> Figure:
    """Draw the spectrograms of all versions of one item side by side, in dB below the loudest point of the clean signal.

    Raises:
        OSError: An audio file is damaged (soundfile's own error is one of its kind).
    """
    drawn = {version: _spectrogram(path) for version, path in clip.versions.items()}
    top = max(levels.max() for version, (levels, _, _) in drawn.items() if version == "clean" or "clean" not in drawn)
    caption = f"{clip.model}, {condition_text(clip.condition)}, item {clip.item}: {', '.join(map(version_text, drawn)).lower()}."
    columns = min(3, len(drawn)) if len(drawn) != 4 else 4
    rows = math.ceil(len(drawn) / columns)
    with _styled():
        canvas = _new(2.7 * columns + 0.8, 2.4 * rows, footer_of([clip.job.scale]))
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, ax in enumerate(axes.flat):
            if place >= len(drawn):
                ax.set_axis_off()
                continue
            version = list(drawn)[place]
            levels, seconds, top_khz = drawn[version]
            image = ax.imshow(
                levels - top, origin="lower", aspect="auto", extent=(0, seconds, 0, top_khz), cmap="magma", vmin=_FLOOR_DB, vmax=0, interpolation="none"
            )
            ax.set_title(version_text(version), loc="left")
            ax.grid(False)
            ax.label_outer()
            ax.set_xlabel("Time (s)" if place >= len(drawn) - columns else "")
            ax.set_ylabel("Frequency (kHz)" if place % columns == 0 else "")
            ax.tick_params(labelbottom=place >= len(drawn) - columns)
        canvas.colorbar(image, ax=axes, label="Level (dB)", pad=0.02)
        return _save(canvas, folder, name, _spectrogram_csv(drawn, top), f"Spectrograms. {caption}", f"Spectrograms of {caption}")


def _spectrogram(path: Path) -> tuple[np.ndarray, float, float]:
    """Return levels in dB (F, N) of 20 ms Hamming frames, the duration in s and the highest frequency in kHz."""
    import soundfile

    signal, sample_rate = soundfile.read(path, dtype="float64", always_2d=True)
    signal = signal.mean(axis=1)
    length = max(2, round(0.02 * sample_rate))
    hop = max(round(0.01 * sample_rate), math.ceil(signal.size / _MAX_FRAMES), 1)
    padded = np.pad(signal, (length // 2, length))
    starts = np.arange(0, max(1, signal.size), hop)
    frames = padded[starts[:, None] + np.arange(length)] * np.hamming(length)
    levels = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-10)
    return levels, signal.size / sample_rate, sample_rate / 2000


def _spectrogram_csv(drawn: dict[str, tuple[np.ndarray, float, float]], top: float) -> str:
    levels, _, top_khz = next(iter(drawn.values()))
    header = ["version", "time_s", *(f"{1000 * top_khz * place / max(1, levels.shape[0] - 1):.0f} Hz" for place in range(levels.shape[0]))]
    rows = [
        [version, f"{seconds * frame / values.shape[1]:.3f}", *(f"{level:.1f}" for level in np.maximum(values[:, frame] - top, _FLOOR_DB))]
        for version, (values, seconds, _) in drawn.items()
        for frame in range(values.shape[1])
    ]
    return csv_text(header, rows)


@dataclass(frozen=True)
class Curve:
    """One tensor's sensitivity in one iteration: ratios 0..1, loss increases, and the ratio that was chosen."""

    iteration: int
    tensor: str
    beta: tuple[float, ...]
    loss_increase: tuple[float, ...]
    chosen: float | None


def read_sensitivity(job: Job) -> list[Curve]:
    """Read the sensitivity curves of a run, by iteration and tensor; lines that hold no numbers are left out."""
    found: dict[tuple[int, str], list[tuple[float, float, str]]] = {}
    for path in sorted(job.folder.glob("sensitivity-*.csv")):
        with open(path, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                numbers = [_number(row.get(name)) for name in ("iteration", "beta", "loss_increase")]
                if None not in numbers:
                    key = (int(numbers[0]), str(row.get("tensor")))
                    found.setdefault(key, []).append((numbers[1], numbers[2], str(row.get("chosen") or "")))
    return [_curve(*key, points) for key, points in sorted(found.items(), key=lambda item: item[0][0])]


def _number(text: str | None) -> float | None:
    try:
        return finite_or_none(float(text)) if text else None
    except ValueError:
        return None


def _curve(iteration: int, tensor: str, points: list[tuple[float, float, str]]) -> Curve:
    """Join the points of a tensor; ``chosen`` marks one point as true, or repeats the chosen ratio on every point."""
    points = sorted(points, key=lambda point: point[0])
    marked = [beta for beta, _, chosen in points if chosen.lower() in ("true", "yes")]
    ratios = {_number(chosen) for _, _, chosen in points} - {None}
    chosen = marked[-1] if marked else (ratios.pop() if len(ratios) == 1 else None)
    if len(ratios) == 2:  # a flag written as 0 and 1
        chosen = next((beta for beta, _, text in points if _number(text) == 1), None)
    return Curve(iteration, tensor, tuple(point[0] for point in points), tuple(point[1] for point in points), chosen)


def sensitivity_figure(folder: Path, name: str, job: Job, title: str) -> Figure | None:
    """Draw loss increase against pruning ratio, one panel per tensor and one line per iteration, or nothing without curves."""
    curves = read_sensitivity(job)
    tensors = list(dict.fromkeys(curve.tensor for curve in curves))
    if not tensors:
        return None
    shown, iterations = tensors[:_MAX_TENSORS], sorted({curve.iteration for curve in curves})
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    left_out = f" The first {len(shown)} of {len(tensors)} tensors are drawn; the CSV holds all." if len(shown) < len(tensors) else ""
    caption = f"Sensitivity of {title}: increase of the validation loss when one tensor alone is pruned; dots mark the chosen ratio.{left_out}"
    with _styled():
        import matplotlib

        canvas = _new(max(4.5, 2.5 * columns + 0.9), 1.9 * rows + 0.3, footer_of([job.scale]))
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True)
        colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(iterations)))
        for place, ax in enumerate(axes.flat):
            if place >= len(shown):
                ax.set_axis_off()
                continue
            _draw_sensitivity(ax, [curve for curve in curves if curve.tensor == shown[place]], dict(zip(iterations, colors, strict=True)))
            ax.set_title("\n".join(textwrap.wrap(shown[place], 26, break_long_words=True)), loc="left", fontsize=8.5)
            ax.tick_params(labelbottom=place >= len(shown) - columns)
        canvas.supxlabel("Pruned weights (%)", fontsize=9)
        canvas.supylabel("Increase of the loss", fontsize=9)
        handles = [ax_line(colors[place], f"iteration {value}") for place, value in enumerate(iterations)]
        canvas.legend(handles=handles, loc="outside right upper", frameon=False)
        lines = [[c.iteration, c.tensor, beta, loss, beta == c.chosen] for c in curves for beta, loss in zip(c.beta, c.loss_increase, strict=True)]
        table = csv_text(["iteration", "tensor", "beta", "loss_increase", "chosen"], lines)
        return _save(canvas, folder, name, table, caption, f"{caption} {_chosen_text(curves)}")


def ax_line(color: Any, label: str) -> Any:
    """Return a line that stands in a legend only."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o", label=label)


def _draw_sensitivity(ax: Any, curves: Sequence[Curve], colors: dict[int, Any]) -> None:
    ax.axhline(0.0, color="#999999", linewidth=0.8)
    for curve in curves:
        beta = 100 * np.array(curve.beta)
        ax.plot(beta, curve.loss_increase, color=colors[curve.iteration], linewidth=1.3)
        at = [place for place, value in enumerate(curve.beta) if curve.chosen is not None and math.isclose(value, curve.chosen, abs_tol=1e-6)]
        ax.plot(beta[at], np.array(curve.loss_increase)[at], "o", color=colors[curve.iteration])
    ax.set_xlim(-3, 103)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def _chosen_text(curves: Sequence[Curve]) -> str:
    last = max(curve.iteration for curve in curves)
    told = [f"{curve.tensor} {100 * curve.chosen:g} %" for curve in curves if curve.iteration == last and curve.chosen is not None]
    return f"Chosen in iteration {last}: {', '.join(told[:12])}." if told else ""

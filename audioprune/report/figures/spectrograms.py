"""How the audio of one item looks: spectrograms of its versions side by side."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from audioprune.report.clips import TRUE, Clip, version_text
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, footer_of, save_figure
from audioprune.report.figures.pixels import image, legend
from audioprune.report.figures.views import Axis, plot_width, sheet, view
from audioprune.report.runs.entry import condition_text
from audioprune.report.tables import csv_text

_MAX_FRAMES = 300
_FLOOR_DB = -60.0
_LOWEST_KHZ = 0.1
_LEFT, _HEIGHT = 40, 90  # pixels
_RAMP = "magma"
Levels = tuple[np.ndarray, float, float]


def spectrogram_figure(folder: Path, name: str, clip: Clip) -> Figure:
    """Draw the spectrograms of all versions of one item side by side.

    Levels are in dB below the loudest point of the clean signal.

    Args:
        folder: Where the files go.
        name: Stem of all of them.
        clip: The item; one panel per version.
    """
    drawn = {version: _levels(path) for version, path in clip.versions.items()}
    top = max(
        _loudest(values)
        for version, values in drawn.items()
        if version in TRUE or not set(TRUE) & set(drawn)
    )
    caption = (
        f"{clip.model}, {condition_text(clip.condition)}, item {clip.item}: "
        f"{', '.join(map(version_text, drawn)).lower()}."
    )
    columns = min(2, len(drawn))
    width = plot_width(columns, left=_LEFT / columns + 4)
    longest = max(seconds for _, seconds, _ in drawn.values())
    highest = max(top_khz for _, _, top_khz in drawn.values())
    views = []
    for place, (version, (levels, seconds, top_khz)) in enumerate(drawn.items()):
        part = width * seconds / longest, _HEIGHT * top_khz / highest
        layers = [
            image(levels - top, _FLOOR_DB, 0.0, _RAMP, part, _HEIGHT),
            legend("Level (dB)", _FLOOR_DB, 0.0, _RAMP),
        ]
        last = place >= len(drawn) - columns
        x = Axis("Time (s)", 0.0, longest, grid=False, sides=last)
        y = Axis("Frequency (kHz)", 0.0, highest, grid=False, sides=place % columns == 0)
        made = view(x, y, layers, title=version_text(version), width=width, height=_HEIGHT)
        views.append(made)
    chart = Chart(
        sheet(views, footer_of([clip.job.scale]), columns=columns), f"Spectrograms of {caption}"
    )
    return save_figure(chart, folder, name, _as_csv(drawn, top), f"Spectrograms. {caption}")


def _loudest(values: Levels) -> float:
    """Return the highest level above 100 Hz.

    Rumble and a wandering offset must not set the colours of the speech.
    """
    levels, _, top_khz = values
    first = min(math.ceil(_LOWEST_KHZ / top_khz * (levels.shape[0] - 1)), levels.shape[0] - 1)
    return float(levels[first:].max())


def _levels(path: Path) -> Levels:
    """Return levels in dB (F, N), the duration in s and the highest frequency in kHz.

    Frames are 20 ms long, under a Hamming window.
    """
    import soundfile

    signal, sample_rate = soundfile.read(os.fsencode(path), dtype="float64", always_2d=True)
    signal = signal.mean(axis=1)
    signal = (
        signal - signal.mean()
    )  # a constant offset of a recording would otherwise be its loudest point
    length = max(2, round(0.02 * sample_rate))
    hop = max(round(0.01 * sample_rate), math.ceil(signal.size / _MAX_FRAMES), 1)
    padded = np.pad(signal, (length // 2, length))
    starts = np.arange(0, max(1, signal.size), hop)
    frames = padded[starts[:, None] + np.arange(length)] * np.hamming(length)
    levels = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-10)
    return levels, signal.size / sample_rate, sample_rate / 2000


def _as_csv(drawn: dict[str, Levels], top: float) -> str:
    levels, _, top_khz = next(iter(drawn.values()))
    header = [
        "version",
        "time_s",
        *(
            f"{1000 * top_khz * place / max(1, levels.shape[0] - 1):.0f} Hz"
            for place in range(levels.shape[0])
        ),
    ]
    rows = [
        [
            version,
            f"{seconds * frame / values.shape[1]:.3f}",
            *(f"{level:.1f}" for level in np.maximum(values[:, frame] - top, _FLOOR_DB)),
        ]
        for version, (values, seconds, _) in drawn.items()
        for frame in range(values.shape[1])
    ]
    return csv_text(header, rows)

"""How the audio of one item looks: spectrograms of its versions side by side."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.report.clips import TRUE, Clip, version_text
from audioprune.report.figures.drawing import Figure, footer_of, new_canvas, save_figure, styled
from audioprune.report.runs.entry import condition_text
from audioprune.report.tables import csv_text

_MAX_FRAMES = 300
_FLOOR_DB = -60.0
_LOWEST_KHZ = 0.1
Levels = tuple[np.ndarray, float, float]


def spectrogram_figure(folder: Path, name: str, clip: Clip) -> Figure:
    """Draw the spectrograms of all versions of one item side by side.

    Levels are in dB below the loudest point of the clean signal.

    Args:
        folder: Where the PNG and the CSV go.
        name: Stem of both files.
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
    columns = len(drawn) if len(drawn) <= 4 else 3
    rows = math.ceil(len(drawn) / columns)
    with styled():
        canvas = new_canvas(2.7 * columns + 0.8, 2.4 * rows, footer_of([clip.job.scale]))
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for ax in axes.flat[len(drawn) :]:
            ax.set_axis_off()
        for place, (version, values) in enumerate(drawn.items()):
            image = _draw(axes.flat[place], values, top, version_text(version))
            axes.flat[place].set_xlabel("Time (s)" if place >= len(drawn) - columns else "")
            axes.flat[place].set_ylabel("Frequency (kHz)" if place % columns == 0 else "")
            axes.flat[place].tick_params(labelbottom=place >= len(drawn) - columns)
        canvas.colorbar(image, ax=axes, label="Level (dB)", pad=0.02)
        return save_figure(
            canvas,
            folder,
            name,
            _as_csv(drawn, top),
            f"Spectrograms. {caption}",
            f"Spectrograms of {caption}",
        )


def _loudest(values: Levels) -> float:
    """Return the highest level above 100 Hz.

    Rumble and a wandering offset must not set the colours of the speech.
    """
    levels, _, top_khz = values
    first = min(math.ceil(_LOWEST_KHZ / top_khz * (levels.shape[0] - 1)), levels.shape[0] - 1)
    return float(levels[first:].max())


def _draw(ax: Any, values: Levels, top: float, title: str) -> Any:
    levels, seconds, top_khz = values
    ax.set_title(title, loc="left")
    ax.grid(False)
    extent = (0, seconds, 0, top_khz)
    return ax.imshow(
        levels - top,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=_FLOOR_DB,
        vmax=0,
        interpolation="none",
    )


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

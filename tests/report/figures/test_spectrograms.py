"""Spectrograms: a tone is where it is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.report.clips import clips
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.runs.job import load_jobs


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_spectrogram_shows_the_tone_where_it_is(make_run, tmp_path) -> None:
    run = make_run("a")
    folder = run.folder / "audio" / "street"
    folder.mkdir(parents=True)
    tone = (
        0.25 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000) + 0.5
    )  # a constant offset must not count as loud
    for version, gain in (("noisy", 0.1), ("clean", 1.0)):
        soundfile.write(folder / f"x_{version}.flac", gain * tone, 16000)
    drawn = spectrogram_figure(tmp_path, "sp", clips(load_jobs(run.folder))[0])
    rows = _read(drawn.csv)
    assert {row["version"] for row in rows} == {"noisy", "clean"} and len(rows) == 200
    frame = next(row for row in rows if row["version"] == "clean" and row["time_s"] == "0.500")
    levels = {
        int(name.split()[0]): float(value) for name, value in frame.items() if name.endswith("Hz")
    }
    assert (
        max(levels, key=levels.get) == 2000
        and levels[2000] == pytest.approx(0.0, abs=0.2)
        and levels[6000] == -60
    )
    quiet = next(row for row in rows if row["version"] == "noisy" and row["time_s"] == "0.500")
    assert float(quiet["2000 Hz"]) == pytest.approx(-20.0, abs=0.3)

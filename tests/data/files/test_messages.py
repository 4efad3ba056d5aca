"""What the user is told about files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from speech_trees import RATE, tone, write

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.messages import conversion_notes, name_bad_files


def test_notes_count_rates_and_channels_once() -> None:
    facts = [
        FileFacts(Path("a"), sample_rate=RATE, channels=1, frames=10),
        FileFacts(Path("b"), sample_rate=8000, channels=2, frames=10),
        FileFacts(Path("c"), sample_rate=48000, channels=1, frames=10),
    ]
    assert conversion_notes(facts, RATE) == [
        "2 of 3 files are resampled to 16000 Hz (1 from 8000 Hz, 1 from 48000 Hz)",
        "1 files with several channels are averaged to mono",
    ]


def test_long_lists_of_bad_files_are_shortened() -> None:
    line = name_bad_files(
        [Finding(Path(f"f{number}"), "error", "cut", "why") for number in range(30)]
    )
    assert (
        "found 30 bad files" in line
        and "f19 (why)" in line
        and line.endswith("and 10 more")
        and "\n" not in line
    )


def test_stereo_in_antiphase_is_noted(tmp_path: Path) -> None:
    from audioprune.data.files.file_index import inspect_files

    left = tone(0.5, 1)
    path = write(tmp_path / "a.wav", np.stack([left, -0.99 * left], axis=1))
    (fact,) = inspect_files(tmp_path, [path], str(tmp_path / "cache"))
    assert "cancel when they are averaged" in conversion_notes([fact], RATE)[1]

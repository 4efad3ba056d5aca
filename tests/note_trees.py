"""Small corpora of notes on disk: the layouts of NSynth and TinySOL, and tones of known pitch."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

TINYSOL_COLUMNS = (
    "Path",
    "Fold",
    "Family",
    "Instrument (abbr.)",
    "Instrument (in full)",
    "Technique (abbr.)",
    "Technique (in full)",
    "Pitch",
    "Pitch ID",
    "Dynamics",
    "Dynamics ID",
    "Instance ID",
    "String ID (if applicable)",
    "Needed digital retuning",
)


def write_tone(
    path: Path,
    pitch: int,
    *,
    level: float = 0.5,
    sample_rate: int = 16000,
    seconds: float = 0.1,
    phase: float = 0.0,
) -> Path:
    """Write a sine of a MIDI pitch with 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    soundfile.write(
        path,
        level * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * times + phase),
        sample_rate,
        subtype="PCM_16",
    )
    return path


def record(instrument: str, pitch: int, velocity: int, family: str = "flute") -> dict[str, Any]:
    """Return what NSynth says of a note."""
    facts = {
        "pitch": pitch,
        "velocity": velocity,
        "instrument_str": instrument,
        "instrument_family_str": family,
    }
    return {
        **facts,
        "instrument_source_str": "acoustic",
        "sample_rate": 16000,
        "qualities": [0] * 10,
    }


def nsynth_tree(root: Path, instruments: int = 4, notes: int = 5, **tone: Any) -> Path:
    """Write instruments of ascending pitches: the last is the test part, the one before valid."""
    for number in range(instruments):
        part = {instruments - 1: "nsynth-test", instruments - 2: "nsynth-valid"}.get(
            number, "nsynth-train"
        )
        for pitch in range(60 + number, 60 + number + notes):
            name = f"flute_acoustic_{number:03d}-{pitch:03d}-100"
            write_tone(root / part / "audio" / f"{name}.wav", pitch, phase=0.1 * number, **tone)
            add_record(root / part, name, record(f"flute_acoustic_{number:03d}", pitch, 100))
    return root


def add_record(part: Path, name: str, facts: Any) -> None:
    """Add a note to the metadata of a part."""
    file = part / "examples.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**known, name: facts}))


def tinysol_tree(
    root: Path, rows: list[tuple[str, str, str, int, str]], sample_rate: int = 44100
) -> Path:
    """Write notes (instrument, technique, pitch name, pitch, dynamics); folds count up."""
    lines = []
    for number, (instrument, technique, name, pitch, dynamics) in enumerate(rows):
        place = f"Winds/{instrument}/{technique}/{instrument[:2]}-ord-{name}-{dynamics}-N-N.wav"
        write_tone(root / "audio" / place, pitch, sample_rate=sample_rate)
        lines.append(
            (
                place,
                number % 5,
                "Winds",
                instrument[:2],
                instrument,
                "ord",
                technique,
                name,
                pitch,
                dynamics,
                0,
                0,
                "",
                "FALSE",
            )
        )
    (root / "annotation").mkdir(parents=True, exist_ok=True)
    with open(
        root / "annotation" / "TinySOL_metadata.csv", "w", newline="", encoding="utf-8"
    ) as stream:
        csv.writer(stream).writerows([TINYSOL_COLUMNS, *lines])
    return root

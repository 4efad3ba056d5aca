"""The corpus of notes that needs no download, four families of artificial instruments.

``synthetic_notes`` writes it once in the layout of NSynth, from which nsynth.py reads it back. How
instruments sound is in synthesis.py.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.notes.corpus import NoteCorpus
from audioprune.data.notes.note import NoteList
from audioprune.data.notes.nsynth import FAMILIES as NSYNTH_FAMILIES
from audioprune.data.notes.nsynth import METADATA, SOURCES, list_nsynth
from audioprune.data.notes.synthesis import FAMILIES, SAMPLE_RATE, Voice, draw_voice, play
from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import NoKey, OrNull, PassedTo, Range

VELOCITIES = (25, 50, 75, 100, 127)
"""The velocities of NSynth."""
_VERSION = 1
"""Raised whenever the same recipe gives other audio."""
_TITLE = "synthetic_notes"
_COMPASS = 24
"""Pitches of one instrument: two octaves."""
_VOICES, _CHOICE, _SOUND = range(3)
"""Numbers of the random streams."""
_QUALITIES = 10


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the audio.

    Attributes:
        seed: Decides instruments, notes and sounds.
        families: Families, of the keys of synthesis.FAMILIES.
        instruments: Instruments of each family.
        notes_per_instrument: Notes of each instrument.
        duration_s: Length of a note in seconds.
        pitches: Lowest and highest MIDI pitch; an instrument plays two octaves of them.
        version: Version of the synthesizer.

    Raises:
        ConfigError: A value is out of its range.
    """

    seed: int
    families: tuple[str, ...]
    instruments: int
    notes_per_instrument: int
    duration_s: float
    pitches: tuple[int, int]
    version: int = _VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(
                f"expected seed as a whole number of at least 0, got {self.seed}; use for "
                f"instance 0"
            )
        for family in self.families:
            if family not in FAMILIES:
                raise ConfigError(unknown_name("family", family, FAMILIES))
        if not self.families or len(set(self.families)) < len(self.families):
            raise ConfigError(
                f"expected one or more different families, got {list(self.families)}; use "
                f"{list(FAMILIES)}"
            )
        if not isinstance(self.instruments, int) or not 1 <= self.instruments <= 1000:
            raise ConfigError(
                f"expected 1 to 1000 instruments of each family, got {self.instruments}; use "
                f"for instance 6"
            )
        low, high = self.pitches
        if not 21 <= low <= high <= 108:
            raise ConfigError(
                f"expected pitches as [lowest, highest] within 21..108, got "
                f"{list(self.pitches)}; use [40, 84]"
            )
        if not 0.25 <= self.duration_s <= 60:
            raise ConfigError(
                f"expected duration_s from 0.25 to 60 s, got {self.duration_s}; use for instance 2"
            )
        most = len(VELOCITIES) * (min(_COMPASS, high - low) + 1)
        count = self.notes_per_instrument
        if not isinstance(count, int) or not 1 <= count <= most:
            raise ConfigError(
                f"expected 1 to {most} notes_per_instrument, got {count}; use for instance 10"
            )

    @property
    def seconds(self) -> float:
        """Length of the whole corpus in seconds."""
        return len(self.families) * self.instruments * self.notes_per_instrument * self.duration_s


def synthetic_notes(
    root: str | Path = "",
    *,
    seed: Annotated[int, Range(0)] = 0,
    families: Sequence[str] = tuple(FAMILIES),
    instruments: Annotated[int, Range(1, 1000)] = 6,
    notes_per_instrument: Annotated[int, Range(1), OrNull(10)] = 10,
    duration_s: Annotated[float, Range(0.25, 60)] = 2.0,
    pitches: Annotated[Sequence[int], Range(21, 108)] = (40, 84),
    cache_dir: str = "",
    title: Annotated[str, NoKey()] = _TITLE,
    **options: Annotated[Any, PassedTo(NoteCorpus)],
) -> NoteCorpus:
    """Return the corpus of artificial notes; it is made when it is needed first.

    The last two instruments of a family lie in ``nsynth-valid`` and ``nsynth-test``, where
    ``split="official"`` finds them. The default takes about 5 s to make and 16 MB.

    Args:
        root: Folder to write or read; empty for one in the user's cache folder, named after the
            recipe.
        seed: Decides the audio, and as in NoteCorpus its use.
        families: Of ``organ`` (additive), ``mallet`` (frequency modulation), ``guitar`` (plucked
            string) and ``flute`` (blown).
        instruments: Instruments of each family.
        notes_per_instrument: Notes of each instrument.
        duration_s: Length of a note in seconds.
        pitches: Lowest and highest MIDI pitch.
        cache_dir: Cache folder; empty for the user's.
        title: Name in tables.
        **options: Any other argument of NoteCorpus.

    Raises:
        ConfigError: A value is out of its range.
    """
    if len(pitches) != 2:
        raise ConfigError(f"expected pitches as [lowest, highest], got {list(pitches)}; give two")
    low, high = pitches
    recipe = Recipe(
        seed, tuple(families), instruments, notes_per_instrument, float(duration_s), (low, high)
    )
    folder = GeneratedFolder.at(root, _TITLE, asdict(recipe), cache_dir)

    def list_notes() -> NoteList:
        pieces, texts = _pieces(recipe)
        folder.make(pieces, SAMPLE_RATE, round(2 * SAMPLE_RATE * recipe.seconds), texts)
        listed = list_nsynth(folder.root)
        return replace(listed, remarks=(), facts={**listed.facts, "recipe": asdict(recipe)})

    return NoteCorpus(
        list_notes, duration_s=duration_s, seed=seed, cache_dir=cache_dir, title=title, **options
    )


def _pieces(recipe: Recipe) -> tuple[dict[str, Callable[[], np.ndarray]], dict[str, str]]:
    """Return a function that makes each file of the corpus, and the metadata of each part."""
    pieces: dict[str, Callable[[], np.ndarray]] = {}
    records: dict[str, dict[str, Any]] = {}
    for family in recipe.families:
        for number in range(recipe.instruments):
            part = _part(number, recipe.instruments)
            for pitch, velocity in _notes(recipe, family, number):
                name = f"{family}_synthetic_{number:03d}-{pitch:03d}-{velocity:03d}"
                sound = partial(_sound, recipe, family, number, pitch, velocity)
                record = _record(recipe, family, number, pitch, velocity, name, len(pieces))
                pieces[f"{part}/audio/{name}.wav"] = sound
                records.setdefault(part, {})[name] = record
    texts = {}
    for part, found in records.items():
        texts[f"{part}/{METADATA}"] = json.dumps(found, indent=1, sort_keys=True)
    return pieces, texts


def _part(number: int, instruments: int) -> str:
    """Return the part of an instrument; of three or more, one tests and one validates."""
    if instruments < 3:
        return "nsynth-train"
    held_out = {instruments - 1: "nsynth-test", instruments - 2: "nsynth-valid"}
    return held_out.get(number, "nsynth-train")


def _stream(recipe: Recipe, kind: int, family: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, kind, zlib.crc32(family.encode()), *numbers])


def _voice(recipe: Recipe, family: str, number: int) -> Voice:
    rng = _stream(recipe, _VOICES, family, number)
    low, high = recipe.pitches
    lowest = int(rng.integers(low, max(low, high - _COMPASS) + 1))
    return draw_voice(family, rng, lowest, min(high, lowest + _COMPASS))


def _notes(recipe: Recipe, family: str, number: int) -> list[tuple[int, int]]:
    """Draw different pairs of pitch and velocity, in order."""
    voice = _voice(recipe, family, number)
    every = list(product(range(voice.lowest, voice.highest + 1), VELOCITIES))
    order = _stream(recipe, _CHOICE, family, number).permutation(len(every))
    return sorted(every[int(place)] for place in order[: recipe.notes_per_instrument])


def _sound(recipe: Recipe, family: str, number: int, pitch: int, velocity: int) -> np.ndarray:
    rng = _stream(recipe, _SOUND, family, number, pitch, velocity)
    return play(_voice(recipe, family, number), pitch, velocity, recipe.duration_s, rng)


def _record(
    recipe: Recipe, family: str, number: int, pitch: int, velocity: int, name: str, note: int
) -> dict[str, Any]:
    """Return what NSynth says of a note."""
    return {
        "note": note,
        "note_str": name,
        "instrument": recipe.families.index(family) * recipe.instruments + number,
        "instrument_str": f"{family}_synthetic_{number:03d}",
        "pitch": pitch,
        "velocity": velocity,
        "sample_rate": SAMPLE_RATE,
        "qualities": [0] * _QUALITIES,
        "qualities_str": [],
        "instrument_family": NSYNTH_FAMILIES.index(family),
        "instrument_family_str": family,
        "instrument_source": SOURCES.index("synthetic"),
        "instrument_source_str": "synthetic",
    }

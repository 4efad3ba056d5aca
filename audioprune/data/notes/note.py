"""A single note: its record ``Note``, its samples in ``NoteStore``, its items in ``NoteSet``.

Which notes a corpus has is decided by its reader (nsynth.py, studio_online.py, folder.py), how
they become a training, a validation and a test set in corpus.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audioprune.data.files.audio import Samples, read_audio, read_info
from audioprune.data.files.checks import Finding
from audioprune.data.files.parallel import loader_processes
from audioprune.data.splits.folders import SPLITS
from audioprune.dsp import mixdown, resample

PITCHES = 128
"""MIDI pitches 0..127; 60 is middle C, 69 is A at 440 Hz."""
_FULL_SCALE = 32768
_MARGIN_S = 0.1


@dataclass(frozen=True)
class Note:
    """One recorded note.

    Attributes:
        path: The file.
        id: Unique name, fit for file names.
        pitch: MIDI pitch, 0..127.
        velocity: MIDI velocity, 0..127.
        instrument: Name of the instrument.
        family: Name of its family.
        part: Split of the corpus's own list, or an empty text.
        made_from: Pitch of the note that this one was made from by transposition; None for a
            recording of its own.
    """

    path: Path
    id: str
    pitch: int
    velocity: int
    instrument: str
    family: str
    part: str = ""
    made_from: int | None = None

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def take(self) -> str:
        """Instrument, pitch and velocity, which takes of one note share.

        The pitch of a transposed note is that of its source.
        """
        pitch = self.pitch if self.made_from is None else self.made_from
        return f"{self.instrument} {pitch:03d} {self.velocity:03d}"


@dataclass(frozen=True)
class NoteList:
    """What a reader found.

    Attributes:
        root: Folder of the corpus.
        notes: The notes, in a fixed order.
        families: Names of the families; the index of a family is its place here.
        findings: Notes that the corpus names but that cannot be used.
        remarks: What a user should know, one line each.
        facts: What else describes the corpus, as JSON values.
    """

    root: Path
    notes: tuple[Note, ...]
    families: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def listed_remarks(kinds: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a remark on each kind of oddity that some notes have, with the first few names.

    Args:
        kinds: What is odd, in words -> names of the notes or files.
    """
    remarks = []
    for what, found in kinds.items():
        if found:
            more = ", ..." if len(found) > 5 else ""
            remarks.append(f"{len(found)} {what}: {', '.join(found[:5])}{more}")
    return remarks


@dataclass
class NoteStore:
    """Samples of notes, of which some stay in memory with 16 bits each.

    The other notes are decoded again each time; the samples are the same either way.

    Attributes:
        sample_rate: Rate of everything that is returned, in Hz.
        duration_s: Only this much of the begin of a note is kept, in seconds.
        memory_bytes: Most bytes that stay in memory, of all processes that load data together.
    """

    sample_rate: int
    duration_s: float
    memory_bytes: int
    _held: dict[Path, NDArray[np.int16]] = field(default_factory=dict, repr=False)
    _held_bytes: int = 0

    @property
    def length(self) -> int:
        """Most samples of a note."""
        return round(self.duration_s * self.sample_rate)

    def get(self, path: Path) -> Samples:
        """Return a note as mono samples within -1..1, float32, shape (T',) with T' <= ``length``.

        Several channels are averaged. What lies beyond full scale after resampling is clipped.

        Raises:
            DataError: The file cannot be decoded.
        """
        held = self._held.get(path)
        if held is None:
            held = self._read(path)
            if self._held_bytes + held.nbytes <= self.memory_bytes // loader_processes():
                self._held[path] = held
                self._held_bytes += held.nbytes
        return held.astype(np.float32) / np.float32(_FULL_SCALE)

    def preload(self, paths: Sequence[Path]) -> None:
        """Decode notes ahead of use, unless they might not all fit into memory."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._held]
        most = np.dtype(np.int16).itemsize * self.length * len(wanted)
        if self._held_bytes + most <= self.memory_bytes:
            for path in wanted:
                self.get(path)

    def _read(self, path: Path) -> NDArray[np.int16]:
        frames = math.ceil((self.duration_s + _MARGIN_S) * read_info(path).sample_rate)
        samples, sample_rate = read_audio(path, 0, frames)
        mixed = np.ascontiguousarray(mixdown(samples.T))
        mono = resample(mixed, sample_rate, self.sample_rate)[: self.length]
        return np.round(mono * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


@dataclass(frozen=True)
class Crop:
    """Which part of a note an item is.

    A part begins at random within the note, so that it lies within it where the note is long
    enough.

    Attributes:
        length: Samples of the part.
        lead_in: Most samples of silence before the note, from which a generator learns how a note
            begins.
    """

    length: int
    lead_in: int = 0

    def start(self, length: int, rng: np.random.Generator) -> int:
        """Draw the first sample, negative in the silence before a note of ``length`` samples."""
        return int(rng.integers(-self.lead_in, max(0, length - self.length) + 1))


class NoteSet(Dataset[dict[str, Any]]):
    """Items of one split.

    Item: ``audio`` (T,) float32, ``pitch``, ``velocity``, ``instrument``, ``family``, ``length``
    and ``id``. Audio that is too short is filled with zeros; ``length`` samples are of the note.

    An item is a function of seed, split, index and epoch alone, and of the epoch only where parts
    of notes are drawn for training.

    Args:
        notes: The notes.
        store: Where samples come from.
        instruments: Names of all instruments of the corpus; the index of an instrument is its
            place here.
        families: Names of all families, likewise.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        seed: Decides the parts.
        crop: Part of a note that is an item, or None for the whole note.
    """

    def __init__(
        self,
        notes: Sequence[Note],
        store: NoteStore,
        instruments: Sequence[str],
        families: Sequence[str],
        *,
        split: str = "train",
        seed: int = 0,
        crop: Crop | None = None,
    ) -> None:
        self.notes = tuple(notes)
        self.store = store
        self.instruments = tuple(instruments)
        self.families = tuple(families)
        self.split = split
        self.seed = seed
        self.crop = crop
        self._epoch = 0
        self._instrument = {name: place for place, name in enumerate(self.instruments)}
        self._family = {name: place for place, name in enumerate(self.families)}

    def __len__(self) -> int:
        return len(self.notes)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides the parts of training notes; others stay the same."""
        self._epoch = epoch if self.split == "train" else 0

    def preload(self) -> None:
        """Decode the notes ahead, if they all fit into memory."""
        self.store.preload([note.path for note in self.notes])

    def __getitem__(self, index: int) -> dict[str, Any]:
        note = self.notes[index]
        samples = self.store.get(note.path)
        start, length = 0, self.store.length
        if self.crop:
            stream = [self.seed, SPLITS.index(self.split), index % len(self), self._epoch]
            start = self.crop.start(len(samples), np.random.default_rng(stream))
            length = self.crop.length
        # A part that starts before the note begins with silence.
        before = max(0, -start)
        part = samples[max(0, start) : max(0, start + length)]
        audio = torch.zeros(length)
        audio[before : before + len(part)] = torch.from_numpy(part)
        return {
            "audio": audio,
            "instrument": self._instrument[note.instrument],
            "family": self._family[note.family],
            "pitch": note.pitch,
            "velocity": note.velocity,
            "id": note.id,
            "length": before + len(part),
        }


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items to a batch.

    Returns:
        ``audio`` (B, T) float32; ``pitch``, ``velocity``, ``instrument``, ``family`` and
        ``lengths`` (B,) int64; the list ``id``.
    """
    batch: dict[str, Any] = {}
    for key in ("pitch", "velocity", "instrument", "family"):
        batch[key] = torch.tensor([item[key] for item in items])
    batch["audio"] = torch.stack([item["audio"] for item in items])
    batch["lengths"] = torch.tensor([item["length"] for item in items])
    batch["id"] = [item["id"] for item in items]
    return batch

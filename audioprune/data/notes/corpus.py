"""How listed notes become checked items of a training, a validation and a test set.

Which notes there are is decided by the readers nsynth.py, sol.py, note_folder.py and
synthetic_notes.py, what an item is in notes.py.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.sources import bad_files, check_choice, conversion_notes, names, tell
from audioprune.data.notes.note import Crop, Note, NoteList, NoteSet, NoteStore, collate
from audioprune.data.notes.splits import RULES, check_rule, choose, groups_of, split_notes
from audioprune.data.splits.leaks import Member, copies, suspected
from audioprune.data.splits.rules import SPLITS
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256, write_atomic
from audioprune.ranges import NoKey, OneOf, Range

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prepared:
    """What prepare() found."""

    listed: NoteList
    pools: dict[str, list[Note]]
    instruments: tuple[str, ...]
    facts: dict[Path, FileFacts]
    skipped: list[Finding]
    together: dict[Note, str]
    copies: list[tuple[Path, Path]]


class NoteCorpus:
    """A corpus of single notes from any list of notes, at one sample rate, each cut or filled to one duration.

    Args:
        list_notes: Gives the notes; called once.
        sample_rate: Rate of all items in Hz.
        duration_s: Length of an item in seconds.
        segment_s: Length of training and validation items in seconds, parts of notes drawn at
            random, those of training anew in each epoch; None for whole notes. Test items are
            whole notes.
        lead_in_s: Most silence before the note in training and validation parts, in seconds; needs
            ``segment_s``.
        notes_per_instrument: Notes drawn of each instrument; None for all.
        split: ``"random"``, ``"by_pitch"``, ``"by_instrument"`` or ``"official"``, see
            ``note_splits.split_notes``.
        fractions: Shares of train, valid and test.
        seed: Decides which notes are used, how they are split and which parts are drawn.
        resplit_seed: Decides the split in place of ``seed``.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of audio kept in memory, in each process.
        title: Name in tables.

    Attributes:
        sample_rate: Rate of all items in Hz.
        remarks: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.

    Source: Esling et al., Sec. 5: notes of 4 s at 16 kHz, 80, 10 and 10 % for training, validation
    and test. The paper splits anew
        before each training; ``resplit_seed`` does that, the default keeps one split.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        list_notes: Callable[[], NoteList],
        *,
        sample_rate: Annotated[int, Range(1000, 192_000)] = 16000,
        duration_s: Annotated[float, Range(0.01, 600)] = 4.0,
        segment_s: Annotated[float | None, Range(0.001, 600)] = None,
        lead_in_s: Annotated[float, Range(0)] = 0.0,
        notes_per_instrument: Annotated[int | None, Range(1)] = None,
        split: Annotated[str, OneOf(*RULES)] = "random",
        fractions: Annotated[Sequence[float], Range(above=0, below=1)] = (0.8, 0.1, 0.1),
        seed: Annotated[int, Range(0)] = 0,
        resplit_seed: Annotated[int | None, Range(0)] = None,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str = "",
        memory_mb: Annotated[float, Range(0)] = 2048.0,
        title: Annotated[str, NoKey()] = "notes",
    ) -> None:
        check_choice(on_bad_file)
        check_rule(split, fractions)
        _check_numbers(
            sample_rate, duration_s, segment_s, lead_in_s, notes_per_instrument, memory_mb
        )
        self.list_notes = list_notes
        self.sample_rate = sample_rate
        self.segment_s = segment_s
        self.lead_in_s = lead_in_s
        self.notes_per_instrument = notes_per_instrument
        self.split = split
        self.fractions = tuple(fractions)
        self.seed = seed
        self.split_seed = seed if resplit_seed is None else resplit_seed
        self.on_bad_file = on_bad_file
        self.cache_dir = cache_dir or ""
        self.title = title
        self.store = NoteStore(sample_rate, float(duration_s), round(memory_mb * 1e6))
        self.remarks: list[str] = []
        self._prepared: _Prepared | None = None

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the instruments; the index of an instrument is its place here."""
        return self._ready().instruments

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families; the index of a family is its place here."""
        return self._ready().listed.families

    @property
    def item_samples(self) -> int:
        """Samples of a training item."""
        return round((self.segment_s or self.store.duration_s) * self.sample_rate)

    @property
    def pitches(self) -> tuple[int, int]:
        """Lowest and highest MIDI pitch of all notes."""
        known = [note.pitch for pool in self._ready().pools.values() for note in pool]
        return min(known), max(known)

    def prepare(self) -> None:
        """List, choose, inspect and split the notes; a second call does nothing.

        Raises:
            DataError: Folders, lists or files are missing or wrong, or a split is empty.
        """
        self._ready()

    def train(self) -> NoteSet:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        return self._items("train", self._crop())

    def valid(self) -> NoteSet:
        """Return the validation items."""
        return self._items("valid", self._crop())

    def tests(self) -> dict[str, NoteSet]:
        """Return the test items, whole notes, under the name ``"test"``."""
        return {"test": self._items("test", None)}

    def fingerprint(self) -> str:
        """Return a hash of every note's content, meaning and use, and of the numbers that make items of them."""
        ready = self._ready()
        rows = [
            [
                split,
                note.id,
                note.pitch,
                note.velocity,
                note.instrument,
                note.family,
                ready.facts[note.path].sha256,
            ]
            for split in SPLITS
            for note in ready.pools[split]
        ]
        numbers = [
            self.sample_rate,
            self.store.duration_s,
            self.segment_s,
            float(self.lead_in_s),
            self.seed,
        ]
        return sha256(json.dumps([numbers, list(ready.listed.families), rows]).encode())

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus, of each split, and which files were left out."""
        ready = self._ready()
        facts: dict[str, Any] = {
            "name": self.title,
            "scale": self.scale(),
            "root": str(ready.listed.root),
            **ready.listed.facts,
        }
        facts |= {
            "sample_rate": self.sample_rate,
            "duration_s": self.store.duration_s,
            "segment_s": self.segment_s,
            "split": self.split,
        }
        facts |= {
            "instruments": len(ready.instruments),
            "families": _counted([n.family for p in ready.pools.values() for n in p]),
        }
        for split in SPLITS:
            facts[split] = self._size(ready, split)
        facts["skipped"] = [finding.line() for finding in ready.skipped]
        facts["remarks"] = self.remarks
        return facts

    def scale(self) -> str:
        """Return the size of the training set in a few words, such as ``nsynth, 8048 notes of 4 s, 1006 instruments``."""
        ready = self._ready()
        training = ready.pools["train"]
        instruments = len({note.instrument for note in training})
        part = "" if self.segment_s is None else f" (in parts of {self.segment_s:g} s)"
        plural = "s" if instruments != 1 else ""
        return (
            f"{self.title}, {len(training)} notes of {self.store.duration_s:g} s{part}, "
            f"{instruments} instrument{plural}"
        )

    def leaks(self) -> list[Finding]:
        """Return what is in several splits: the same audio, which is certain, takes of one note, and copies by ear."""
        ready = self._ready()
        notes = [(split, note) for split in SPLITS for note in ready.pools[split]]
        certain = list(
            doubled(
                [ready.facts[note.path] for _, note in notes],
                {note.path: split for split, note in notes},
            )
        )
        members = [Member(note.path, split, {"take": note.take}) for split, note in notes]
        return [finding for finding in certain if finding.severity == "error"] + suspected(
            members, ready.copies
        )

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each note."""
        ready = self._ready()
        rules = [RULES[self.split]]
        records: list[dict[str, Any]] = [
            {
                "kind": "corpus",
                "name": self.title,
                "fingerprint": self.fingerprint(),
                "split_rules": rules,
            }
        ]
        first: dict[str, str] = {}
        for split in SPLITS:
            for note in ready.pools[split]:
                fact = ready.facts[note.path]
                meaning: dict[str, Any] = {"pitch": note.pitch, "velocity": note.velocity}
                meaning |= {"instrument": note.instrument, "family": note.family}
                place = {
                    "split": split,
                    "id": note.id,
                    "path": note.path.relative_to(ready.listed.root).as_posix(),
                }
                meaning["together"] = first.setdefault(ready.together[note], note.id)
                records.append(
                    {
                        "kind": "note",
                        **place,
                        **meaning,
                        "sha256": fact.sha256,
                        "duration_s": fact.duration_s,
                    }
                )
        return records

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        return write_atomic(path, "".join(json.dumps(record) + "\n" for record in self.manifest()))

    def _crop(self) -> Crop | None:
        if self.segment_s is None:
            return None
        return Crop(
            round(self.segment_s * self.sample_rate), round(self.lead_in_s * self.sample_rate)
        )

    def _items(self, split: str, crop: Crop | None) -> NoteSet:
        ready = self._ready()
        return NoteSet(
            ready.pools[split],
            self.store,
            ready.instruments,
            ready.listed.families,
            split=split,
            seed=self.seed,
            crop=crop,
        )

    def _size(self, ready: _Prepared, split: str) -> dict[str, Any]:
        pool = ready.pools[split]
        pitches = [note.pitch for note in pool]
        return {
            "notes": len(pool),
            "hours": round(sum(ready.facts[note.path].duration_s for note in pool) / 3600, 4),
            "instruments": len({note.instrument for note in pool}),
            "families": _counted([note.family for note in pool]),
            "pitch": [min(pitches), max(pitches)],
            "velocities": sorted({note.velocity for note in pool}),
        }

    def _ready(self) -> _Prepared:
        if self._prepared is None:
            self._prepared = self._prepare()
            tell(self.remarks, _LOG)
        return self._prepared

    def _prepare(self) -> _Prepared:
        listed = self.list_notes()
        chosen, remarks = choose(listed.notes, self.notes_per_instrument, self.seed)
        inspected = inspect_files(listed.root, [note.path for note in chosen], self.cache_dir)
        facts = {fact.path: fact for fact in inspected}
        skipped = [*listed.findings, *(finding for fact in inspected for finding in fact.errors)]
        if skipped and self.on_bad_file == "stop":
            raise DataError(
                f"{listed.root}: {bad_files(skipped)}; replace them, or leave them out with "
                f"data.on_bad_file=skip"
            )
        usable = [
            note
            for note in chosen
            if not facts[note.path].errors and not facts[note.path].has("silent")
        ]
        silent = [note.path for note in chosen if facts[note.path].has("silent")]
        self.remarks = [
            *listed.remarks,
            *remarks,
            *self._file_remarks(skipped, silent, [facts[note.path] for note in usable]),
        ]
        audio = {path: fact.audio_sha256 for path, fact in facts.items()}
        links = list(copies([facts[note.path] for note in usable]))
        pools = split_notes(
            usable, self.split, self.fractions, self.split_seed, audio, listed.root, links
        )
        empty = [split for split, pool in pools.items() if not pool]
        if empty:
            raise DataError(
                f"{listed.root}: expected notes for train, valid and test, found none for "
                f"{', '.join(empty)}; add notes"
            )
        self.remarks += _doubled_remarks(pools, facts)
        instruments = tuple(sorted({note.instrument for note in usable}))
        return _Prepared(
            listed,
            pools,
            instruments,
            facts,
            skipped,
            groups_of(usable, self.split, audio, links),
            links,
        )

    def _file_remarks(
        self, skipped: Sequence[Finding], silent: Sequence[Path], usable: Sequence[FileFacts]
    ) -> list[str]:
        remarks = (
            [f"{len(skipped)} bad notes are left out: {'; '.join(f.line() for f in skipped[:5])}"]
            if skipped
            else []
        )
        remarks += [f"{len(silent)} silent notes are not used: {names(silent)}"] if silent else []
        short = sum(fact.duration_s < self.store.duration_s - 0.01 for fact in usable)
        remarks += (
            [
                f"{short} of {len(usable)} notes are shorter than {self.store.duration_s:g} s "
                f"and end in silence"
            ]
            if short
            else []
        )
        return remarks + conversion_notes(usable, self.sample_rate)


def _doubled_remarks(pools: dict[str, list[Note]], facts: dict[Path, FileFacts]) -> list[str]:
    """Return remarks on notes with the same audio: NSynth's instruments that do not know velocity have many."""
    splits = {note.path: split for split, pool in pools.items() for note in pool}
    found = list(doubled([facts[path] for path in splits], splits))
    leaks = [finding.path for finding in found if finding.severity == "error"]
    remarks = [f"{len(found)} notes hold the same audio as another"] if found else []
    if leaks:
        remedy = "data.split=random keeps equal audio together"
        remarks.append(
            f"{len(leaks)} of them are in test and in another split ({names(leaks)}); {remedy}"
        )
    return remarks


def _counted(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _check_numbers(
    sample_rate: int,
    duration_s: float,
    segment_s: float | None,
    lead_in_s: float,
    per_instrument: int | None,
    memory_mb: float,
) -> None:
    _require(
        isinstance(sample_rate, int) and 1000 <= sample_rate <= 192000,
        "sample_rate from 1000 to 192000 Hz",
        sample_rate,
    )
    _require(0.01 <= duration_s <= 600, "duration_s from 0.01 to 600 s", duration_s)
    _require(
        segment_s is None or 0.001 <= segment_s <= duration_s,
        f"segment_s from 0.001 to {duration_s:g} s",
        segment_s,
    )
    most = segment_s or 0.0
    _require(
        0 <= lead_in_s < math.inf and (lead_in_s < most or lead_in_s == 0),
        f"lead_in_s from 0 to below {most:g} s",
        lead_in_s,
    )
    whole = per_instrument is None or (isinstance(per_instrument, int) and per_instrument >= 1)
    _require(whole, "notes_per_instrument of at least 1", per_instrument)
    _require(0 <= memory_mb < math.inf, "memory_mb of at least 0", memory_mb)


def _require(fine: bool, expected: str, given: object) -> None:
    if not fine:
        raise ConfigError(f"expected {expected}, got {given}; correct the data configuration")

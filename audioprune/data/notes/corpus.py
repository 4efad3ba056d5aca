"""How listed notes become checked items of three sets: ``NoteCorpus``.

Which notes there are is decided by the readers nsynth.py, studio_online.py, folder.py and
synthetic.py; what an item is, in note.py; which notes are used and how they are split, in
splits.py.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import (
    check_on_bad_file,
    conversion_notes,
    first_names,
    name_bad_files,
)
from audioprune.data.notes.note import Crop, Note, NoteList, NoteSet, NoteStore, collate
from audioprune.data.notes.splits import RULES, check_rule, choose, groups_of, split_notes
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.leaks import Member, copies, suspected
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256
from audioprune.ranges import NoKey, OneOf, Range

_SHORT_S = 0.01
"""Notes that are shorter than the duration by more than this are counted."""


@dataclass(frozen=True, kw_only=True)
class FoundNotes(Found):
    """What a corpus of notes found.

    Attributes:
        listed: What the reader listed.
        pools: The notes of each split.
        instruments: Names of all instruments, sorted.
        facts: What is known of each file.
        together: Note -> name of the notes that stay in one split with it.
        copies: Pairs of files that sound alike.
    """

    listed: NoteList
    pools: dict[str, list[Note]]
    instruments: tuple[str, ...]
    facts: dict[Path, FileFacts]
    together: dict[Note, str]
    copies: list[tuple[Path, Path]]

    def placed(self) -> list[tuple[str, Note]]:
        """Return every note with its split."""
        return [(split, note) for split in SPLITS for note in self.pools[split]]


class NoteCorpus(FileCorpus[FoundNotes]):
    """A corpus of single notes from any list of notes, at one sample rate and of one duration.

    Longer notes are cut, shorter ones are filled with silence.

    Args:
        list_notes: Gives the notes; called once.
        sample_rate: Rate of all items in Hz.
        duration_s: Length of an item in seconds.
        segment_s: Length of training and validation items in seconds, parts of notes drawn at
            random, for training anew in each epoch; None for whole notes. Test items are whole
            notes.
        lead_in_s: Most silence before the note in training and validation parts, in seconds; needs
            ``segment_s``.
        notes_per_instrument: Notes drawn of each instrument; None for all.
        split: ``"random"``, ``"by_pitch"``, ``"by_instrument"`` or ``"official"``, see
            ``splits.split_notes``.
        fractions: Shares of train, valid and test.
        seed: Decides which notes are used, how they are split and which parts are drawn.
        resplit_seed: Decides the split in place of ``seed``.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of audio kept in memory.
        title: Name in tables.

    Attributes:
        sample_rate: Rate of all items in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.

    Source: Esling et al., Sec. 5: notes of 4 s at 16 kHz, 80, 10 and 10 % for training, validation
    and test. The paper splits anew before each training; ``resplit_seed`` does that, the default
    keeps one split.
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
        check_on_bad_file(on_bad_file)
        check_rule(split, fractions)
        _check_lengths(sample_rate, duration_s, segment_s, lead_in_s)
        whole = isinstance(notes_per_instrument, int) and notes_per_instrument >= 1
        _require(
            notes_per_instrument is None or whole,
            "notes_per_instrument of at least 1",
            notes_per_instrument,
        )
        _require(0 <= memory_mb < math.inf, "memory_mb of at least 0", memory_mb)
        super().__init__(
            title,
            sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        self.list_notes = list_notes
        self.segment_s = segment_s
        self.lead_in_s = lead_in_s
        self.notes_per_instrument = notes_per_instrument
        self.split = split
        self.fractions = tuple(fractions)
        self.seed = seed
        self.split_seed = seed if resplit_seed is None else resplit_seed
        self.store = NoteStore(sample_rate, float(duration_s), self.memory_bytes)

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
        known = [note.pitch for _, note in self._ready().placed()]
        return min(known), max(known)

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
        """Return a hash of every note's content, meaning and use, and of the length of items."""
        found = self._ready()
        rows = []
        for split, note in found.placed():
            meaning = [note.pitch, note.velocity, note.instrument, note.family]
            rows.append([split, note.id, *meaning, found.facts[note.path].sha256])
        lengths = [self.sample_rate, self.store.duration_s, self.segment_s, float(self.lead_in_s)]
        numbers = [*lengths, self.seed]
        return sha256(json.dumps([numbers, list(found.listed.families), rows]).encode())

    def scale(self) -> str:
        """Return the size of the training set: notes, their length, and instruments."""
        training = self._ready().pools["train"]
        instruments = len({note.instrument for note in training})
        part = "" if self.segment_s is None else f" (in parts of {self.segment_s:g} s)"
        plural = "s" if instruments != 1 else ""
        return (
            f"{self.title}, {len(training)} notes of {self.store.duration_s:g} s{part}, "
            f"{instruments} instrument{plural}"
        )

    def shared(self) -> dict[str, Any]:
        """Return rate, pitches, numbers of families and instruments, and samples of an item."""
        return {
            **super().shared(),
            "pitches": list(self.pitches),
            "families": len(self.families),
            "instruments": len(self.instruments),
            "item_samples": self.item_samples,
        }

    def leaks(self) -> list[Finding]:
        """Return leaks: the same audio, which is certain, takes of one note, and copies by ear."""
        found = self._ready()
        placed = found.placed()
        facts = [found.facts[note.path] for _, note in placed]
        same = doubled(facts, {note.path: split for split, note in placed})
        certain = [finding for finding in same if finding.severity == "error"]
        members = [Member(note.path, split, {"take": note.take}) for split, note in placed]
        return certain + suspected(members, found.copies)

    def sources(self) -> list[Record]:
        """Return a record of every note."""
        found = self._ready()
        # The first note of those that stay together names all of them.
        first: dict[str, str] = {}
        records = []
        for split, note in found.placed():
            fact = found.facts[note.path]
            records.append(
                {
                    "kind": "note",
                    "split": split,
                    "id": note.id,
                    "path": note.path.relative_to(found.listed.root).as_posix(),
                    "pitch": note.pitch,
                    "velocity": note.velocity,
                    "instrument": note.instrument,
                    "family": note.family,
                    "together": first.setdefault(found.together[note], note.id),
                    "sha256": fact.sha256,
                    "duration_s": fact.duration_s,
                }
            )
        return records

    def _facts(self) -> dict[str, Any]:
        """Return root, lengths, rule of the split, instruments and the size of each split."""
        found = self._ready()
        families = _counted([note.family for _, note in found.placed()])
        sizes = {split: _size(found.pools[split], found.facts) for split in SPLITS}
        return {
            "root": str(found.listed.root),
            **found.listed.facts,
            "sample_rate": self.sample_rate,
            "duration_s": self.store.duration_s,
            "segment_s": self.segment_s,
            "split": self.split,
            "instruments": len(found.instruments),
            "families": families,
            **sizes,
        }

    def _crop(self) -> Crop | None:
        if self.segment_s is None:
            return None
        length = round(self.segment_s * self.sample_rate)
        return Crop(length, round(self.lead_in_s * self.sample_rate))

    def _items(self, split: str, crop: Crop | None) -> NoteSet:
        found = self._ready()
        return NoteSet(
            found.pools[split],
            self.store,
            found.instruments,
            found.listed.families,
            split=split,
            seed=self.seed,
            crop=crop,
        )

    def _find(self) -> FoundNotes:
        """List, choose, inspect and split the notes.

        Raises:
            DataError: Folders, lists or files are missing or wrong, or a split is empty.
        """
        listed = self.list_notes()
        chosen, remarks = choose(listed.notes, self.notes_per_instrument, self.seed)
        inspected = inspect_files(listed.root, [note.path for note in chosen], self.cache_dir)
        facts = {fact.path: fact for fact in inspected}
        skipped = [*listed.findings, *(finding for fact in inspected for finding in fact.errors)]
        if skipped and self.on_bad_file == "stop":
            raise DataError(
                f"{listed.root}: {name_bad_files(skipped)}; replace them, or leave them out with "
                f"data.on_bad_file=skip"
            )
        silent = [note.path for note in chosen if facts[note.path].has("silent")]
        good = [note for note in chosen if not facts[note.path].errors]
        usable = [note for note in good if not facts[note.path].has("silent")]
        usable_facts = [facts[note.path] for note in usable]
        remarks += self._file_notes(skipped, silent, usable_facts)
        audio = {path: fact.audio_sha256 for path, fact in facts.items()}
        links = list(copies(usable_facts))
        together = groups_of(usable, self.split, audio, links)
        rules = (self.split, self.fractions, self.split_seed)
        pools = split_notes(usable, *rules, audio, listed.root, links, together)
        _refuse_empty(pools, listed.root)
        return FoundNotes(
            notes=[*listed.remarks, *remarks, *_doubled_notes(pools, facts)],
            skipped=skipped,
            split_rules=[RULES[self.split]],
            listed=listed,
            pools=pools,
            instruments=tuple(sorted({note.instrument for note in usable})),
            facts=facts,
            together=together,
            copies=links,
        )

    def _file_notes(
        self, skipped: Sequence[Finding], silent: Sequence[Path], usable: Sequence[FileFacts]
    ) -> list[str]:
        """Return notes on bad, silent, short and converted files."""
        notes = []
        if skipped:
            listed = "; ".join(finding.line() for finding in skipped[:5])
            notes.append(f"{len(skipped)} bad notes are left out: {listed}")
        if silent:
            notes.append(f"{len(silent)} silent notes are not used: {first_names(silent)}")
        short = sum(fact.duration_s < self.store.duration_s - _SHORT_S for fact in usable)
        if short:
            notes.append(
                f"{short} of {len(usable)} notes are shorter than {self.store.duration_s:g} s "
                f"and end in silence"
            )
        return notes + conversion_notes(usable, self.sample_rate)


def _refuse_empty(pools: Mapping[str, Sequence[Note]], root: Path) -> None:
    empty = [split for split, pool in pools.items() if not pool]
    if empty:
        raise DataError(
            f"{root}: expected notes for train, valid and test, found none for "
            f"{', '.join(empty)}; add notes"
        )


def _size(pool: Sequence[Note], facts: Mapping[Path, FileFacts]) -> dict[str, Any]:
    """Return what a description says of the notes of a split."""
    pitches = [note.pitch for note in pool]
    return {
        "notes": len(pool),
        "hours": round(sum(facts[note.path].duration_s for note in pool) / 3600, 4),
        "instruments": len({note.instrument for note in pool}),
        "families": _counted([note.family for note in pool]),
        "pitch": [min(pitches), max(pitches)],
        "velocities": sorted({note.velocity for note in pool}),
    }


def _doubled_notes(
    pools: Mapping[str, Sequence[Note]], facts: Mapping[Path, FileFacts]
) -> list[str]:
    """Return notes on files with the same audio.

    The instruments of NSynth that do not know velocity have many.
    """
    splits = {note.path: split for split, pool in pools.items() for note in pool}
    found = list(doubled([facts[path] for path in splits], splits))
    leaks = [finding.path for finding in found if finding.severity == "error"]
    notes = [f"{len(found)} notes hold the same audio as another"] if found else []
    if leaks:
        remedy = "data.split=random keeps equal audio together"
        notes.append(
            f"{len(leaks)} of them are in test and in another split ({first_names(leaks)}); "
            f"{remedy}"
        )
    return notes


def _counted(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _check_lengths(
    sample_rate: int, duration_s: float, segment_s: float | None, lead_in_s: float
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


def _require(fine: bool, expected: str, given: object) -> None:
    if not fine:
        raise ConfigError(f"expected {expected}, got {given}; correct the data configuration")

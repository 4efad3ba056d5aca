"""How a folder of audio becomes sources: listed, inspected, split, freed of bad files.

``find_sources`` returns the files of speech or noise that may be used. What is made of them is
decided by the corpora.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import (
    conversion_notes,
    doubled_notes,
    first_names,
    refuse_doubled,
    stop_or_skip,
)
from audioprune.data.splits.assign import Assigned
from audioprune.data.splits.folders import SPLITS, places_below
from audioprune.data.splits.leaks import joins_splits, same_audio
from audioprune.data.splits.recordings import Links
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.errors import DataError

SHORTEST_SPEECH_S = 0.5
"""Shorter utterances are left out: PESQ and STOI are not defined on them."""
SHORTEST_NOISE_S = 0.1

Assign = Callable[[Path, Mapping[Path, Path], Links], tuple[list[Assigned], list[str]]]


@dataclass(frozen=True)
class Source:
    """One file that mixtures are made of.

    Attributes:
        path: The file.
        relative: Its path in the corpus, for manifests.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        group: Speaker, or kind of noise.
        sha256: Hash of the file's bytes.
        duration_s: Length of the whole file in seconds.
        level: Root mean square of the whole file.
        together: What is never split: its speaker or recording, with those of the same audio.
    """

    path: Path
    relative: str
    split: str
    group: str
    sha256: str
    duration_s: float
    level: float
    together: str = ""

    def identity(self) -> dict[str, Any]:
        """Return what the fingerprint of a corpus holds of it, wherever it lies on disk."""
        values = {**vars(self), "path": ""}
        del values["together"]
        return values

    @classmethod
    def of(cls, fact: FileFacts, relative: Path, entry: Assigned) -> Source:
        """Return the source of an inspected file that has got its split.

        Args:
            fact: What is known of the file.
            relative: Its path in the corpus.
            entry: Its split and group.
        """
        return cls(
            fact.path,
            relative.as_posix(),
            entry.split,
            entry.group,
            fact.sha256,
            fact.duration_s,
            fact.level,
            entry.together,
        )


IDLE = "are not used"
"""What the note on files without use says of them."""


@dataclass
class SourceSet:
    """What one or more folders gave.

    Attributes:
        sources: Files that may be used.
        skipped: Bad files that were left out because the user asked for it.
        notes: What a user should know, one line each.
        facts: Facts of every file that was looked at.
        rules: How groups and splits were found, in words.
    """

    sources: list[Source] = field(default_factory=list)
    skipped: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[FileFacts] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)

    def join(self, other: SourceSet) -> None:
        """Add what another folder gave."""
        self.sources += other.sources
        self.skipped += other.skipped
        self.notes += other.notes
        self.facts += other.facts
        self.rules += other.rules


def find_sources(
    root: Path,
    role: str,
    paths: Sequence[Path],
    assign: Assign,
    *,
    sample_rate: int,
    shortest_s: float,
    on_bad_file: str,
    cache_dir: str,
) -> SourceSet:
    """Assign and inspect the audio files below a folder.

    Args:
        root: The folder.
        role: ``"speech"`` or ``"noise"``, for messages.
        paths: The files.
        assign: Gives files their split and group; asked again with the files of the same audio if
            shares have parted them.
        sample_rate: Rate in Hz to which everything will be resampled.
        shortest_s: Shorter files are left out.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Cache folder; empty for the user's.

    Raises:
        DataError: A file is bad and ``on_bad_file`` is ``"stop"``, or the files cannot be split.
    """
    relative = places_below(root, paths)
    assigned, notes = assign(root, relative, ())
    facts = inspect_files(root, [entry.path for entry in assigned], cache_dir)
    bad = stop_or_skip(root, facts, on_bad_file)
    # Shares may have parted files of the same audio: share out anew, with these joined.
    links = same_audio(facts)
    if joins_splits({entry.path: entry.split for entry in assigned}, links):
        assigned, notes = assign(root, relative, links)
    good = [fact for fact in facts if not fact.errors]
    usable: dict[Path, FileFacts] = {}
    for fact in good:
        if not fact.has("silent") and not fact.duration_s < shortest_s:
            usable[fact.path] = fact
    idle = [fact.path for fact in good if fact.path not in usable]
    if idle:
        notes = [
            *notes,
            f"{len(idle)} silent or short files (below {shortest_s:g} s) {IDLE}: "
            f"{first_names(idle)}",
        ]
    notes = [*notes, *conversion_notes(list(usable.values()), sample_rate)]
    kept = [entry for entry in assigned if entry.path in usable]
    return SourceSet(
        [Source.of(usable[entry.path], relative[entry.path], entry) for entry in kept],
        bad,
        [f"{role}: {note}" for note in notes],
        facts,
        split_rules(role, assigned),
    )


def refuse_leaks(facts: Sequence[FileFacts], sources: Sequence[Source]) -> list[str]:
    """Refuse the same audio in two splits; return a note on other doubled files.

    A file may be in training and validation: both then draw excerpts of it, see ``share_noise``.

    Raises:
        DataError: The same audio is in two splits; the message names all of it.
    """
    splits: dict[Path, str] = {}
    for source in sources:
        first = splits.setdefault(source.path, source.split)
        if first != source.split and "test" in (first, source.split):
            raise DataError(
                f"expected different audio in training and test, got {source.path} in both; "
                f"keep the folders apart"
            )
    found = list(doubled([fact for fact in facts if fact.path in splits], splits))
    refuse_doubled(found)
    return doubled_notes(found)


def share_noise(sources: list[Source]) -> tuple[list[Source], list[str]]:
    """Give validation the training noises when it has none of its own.

    It draws other excerpts of them. A validation set with fewer kinds of noise than training ranks
    models by noises, not by how well they generalise.

    Source: Tan & Wang validate on training noises.
    """
    training = [source for source in sources if source.split == "train"]
    if not training or any(source.split == "valid" for source in sources):
        return sources, []
    note = f"noise: validation draws other excerpts of the {len(training)} training files"
    return [*sources, *(replace(source, split="valid") for source in training)], [note]


def speech_size(title: str, sources: Sequence[Source], speaker_from: str | SpeakerRule) -> str:
    """Return the size of speech, such as ``synthetic_speech, 14 min, 24 speakers``."""
    seconds = sum(source.duration_s for source in sources)
    if seconds >= 7200:
        size = f"{seconds / 3600:.1f} h"
    elif seconds >= 60:
        size = f"{seconds / 60:.0f} min"
    else:
        size = f"{seconds:.0f} s"
    groups = len({source.group for source in sources})
    what = "file" if _by_file(speaker_from) else "speaker"
    return f"{title}, {size}, {groups} {what}{'s' if groups != 1 else ''}"


def speaker_notes(speaker_from: str | SpeakerRule) -> list[str]:
    """Return a note when speakers are not known."""
    if not _by_file(speaker_from):
        return []
    return ["speech: every file counts as a speaker, so that test speakers may occur in training"]


def split_rules(role: str, assigned: Sequence[Assigned]) -> list[str]:
    """Return how the files of a role got their groups and splits, in words."""
    return [f"{role}: {rule}" for rule in sorted({entry.rule for entry in assigned if entry.rule})]


def _by_file(speaker_from: str | SpeakerRule) -> bool:
    if isinstance(speaker_from, SpeakerRule):
        return speaker_from.by_file
    return speaker_from == "file"


def by_split(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Return the sources of each split, in their order."""
    return {split: [each for each in sources if each.split == split] for split in SPLITS}


def by_group(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Return the sources of each speaker or noise, in the order of the names."""
    names = sorted({source.group for source in sources})
    groups: dict[str, list[Source]] = {name: [] for name in names}
    for source in sources:
        groups[source.group].append(source)
    return groups


def in_turns(sources: Sequence[Source], rng: np.random.Generator) -> list[Source]:
    """Return sources in an order that takes one of each speaker in turn.

    The first few then hold every speaker.
    """
    queues = []
    for utterances in by_group(sources).values():
        queues.append([utterances[place] for place in rng.permutation(len(utterances))])
    turns = range(max(map(len, queues), default=0))
    return [queue[turn] for turn in turns for queue in queues if turn < len(queue)]

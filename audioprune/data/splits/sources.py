"""How a folder of audio becomes sources that may be used: listed, inspected, split, freed of bad
files.

Speech and noise go the same way. What is mixed from them is decided by the corpora.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.data.files.audio import AUDIO_SUFFIXES, find_audio
from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import (
    conversion_notes,
    first_names,
    listing,
    refuse_doubled,
    stop_or_skip,
)
from audioprune.data.splits.assign import Assigned
from audioprune.data.splits.folders import split_of_folder
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
        """Return what the fingerprint of a corpus holds of it, wherever it lies."""
        return {key: value for key, value in vars(self).items() if key != "together"} | {
            "path": ""
        }


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
    relative = {path: path.relative_to(root) for path in paths}
    assigned, notes = assign(root, relative, ())
    facts = inspect_files(root, [entry.path for entry in assigned], cache_dir)
    bad = stop_or_skip(root, facts, on_bad_file)
    links = same_audio(facts)
    if joins_splits({entry.path: entry.split for entry in assigned}, links):
        assigned, notes = assign(root, relative, links)
    found = SourceSet(
        [], bad, [f"{role}: {note}" for note in notes], facts, split_rules(role, assigned)
    )
    usable = {}
    for fact in facts:
        short = fact.duration_s < shortest_s
        if not fact.errors and not fact.has("silent") and not short:
            usable[fact.path] = fact
    idle = [fact for fact in facts if not fact.errors and fact.path not in usable]
    if idle:
        listed = first_names(fact.path for fact in idle)
        found.notes.append(
            f"{role}: {len(idle)} silent or short files (below {shortest_s:g} s) are not used: "
            f"{listed}"
        )
    found.notes += [
        f"{role}: {note}" for note in conversion_notes(list(usable.values()), sample_rate)
    ]
    found.sources = [
        _source(root, entry, usable[entry.path]) for entry in assigned if entry.path in usable
    ]
    return found


def audio_below(
    root: Path, role: str, suffixes: tuple[str, ...] = AUDIO_SUFFIXES, part: bool = False
) -> list[Path]:
    """Return the audio files below a folder.

    Args:
        root: The folder.
        role: ``"speech"`` or ``"noise"``.
        suffixes: Accepted endings.
        part: Whether the folder may be one split of a corpus.

    Raises:
        DataError: The folder is missing, is not a folder, holds no audio, or is plainly the folder
            above the right one.
    """
    layout = (
        f"{role} files in {root}/<{'speaker' if role == 'speech' else 'noise'}>/ or "
        f"{root}/train, valid, test"
    )
    if not root.exists():
        raise DataError(f"expected {layout}, found no such folder{_nearest(root)}; check the path")
    if not root.is_dir():
        raise DataError(f"expected {layout}, found a file; give the folder")
    children = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    if {"speech", "noise"} <= set(children):
        raise DataError(f"expected {layout}, found {listing(root)}; point to {children[role]}")
    paths = find_audio(root, suffixes)
    if not paths:
        raise DataError(
            f"expected {layout}, found {listing(root)} without any audio file; check the path"
        )
    if not part:
        _refuse_part(root, layout)
    _refuse_parent(root, layout, children)
    return paths


def refuse_leaks(facts: Sequence[FileFacts], sources: Sequence[Source]) -> list[str]:
    """Refuse the same audio in two splits; return a note on other doubled files.

    A file that both trains and validates is meant so, and is the same file; see ``share_noise``.

    Raises:
        DataError: The same audio is in two splits; the message names all of it.
    """
    splits: dict[Path, str] = {}
    for source in sources:
        if (
            "test" in {splits.setdefault(source.path, source.split), source.split}
            and splits[source.path] != source.split
        ):
            raise DataError(
                f"expected different audio in training and test, got {source.path} in both; "
                f"keep the folders apart"
            )
    found = list(doubled([fact for fact in facts if fact.path in splits], splits))
    refuse_doubled(found)
    return (
        [
            f"{len(found)} files hold the same audio as another: "
            f"{first_names(finding.path for finding in found)}"
        ]
        if found
        else []
    )


def share_noise(sources: list[Source]) -> tuple[list[Source], list[str]]:
    """Give validation the training noises when no folder holds noises of its own; the excerpts are drawn anew.

    A validation set with fewer kinds of noise than training ranks models by noises, not by how
    well they generalise.

    Source: Tan & Wang validate on training noises.
    """
    training = [source for source in sources if source.split == "train"]
    if not training or any(source.split == "valid" for source in sources):
        return sources, []
    note = f"noise: validation draws other excerpts of the {len(training)} training files"
    return [*sources, *(replace(source, split="valid") for source in training)], [note]


def speech_size(title: str, sources: Sequence[Source], speaker_from: str | SpeakerRule) -> str:
    """Return the size of speech in a few words, such as ``synthetic_speech, 14 min, 24 speakers``."""
    seconds = sum(source.duration_s for source in sources)
    size = (
        f"{seconds / 3600:.1f} h"
        if seconds >= 7200
        else f"{seconds / 60:.0f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )
    groups = len({source.group for source in sources})
    what = "file" if _by_file(speaker_from) else "speaker"
    return f"{title}, {size}, {groups} {what}{'s' if groups != 1 else ''}"


def speaker_notes(speaker_from: str | SpeakerRule) -> list[str]:
    """Return a note when speakers are not known."""
    return (
        ["speech: every file counts as a speaker, so that test speakers may occur in training"]
        if _by_file(speaker_from)
        else []
    )


def split_rules(role: str, assigned: Sequence[Assigned]) -> list[str]:
    """Return how the files of a role got their groups and splits, in words."""
    return [f"{role}: {rule}" for rule in sorted({entry.rule for entry in assigned if entry.rule})]


def _by_file(speaker_from: str | SpeakerRule) -> bool:
    return (
        speaker_from.by_file if isinstance(speaker_from, SpeakerRule) else speaker_from == "file"
    )


def _source(root: Path, entry: Assigned, fact: FileFacts) -> Source:
    relative = entry.path.relative_to(root).as_posix()
    return Source(
        entry.path,
        relative,
        entry.split,
        entry.group,
        fact.sha256,
        fact.duration_s,
        fact.level,
        entry.together,
    )


def _refuse_part(root: Path, layout: str) -> None:
    """Refuse a folder that is itself one split of a corpus."""
    siblings = {
        split_of_folder(entry.name) for entry in root.resolve().parent.iterdir() if entry.is_dir()
    }
    if split_of_folder(root.resolve().name) and {"train", "test"} <= siblings:
        raise DataError(
            f"expected {layout}, found one split of a corpus; point to {root.resolve().parent}"
        )


def _refuse_parent(root: Path, layout: str, children: dict[str, Path]) -> None:
    """Refuse a folder whose only folder with audio is the corpus itself."""
    holding = [child for child in children.values() if find_audio(child)]
    if len(holding) != 1 or any(
        entry.is_file() for entry in find_audio(root) if entry.parent == root
    ):
        return
    inner = [entry for entry in holding[0].iterdir() if entry.is_dir() and find_audio(entry)]
    if len(inner) > 1:
        raise DataError(f"expected {layout}, found {listing(root)}; point to {holding[0]}")


def _nearest(root: Path) -> str:
    """Name the contents of the nearest existing folder above a path that does not exist."""
    above = next(parent for parent in root.absolute().parents if parent.is_dir())
    return f" ({above} holds {listing(above)})"


def by_group(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Return the sources of each speaker or noise, in the order of the names."""
    groups: dict[str, list[Source]] = {
        name: [] for name in sorted({source.group for source in sources})
    }
    for source in sources:
        groups[source.group].append(source)
    return groups


def in_turns(sources: Sequence[Source], rng: np.random.Generator) -> list[Source]:
    """Return sources in an order that takes one of each speaker in turn, so that the first few hold every speaker."""
    queues = [
        [utterances[i] for i in rng.permutation(len(utterances))]
        for utterances in by_group(sources).values()
    ]
    turns = range(max(map(len, queues), default=0))
    return [queue[turn] for turn in turns for queue in queues if turn < len(queue)]

"""How a folder of audio becomes sources that may be used: listed, inspected, given a split, freed of what is bad.

Speech and noise go the same way. What is mixed from them is decided in mixing.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audioprune.data.files.audio import AUDIO_SUFFIXES, find_audio
from audioprune.data.files.checks import FileFacts, Finding, doubled, use_findings
from audioprune.data.files.file_index import inspect_files
from audioprune.data.speech.mixing import Source
from audioprune.data.splits.leaks import cross, same_audio
from audioprune.data.splits.recordings import Links
from audioprune.data.splits.rules import Assigned, listing, split_of_folder
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.errors import ConfigError, DataError, unknown_name

ON_BAD_FILE = ("stop", "skip")
SHORTEST_SPEECH_S = 0.5
"""Shorter utterances are left out: PESQ and STOI are not defined on them."""
SHORTEST_NOISE_S = 0.1
_NAMED = 20

Assign = Callable[[Path, Mapping[Path, Path], Links], tuple[list[Assigned], list[str]]]


@dataclass
class Gathered:
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

    def join(self, other: Gathered) -> None:
        """Add what another folder gave."""
        self.sources += other.sources
        self.skipped += other.skipped
        self.notes += other.notes
        self.facts += other.facts
        self.rules += other.rules


def gather(
    root: Path,
    role: str,
    paths: Sequence[Path],
    assign: Assign,
    *,
    sample_rate: int,
    shortest_s: float,
    on_bad_file: str,
    cache_dir: str,
) -> Gathered:
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
    if cross({entry.path: entry.split for entry in assigned}, links):
        assigned, notes = assign(root, relative, links)
    found = Gathered(
        [], bad, [f"{role}: {note}" for note in notes], facts, split_rules(role, assigned)
    )
    usable = {}
    for fact in facts:
        short = fact.duration_s < shortest_s
        if not fact.errors and not fact.has("silent") and not short:
            usable[fact.path] = fact
    idle = [fact for fact in facts if not fact.errors and fact.path not in usable]
    if idle:
        listed = names(fact.path for fact in idle)
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


def split_rules(role: str, assigned: Sequence[Assigned]) -> list[str]:
    """Return how the files of a role got their groups and splits, in words."""
    return [f"{role}: {rule}" for rule in sorted({entry.rule for entry in assigned if entry.rule})]


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


def stop_or_skip(root: Path, facts: Sequence[FileFacts], on_bad_file: str) -> list[Finding]:
    """Return the errors of bad files, or raise a DataError that lists them.

    Raises:
        DataError: There are bad files and ``on_bad_file`` is ``"stop"``.
    """
    bad = [finding for fact in facts for finding in fact.errors]
    if bad and on_bad_file == "stop":
        raise DataError(
            f"{root}: {bad_files(bad)}; replace them, or leave them out with data.on_bad_file=skip"
        )
    return bad


def bad_files(bad: Sequence[Finding]) -> str:
    """Return bad files with their reasons in one line."""
    listed = "; ".join(f"{finding.path} ({finding.reason})" for finding in bad[:_NAMED])
    rest = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"expected readable audio, found {len(bad)} bad files: {listed}{rest}"


def left_out_notes(skipped: Sequence[Finding]) -> list[str]:
    """Return a note on the bad files that are left out, if there are any."""
    if not skipped:
        return []
    listed = "; ".join(finding.line() for finding in skipped[:5])
    return [f"{len(skipped)} bad files are left out: {listed}"]


def check_choice(on_bad_file: str) -> None:
    """Raise a ConfigError for an unknown choice of what to do with bad files."""
    if on_bad_file not in ON_BAD_FILE:
        raise ConfigError(unknown_name("on_bad_file", on_bad_file, ON_BAD_FILE))


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
            f"{names(finding.path for finding in found)}"
        ]
        if found
        else []
    )


def refuse_doubled(found: Sequence[Finding]) -> None:
    """Raise a DataError that names all audio which is in two splits."""
    leaks = [
        f"{finding.path}, {finding.reason}" for finding in found if finding.severity == "error"
    ]
    if leaks:
        rest = f"; and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
        raise DataError(
            f"expected different audio in training and test, got {'; '.join(leaks[:_NAMED])}{rest}"
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


def conversion_notes(facts: Sequence[FileFacts], sample_rate: int) -> list[str]:
    """Return one note on rates, one on channels and one on each other kind of warning of a corpus."""
    notes = []
    rates = Counter(fact.sample_rate for fact in facts if use_findings(fact, sample_rate, 0))
    if rates:
        listed = ", ".join(f"{count} from {rate} Hz" for rate, count in sorted(rates.items()))
        notes.append(
            f"{sum(rates.values())} of {len(facts)} files are resampled to {sample_rate} Hz "
            f"({listed})"
        )
    several = sum(fact.channels > 1 for fact in facts)
    if several:
        notes.append(f"{several} files with several channels are averaged to mono")
    warnings = [
        finding for fact in facts for finding in fact.findings if finding.severity == "warning"
    ]
    for code in sorted({finding.code for finding in warnings}):
        same = [finding for finding in warnings if finding.code == code]
        notes.append(f"{len(same)} files with a warning, such as {same[0].path}: {same[0].reason}")
    return notes


def names(paths: Iterable[Path], most: int = 5) -> str:
    """Return the first of some paths for a message."""
    listed = list(map(str, paths))
    return ", ".join(listed[:most]) + (f", ... {len(listed)} in all" if len(listed) > most else "")


def amount(title: str, sources: Sequence[Source], speaker_from: str | SpeakerRule) -> str:
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


def _by_file(speaker_from: str | SpeakerRule) -> bool:
    return (
        speaker_from.by_file if isinstance(speaker_from, SpeakerRule) else speaker_from == "file"
    )


def tell(notes: Sequence[str], logger: logging.Logger) -> None:
    """Log notes, one warning each."""
    for note in notes:
        logger.warning(note)


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

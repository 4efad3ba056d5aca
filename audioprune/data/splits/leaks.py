"""What may leak between training, validation and test: audio, recordings or speakers in several.

The same audio is certain. Names and likeness give a suspicion, which is listed and left to the
user; see ``suspected``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.likeness import MOST_FILES, alike
from audioprune.data.splits.folders import SPLITS, below_splits, split_named, split_of_folder
from audioprune.data.splits.recordings import Links, recording_of
from audioprune.data.splits.speakers import plain_speakers

_NAMED = 3


@dataclass(frozen=True)
class Member:
    """One file of a split.

    Attributes:
        path: The file.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        keys: What it belongs to, by kind, such as ``{"speaker": "p225", "recording": "metro"}``.
    """

    path: Path
    split: str
    keys: Mapping[str, str] = field(default_factory=dict)


def same_audio(facts: Iterable[FileFacts]) -> list[tuple[Path, Path]]:
    """Return pairs of files that hold the same audio.

    Their samples are equal, or they are copies at another level or sample rate. Silent and damaged
    files are like none. Beyond ``MOST_FILES`` files only equal samples are found.
    """
    usable = [fact for fact in facts if fact.audio_sha256 and _comparable(fact)]
    first: dict[str, Path] = {}
    pairs = [(first.setdefault(fact.audio_sha256, fact.path), fact.path) for fact in usable]
    return [pair for pair in pairs if pair[0] != pair[1]] + list(copies(usable))


def copies(facts: Sequence[FileFacts]) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of files that are copies but not the same samples.

    They differ in level, sample rate or format.
    """
    kept = [fact for fact in facts if fact.likeness and _comparable(fact)]
    if len(kept) > MOST_FILES:
        return
    for one, other in alike([fact.likeness for fact in kept], [fact.duration_s for fact in kept]):
        if kept[one].audio_sha256 != kept[other].audio_sha256:
            yield kept[one].path, kept[other].path


def _comparable(fact: FileFacts) -> bool:
    return not fact.errors and not fact.has("silent")


def joins_splits(splits: Mapping[Path, str], links: Links) -> bool:
    """Tell whether a link joins two splits."""
    return any(splits.get(one, "") != splits.get(other, "") for one, other in links)


def suspected(members: Sequence[Member], links: Links = ()) -> list[Finding]:
    """Return a warning for everything that lies in several splits, with files, splits and reason.

    Args:
        members: The files; one that is in several splits counts for the first.
        links: Files that sound like copies of one another.
    """
    splits: dict[Path, str] = {}
    # Kind and name of what files belong to -> split -> files.
    places: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for member in members:
        if splits.setdefault(member.path, member.split) != member.split:
            continue
        for kind, key in member.keys.items():
            places.setdefault((kind, key), {}).setdefault(member.split, []).append(member.path)
    found = [_shared(kind, key, held) for (kind, key), held in places.items() if len(held) > 1]
    for pair in links:
        if pair[0] not in splits or pair[1] not in splits:
            continue
        one, other = sorted(pair, key=lambda path: SPLITS.index(splits[path]))
        if splits[one] != splits[other]:
            reason = (
                f"in {splits[other]}, sounds like a copy of {one} in {splits[one]}, at another "
                f"level, rate or format"
            )
            found.append(Finding(other, "warning", "suspect", reason))
    return found


def named_recordings(places: Mapping[Path, Path]) -> dict[Path, str]:
    """Return the recordings of the files whose names tell one.

    ``1.wav`` tells none: it is in two folders by chance.
    """
    keys = {path: recording_of(place) for path, place in places.items()}
    telling = {key for path, key in keys.items() if key != places[path].with_suffix("").as_posix()}
    return {path: key for path, key in keys.items() if key in telling}


def speech_keys(places: Mapping[Path, Path]) -> dict[Path, dict[str, str]]:
    """Return the speaker of the files whose names tell it, else their recording if they do."""
    recordings = {path: {"recording": name} for path, name in named_recordings(places).items()}
    return recordings | {path: {"speaker": name} for path, name in plain_speakers(places).items()}


def tree_leaks(root: Path, facts: Sequence[FileFacts]) -> list[Finding]:
    """Return what a folder may leak between folders named after splits, and copies anywhere.

    Args:
        root: The folder.
        facts: What is known of the files below it.
    """
    depth = len(root.parts)
    splits = {fact.path: split_named(fact.path.parts[depth:-1]) for fact in facts}
    inside = {
        path: _after_split(Path(*path.parts[depth:])) for path, split in splits.items() if split
    }
    keys = speech_keys(inside)
    members = [Member(path, splits[path], keys.get(path, {})) for path in inside]
    links = list(copies(facts))
    found = suspected(members, links)
    told = {finding.path for finding in found}
    for one, other in links:
        in_two_splits = splits[one] and splits[other] and splits[one] != splits[other]
        if not in_two_splits and other not in told:
            reason = f"sounds like a copy of {one}, at another level, rate or format"
            found.append(Finding(other, "warning", "alike", reason))
    return found


def _after_split(place: Path) -> Path:
    """Return a place without its folders up to the first that is named after a split."""
    for number, part in enumerate(place.parts, 1):
        if split_of_folder(part):
            return below_splits(Path(*place.parts[number:]))
    return place


def _shared(kind: str, key: str, held: Mapping[str, Sequence[Path]]) -> Finding:
    """Return the warning that one speaker or recording is in several splits."""
    order = [split for split in SPLITS if split in held]
    told = " and ".join(f"{split} ({_some(held[split])})" for split in order)
    return Finding(held[order[-1]][0], "warning", "suspect", f"{kind} '{key}' is in {told}")


def _some(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_NAMED])
    return shown + (f", ... {len(paths)} files" if len(paths) > _NAMED else "")

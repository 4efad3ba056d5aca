"""What may leak between training, validation and test: the same audio, one recording or one speaker in several of them.

The same audio is certain; names and likeness give a suspicion, which is listed and left to the
user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.likeness import MOST_FILES, alike
from audioprune.data.splits.folders import SPLITS, below_splits, split_named
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
    """Return pairs of files that hold the same audio: equal samples, or copies at another level or sample rate.

    Silent and damaged files are like none. Beyond ``MOST_FILES`` files only equal samples are
    found.
    """
    heard = [
        fact for fact in facts if fact.audio_sha256 and not fact.errors and not fact.has("silent")
    ]
    first: dict[str, Path] = {}
    pairs = [(first.setdefault(fact.audio_sha256, fact.path), fact.path) for fact in heard]
    return [pair for pair in pairs if pair[0] != pair[1]] + list(copies(heard))


def copies(facts: Sequence[FileFacts]) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of files that are copies at another level, sample rate or format, but not the same samples."""
    kept = [fact for fact in facts if fact.likeness and not fact.errors and not fact.has("silent")]
    if len(kept) > MOST_FILES:
        return
    for one, other in alike([fact.likeness for fact in kept], [fact.duration_s for fact in kept]):
        if kept[one].audio_sha256 != kept[other].audio_sha256:
            yield kept[one].path, kept[other].path


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
    places: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for member in members:
        if splits.setdefault(member.path, member.split) != member.split:
            continue
        for kind, key in member.keys.items():
            places.setdefault((kind, key), {}).setdefault(member.split, []).append(member.path)
    found = [_shared(kind, key, held) for (kind, key), held in places.items() if len(held) > 1]
    known = [pair for pair in links if pair[0] in splits and pair[1] in splits]
    for one, other in (
        sorted(pair, key=lambda path: SPLITS.index(splits[path])) for pair in known
    ):
        if splits[one] != splits[other]:
            reason = (
                f"in {splits[other]}, sounds like a copy of {one} in {splits[one]}, at another "
                f"level, rate or format"
            )
            found.append(Finding(other, "warning", "suspect", reason))
    return found


def named_recordings(places: Mapping[Path, Path]) -> dict[Path, str]:
    """Return the recordings of the files whose names say more than that they are a file: ``1.wav`` is in two folders by chance."""
    keys = {path: recording_of(place) for path, place in places.items()}
    telling = {key for path, key in keys.items() if key != places[path].with_suffix("").as_posix()}
    return {path: key for path, key in keys.items() if key in telling}


def speech_keys(places: Mapping[Path, Path]) -> dict[Path, dict[str, str]]:
    """Return the speaker of the files whose names say it, and else their recording if their names say that."""
    recordings = {path: {"recording": name} for path, name in named_recordings(places).items()}
    return recordings | {path: {"speaker": name} for path, name in plain_speakers(places).items()}


def tree_leaks(root: Path, facts: Sequence[FileFacts]) -> list[Finding]:
    """Return what a folder with folders named after splits may leak, by names and by ear, and copies in any folder."""
    below = {fact.path: fact.path.relative_to(root) for fact in facts}
    splits = {path: split_named(place.parts[:-1]) for path, place in below.items()}
    inside = {path: _after_split(below[path]) for path, split in splits.items() if split}
    keys = speech_keys(inside)
    members = [Member(path, splits[path], keys.get(path, {})) for path in inside]
    links = list(copies(facts))
    found = suspected(members, links)
    told = {finding.path for finding in found}
    reason = "sounds like a copy of {}, at another level, rate or format"
    alone = [
        (one, other)
        for one, other in links
        if splits[one] == splits[other] or not (splits[one] and splits[other])
    ]
    return found + [
        Finding(other, "warning", "alike", reason.format(one))
        for one, other in alone
        if other not in told
    ]


def _after_split(place: Path) -> Path:
    """Return a place without its folders up to the first that is named after a split."""
    parts = place.parts
    first = next(
        number for number in range(1, len(parts)) if split_named(parts[number - 1 : number])
    )
    return below_splits(Path(*parts[first:]))


def _shared(kind: str, key: str, held: Mapping[str, Sequence[Path]]) -> Finding:
    order = [split for split in SPLITS if split in held]
    told = " and ".join(f"{split} ({_some(held[split])})" for split in order)
    return Finding(held[order[-1]][0], "warning", "suspect", f"{kind} '{key}' is in {told}")


def _some(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_NAMED])
    return shown + (f", ... {len(paths)} files" if len(paths) > _NAMED else "")

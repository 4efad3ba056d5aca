"""Which files belong to one recording, as their names say, and how groups of files are joined.

``recording_of`` reads a name, ``joined`` makes groups. What belongs together is never split
between training, validation and test. Which audio is the same is decided in leaks.py.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Links = Iterable[tuple[Path, Path]]
"""Pairs of files whose audio is the same."""

NAME_RULE = (
    "files of one recording stay together: names alike but for a channel, a copy, a piece, a "
    "rate or numbers at their end, "
    "and files of the same audio, at any level or sample rate"
)

# Published corpora whose names say what a clip was cut from; each pattern fits a whole name
# without its ending.
_PUBLISHED = (
    # TUT 2018: class-city-location-segment-device
    re.compile(r"[a-z]+(_[a-z]+)*-(?P<key>[a-z]+-\d+)-\d+(-[a-z0-9]+)?", re.IGNORECASE),
    re.compile(r"\d-(?P<key>\d+)-[A-Z]-\d+"),  # ESC-50: fold-source-take-class
    re.compile(r"(?P<key>\d+)-\d+-\d+-\d+"),  # UrbanSound8K: source-class-occurrence-slice
)
_CHANNEL = re.compile(r"(ch|chan|channel|mic|microphone)[ _-]?\d+|left|right|[LR]", re.IGNORECASE)
_COPY = r"\s*\(\d+\)|[ _-]+(copy|kopie)([ _-]?\d+)?"
_PIECE = (
    r"[ ._-]+(part|pt|piece|seg|segment|chunk|slice|split|frag|fragment|cut|excerpt|clip)[ _-]?\d+"
)
_VERSION = (
    r"[ ._-]+(\d+(\.\d+)?(k|khz|hz|db|kbps)|mono|stereo|resampled|norm|normali[sz]ed|quiet|loud)"
)
_SIDE = r"[ ._-]+((ch|chan|channel|mic|microphone)[ _-]?\d+|left|right|L|R)"
_NUMBER = r"[ ._-]+\d+(\.\d+)?s?"
_END = re.compile(f"({_COPY}|{_PIECE}|{_VERSION}|{_SIDE}|{_NUMBER})$", re.IGNORECASE)
_NUMBERS = re.compile(f"({_NUMBER})*")
_DIGITS = re.compile(r"[\d\s._-]*")
_RATE_FOLDER = re.compile(r"\d+(\.\d+)?(k|khz|hz)", re.IGNORECASE)
_WORDS = {
    *("audio", "bible", "clip", "file", "free", "freesound", "n", "noise", "noises", "rec"),
    *("recording", "sample", "sound", "sounds", "snd", "track", "untitled", "wav", "x"),
}
"""Words that name no recording: behind them a number is the name."""


def recording_of(place: PurePath, folder_counts: bool = False) -> str:
    """Return the recording that a file belongs to, by its name alone.

    Published corpora first (TUT 2018, ESC-50, UrbanSound8K). Else the name without what ends it: a
    channel (``ch01``, ``left``), a copy (``(2)``, ``copy``), a piece (``part3``, ``seg2``), a
    version (``16k``, ``-10db``, ``mono``), numbers (``_000``, ``_10_20``). Files named after a
    channel alone are one recording, that of their folder. Where numbers follow a word such as
    ``noise``, or the name of the folder, each file is a recording of its own.

    Args:
        place: Place of the file below the folder of the corpus, its split or its class.
        folder_counts: Whether numbered files that have no name but that of their folder are one
            recording.
    """
    for pattern in _PUBLISHED:
        match = pattern.fullmatch(place.stem)
        if match:
            return match["key"].lower()
    folders = [part for part in place.parts[:-1] if not _RATE_FOLDER.fullmatch(part)]
    inside, stem = "/".join(folders), place.stem
    if folders and _CHANNEL.fullmatch(stem):
        return inside
    base = _base(stem)
    counted = _NUMBERS.fullmatch(stem.removeprefix(base)) is not None
    nameless = _DIGITS.fullmatch(base) is not None
    folder = folders[-1].lower() if folders else ""
    after_folder = bool(folder) and counted and base != stem and base.lower() == folder
    if folder_counts and folders and (nameless or after_folder):
        return inside
    if counted and (after_folder or set(re.split(r"[\W_]+", base.lower())) <= _WORDS):
        base = stem
    return "/".join([*folders, base])


def _base(stem: str) -> str:
    """Return a name without what ends it; a name never becomes empty."""
    match = _END.search(stem)
    while match and match.start() > 0:
        stem = stem[: match.start()]
        match = _END.search(stem)
    return stem


def joined(keys: Mapping[Key, str], links: Iterable[tuple[Key, Key]] = ()) -> dict[Key, str]:
    """Return the group of each member: members of one key, and linked members, are one group.

    Args:
        keys: Key of each member.
        links: Pairs of members; those without a key are ignored.

    Returns:
        The name of each member's group, the first of its keys in alphabetical order.
    """
    # Each key points to an earlier one of its group; the first points to itself.
    parent = {key: key for key in keys.values()}

    def top(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, second in links:
        if first in keys and second in keys:
            one, other = sorted((top(keys[first]), top(keys[second])))
            parent[other] = one
    return {member: top(key) for member, key in keys.items()}

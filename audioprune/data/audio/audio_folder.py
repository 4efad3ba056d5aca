"""The corpus of any folder of audio, without labels: ``AudioFolder``.

Files of any sample rate, at any depth, are split by a hash of their places and read in segments,
see segments.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.audio.segments import AudioSegments, Segment, collate, segments_of
from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.audio import AudioStore, find_audio
from audioprune.data.files.checks import FileFacts
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import left_out_notes, stop_or_skip
from audioprune.data.splits.folders import SPLITS, places_below
from audioprune.data.splits.shares import check_fractions
from audioprune.data.splits.sources import Source
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256
from audioprune.ranges import OneOf, Range


@dataclass(frozen=True, kw_only=True)
class _Found(Found):
    """Also the segments of each split."""

    segments: dict[str, list[Segment]]
    store: AudioStore


class AudioFolder(FileCorpus[_Found]):
    """Any recordings, without labels; for tasks that need none, such as ``imitate``.

    A hash of a file's place below the folder decides its split, so that files that are added move
    no other; files of the same audio go where the first of them goes. Fewer than three different
    ones are cut in time instead: the first share trains, the last one tests.

    Args:
        root: Folder of the corpus; every audio file below it is used.
        sample_rate: Rate of all items in Hz.
        fractions: Shares of the files in train, valid and test.
        segment_s: Seconds of an item.
        train_segments: Most items of an epoch, others in each; None for all.
        valid_segments: Most validation items.
        test_segments: Most test items.
        shortest_s: Shorter files are left out, in seconds.
        seed: Decides which segments are used where there are more.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of decoded audio kept in memory.

    Raises:
        ConfigError: A value is out of its range.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        root: str | Path,
        *,
        sample_rate: Annotated[int, Range(1000, 192_000)] = 16000,
        fractions: Annotated[Sequence[float], Range(0, 1)] = (0.8, 0.1, 0.1),
        segment_s: Annotated[float, Range(above=0)] = 2.0,
        train_segments: Annotated[int | None, Range(1)] = None,
        valid_segments: Annotated[int | None, Range(1)] = 64,
        test_segments: Annotated[int | None, Range(1)] = 128,
        shortest_s: Annotated[float, Range(0)] = 0.5,
        seed: Annotated[int, Range(0)] = 0,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str = "",
        memory_mb: Annotated[float, Range(0)] = 2048.0,
    ) -> None:
        super().__init__(
            "audio_folder",
            sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        check_fractions(tuple(fractions))
        if not segment_s * sample_rate >= 1:
            raise ConfigError(f"expected segment_s above 0, got {segment_s}; use for instance 2")
        self.root = Path(root).expanduser()
        self.fractions = tuple(fractions)
        self.segment_s, self.shortest_s = segment_s, shortest_s
        self.most = {"train": train_segments, "valid": valid_segments, "test": test_segments}
        self.seed = seed

    def train(self) -> AudioSegments:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        return self._items("train")

    def valid(self) -> AudioSegments:
        """Return the validation items."""
        return self._items("valid")

    def tests(self) -> dict[str, AudioSegments]:
        """Return the test items, ``held_out``."""
        return {"held_out": self._items("test")}

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of the rules."""
        rules = [self.sample_rate, self.segment_s, self.most, self.seed, list(self.fractions)]
        used = self._ready().segments
        rows = [[split, self._identities(used[split])] for split in SPLITS]
        return sha256(json.dumps([rules, rows], sort_keys=True).encode())

    def scale(self) -> str:
        """Return the size of the training set, such as ``audio_folder, 9 min, 24 files``."""
        sources = _sources(self._ready().segments["train"])
        minutes = sum(source.duration_s for source in sources) / 60
        return f"{self.title}, {minutes:.3g} min, {len(sources)} files"

    def sources(self) -> list[Record]:
        """Return a record of every file and split."""
        return [
            {"kind": "file", "split": split, "path": source.relative, "sha256": source.sha256}
            for split, segments in self._ready().segments.items()
            for source in _sources(segments)
        ]

    def _identities(self, segments: Sequence[Segment]) -> list[Any]:
        return [[each.source.relative, each.source.sha256, each.start_s] for each in segments]

    def _facts(self) -> dict[str, Any]:
        segments = self._ready().segments
        sizes = {
            split: {"files": len(_sources(own)), "segments": len(own)}
            for split, own in segments.items()
        }
        return {"root": str(self.root), "sample_rate": self.sample_rate, **sizes}

    def _items(self, split: str) -> AudioSegments:
        found = self._ready()
        return AudioSegments(
            found.segments[split],
            found.store,
            self.segment_s,
            self.most[split],
            self.seed,
            split == "train",
        )

    def _find(self) -> _Found:
        """Find, inspect and split the files.

        Raises:
            DataError: The folder is missing or without audio, or a file is bad.
        """
        if not self.root.is_dir():
            raise DataError(f"{self.root}: expected a folder of audio, got none; give data.root")
        paths = find_audio(self.root)
        facts = inspect_files(self.root, paths, self.cache_dir)
        bad = stop_or_skip(self.root, facts, self.on_bad_file)
        usable = [
            fact
            for fact in facts
            if not (fact.errors or fact.has("silent") or fact.duration_s < self.shortest_s)
        ]
        if not usable:
            raise DataError(
                f"{self.root}: expected audio of at least {self.shortest_s:g} s, found "
                f"{len(paths)} files and none that is usable; give another data.root"
            )
        copied = len(usable) - len({fact.audio_sha256 for fact in usable})
        idle = len(facts) - len(usable) - len({finding.path for finding in bad})
        notes = [f"{idle} silent or short files are not used"] if idle else []
        segments, rule = self._split(usable, places_below(self.root, paths))
        if "different audio" in rule:
            notes.append(f"{copied} of {len(usable)} files are copies of others; {rule}")
        return _Found(
            notes=[*notes, *left_out_notes(bad)],
            skipped=bad,
            split_rules=[rule],
            segments=segments,
            store=AudioStore(self.sample_rate, self.memory_bytes),
        )

    def _split(
        self, usable: Sequence[FileFacts], places: Mapping[Path, Path]
    ) -> tuple[dict[str, list[Segment]], str]:
        """Return the segments of every split, and the rule in words."""
        ends = [sum(self.fractions[: number + 1]) for number in range(3)]
        shares = {
            split: (end - fraction, end)
            for split, end, fraction in zip(SPLITS, ends, self.fractions, strict=True)
        }
        different = len({fact.audio_sha256 for fact in usable})
        if different < len(SPLITS):
            cut = {
                split: [
                    segment
                    for fact in usable
                    for segment in segments_of(
                        _source(fact, places, split), self.segment_s, shares[split]
                    )
                ]
                for split in SPLITS
            }
            copies = " of different audio" if different < len(usable) else ""
            return cut, f"fewer than three files{copies}: each is cut in time"
        splits = split_by_hash(usable, places, shares)
        found: dict[str, list[Segment]] = {split: [] for split in SPLITS}
        for fact in usable:
            split = splits[fact.path]
            found[split] += segments_of(_source(fact, places, split), self.segment_s)
        return found, "files are split by a hash of their places"


def split_by_hash(
    facts: Sequence[FileFacts],
    places: Mapping[Path, Path],
    shares: Mapping[str, tuple[float, float]],
) -> dict[Path, str]:
    """Return the split of every file, of at least three, by a hash of its place.

    A split that would be empty is given the file whose hash is nearest to its share.

    Args:
        facts: The files.
        places: Place of each below the folder.
        shares: Where the share of each split begins and ends, 0..1.
    """
    first: dict[str, Path] = {}
    points: dict[Path, float] = {}
    for fact in sorted(facts, key=lambda each: places[each.path].as_posix()):
        leader = first.setdefault(fact.audio_sha256, fact.path)
        digest = sha256(places[leader].as_posix().encode(errors="surrogateescape"))
        points[fact.path] = int(digest[:13], 16) / 16**13
    own = {point: _split_at(point, shares) for point in sorted(set(points.values()))}
    for split, (begin, end) in shares.items():
        taken = list(own.values())
        lenders = [point for point in own if taken.count(own[point]) > 1]
        if split not in taken and lenders:
            middle = (begin + end) / 2
            own[min(lenders, key=lambda point: abs(point - middle))] = split
    return {path: own[point] for path, point in points.items()}


def _split_at(point: float, shares: Mapping[str, tuple[float, float]]) -> str:
    inside = (split for split, (_, end) in shares.items() if point < end)
    return next(inside, SPLITS[-1])


def _source(fact: FileFacts, places: Mapping[Path, Path], split: str) -> Source:
    place = places[fact.path]
    folder = place.parent.as_posix()
    group = "" if folder == "." else folder
    return Source(
        fact.path,
        place.as_posix(),
        split,
        group,
        fact.sha256,
        fact.duration_s,
        fact.level,
    )


def _sources(segments: Sequence[Segment]) -> list[Source]:
    return list(dict.fromkeys(segment.source for segment in segments))

"""The corpus of coded speech: clean recordings beside what a codec made of them: ``CodedSpeech``.

Which speech there is comes from speech/clean_files.py or vctk.py. How it gets coded is in
pairs.py, how segments are cut in segments.py; the corpora with names are in corpora.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from audioprune.data.coded.pairs import Coded, Coding
from audioprune.data.coded.segments import STREAM_ORDER, CodedRules, Segments
from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.audio import AudioStore
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.messages import left_out_notes, stop_or_skip
from audioprune.data.speech.clean_files import CleanSpeech
from audioprune.data.speech.mixed_items import collate
from audioprune.data.speech.paired_items import (
    Pairs,
    PairSource,
    pair_leaks,
    pair_records,
    pool_size,
)
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.recordings import NAME_RULE
from audioprune.data.splits.sources import (
    SHORTEST_SPEECH_S,
    Source,
    find_sources,
    in_turns,
    refuse_leaks,
    speaker_notes,
    speech_size,
)
from audioprune.errors import DataError
from audioprune.files import sha256
from audioprune.ranges import OneOf, OrNull, Range


@dataclass(frozen=True, kw_only=True)
class FoundCodedSpeech(Found):
    """What a corpus of coded speech found.

    Attributes:
        pools: Pairs of coded and clean files of each split.
        coded: What became of all clean files.
        store: Where the samples come from.
        facts: Facts of the clean files.
    """

    pools: dict[str, list[PairSource]]
    coded: Coded
    store: AudioStore
    facts: list[FileFacts]


class CodedSpeech(FileCorpus[FoundCodedSpeech]):
    """Clean speech and the same speech after a lossy codec, sample-aligned.

    Training items are segments, validation and test items whole utterances. There is one test
    condition, named after the codec. Levels are those on disk; decoded ones may exceed full scale.
    No speaker is in two sets. Utterances below 0.5 s and silent files are left out. What was
    decoded or resampled is kept in the cache folder.

    Args:
        voices: The clean speech.
        coding: What makes or finds its coded partner.
        rules: Lengths and numbers of items.
        on_bad_file: ``"stop"`` or ``"skip"``, also for missing partners.
        cache_dir: Cache folder; empty for the user's.
        memory_mb: Most megabytes of audio kept in memory; beyond it parts are read from disk.

    Attributes:
        sample_rate: Rate of all items in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.

    Source: Plain & Biswas: speech of VCTK coded by AAC at 24 kbit/s.
    """

    usual_memory_mb = 4096
    collate = staticmethod(collate)

    def __init__(
        self,
        voices: CleanSpeech,
        coding: Coding,
        rules: CodedRules,
        *,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: Annotated[str, OrNull()] = "",
        memory_mb: Annotated[float, Range(0)] = 4096.0,
    ) -> None:
        super().__init__(
            voices.title,
            rules.sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        self.voices = voices
        self.coding = coding
        self.rules = rules
        self.segment = rules.segment

    def train(self) -> Segments:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        return self._segments(self._ready())

    def valid(self) -> Pairs:
        """Return the validation items."""
        return self._whole("valid", self.rules.valid_items)

    def tests(self) -> dict[str, Pairs]:
        """Return the test items under the name of the codec."""
        return {self.coding.label: self._whole("test", self.rules.test_items)}

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content, use and coded form, and of the rules."""
        pools = self._ready().pools
        pairs = [pair.record() for pool in pools.values() for pair in pool]
        content = [asdict(self.rules), self.coding.label, pairs]
        return sha256(json.dumps(content, sort_keys=True).encode())

    def scale(self) -> str:
        """Return the size of the training speech, and the codec, in a few words."""
        training = [pair.clean for pair in self._ready().pools["train"]]
        speech = speech_size(self.title, training, self.voices.speaker_from)
        few = self.rules.train_segments
        return f"{speech}, {self.coding.label}" + (f", {few} segments an epoch" if few else "")

    def shared(self) -> dict[str, Any]:
        """Return the sample rate, and the length of a segment as that of a frame of the task."""
        return {**super().shared(), "frame_length": self.segment}

    def leaks(self) -> list[Finding]:
        """Return suspected leaks: speakers by their names, and copies by ear."""
        found = self._ready()
        return pair_leaks(found.pools, found.facts)

    def sources(self) -> list[Record]:
        """Return a record of every pair."""
        return pair_records(self._ready().pools)

    def _facts(self) -> dict[str, Any]:
        """Return the size of each split, the codec with its real bitrate, and the speech."""
        found = self._ready()
        sizes = {split: pool_size(pool) for split, pool in found.pools.items()}
        sizes["train"]["segments"] = len(self._segments(found))
        return {
            "sample_rate": self.sample_rate,
            "seed": self.rules.seed,
            **sizes,
            "conditions": {name: len(items) for name, items in self.tests().items()},
            "codec": found.coded.facts,
            "voices": self.voices.describe(),
        }

    def _rules(self) -> dict[str, Any]:
        return {"codec": self._ready().coded.facts, "rules": asdict(self.rules)}

    def _segments(self, found: FoundCodedSpeech) -> Segments:
        return Segments(found.pools["train"], found.store, self.rules)

    def _whole(self, split: str, most: int | None) -> Pairs:
        """Return whole utterances of a split, at most ``most`` of them."""
        found = self._ready()
        pairs = found.pools[split][:most]
        return Pairs(pairs, found.store, self.rules.whole, split, self.voices.genders())

    def _find(self) -> FoundCodedSpeech:
        """Find, inspect, split and code the speech.

        Raises:
            DataError: Folders are missing, files are bad or without a partner, speakers or audio
                are shared between splits.
            ConfigError: A codec is needed and PyAV is not installed.
            OutputError: The cache cannot be written.
        """
        root, paths = self.voices.find()
        found = find_sources(
            root,
            "speech",
            paths,
            self.voices.assign,
            sample_rate=self.sample_rate,
            shortest_s=SHORTEST_SPEECH_S,
            on_bad_file=self.on_bad_file,
            cache_dir=self.cache_dir,
        )
        leaks = refuse_leaks(found.facts, found.sources)
        _refuse_empty(found.sources, root)
        coded = self.coding.pair(found.sources)
        faults = [FileFacts(finding.path, findings=(finding,)) for finding in coded.problems]
        stop_or_skip(root, faults, self.on_bad_file)
        pools = {split: self._in_turns(coded.pairs, split) for split in SPLITS}
        _refuse_empty([pair.clean for pool in pools.values() for pair in pool], root)
        skipped = found.skipped + coded.problems
        notes = [
            *speaker_notes(self.voices.speaker_from),
            *found.notes,
            *leaks,
            *coded.notes,
            *left_out_notes(skipped),
        ]
        return FoundCodedSpeech(
            notes=notes,
            skipped=skipped,
            split_rules=[NAME_RULE, *found.rules],
            pools=pools,
            coded=coded,
            store=AudioStore(self.sample_rate, self.memory_bytes),
            facts=found.facts,
        )

    def _in_turns(self, coded: Sequence[PairSource], split: str) -> list[PairSource]:
        """Return the pairs of a split in an order whose first few hold every speaker."""
        pairs = [pair for pair in coded if pair.clean.split == split]
        by_place = {pair.clean.relative: pair for pair in pairs}
        rng = np.random.default_rng([self.rules.seed, SPLITS.index(split), STREAM_ORDER])
        order = in_turns([pair.clean for pair in pairs], rng)
        return [by_place[source.relative] for source in order]


def _refuse_empty(sources: Sequence[Source], root: Path) -> None:
    found = {source.split for source in sources}
    empty = [split for split in SPLITS if split not in found]
    if empty:
        raise DataError(
            f"{root}: expected usable speech for train, valid and test, found none for "
            f"{', '.join(empty)}; add files"
        )

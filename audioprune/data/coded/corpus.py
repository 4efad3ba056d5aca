"""The corpus of coded speech: clean recordings beside what a codec made of them, cut into segments for training.

Which speech there is stands in voices.py and vctk.py, how it gets coded in coded_pairs.py,
segments in coded_segments.py, configured corpora in coded_corpora.py.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from audioprune.data.coded.pairs import Coded, Coding
from audioprune.data.coded.segments import STREAM_ORDER, CodedRules, Segments
from audioprune.data.files.audio import AudioStore
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.sources import (
    SHORTEST_SPEECH_S,
    amount,
    check_choice,
    gather,
    refuse_leaks,
    speaker_notes,
    stop_or_skip,
    tell,
)
from audioprune.data.speech.clean_files import Voices
from audioprune.data.speech.mixing import Source, collate, in_turns
from audioprune.data.speech.paired_folder import Pairs, PairSource, pair_leaks
from audioprune.data.splits.recordings import NAME_RULE
from audioprune.data.splits.rules import SPLITS
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256, write_atomic
from audioprune.ranges import OneOf, OrNull, Range

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prepared:
    """What prepare() found."""

    pools: dict[str, list[PairSource]]
    coded: Coded
    store: AudioStore
    skipped: list[Finding]
    facts: list[FileFacts]
    rules: list[str]


class CodedSpeech:
    """Clean speech and the same speech after a lossy codec, sample-aligned and at the level on disk.

    Training items are segments, validation and test items whole utterances. There is one test
    condition, named after the codec. Decoded levels may exceed full scale and are kept. No speaker
    is in two sets. Utterances below 0.5 s and silent files are left out. What was decoded or
    resampled is kept in the cache folder.

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

    collate = staticmethod(collate)

    def __init__(
        self,
        voices: Voices,
        coding: Coding,
        rules: CodedRules,
        *,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: Annotated[str, OrNull()] = "",
        memory_mb: Annotated[float, Range(0)] = 4096.0,
    ) -> None:
        check_choice(on_bad_file)
        if not memory_mb >= 0:
            raise ConfigError(
                f"expected memory_mb of at least 0, got {memory_mb}; use for instance 4096"
            )
        self.voices = voices
        self.coding = coding
        self.rules = rules
        self.sample_rate = rules.sample_rate
        self.segment = rules.segment
        self.on_bad_file = on_bad_file
        self.cache_dir = cache_dir
        self.memory_mb = memory_mb
        self.notes: list[str] = []
        self._prepared: _Prepared | None = None

    def prepare(self) -> None:
        """Find, inspect, split and code the speech; a second call does nothing.

        Raises:
            DataError: Folders are missing, files are bad or without a partner, speakers or audio
                are shared between splits.
            ConfigError: A codec is needed and PyAV is not installed.
            OutputError: The cache cannot be written.
        """
        self._ready()

    def train(self) -> Segments:
        """Return the training items; ``set_epoch`` chooses the epoch.

        Audio that fits into memory is read here, once, so that worker processes share it.
        """
        ready = self._ready()
        ready.store.preload(
            [side.path for pair in ready.pools["train"] for side in (pair.noisy, pair.clean)]
        )
        return Segments(ready.pools["train"], ready.store, self.rules)

    def valid(self) -> Pairs:
        """Return the validation items."""
        return self._whole("valid", self.rules.valid_items)

    def tests(self) -> dict[str, Pairs]:
        """Return the test items under the name of the codec."""
        return {self.coding.label: self._whole("test", self.rules.test_items)}

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, of what the codec made of it, and of the rules."""
        ready = self._ready()
        pairs = [pair.record() for pool in ready.pools.values() for pair in pool]
        return sha256(
            json.dumps([asdict(self.rules), self.coding.label, pairs], sort_keys=True).encode()
        )

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus, the codec with its real bitrate, and files left out."""
        ready = self._ready()
        facts: dict[str, Any] = {
            "name": self.voices.title,
            "scale": self.scale(),
            "sample_rate": self.sample_rate,
            "seed": self.rules.seed,
        }
        for split, pool in ready.pools.items():
            hours = sum(pair.clean.duration_s for pair in pool) / 3600
            speakers = len({pair.clean.group for pair in pool})
            facts[split] = {
                "hours": round(hours, 4),
                "speakers": speakers,
                "utterances": len(pool),
            }
        facts["train"]["segments"] = len(Segments(ready.pools["train"], ready.store, self.rules))
        facts["conditions"] = {name: len(items) for name, items in self.tests().items()}
        facts["codec"] = ready.coded.facts
        facts["skipped"] = [finding.line() for finding in ready.skipped]
        facts["notes"] = self.notes
        return facts | {"voices": self.voices.describe()}

    def scale(self) -> str:
        """Return the size of the training speech and the codec in a few words, such as ``vctk, 8.8 h, 26 speakers, aac-24k``."""
        speech = amount(
            self.voices.title,
            [pair.clean for pair in self._ready().pools["train"]],
            self.voices.speaker_from,
        )
        few = self.rules.train_segments
        return f"{speech}, {self.coding.label}" + (f", {few} segments an epoch" if few else "")

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits: speakers by their names, copies by ear."""
        return pair_leaks(self._ready().pools, self._ready().facts)

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each pair."""
        ready = self._ready()
        head = {
            "kind": "corpus",
            "name": self.voices.title,
            "fingerprint": self.fingerprint(),
            "codec": ready.coded.facts,
        }
        pairs = [pair for pool in ready.pools.values() for pair in pool]
        records = [{**pair.record(), "together": pair.clean.together} for pair in pairs]
        return [{**head, "rules": asdict(self.rules), "split_rules": ready.rules}, *records]

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        return write_atomic(path, "".join(json.dumps(record) + "\n" for record in self.manifest()))

    def _whole(self, split: str, most: int | None) -> Pairs:
        ready = self._ready()
        return Pairs(
            ready.pools[split][:most], ready.store, self.rules.whole, split, self.voices.genders()
        )

    def _ready(self) -> _Prepared:
        if self._prepared is None:
            self._prepared = self._prepare()
            tell(self.notes, _LOG)
        return self._prepared

    def _prepare(self) -> _Prepared:
        root, paths = self.voices.find()
        found = gather(
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
        stop_or_skip(
            root,
            [FileFacts(finding.path, findings=(finding,)) for finding in coded.problems],
            self.on_bad_file,
        )
        skipped = found.skipped + coded.problems
        pools = {
            split: self._in_turns(
                [pair for pair in coded.pairs if pair.clean.split == split], split
            )
            for split in SPLITS
        }
        _refuse_empty([pair.clean for pool in pools.values() for pair in pool], root)
        self.notes = speaker_notes(self.voices.speaker_from) + found.notes + leaks + coded.notes
        if skipped:
            self.notes.append(
                f"{len(skipped)} bad files are left out: "
                f"{'; '.join(finding.line() for finding in skipped[:5])}"
            )
        store = AudioStore(self.sample_rate, round(self.memory_mb * 1e6))
        return _Prepared(pools, coded, store, skipped, found.facts, [NAME_RULE, *found.rules])

    def _in_turns(self, pairs: Sequence[PairSource], split: str) -> list[PairSource]:
        """Return pairs so that the first few hold every speaker."""
        by_place = {pair.clean.relative: pair for pair in pairs}
        order = in_turns(
            [pair.clean for pair in pairs],
            np.random.default_rng([self.rules.seed, SPLITS.index(split), STREAM_ORDER]),
        )
        return [by_place[source.relative] for source in order]


def _refuse_empty(sources: Sequence[Source], root: Path) -> None:
    empty = [split for split in SPLITS if split not in {source.split for source in sources}]
    if empty:
        raise DataError(
            f"{root}: expected usable speech for train, valid and test, found none for "
            f"{', '.join(empty)}; add files"
        )

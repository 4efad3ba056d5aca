"""The corpus of recordings that exist twice, noisy and clean, such as VoiceBank-DEMAND.

``PairedFolder`` gives pairs of files their splits. pairing.py finds the pairs, paired_items.py
cuts items (T,) from them. Nothing is mixed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.audio import AudioStore
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.lists import bare_name
from audioprune.data.files.messages import (
    conversion_notes,
    first_names,
    left_out_notes,
    stop_or_skip,
)
from audioprune.data.speech.mixed_items import collate
from audioprune.data.speech.mixing_rules import MixingRules, check_counts
from audioprune.data.speech.paired_items import (
    UNKNOWN_NOISE,
    Pairs,
    PairSource,
    pair_leaks,
    pair_records,
    pool_size,
)
from audioprune.data.speech.pairing import LengthRule, Pair, find_pairs, read_conditions
from audioprune.data.splits.assign import Assigned, assign_speech, lend_speakers
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.leaks import (
    joins_splits,
    same_audio,
)
from audioprune.data.splits.recordings import NAME_RULE, Links
from audioprune.data.splits.shares import check_fractions
from audioprune.data.splits.sources import (
    SHORTEST_SPEECH_S,
    Source,
    refuse_leaks,
    speaker_notes,
    speech_size,
    split_rules,
)
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256
from audioprune.ranges import NoKey, OneOf, Range

ALL_TEST = "test"
"""Value of ``split`` by which all pairs are test items."""


@dataclass(frozen=True, kw_only=True)
class _Found(Found):
    """Also the pairs of each split and the facts of their clean files."""

    pools: dict[str, list[PairSource]]
    store: AudioStore
    facts: list[FileFacts]


class PairedFolder(FileCorpus[_Found]):
    """Noisy and clean recordings of the same name.

    Layouts: ``noisy/`` and ``clean/``; ``noisy_trainset_28spk_wav/``,
    ``clean_trainset_28spk_wav/``, ``noisy_testset_wav/``, ``clean_testset_wav/``;
    ``train/noisy/``, ``train/clean/``, ``test/...``. Without folders for splits, speakers are
    shared out; the speaker is the folder, or the file name up to the first ``_`` or ``-``. Without
    a folder for validation, some training speakers are set aside. Pairs must have one sample rate,
    and one length unless ``lengths`` is ``"shortest"``.

    Args:
        root: Folder of the corpus.
        noisy_root: Folder of noisy files, together with ``clean_root`` in place of ``root``.
        clean_root: Folder of clean files.
        sample_rate: Rate of all items in Hz.
        split: As in NoisyMixtures; ``test``: all pairs are test items, for a model that is only
            scored.
        fractions: Shares of the speakers in train, valid and test.
        speaker_from: As in NoisyMixtures; ``"file"`` shares out single files, with speakers in
            several splits.
        speaker: As in NoisyMixtures.
        speaker_csv: As in NoisyMixtures; paths are those of the clean files.
        valid_speakers: Training speakers to use for validation when no folder is named so.
        valid_share: Share of the training speakers that are moved to validation in any case, 0..1.
        conditions: Text file with lines ``name noise snr``; then test conditions are noise by SNR,
            else one, ``"recorded"``.
        train_mixtures: Most training items; None for all.
        valid_mixtures: Most validation items.
        test_mixtures: Most items of each test condition.
        segment_s: Length of a random part of each training item in seconds; None for whole
            recordings.
        max_test_s: Most seconds of a validation or test item.
        fresh_each_epoch: Whether every epoch has new random parts.
        rms_normalise: Whether noisy is scaled to a root mean square of 1, and clean by the same
            factor.
        seed: Decides splits and parts.
        lengths: ``"equal"`` refuses pairs of two lengths; ``"shortest"`` cuts both files at the
            end of the shorter one.
        length_tolerance_s: Largest difference in seconds that may be cut; more is an error in any
            case.
        on_bad_file: ``"stop"`` or ``"skip"``, also for missing partners and different lengths.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of decoded audio kept in memory.
        title: Name in tables.

    Attributes:
        sample_rate: Rate of all items in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        noisy_root: str | Path | None = None,
        clean_root: str | Path | None = None,
        sample_rate: Annotated[int, Range(1000, 192_000)] = 16000,
        split: str | Path | Mapping[str, Sequence[str]] | None = None,
        fractions: Annotated[Sequence[float], Range(0, 1)] = (0.8, 0.1, 0.1),
        speaker_from: str = "auto",
        speaker: str | None = None,
        speaker_csv: str | None = None,
        valid_speakers: Sequence[str] = (),
        valid_share: Annotated[float, Range(0, below=1)] = 0.0,
        conditions: str | Path | None = None,
        train_mixtures: Annotated[int | None, Range(1)] = None,
        valid_mixtures: Annotated[int | None, Range(1)] = None,
        test_mixtures: Annotated[int | None, Range(1)] = None,
        segment_s: Annotated[float | None, Range(above=0)] = None,
        max_test_s: Annotated[float | None, Range(above=0)] = None,
        fresh_each_epoch: bool = True,
        rms_normalise: bool = True,
        seed: Annotated[int, Range(0)] = 0,
        lengths: Annotated[str, OneOf("equal", "shortest")] = "equal",
        length_tolerance_s: Annotated[float, Range(0, 10)] = 0.05,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str | None = None,
        memory_mb: Annotated[float, Range(0)] = 2048.0,
        title: Annotated[str, NoKey()] = "paired_folder",
    ) -> None:
        super().__init__(
            title,
            sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        if (root is None) == (noisy_root is None or clean_root is None):
            raise ConfigError(
                "expected either root, or both noisy_root and clean_root; give one of the two"
            )
        self.rules = MixingRules(
            sample_rate=sample_rate,
            segment_s=segment_s,
            max_test_s=max_test_s,
            fresh_each_epoch=fresh_each_epoch,
            rms_normalise=rms_normalise,
            seed=seed,
        )
        self.lengths = LengthRule(lengths, length_tolerance_s)
        self.speakers = SpeakerRule(speaker_from, speaker, speaker_csv)
        check_fractions(fractions)
        self.most = {"train": train_mixtures, "valid": valid_mixtures, "test": test_mixtures}
        check_counts(self.most, "all")
        self.root = _place(root)
        self.noisy_root = _place(noisy_root)
        self.clean_root = _place(clean_root)
        self.conditions = _place(conditions)
        self.split = split
        self.fractions = tuple(fractions)
        self.valid_speakers = tuple(valid_speakers)
        self.valid_share = valid_share

    def train(self) -> Pairs:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        return self._items("train")

    def valid(self) -> Pairs:
        """Return the validation items."""
        return self._items("valid")

    def tests(self) -> dict[str, Pairs]:
        """Return the test items of every condition by name."""
        found = self._ready()
        conditions: dict[str, list[PairSource]] = {}
        for pair in found.pools["test"]:
            conditions.setdefault(pair.condition, []).append(pair)
        most = self.most["test"]
        return {
            name: Pairs(conditions[name][:most], found.store, self.rules, "test")
            for name in sorted(conditions)
        }

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of the rules."""
        rows: list[list[Any]] = []
        for pool in self._ready().pools.values():
            for pair in pool:
                sides = [pair.noisy.identity(), pair.clean.identity()]
                rows.append([*sides, pair.noise, pair.snr_db])
        return sha256(json.dumps([self.rules.facts(), self.most, rows], sort_keys=True).encode())

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"sample_rate": self.sample_rate, "seed": self.rules.seed}
        for split, pool in self._ready().pools.items():
            facts[split] = pool_size(pool)
        return {**facts, "conditions": {name: len(items) for name, items in self.tests().items()}}

    def scale(self) -> str:
        """Return the size of training speech, such as ``paired_folder, 9.4 h, 28 speakers``."""
        if self.split == ALL_TEST:
            return f"{self.title}, {len(self._ready().pools[ALL_TEST])} test pairs"
        pairs = self._ready().pools["train"][: self.most["train"]]
        return speech_size(self.title, [pair.clean for pair in pairs], self.speakers)

    def leaks(self) -> list[Finding]:
        """Return what is suspected in several splits: speakers by name, copies by ear."""
        return pair_leaks(self._ready().pools, self._ready().facts)

    def sources(self) -> list[Record]:
        """Return a record of every pair."""
        return pair_records(self._ready().pools)

    def _rules(self) -> dict[str, Any]:
        return {"rules": self.rules.facts()}

    def _items(self, split: str) -> Pairs:
        found = self._ready()
        return Pairs(found.pools[split][: self.most[split]], found.store, self.rules, split)

    def _find(self) -> _Found:
        """Find, inspect and split the pairs.

        Raises:
            DataError: Folders are missing, files are bad or without a partner, speakers or audio
                are shared between splits.
        """
        pairs, problems = find_pairs(self.root, self.noisy_root, self.clean_root)
        where = self.root or self.clean_root or Path()
        pairs, assigned, facts, notes = self._split(where, pairs)
        problems += [finding for fact in facts.values() for finding in fact.errors]
        problems += _mismatches(pairs, facts, self.lengths)
        stop_or_skip(
            where,
            [FileFacts(finding.path, findings=(finding,)) for finding in problems],
            self.on_bad_file,
        )
        usable, idle_notes = _usable(pairs, facts, {finding.path for finding in problems})
        cut_notes = self.lengths.note([_apart_s(pair, facts) for pair in usable])
        pools = self._pools(usable, {entry.path: entry for entry in assigned}, facts)
        self._refuse(pools, where)
        used = [facts[path] for pair in usable for path in (pair.noisy, pair.clean)]
        return _Found(
            notes=[
                *speaker_notes(self.speakers),
                *notes,
                *idle_notes,
                *cut_notes,
                *conversion_notes(used, self.sample_rate),
                *refuse_leaks(used, _both_sides(pools)),
                *left_out_notes(problems),
            ],
            skipped=problems,
            split_rules=[NAME_RULE, *split_rules("speech", assigned)],
            pools=pools,
            store=AudioStore(self.sample_rate, self.memory_bytes),
            facts=[facts[pair.clean] for pair in usable],
        )

    def _split(
        self, where: Path, pairs: Sequence[Pair]
    ) -> tuple[list[Pair], list[Assigned], dict[Path, FileFacts], list[str]]:
        """Give pairs a split by their clean file and inspect those that get one, with notes."""
        relative = {pair.clean: pair.relative for pair in pairs}
        assigned, notes = self._assign(where, relative)
        splits = {entry.path: entry.split for entry in assigned}
        kept = [pair for pair in pairs if pair.clean in splits]
        facts = self._inspect(kept)
        # Shares may have parted files of the same audio: share out anew, with these joined.
        links = same_audio(facts[pair.clean] for pair in kept)
        if joins_splits(splits, links):
            assigned, notes = self._assign(where, relative, links)
        return kept, assigned, facts, notes

    def _assign(
        self, where: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        if self.split == ALL_TEST:
            said = f"data.split={ALL_TEST}: all pairs are test items"
            names = {path: str(place.parent) for path, place in relative.items()}
            return [
                Assigned(path, ALL_TEST, name, str(path), said) for path, name in names.items()
            ], []
        assigned, notes = assign_speech(
            where,
            relative,
            self.split,
            self.fractions,
            self.speakers,
            self.rules.seed,
            self.valid_speakers,
            links,
        )
        assigned, lent = lend_speakers(assigned, self.valid_share, self.rules.seed)
        return assigned, notes + lent

    def _inspect(self, pairs: Sequence[Pair]) -> dict[Path, FileFacts]:
        """Return what is known of both files of each pair."""
        noisy, clean = [pair.noisy for pair in pairs], [pair.clean for pair in pairs]
        if self.root is not None:
            both = [path for pair in pairs for path in (pair.noisy, pair.clean)]
            found = inspect_files(self.root, both, self.cache_dir)
        else:
            found = inspect_files(self.noisy_root or Path(), noisy, self.cache_dir)
            found += inspect_files(self.clean_root or Path(), clean, self.cache_dir)
        return {fact.path: fact for fact in found}

    def _pools(
        self,
        pairs: Sequence[Pair],
        places: Mapping[Path, Assigned],
        facts: Mapping[Path, FileFacts],
    ) -> dict[str, list[PairSource]]:
        """Return the pairs of each split, with noise and SNR where they are known."""
        known = read_conditions(self.conditions) if self.conditions else {}
        pools: dict[str, list[PairSource]] = {split: [] for split in SPLITS}
        for pair in pairs:
            place = places[pair.clean]
            noisy = Source.of(facts[pair.noisy], pair.relative, place)
            clean = Source.of(facts[pair.clean], pair.relative, place)
            noise, snr_db = known.get(bare_name(pair.noisy.name), (UNKNOWN_NOISE, None))
            pools[place.split].append(PairSource(noisy, clean, noise, snr_db))
        return pools

    def _refuse(self, pools: Mapping[str, Sequence[PairSource]], where: Path) -> None:
        """Refuse an empty split, and a test file that the list of conditions does not name."""
        needed = (ALL_TEST,) if self.split == ALL_TEST else SPLITS
        empty = [split for split in needed if not pools[split]]
        if empty:
            raise DataError(
                f"{where}: expected pairs for {' and '.join(needed)}, found none for "
                f"{', '.join(empty)}; add files or folders, or only score with "
                f"data.split={ALL_TEST}"
            )
        if self.conditions is None:
            return
        unnamed = [pair.noisy.path for pair in pools["test"] if pair.snr_db is None]
        if unnamed:
            raise DataError(
                f"{self.conditions}: expected a line for every test file, found none for "
                f"{first_names(unnamed)}; complete the list"
            )


def _place(path: str | Path | None) -> Path | None:
    return Path(path).expanduser() if path else None


def _apart_s(pair: Pair, facts: Mapping[Path, FileFacts]) -> float:
    """Return by how many seconds the two files of a pair differ in length."""
    return abs(facts[pair.noisy].duration_s - facts[pair.clean].duration_s)


def _both_sides(pools: Mapping[str, Sequence[PairSource]]) -> list[Source]:
    pairs = [pair for pool in pools.values() for pair in pool]
    return [side for pair in pairs for side in (pair.noisy, pair.clean)]


def _usable(
    pairs: Sequence[Pair], facts: Mapping[Path, FileFacts], bad: set[Path]
) -> tuple[list[Pair], list[str]]:
    """Return the pairs of good files, and a note on silent and short ones."""
    idle = set()
    for fact in facts.values():
        if fact.path not in bad and (fact.has("silent") or fact.duration_s < SHORTEST_SPEECH_S):
            idle.add(fact.path)
    usable = [pair for pair in pairs if not {pair.noisy, pair.clean} & (bad | idle)]
    if not idle:
        return usable, []
    what = f"{len(idle)} silent or short files (below {SHORTEST_SPEECH_S:g} s) are not used"
    return usable, [f"{what}: {first_names(sorted(idle))}"]


def _mismatches(
    pairs: Sequence[Pair], facts: Mapping[Path, FileFacts], rule: LengthRule
) -> list[Finding]:
    """Return an error for each pair of good files that differ in rate or length."""
    found = []
    for pair in pairs:
        noisy, clean = facts[pair.noisy], facts[pair.clean]
        differ = rule.fault((noisy.sample_rate, noisy.frames), (clean.sample_rate, clean.frames))
        if differ and not noisy.errors and not clean.errors:
            found.append(Finding(pair.noisy, "error", "length", differ))
    return found

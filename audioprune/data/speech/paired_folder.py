"""The corpus of recordings that are there twice, noisy and clean, such as VoiceBank-DEMAND.

It gives pairs their splits and cuts items from them; how pairs are found stands in pairing.py, and
nothing is mixed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch.utils.data import Dataset

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
from audioprune.data.speech.mixing import MixingRules, audible_start, collate, condition_name
from audioprune.data.speech.pairing import LengthRule, Pair, find_pairs, read_conditions
from audioprune.data.splits.assign import Assigned, assign_speech, lend_speakers, share_out
from audioprune.data.splits.folders import SPLITS, below_splits
from audioprune.data.splits.leaks import (
    Member,
    copies,
    joins_splits,
    same_audio,
    speech_keys,
    suspected,
)
from audioprune.data.splits.recordings import NAME_RULE, Links
from audioprune.data.splits.sources import (
    SHORTEST_SPEECH_S,
    Source,
    refuse_leaks,
    speaker_notes,
    speech_size,
    split_rules,
)
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.dsp import rms_gain
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256
from audioprune.ranges import NoKey, OneOf, Range

_ANY_NOISE = "recorded"


@dataclass(frozen=True)
class PairSource:
    """A pair that may be used.

    Attributes:
        noisy: The noisy file.
        clean: The clean file; its group is the speaker.
        noise: Name of the noise, ``"recorded"`` when unknown.
        snr_db: SNR in dB, None when unknown.
    """

    noisy: Source
    clean: Source
    noise: str = _ANY_NOISE
    snr_db: float | None = None

    def record(self) -> dict[str, Any]:
        """Return what a manifest says of the pair."""
        place = {
            "split": self.clean.split,
            "speaker": self.clean.group,
            "noise": self.noise,
            "snr_db": self.snr_db,
        }
        sides = {
            name: {"path": side.relative, "sha256": side.sha256, "duration_s": side.duration_s}
            for name, side in (("noisy", self.noisy), ("clean", self.clean))
        }
        return {"kind": "pair", **place, **sides}


class Pairs(Dataset):
    """Items of noisy and clean recordings.

    Item: ``noisy`` and ``clean`` (T,) float32, ``id``, ``noise``, ``snr_db`` (None if unknown),
    ``speaker``, ``gender`` (``"F"``, ``"M"``, empty if unknown).

    Args:
        sources: The pairs.
        store: Where the samples come from.
        rules: Seed, level and lengths.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        genders: Gender of the speakers that it is known of.
    """

    def __init__(
        self,
        sources: Sequence[PairSource],
        store: AudioStore,
        rules: MixingRules,
        split: str,
        genders: Mapping[str, str] | None = None,
    ) -> None:
        self.sources = sources
        self.store = store
        self.rules = rules
        self.split = split
        self.genders = genders or {}
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose random parts follow; call it before the loader starts its workers."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self.sources[index]
        noisy, clean = (
            self.store.whole(side.path).astype(np.float64) for side in (source.noisy, source.clean)
        )
        shortest = min(len(noisy), len(clean))
        noisy, clean = noisy[:shortest], clean[:shortest]
        start, length = self._part(clean, source.clean.level, index)
        noisy, clean = noisy[start : start + length], clean[start : start + length]
        gain = float(rms_gain(noisy)) if self.rules.rms_normalise else 1.0
        return {
            "noisy": torch.from_numpy((gain * noisy).astype(np.float32)),
            "clean": torch.from_numpy((gain * clean).astype(np.float32)),
            "id": f"{index:06d}_{Path(source.noisy.relative).stem}",
            "noise": source.noise,
            "snr_db": source.snr_db,
            "speaker": source.clean.group,
            "gender": self.genders.get(source.clean.group, ""),
        }

    def _part(self, clean: np.ndarray, level: float, index: int) -> tuple[int, int]:
        limit_s = self.rules.segment_s if self.split == "train" else self.rules.max_test_s
        length = (
            len(clean)
            if limit_s is None
            else min(len(clean), round(limit_s * self.rules.sample_rate))
        )
        epoch = self.epoch if self.split == "train" and self.rules.fresh_each_epoch else 0
        rng = np.random.default_rng([self.rules.seed, SPLITS.index(self.split), index, epoch])
        return audible_start(clean, length, level, rng), length


@dataclass(frozen=True, kw_only=True)
class _Found(Found):
    """Also the pairs of each split and the facts of their clean files."""

    pools: dict[str, list[PairSource]]
    store: AudioStore
    facts: list[FileFacts]


def pool_size(pool: Sequence[PairSource]) -> dict[str, Any]:
    """Return hours, speakers and utterances of the clean side of some pairs."""
    hours = sum(source.clean.duration_s for source in pool) / 3600
    speakers = len({source.clean.group for source in pool})
    return {"hours": round(hours, 4), "speakers": speakers, "utterances": len(pool)}


def pair_records(pools: Mapping[str, Sequence[PairSource]]) -> list[Record]:
    """Return what a manifest says of the pairs of all splits."""
    pairs = [source for pool in pools.values() for source in pool]
    return [{**source.record(), "together": source.clean.together} for source in pairs]


def pair_leaks(
    pools: Mapping[str, Sequence[PairSource]], facts: Sequence[FileFacts]
) -> list[Finding]:
    """Return what is suspected to be in several splits of pairs."""
    sources = [source.clean for pool in pools.values() for source in pool]
    keys = speech_keys({source.path: below_splits(Path(source.relative)) for source in sources})
    members = [Member(source.path, source.split, keys.get(source.path, {})) for source in sources]
    return suspected(members, list(copies(facts)))


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
        split: As in NoisyMixtures.
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
        share_out(("a", "b", "c"), fractions, seed, "names")
        self.most = {"train": train_mixtures, "valid": valid_mixtures, "test": test_mixtures}
        for name, count in self.most.items():
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ConfigError(
                    f"expected {name}_mixtures of at least 1, or null for all, got {count}; "
                    f"correct it"
                )
        self.root, self.noisy_root, self.clean_root, self.conditions = (
            Path(path).expanduser() if path else None
            for path in (root, noisy_root, clean_root, conditions)
        )
        self.split = split
        self.fractions = tuple(fractions)
        self.valid_speakers = tuple(valid_speakers)
        self.valid_share = valid_share

    def train(self) -> Pairs:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        ready = self._ready()
        ready.store.preload(
            [side.path for source in ready.pools["train"] for side in (source.noisy, source.clean)]
        )
        return self._items("train")

    def valid(self) -> Pairs:
        """Return the validation items."""
        return self._items("valid")

    def tests(self) -> dict[str, Pairs]:
        """Return the items of every test condition by name."""
        ready = self._ready()
        conditions: dict[str, list[PairSource]] = {}
        for source in ready.pools["test"]:
            name = (
                source.noise
                if source.snr_db is None
                else condition_name(source.noise, source.snr_db)
            )
            conditions.setdefault(name, []).append(source)
        most = self.most["test"]
        return {
            name: Pairs(conditions[name][:most], ready.store, self.rules, "test")
            for name in sorted(conditions)
        }

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of the rules."""
        ready = self._ready()
        pairs = [
            [side.identity() for side in (s.noisy, s.clean)] + [s.noise, s.snr_db]
            for p in ready.pools.values()
            for s in p
        ]
        return sha256(json.dumps([asdict(self.rules), self.most, pairs], sort_keys=True).encode())

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"sample_rate": self.sample_rate, "seed": self.rules.seed}
        for split, pool in self._ready().pools.items():
            facts[split] = pool_size(pool)
        return {**facts, "conditions": {name: len(items) for name, items in self.tests().items()}}

    def scale(self) -> str:
        """Return the size of the training speech in a few words, such as ``paired_folder, 9.4 h, 28 speakers``."""
        return speech_size(
            self.title,
            [source.clean for source in self._ready().pools["train"][: self.most["train"]]],
            self.speakers,
        )

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits: speakers by their names, copies by ear."""
        return pair_leaks(self._ready().pools, self._ready().facts)

    def sources(self) -> list[Record]:
        """Return a record of every pair."""
        return pair_records(self._ready().pools)

    def _rules(self) -> dict[str, Any]:
        return {"rules": asdict(self.rules)}

    def _items(self, split: str) -> Pairs:
        ready = self._ready()
        return Pairs(ready.pools[split][: self.most[split]], ready.store, self.rules, split)

    def _find(self) -> _Found:
        pairs, problems = find_pairs(self.root, self.noisy_root, self.clean_root)
        where = self.root or self.clean_root or Path()
        relative = {pair.clean: pair.relative for pair in pairs}
        assigned, notes = self._assign(where, relative)
        places = {entry.path: entry for entry in assigned}
        pairs = [pair for pair in pairs if pair.clean in places]
        facts = self._inspect(pairs)
        links = same_audio(facts[pair.clean] for pair in pairs)
        if joins_splits({path: entry.split for path, entry in places.items()}, links):
            assigned, notes = self._assign(where, relative, links)
            places = {entry.path: entry for entry in assigned}
        problems += [finding for fact in facts.values() for finding in fact.errors] + _mismatches(
            pairs, facts, self.lengths
        )
        stop_or_skip(
            where,
            [FileFacts(finding.path, findings=(finding,)) for finding in problems],
            self.on_bad_file,
        )
        usable, more = _usable(pairs, facts, {finding.path for finding in problems})
        more += self.lengths.note(
            [abs(facts[pair.noisy].duration_s - facts[pair.clean].duration_s) for pair in usable]
        )
        known = read_conditions(self.conditions) if self.conditions else {}
        pools: dict[str, list[PairSource]] = {split: [] for split in SPLITS}
        for pair in usable:
            place = places[pair.clean]
            noisy, clean = (
                _source(facts[path], pair.relative, place) for path in (pair.noisy, pair.clean)
            )
            pools[place.split].append(
                PairSource(
                    noisy, clean, *known.get(bare_name(pair.noisy.name), (_ANY_NOISE, None))
                )
            )
        self._refuse(pools, where)
        used = [facts[path] for pair in usable for path in (pair.noisy, pair.clean)]
        leaks = refuse_leaks(
            used,
            [
                side
                for pool in pools.values()
                for source in pool
                for side in (source.noisy, source.clean)
            ],
        )
        return _Found(
            notes=[
                *speaker_notes(self.speakers),
                *notes,
                *more,
                *conversion_notes(used, self.sample_rate),
                *leaks,
                *left_out_notes(problems),
            ],
            skipped=problems,
            split_rules=[NAME_RULE, *split_rules("speech", assigned)],
            pools=pools,
            store=AudioStore(self.sample_rate, self.memory_bytes),
            facts=[facts[pair.clean] for pair in usable],
        )

    def _assign(
        self, where: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        seed = self.rules.seed
        assigned, notes = assign_speech(
            where,
            relative,
            self.split,
            self.fractions,
            self.speakers,
            seed,
            self.valid_speakers,
            links,
        )
        assigned, lent = lend_speakers(assigned, self.valid_share, seed)
        return assigned, notes + lent

    def _inspect(self, pairs: Sequence[Pair]) -> dict[Path, FileFacts]:
        if self.root is not None:
            paths = [path for pair in pairs for path in (pair.noisy, pair.clean)]
            return {fact.path: fact for fact in inspect_files(self.root, paths, self.cache_dir)}
        facts: dict[Path, FileFacts] = {}
        for root, paths in (
            (self.noisy_root, [pair.noisy for pair in pairs]),
            (self.clean_root, [pair.clean for pair in pairs]),
        ):
            facts |= {
                fact.path: fact for fact in inspect_files(root or Path(), paths, self.cache_dir)
            }
        return facts

    def _refuse(self, pools: Mapping[str, Sequence[PairSource]], where: Path) -> None:
        empty = [split for split, pool in pools.items() if not pool]
        if empty:
            raise DataError(
                f"{where}: expected pairs for train, valid and test, found none for "
                f"{', '.join(empty)}; add files or folders"
            )
        unnamed = [
            source.noisy.path
            for source in pools["test"]
            if self.conditions and source.snr_db is None
        ]
        if unnamed:
            raise DataError(
                f"{self.conditions}: expected a line for every test file, found none for "
                f"{first_names(unnamed)}; complete the list"
            )


def _usable(
    pairs: Sequence[Pair], facts: Mapping[Path, FileFacts], bad: set[Path]
) -> tuple[list[Pair], list[str]]:
    """Return the pairs of good files, and a note on silent and short ones."""
    idle = {
        fact.path
        for fact in facts.values()
        if fact.has("silent") or fact.duration_s < SHORTEST_SPEECH_S
    } - bad
    listed = first_names(sorted(idle))
    notes = (
        [
            f"{len(idle)} silent or short files (below {SHORTEST_SPEECH_S:g} s) are not used: "
            f"{listed}"
        ]
        if idle
        else []
    )
    return [pair for pair in pairs if not {pair.noisy, pair.clean} & (bad | idle)], notes


def _mismatches(
    pairs: Sequence[Pair], facts: Mapping[Path, FileFacts], rule: LengthRule
) -> list[Finding]:
    found = []
    for pair in pairs:
        noisy, clean = facts[pair.noisy], facts[pair.clean]
        differ = rule.fault((noisy.sample_rate, noisy.frames), (clean.sample_rate, clean.frames))
        if differ and not noisy.errors and not clean.errors:
            found.append(Finding(pair.noisy, "error", "length", differ))
    return found


def _source(fact: FileFacts, relative: Path, place: Assigned) -> Source:
    return Source(
        fact.path,
        relative.as_posix(),
        place.split,
        place.group,
        fact.sha256,
        fact.duration_s,
        fact.level,
        place.together,
    )

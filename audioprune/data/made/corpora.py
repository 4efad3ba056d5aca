"""A corpus of made signals that claims the counts of a published one: ``made_corpus``.

It takes the rates, lengths and numbers of the configured corpus, whose files are never opened. An
item is a function of split and index alone. It is the corpus of a rehearsal; nothing that
is trained on it is a result.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from audioprune.data.coded.corpus import CodedSpeech
from audioprune.data.coded.segments import segment_starts
from audioprune.data.made import signals
from audioprune.data.made.published import PUBLISHED, Published
from audioprune.data.notes.corpus import NoteCorpus
from audioprune.data.scenes.corpora import TutScenes
from audioprune.data.speech.mixing import condition_name
from audioprune.data.speech.wsj0_mix import Wsj0Mix
from audioprune.errors import ConfigError
from audioprune.files import sha256
from audioprune.protocols import Collate

Item = dict[str, Any]
Make = Callable[[int, np.random.Generator], Item]


class MadeItems:
    """Items of one split: item i is made anew from the split's name and i."""

    def __init__(self, name: str, count: int, make: Make, classes: Sequence[str] = ()) -> None:
        self.name, self.count, self.make, self.classes = name, count, make, tuple(classes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index below {self.count}, got {index}")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), index])
        return {**self.make(index, rng), "id": f"{index:06d}_made"}


@dataclass
class MadeCorpus:
    """Made signals with the counts of a published corpus.

    Attributes:
        title: Name in tables.
        sample_rate: In Hz.
        splits: Items of train and valid.
        conditions: Test items of each condition.
        collate: Joins items to a batch.
        facts: What task and model must agree with.
        source: Where the counts are printed.
        families: Names of the families of notes.
        instruments: Names of the instruments of notes.
    """

    title: str
    sample_rate: int
    splits: Mapping[str, MadeItems]
    conditions: Mapping[str, MadeItems]
    collate: Collate
    facts: Mapping[str, Any]
    source: str
    families: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        """Do nothing: there are no files."""

    def train(self) -> MadeItems:
        """Return the training items."""
        return self.splits["train"]

    def valid(self) -> MadeItems:
        """Return the validation items."""
        return self.splits["valid"]

    def tests(self) -> Mapping[str, MadeItems]:
        """Return the test items by condition."""
        return self.conditions

    def fingerprint(self) -> str:
        """Return a hash that no real corpus has."""
        return sha256(f"made {self.title} {self.describe()}".encode())

    def describe(self) -> dict[str, Any]:
        """Return the counts, and where they are printed."""
        counts = {name: len(items) for name, items in self.splits.items()}
        tests = {name: len(items) for name, items in self.conditions.items()}
        return {"name": self.title, **counts, "conditions": tests, "counts_of": self.source}

    def scale(self) -> str:
        """Say that the signals are made."""
        return f"rehearsal with made signals, {len(self.train())} items as {self.title} has"

    def shared(self) -> dict[str, Any]:
        """Return the numbers that task and model must agree with."""
        return {"sample_rate": self.sample_rate, **self.facts}

    def leaks(self) -> list[Any]:
        """Return nothing."""
        return []

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus."""
        return [{"kind": "corpus", **self.describe()}]


def made_corpus(name: str, corpus: Any) -> MadeCorpus:
    """Return made signals in place of a corpus that is configured but not at hand.

    Args:
        name: Name of the option in ``conf/data``.
        corpus: The corpus that the configuration builds; it is not prepared.

    Raises:
        ConfigError: No size of such a corpus is published, so that its files are needed.
    """
    published = PUBLISHED.get(name)
    if published is not None and isinstance(corpus, Wsj0Mix):
        return _mixtures(corpus, published)
    if published is not None and isinstance(corpus, CodedSpeech):
        return _coded(corpus, published)
    if published is not None and isinstance(corpus, NoteCorpus):
        return _notes(corpus, published)
    if published is not None and isinstance(corpus, TutScenes):
        return _scenes(corpus, published)
    raise ConfigError(
        f"data={name}: expected its files, or a corpus of published size ({', '.join(PUBLISHED)}) "
        f"for made signals in their place; give the paths of the corpus"
    )


def _mixtures(corpus: Wsj0Mix, published: Published) -> MadeCorpus:
    rules, own = corpus.inner.rules, corpus.own_counts
    whole = round(published.mean_s * rules.sample_rate)

    def make(training: bool, snr_db: float) -> Make:
        length = rules.length(whole, training)

        def item(index: int, rng: np.random.Generator) -> Item:
            clean = signals.voice(length, rules.sample_rate, rng)
            added = signals.noise(length, 0.1 * 10 ** (-snr_db / 20), rng)
            return {**_pair(clean + added, clean), "noise": "made", "snr_db": snr_db}

        return item

    low = rules.train_snr_db[0]
    count = own["test"] or published.test
    conditions = {}
    for noise in published.noises:
        for snr_db in rules.test_snr_db:
            name = condition_name(noise, snr_db)
            conditions[name] = MadeItems(name, count, make(False, snr_db))
    splits = {
        "train": MadeItems("train", own["train"] or published.train, make(True, low)),
        "valid": MadeItems("valid", own["valid"] or published.valid, make(False, low)),
    }
    collate, rate = corpus.inner.collate, rules.sample_rate
    return MadeCorpus(corpus.title, rate, splits, conditions, collate, {}, published.source)


def _coded(corpus: CodedSpeech, published: Published) -> MadeCorpus:
    rules = corpus.rules
    whole = round(published.mean_s * rules.sample_rate)

    def make(length: int) -> Make:
        def item(index: int, rng: np.random.Generator) -> Item:
            clean = signals.voice(length, rules.sample_rate, rng)
            pair = _pair(clean + signals.noise(length, 0.01, rng), clean)
            return {**pair, "noise": corpus.coding.label, "snr_db": None}

        return item

    length = rules.whole.length(whole, False)
    segments = published.train * len(segment_starts(whole, rules.segment, rules.hop))
    valid = min(rules.valid_items or published.valid, published.valid)
    test = min(rules.test_items or published.test, published.test)
    splits = {
        "train": MadeItems("train", rules.train_segments or segments, make(rules.segment)),
        "valid": MadeItems("valid", valid, make(length)),
    }
    conditions = {corpus.coding.label: MadeItems("test", test, make(length))}
    facts = {"frame_length": corpus.segment}
    rate, collate = rules.sample_rate, corpus.collate
    return MadeCorpus(corpus.title, rate, splits, conditions, collate, facts, published.source)


def _pair(noisy: np.ndarray, clean: np.ndarray) -> Item:
    return {"noisy": torch.from_numpy(noisy), "clean": torch.from_numpy(clean)}


def _notes(corpus: NoteCorpus, published: Published) -> MadeCorpus:
    whole, rate = corpus.store.length, corpus.sample_rate
    low, high = published.pitches

    def make(length: int) -> Make:
        def item(index: int, rng: np.random.Generator) -> Item:
            pitch = low + index % (high - low + 1)
            return {
                "audio": torch.from_numpy(signals.tone(length, rate, pitch)),
                "instrument": index % published.instruments,
                "family": index % published.families,
                "pitch": pitch,
                "velocity": 100,
                "length": length,
            }

        return item

    part = corpus.item_samples
    splits = {
        "train": MadeItems("train", published.train, make(part)),
        "valid": MadeItems("valid", published.valid, make(part)),
    }
    facts = {
        "pitches": [low, high],
        "families": published.families,
        "instruments": published.instruments,
        "item_samples": part,
    }
    conditions = {"test": MadeItems("test", published.test, make(whole))}
    return MadeCorpus(
        corpus.title,
        rate,
        splits,
        conditions,
        corpus.collate,
        facts,
        published.source,
        families=tuple(f"family {number}" for number in range(published.families)),
        instruments=tuple(f"instrument {number}" for number in range(published.instruments)),
    )


def _scenes(corpus: TutScenes, published: Published) -> MadeCorpus:
    features, classes = corpus.features, corpus.classes

    def item(index: int, rng: np.random.Generator) -> Item:
        made = torch.from_numpy(signals.spectra(features.shape, rng))
        return {"features": made, "label": index % len(classes)}

    counts = {"train": published.train, "valid": published.valid, "test": published.test}
    if corpus.hold_out:
        counts["train"] -= published.valid
    items = {name: MadeItems(name, count, item, classes) for name, count in counts.items()}
    facts = {
        "classes": len(classes),
        "mels": features.mels,
        "frames_per_second": features.sample_rate / features.hop_length,
        "channels": features.shape[0],
    }
    splits = {name: items[name] for name in ("train", "valid")}
    tests, collate = {"test": items["test"]}, corpus.inner.collate
    return MadeCorpus(
        corpus.title, corpus.sample_rate, splits, tests, collate, facts, published.source
    )

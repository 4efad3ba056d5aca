"""How listed clips of scenes become checked, normalised items of three sets: ``SceneCorpus``.

Which clips there are is decided in lists.py and its neighbours; what a model sees of them is in
features.py; the corpora with names are in corpora.py.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import (
    doubled_notes,
    left_out_notes,
    rate_notes,
    refuse_doubled,
    stop_or_skip,
    warning_notes,
)
from audioprune.data.scenes.features import FeatureStore, Normalisation, SceneFeatures
from audioprune.data.scenes.lists import SceneClip, SceneList, shared_recordings
from audioprune.data.scenes.reading import Reading
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.leaks import Member, copies, joins_splits, same_audio, suspected
from audioprune.data.splits.recordings import NAME_RULE, Links
from audioprune.errors import DataError
from audioprune.files import sha256
from audioprune.interrupts import check_stop
from audioprune.progress import track

_WORKERS = 4
_ODD_LENGTH_S = 0.05
"""Clips whose length differs by more than this are mentioned."""


@dataclass(frozen=True)
class SceneSource:
    """A clip that may be used.

    Attributes:
        clip: The clip and its place.
        sha256: Hash of the file's bytes.
        duration_s: Length of the file in seconds.
    """

    clip: SceneClip
    sha256: str
    duration_s: float

    def record(self) -> Record:
        """Return what a manifest says of the clip."""
        return {
            "kind": "clip",
            "split": self.clip.split,
            "path": self.clip.relative,
            "label": self.clip.label,
            "recording": self.clip.recording,
            "sha256": self.sha256,
            "duration_s": self.duration_s,
        }


class SceneSet(Dataset[dict[str, Any]]):
    """Items of one split: ``features`` (2, M, N) float32, normalised, ``label`` and ``id``.

    Args:
        sources: The clips.
        store: Where features come from.
        normalisation: Of the training set.
        classes: Names of the classes; a label is a place in this order.
    """

    def __init__(
        self,
        sources: Sequence[SceneSource],
        store: FeatureStore,
        normalisation: Normalisation,
        classes: Sequence[str],
    ) -> None:
        self.sources = sources
        self.store = store
        self.normalisation = normalisation
        self.classes = tuple(classes)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self.sources[index]
        features = self.normalisation.apply(self.store.get(source.clip.path, source.sha256))
        return {
            "features": torch.from_numpy(features),
            "label": self.classes.index(source.clip.label),
            "id": source.clip.relative,
        }


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items to a batch: ``features`` (B, 2, M, N), ``label`` (B,) int64, the list ``id``."""
    return {
        "features": torch.stack([item["features"] for item in items]),
        "label": torch.tensor([item["label"] for item in items]),
        "id": [item["id"] for item in items],
    }


@dataclass(frozen=True, kw_only=True)
class FoundScenes(Found):
    """What a corpus of scenes found.

    Attributes:
        scenes: The list of clips.
        pools: The usable clips of each split.
        normalisation: Of the training features.
        facts: Facts of all usable files.
    """

    scenes: SceneList
    pools: dict[str, list[SceneSource]]
    normalisation: Normalisation
    facts: list[FileFacts]


class SceneCorpus(FileCorpus[FoundScenes]):
    """A corpus of scenes from any list of clips.

    Args:
        list_clips: Gives the clips with their splits; called again with the files of the same
            audio where shares have parted them.
        features: What a model sees of a clip.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where features and results of file checks are kept; empty for the user's cache
            folder.
        memory_mb: Most megabytes of features kept in memory.
        title: Name in tables.

    Attributes:
        sample_rate: Rate at which features are computed, in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.
    """

    usual_memory_mb = 1024
    collate = staticmethod(collate)

    def __init__(
        self,
        list_clips: Callable[[Links], SceneList],
        features: SceneFeatures,
        *,
        on_bad_file: str = "stop",
        cache_dir: str = "",
        memory_mb: float = 1024.0,
        title: str = "scenes",
    ) -> None:
        super().__init__(
            title,
            features.sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        self.list_clips = list_clips
        self.features = features
        self.store = FeatureStore(features, self.cache_dir, self.memory_bytes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label is a place in this order."""
        return self._ready().scenes.classes

    def train(self) -> SceneSet:
        """Return the training items."""
        return self._items("train")

    def valid(self) -> SceneSet:
        """Return the validation items."""
        return self._items("valid")

    def tests(self) -> dict[str, SceneSet]:
        """Return the test items, under the name ``"test"``."""
        return {"test": self._items("test")}

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; a label is a place in this order."""
        return self.classes

    def features_of(self, path: Path) -> Tensor:
        """Return the features (2, M, N) of any recording, normalised as those of training.

        Raises:
            DataError: It cannot be decoded.
        """
        return self._reading().features_of(path)

    def reading(self) -> dict[str, Any]:
        """Return what a model file has to say so that recordings are read without the corpus."""
        return self._reading().facts()

    def _reading(self) -> Reading:
        return Reading(self.classes, self.features, self._ready().normalisation)

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content, label and use, and of the features."""
        found = self._ready()
        rows = []
        for split in SPLITS:
            for source in found.pools[split]:
                clip = source.clip
                rows.append([split, clip.relative, clip.label, clip.recording, source.sha256])
        return sha256(json.dumps([self.features.key(), list(found.scenes.classes), rows]).encode())

    def scale(self) -> str:
        """Return the size of the training set, such as ``x, 600 clips of 3 s, 10 classes``."""
        found = self._ready()
        partial = f" (partial: {found.scenes.missing})" if found.scenes.missing else ""
        size = f"{len(found.pools['train'])} clips of {self.features.duration_s:g} s"
        return f"{self.title}{partial}, {size}, {len(found.scenes.classes)} classes"

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with: rate, classes, and the shape of features."""
        features = self.features
        return {
            **super().shared(),
            "classes": len(self.classes),
            "mels": features.mels,
            "frames_per_second": features.sample_rate / features.hop_length,
            "channels": features.shape[0],
        }

    def leaks(self) -> list[Finding]:
        """Return suspected leaks: recordings by their names or lists, and copies by ear."""
        found = self._ready()
        clips = [source.clip for split in SPLITS for source in found.pools[split]]
        members = [Member(clip.path, clip.split, {"recording": clip.recording}) for clip in clips]
        return suspected(members, list(copies(found.facts)))

    def sources(self) -> list[Record]:
        """Return a record of every clip."""
        pools = self._ready().pools
        return [source.record() for split in SPLITS for source in pools[split]]

    def _facts(self) -> dict[str, Any]:
        """Return classes, features, the size of each split, and what is missing of a corpus."""
        found = self._ready()
        classes = found.scenes.classes
        features = {**asdict(self.features), "shape": list(self.features.shape)}
        sizes = {split: _size(found.pools[split], classes) for split in SPLITS}
        return {
            "classes": list(classes),
            "features": features,
            **sizes,
            "missing": found.scenes.missing,
        }

    def _items(self, split: str) -> SceneSet:
        found = self._ready()
        return SceneSet(found.pools[split], self.store, found.normalisation, found.scenes.classes)

    def _find(self) -> FoundScenes:
        """Inspect the files, compute features that are not known yet, and their normalisation.

        Raises:
            DataError: Folders, lists or files are missing or wrong, or test audio is in another
                split.
        """
        scenes = self.list_clips(())
        paths = sorted({clip.path for clip in scenes.clips})
        facts = {fact.path: fact for fact in inspect_files(scenes.root, paths, self.cache_dir)}
        skipped = stop_or_skip(scenes.root, list(facts.values()), self.on_bad_file)
        usable = [fact for fact in facts.values() if not fact.errors]
        # Files of the same audio must not be parted: where they are, the clips are listed anew.
        links = same_audio(usable)
        if joins_splits(_first_splits(scenes), links):
            scenes = self.list_clips(links)
        notes = [
            *scenes.notes,
            *_sharing_notes(scenes, usable),
            *_file_notes(usable, self.features),
            *left_out_notes(skipped),
        ]
        pools = _pools(scenes, facts)
        _compute(self.store, [source for pool in pools.values() for source in pool], self.title)
        return FoundScenes(
            notes=notes,
            skipped=skipped,
            split_rules=[NAME_RULE, scenes.rule],
            scenes=scenes,
            pools=pools,
            normalisation=self._normalisation(pools["train"]),
            facts=usable,
        )

    def _normalisation(self, training: Sequence[SceneSource]) -> Normalisation:
        """Return the normalisation of the training features, measured once for these files."""
        known_as = sha256(json.dumps([source.sha256 for source in training]).encode())
        features = (self.store.get(source.clip.path, source.sha256) for source in training)
        return self.store.normalisation(known_as, lambda: features)


def _size(pool: Sequence[SceneSource], classes: Sequence[str]) -> dict[str, Any]:
    counts = Counter(source.clip.label for source in pool)
    return {
        "clips": len(pool),
        "hours": round(sum(source.duration_s for source in pool) / 3600, 4),
        "recordings": len({source.clip.recording for source in pool}),
        "per_class": {label: counts[label] for label in classes},
    }


def _pools(scenes: SceneList, facts: Mapping[Path, FileFacts]) -> dict[str, list[SceneSource]]:
    """Return the usable clips of each split.

    Raises:
        DataError: A split has none.
    """
    pools: dict[str, list[SceneSource]] = {split: [] for split in SPLITS}
    for clip in scenes.clips:
        fact = facts[clip.path]
        if not fact.errors:
            pools[clip.split].append(SceneSource(clip, fact.sha256, fact.duration_s))
    empty = [split for split, pool in pools.items() if not pool]
    if empty:
        raise DataError(
            f"{scenes.root}: expected clips for train, valid and test, found none for "
            f"{', '.join(empty)}; add clips"
        )
    return pools


def _compute(store: FeatureStore, sources: Sequence[SceneSource], title: str) -> None:
    """Compute the features that are not stored yet, several files at once.

    What is done survives an interruption.
    """
    fresh = {source.sha256: source.clip.path for source in sources if not store.has(source.sha256)}
    if not fresh:
        return
    store.features.warm_up()
    with ThreadPoolExecutor(min(_WORKERS, len(os.sched_getaffinity(0)))) as pool:
        try:
            done = pool.map(lambda item: store.get(item[1], item[0]), fresh.items())
            for _ in track(done, f"features of {title}", len(fresh)):
                check_stop()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _first_splits(scenes: SceneList) -> dict[Path, str]:
    """Return the split of each file; what both trains and validates counts as training."""
    order = sorted(scenes.clips, key=lambda clip: SPLITS.index(clip.split))
    return {clip.path: clip.split for clip in reversed(order)}


def _sharing_notes(scenes: SceneList, facts: Sequence[FileFacts]) -> list[str]:
    """Refuse test audio in another split; return notes on recordings in both and on doubled files.

    Raises:
        DataError: A file, or the same audio in another file, is in test and in training or
            validation.
    """
    splits = _first_splits(scenes)
    for clip in scenes.clips:
        if clip.split == "test" and splits[clip.path] != "test":
            raise DataError(
                f"expected each file in one split, got {clip.relative} in {splits[clip.path]} "
                f"and test; correct the lists"
            )
    found = list(doubled(facts, splits))
    refuse_doubled(found)
    notes = doubled_notes(found)
    shared = shared_recordings(scenes.clips)
    if shared:
        few = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        notes.append(
            f"{len(shared)} recordings are in test and in training, which makes the test "
            f"optimistic: {few}"
        )
    return notes


def _file_notes(facts: Sequence[FileFacts], features: SceneFeatures) -> list[str]:
    """Return one note on rates, on channels, on lengths and on each other kind of warning."""
    return [
        *_shape_notes(facts, features.duration_s),
        *rate_notes(facts, features.sample_rate),
        *warning_notes(facts),
    ]


def _shape_notes(facts: Sequence[FileFacts], duration_s: float) -> list[str]:
    shortest, longest = duration_s - _ODD_LENGTH_S, duration_s + _ODD_LENGTH_S
    mono = sum(fact.channels == 1 for fact in facts)
    several = sum(fact.channels > 2 for fact in facts)
    short = sum(fact.duration_s < shortest for fact in facts)
    long = sum(fact.duration_s > longest for fact in facts)
    counts = {
        "are mono; both channels of their features are equal": mono,
        "have more than two channels, which are averaged": several,
        f"are shorter than {duration_s:g} s and are repeated": short,
        f"are longer than {duration_s:g} s; only their begin is used": long,
    }
    return [f"{count} of {len(facts)} files {what}" for what, count in counts.items() if count]

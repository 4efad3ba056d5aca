"""How listed clips of scenes become checked, normalised items of a training, a validation and a test set.

Which clips there are is decided in scene_lists.py, what a model sees of them in scene_features.py;
the corpora by name stand in scenes.py.
"""

from __future__ import annotations

import json
import logging
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

from audioprune.data.files.checks import FileFacts, Finding, doubled
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import (
    check_on_bad_file,
    first_names,
    log_notes,
    refuse_doubled,
    stop_or_skip,
)
from audioprune.data.scenes.features import FeatureStore, Normalisation, SceneFeatures
from audioprune.data.scenes.lists import SceneClip, SceneList, shared_recordings
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.leaks import Member, copies, joins_splits, same_audio, suspected
from audioprune.data.splits.recordings import NAME_RULE, Links
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256, write_atomic
from audioprune.interrupts import check_stop
from audioprune.progress import track

_LOG = logging.getLogger(__name__)
_WORKERS = 4
_ODD_LENGTH_S = 0.05


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


class SceneSet(Dataset):
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
    """Join items to a batch: ``features`` (B, 2, M, N), ``label`` (B,) int64 and the list ``id``."""
    features: Tensor = torch.stack([item["features"] for item in items])
    return {
        "features": features,
        "label": torch.tensor([item["label"] for item in items]),
        "id": [item["id"] for item in items],
    }


@dataclass(frozen=True)
class _Prepared:
    """What prepare() found."""

    scenes: SceneList
    pools: dict[str, list[SceneSource]]
    normalisation: Normalisation
    skipped: list[Finding]
    facts: list[FileFacts]


class SceneCorpus:
    """A corpus of scenes from any list of clips.

    Args:
        list_clips: Gives the clips with their splits; asked again with the files of the same audio
            if shares have parted them.
        features: What a model sees of a clip.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where features and results of file checks are kept; empty for the user's cache
            folder.
        memory_mb: Most megabytes of features kept in memory, in each process.
        title: Name in tables.

    Attributes:
        sample_rate: Rate at which features are computed, in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.
    """

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
        check_on_bad_file(on_bad_file)
        if not memory_mb >= 0:
            raise ConfigError(
                f"expected memory_mb of at least 0, got {memory_mb}; use for instance 1024"
            )
        self.list_clips = list_clips
        self.features = features
        self.sample_rate = features.sample_rate
        self.on_bad_file = on_bad_file
        self.cache_dir = cache_dir or ""
        self.title = title
        self.store = FeatureStore(features, self.cache_dir, round(memory_mb * 1e6))
        self.notes: list[str] = []
        self._prepared: _Prepared | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label is a place in this order."""
        return self._ready().scenes.classes

    def prepare(self) -> None:
        """Find and inspect the files, compute all features that are not known yet and their normalisation; once.

        Raises:
            DataError: Folders, lists or files are missing or wrong, or test audio is in another
                split.
        """
        self._ready()

    def train(self) -> SceneSet:
        """Return the training items."""
        return self._items("train")

    def valid(self) -> SceneSet:
        """Return the validation items."""
        return self._items("valid")

    def tests(self) -> dict[str, SceneSet]:
        """Return the test items, under the name ``"test"``."""
        return {"test": self._items("test")}

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content, label and use, and of the features."""
        ready = self._ready()
        rows = [
            [split, s.clip.relative, s.clip.label, s.clip.recording, s.sha256]
            for split in SPLITS
            for s in ready.pools[split]
        ]
        return sha256(json.dumps([self.features.key(), list(ready.scenes.classes), rows]).encode())

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus: clips, hours, recordings and clips per class of each split, features, files left out."""
        ready = self._ready()
        facts: dict[str, Any] = {
            "name": self.title,
            "scale": self.scale(),
            "classes": list(ready.scenes.classes),
        }
        facts["features"] = {**asdict(self.features), "shape": list(self.features.shape)}
        for split in SPLITS:
            pool = ready.pools[split]
            counts = Counter(source.clip.label for source in pool)
            facts[split] = {
                "clips": len(pool),
                "hours": round(sum(source.duration_s for source in pool) / 3600, 4),
                "recordings": len({source.clip.recording for source in pool}),
                "per_class": {label: counts[label] for label in ready.scenes.classes},
            }
        facts["missing"] = ready.scenes.missing
        facts["skipped"] = [finding.line() for finding in ready.skipped]
        facts["notes"] = self.notes
        return facts

    def scale(self) -> str:
        """Return the size of the training set in a few words, such as ``synthetic_scenes, 600 clips of 3 s, 10 classes``."""
        ready = self._ready()
        partial = f" (partial: {ready.scenes.missing})" if ready.scenes.missing else ""
        size = f"{len(ready.pools['train'])} clips of {self.features.duration_s:g} s"
        return f"{self.title}{partial}, {size}, {len(ready.scenes.classes)} classes"

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits: recordings by their names or lists, copies by ear."""
        ready = self._ready()
        clips = [source.clip for split in SPLITS for source in ready.pools[split]]
        return suspected(
            [Member(clip.path, clip.split, {"recording": clip.recording}) for clip in clips],
            list(copies(ready.facts)),
        )

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each clip."""
        ready = self._ready()
        head = {
            "kind": "corpus",
            "name": self.title,
            "fingerprint": self.fingerprint(),
            "split_rules": [NAME_RULE, ready.scenes.rule],
        }
        records: list[dict[str, Any]] = [head]
        for split in SPLITS:
            for source in ready.pools[split]:
                place = {
                    "split": split,
                    "path": source.clip.relative,
                    "label": source.clip.label,
                    "recording": source.clip.recording,
                }
                records.append(
                    {
                        "kind": "clip",
                        **place,
                        "sha256": source.sha256,
                        "duration_s": source.duration_s,
                    }
                )
        return records

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        return write_atomic(path, "".join(json.dumps(record) + "\n" for record in self.manifest()))

    def _items(self, split: str) -> SceneSet:
        ready = self._ready()
        return SceneSet(ready.pools[split], self.store, ready.normalisation, ready.scenes.classes)

    def _ready(self) -> _Prepared:
        if self._prepared is None:
            self._prepared = self._prepare()
            log_notes(self.notes, _LOG)
        return self._prepared

    def _prepare(self) -> _Prepared:
        scenes = self.list_clips(())
        facts = {
            fact.path: fact
            for fact in inspect_files(
                scenes.root, sorted({clip.path for clip in scenes.clips}), self.cache_dir
            )
        }
        skipped = stop_or_skip(scenes.root, list(facts.values()), self.on_bad_file)
        usable = [fact for fact in facts.values() if not fact.errors]
        links = same_audio(usable)
        if joins_splits(_first_splits(scenes), links):
            scenes = self.list_clips(links)
        self.notes = [
            *scenes.notes,
            *_sharing_notes(scenes, usable),
            *_file_notes(usable, self.features),
        ]
        if skipped:
            self.notes.append(
                f"{len(skipped)} bad files are left out: "
                f"{'; '.join(finding.line() for finding in skipped[:5])}"
            )
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
        _compute(self.store, [source for pool in pools.values() for source in pool], self.title)
        training = pools["train"]
        known_as = sha256(json.dumps([source.sha256 for source in training]).encode())
        clips = (self.store.get(source.clip.path, source.sha256) for source in training)
        return _Prepared(
            scenes, pools, self.store.normalisation(known_as, lambda: clips), skipped, usable
        )


def _compute(store: FeatureStore, sources: Sequence[SceneSource], title: str) -> None:
    """Compute the features that are not stored yet, several files at once; what is done survives an interruption."""
    fresh = {source.sha256: source.clip.path for source in sources if not store.has(source.sha256)}
    if not fresh:
        return
    store.features.warm_up()
    with ThreadPoolExecutor(min(_WORKERS, len(os.sched_getaffinity(0)))) as pool:
        try:
            for _ in track(
                pool.map(lambda item: store.get(item[1], item[0]), fresh.items()),
                f"features of {title}",
                len(fresh),
            ):
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
    notes = (
        [
            f"{len(found)} files hold the same audio as another: "
            f"{first_names(finding.path for finding in found)}"
        ]
        if found
        else []
    )
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
    rates = Counter(fact.sample_rate for fact in facts if fact.sample_rate != features.sample_rate)
    kinds = {
        "are mono; both channels of their features are equal": [
            fact for fact in facts if fact.channels == 1
        ],
        "have more than two channels, which are averaged": [
            fact for fact in facts if fact.channels > 2
        ],
        f"are shorter than {features.duration_s:g} s and are repeated": [
            fact for fact in facts if fact.duration_s < features.duration_s - _ODD_LENGTH_S
        ],
        f"are longer than {features.duration_s:g} s; only their begin is used": [
            fact for fact in facts if fact.duration_s > features.duration_s + _ODD_LENGTH_S
        ],
    }
    notes = [
        f"{len(found)} of {len(facts)} files {what}" for what, found in kinds.items() if found
    ]
    if rates:
        listed = ", ".join(f"{count} from {rate} Hz" for rate, count in sorted(rates.items()))
        notes.append(
            f"{sum(rates.values())} of {len(facts)} files are resampled to "
            f"{features.sample_rate} Hz ({listed})"
        )
    warnings = [
        finding for fact in facts for finding in fact.findings if finding.severity == "warning"
    ]
    for code in sorted({finding.code for finding in warnings}):
        same = [finding for finding in warnings if finding.code == code]
        notes.append(f"{len(same)} files with a warning, such as {same[0].path}: {same[0].reason}")
    return notes

"""Items that are cut from pairs of files, one noisy and one clean.

``Pairs`` is the set of items of one split: ``noisy`` and ``clean`` of shape (T,). An item depends
on the seed, the split, its index and the epoch alone. The corpora decide which pairs there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from audioprune.data.corpus import Record
from audioprune.data.files.audio import AudioStore
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.speech.mixing import audible_part, condition_name
from audioprune.data.speech.mixing_rules import MixingRules
from audioprune.data.splits.folders import SPLITS, below_splits
from audioprune.data.splits.leaks import Member, copies, speech_keys, suspected
from audioprune.data.splits.sources import Source
from audioprune.dsp import rms_gain

UNKNOWN_NOISE = "recorded"


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
    noise: str = UNKNOWN_NOISE
    snr_db: float | None = None

    @property
    def condition(self) -> str:
        """Name of the test condition: the noise, and the SNR where it is known."""
        return self.noise if self.snr_db is None else condition_name(self.noise, self.snr_db)

    def record(self) -> Record:
        """Return what a manifest says of the pair."""
        return {
            "kind": "pair",
            "split": self.clean.split,
            "speaker": self.clean.group,
            "noise": self.noise,
            "snr_db": self.snr_db,
            "noisy": _side(self.noisy),
            "clean": _side(self.clean),
        }


def _side(source: Source) -> Record:
    return {
        "path": source.relative,
        "sha256": source.sha256,
        "duration_s": source.duration_s,
    }


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
        """Choose the epoch, from 0, whose random parts follow."""
        self.epoch = epoch

    def preload(self) -> None:
        """Decode the files ahead, if they all fit into memory."""
        preload(self.store, self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.sources[index]
        clean, start = self._part(pair, index)
        noisy = self.store.excerpt(pair.noisy.path, start, len(clean)).astype(np.float64)
        # One gain for both, so that clean stays the speech within noisy.
        gain = float(rms_gain(noisy)) if self.rules.rms_normalise else 1.0
        return {
            "noisy": torch.from_numpy((gain * noisy).astype(np.float32)),
            "clean": torch.from_numpy((gain * clean).astype(np.float32)),
            "id": f"{index:06d}_{Path(pair.noisy.relative).stem}",
            "noise": pair.noise,
            "snr_db": pair.snr_db,
            "speaker": pair.clean.group,
            "gender": self.genders.get(pair.clean.group, ""),
        }

    def _part(self, pair: PairSource, index: int) -> tuple[np.ndarray, int]:
        """Return the clean samples of an item, shape (T,), and their first in the file."""
        training = self.split == "train"
        shortest = min(self.store.length(each.path) for each in (pair.noisy, pair.clean))
        length = self.rules.length(shortest, training)
        epoch = self.epoch if training and self.rules.fresh_each_epoch else 0
        rng = np.random.default_rng([self.rules.seed, SPLITS.index(self.split), index, epoch])

        def read(start: int, count: int) -> np.ndarray:
            return self.store.excerpt(pair.clean.path, start, count).astype(np.float64)

        return audible_part(read, shortest, length, pair.clean.level, rng)


def preload(store: AudioStore, pairs: Sequence[PairSource]) -> None:
    """Decode both files of each pair ahead, if they all fit into memory."""
    sides = [side for pair in pairs for side in (pair.noisy, pair.clean)]
    store.preload({side.path: side.duration_s for side in sides})


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

"""Training segments of coded and clean recordings, (T,) each: ``Segments`` and ``CodedRules``.

Which recordings there are is decided in corpus.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from audioprune.data.files.audio import AudioStore, Samples
from audioprune.data.speech.mixing_rules import MixingRules
from audioprune.data.speech.paired_items import PairSource, preload
from audioprune.data.splits.sources import Source
from audioprune.errors import ConfigError
from audioprune.ranges import Range

STREAM_ORDER = 5
"""Number of the random stream that orders recordings and segments."""


@dataclass(frozen=True)
class CodedRules:
    """Everything that decides an item besides the files.

    Attributes:
        sample_rate: Rate of all items in Hz.
        segment: Samples of a training item.
        stride: Distance of training segments as a share of ``segment``, above 0 and up to 1.
        train_segments: Items of an epoch; None: every segment once.
        valid_items: Most validation items; None for all utterances.
        test_items: Most test items; with fewer than all, speakers take turns.
        max_test_s: Most seconds of a validation or test item; None for whole utterances.
        seed: Decides the order of segments, and the parts of validation and test utterances.

    Raises:
        ConfigError: A value is out of its range.
    """

    sample_rate: Annotated[int, Range(1000, 192_000)] = 16000
    segment: Annotated[int, Range(1)] = 16384
    stride: Annotated[float, Range(above=0, most=1)] = 0.5
    train_segments: Annotated[int | None, Range(1)] = None
    valid_items: Annotated[int | None, Range(1)] = None
    test_items: Annotated[int | None, Range(1)] = None
    max_test_s: Annotated[float | None, Range(above=0)] = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("segment", "train_segments", "valid_items", "test_items"):
            value = getattr(self, name)
            if value is None and name != "segment":
                continue
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"expected {name} as a whole number of at least 1, got {value}; correct the "
                    f"data configuration"
                )
        if not (math.isfinite(self.stride) and 0 < self.stride <= 1):
            raise ConfigError(
                f"expected stride above 0 and up to 1, got {self.stride}; use for instance 0.5"
            )
        self.whole  # noqa: B018 - checks the other values

    @property
    def hop(self) -> int:
        """Distance of training segments in samples, at least 1."""
        return max(1, round(self.stride * self.segment))

    @property
    def whole(self) -> MixingRules:
        """Return the rules of validation and test utterances."""
        return MixingRules(
            sample_rate=self.sample_rate,
            max_test_s=self.max_test_s,
            rms_normalise=False,
            seed=self.seed,
        )


class Segments(Dataset[dict[str, Any]]):
    """Training items of one length from coded and clean recordings.

    Segments start every ``hop`` samples, and the last one ends with its utterance; an utterance
    below one segment is filled with zeros. An epoch holds each segment once, in an order of its
    own; fewer items than segments are the first of that order, more go through it again. Item:
    ``noisy`` (coded) and ``clean`` (T,) float32, ``id``, ``noise``, ``snr_db`` (None).

    Args:
        pairs: The recordings.
        store: Where the samples come from.
        rules: Length, distance and number of segments, and the seed.

    Source: Pascual et al. (SEGAN): 16384 samples, every 8192. That the end of an utterance is used
    as well is an addition.
    """

    def __init__(self, pairs: Sequence[PairSource], store: AudioStore, rules: CodedRules) -> None:
        self.pairs = pairs
        self.store = store
        self.rules = rules
        self.places: list[tuple[PairSource, int]] = []
        for pair in pairs:
            starts = segment_starts(store.length(pair.clean.path), rules.segment, rules.hop)
            self.places += [(pair, start) for start in starts]
        self.epoch = 0
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order follows."""
        self.epoch = epoch

    def preload(self) -> None:
        """Decode the files ahead, if they all fit into memory."""
        preload(self.store, self.pairs)

    def __len__(self) -> int:
        return self.rules.train_segments or len(self.places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        pair, start = self.places[self._place(index)]
        return {
            "noisy": self._cut(pair.noisy, start),
            "clean": self._cut(pair.clean, start),
            "id": f"{index:06d}_{Path(pair.clean.relative).stem}_{start}",
            "noise": pair.noise,
            "snr_db": pair.snr_db,
        }

    def _place(self, index: int) -> int:
        """Return the segment of an item; every pass through the segments has a new order."""
        key = (self.epoch, index // len(self.places))
        if key not in self._orders:
            rng = np.random.default_rng([self.rules.seed, *key, STREAM_ORDER])
            self._orders = {key: rng.permutation(len(self.places))}
        return int(self._orders[key][index % len(self.places)])

    def _cut(self, source: Source, start: int) -> torch.Tensor:
        item = torch.zeros(self.rules.segment)
        samples: Samples = self.store.excerpt(source.path, start, self.rules.segment)
        item.numpy()[: len(samples)] = samples
        return item


def segment_starts(length: int, segment: int, hop: int) -> list[int]:
    """Return where the segments of an utterance start.

    They start every ``hop`` samples; the last one ends with the utterance.

    Args:
        length: Samples of the utterance.
        segment: Samples of a segment.
        hop: Distance of the starts.
    """
    last = max(0, length - segment)
    return [*range(0, last, hop), last]

"""Segments (T,) of any recordings at one sample rate: ``AudioSegments`` and where they start.

A segment is read alone where the format allows it. Which recordings there are is decided in
audio_folder.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audioprune.data.files.audio import (
    SEEKABLE_FORMATS,
    AudioStore,
    Samples,
    read_audio,
    read_info,
)
from audioprune.data.splits.sources import Source
from audioprune.dsp import mixdown, resample

_MARGIN_S = 0.05
"""Seconds on either side of a segment that are resampled with it, so that its ends are right."""


@dataclass(frozen=True)
class Segment:
    """A part of a recording.

    Attributes:
        source: The recording.
        start_s: Where it starts, in seconds.
    """

    source: Source
    start_s: float


def segments_of(
    source: Source, segment_s: float, share: tuple[float, float] = (0.0, 1.0)
) -> list[Segment]:
    """Return the segments of a share of a recording, one after another.

    A share that is shorter than one segment has one, which ends with zeros; what is left behind
    the last whole segment is not used.

    Args:
        source: The recording.
        segment_s: Seconds of a segment.
        share: Where the share begins and ends, 0..1 of the recording.
    """
    begin, end = (each * source.duration_s for each in share)
    count = max(1, int((end - begin) / segment_s + 1e-9))
    return [Segment(source, begin + number * segment_s) for number in range(count)]


class AudioSegments(Dataset[dict[str, Any]]):
    """Items of one split: ``audio`` (T,) float32, ``id``, ``speaker`` (the folder of the file).

    Args:
        segments: The segments.
        store: Where files without random access are decoded and kept.
        segment_s: Seconds of an item.
        most: Most items of an epoch; None for all.
        seed: Decides which segments an epoch has where there are more.
        fresh: Whether each epoch has others.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        store: AudioStore,
        segment_s: float,
        most: int | None,
        seed: int,
        fresh: bool,
    ) -> None:
        self.segments = segments
        self.store = store
        self.samples = round(segment_s * store.sample_rate)
        self.most = most
        self.seed = seed
        self.fresh = fresh
        self.epoch = 0
        self._order: tuple[int, np.ndarray] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose items follow."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return min(self.most or len(self.segments), len(self.segments))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        segment = self.segments[self._place(index)]
        name = Path(segment.source.relative).stem
        return {
            "audio": self._read(segment),
            "id": f"{index:06d}_{name}_{segment.start_s:.2f}s",
            "speaker": segment.source.group,
        }

    def _place(self, index: int) -> int:
        """Return the segment of an item: all in their order, or a part chosen by the epoch."""
        if len(self) == len(self.segments):
            return index
        if self._order is None or self._order[0] != self.epoch:
            rng = np.random.default_rng([self.seed, self.epoch])
            self._order = self.epoch, rng.permutation(len(self.segments))
        return int(self._order[1][index])

    def _read(self, segment: Segment) -> Tensor:
        item = torch.zeros(self.samples)
        samples = self._samples(segment.source.path, segment.start_s)
        item.numpy()[: len(samples)] = samples
        return item

    def _samples(self, path: Path, start_s: float) -> Samples:
        """Return the samples of a segment, fewer where the recording ends before."""
        rate = self.store.sample_rate
        start = round(start_s * rate)
        info = read_info(path)
        if info.format not in SEEKABLE_FORMATS or info.sample_rate == rate:
            return self.store.excerpt(path, start, self.samples)
        # Resampled with a margin that is then cut off, from a sample on that both rates have.
        common = math.gcd(rate, info.sample_rate)
        margin, period = round(_MARGIN_S * rate), rate // common
        left = max(0, start - margin) // period * period
        first = left // period * (info.sample_rate // common)
        needed = start - left + self.samples + margin
        part, _ = read_audio(path, first, math.ceil(needed / rate * info.sample_rate))
        mono = resample(mixdown(part.T), info.sample_rate, rate)
        cut = mono[start - left : start - left + self.samples]
        return np.ascontiguousarray(cut, dtype=np.float32)


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items of one length to a batch: ``audio`` (B, T), lists of ``id`` and ``speaker``."""
    batch: dict[str, Any] = {"audio": torch.stack([item["audio"] for item in items])}
    return batch | {key: [item[key] for item in items] for key in ("id", "speaker")}

"""How speech and noise become one noisy item: which excerpts, at which SNR, at which level, and from which random numbers.

Every item is a function of the seed, the split, its index and the epoch alone, whatever was asked
before. Which files are speech and noise, and who may use them, is decided in noisy_mixtures.py.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from audioprune.data.files.audio import AudioStore, Samples
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.sources import Source
from audioprune.dsp import mix_at_snr, rms, rms_gain
from audioprune.errors import ConfigError, DataError

FAINT_SHARE = 0.01
"""An excerpt is taken anew when its level is below this share, -40 dB, of the level of its whole file."""
_TRIES = 20
_STREAM_SPEECH, _STREAM_NOISE, _STREAM_ORDER = range(3)


@dataclass(frozen=True)
class MixingRules:
    """Everything that decides a mixture besides the files; see NoisyMixtures for each value.

    Raises:
        ConfigError: A value is out of its range.
    """

    sample_rate: int = 16000
    train_snr_db: tuple[float, float] = (-5.0, 0.0)
    train_snr_step_db: float | None = None
    test_snr_db: tuple[float, ...] = (-5.0, 0.0, 5.0)
    segment_s: float | None = None
    max_test_s: float | None = None
    babble_share: float = 0.0
    babble_talkers: tuple[int, int] = (4, 8)
    fresh_each_epoch: bool = True
    rms_normalise: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.train_snr_db
        step = self.train_snr_step_db
        fewest, most = self.babble_talkers
        _require(
            isinstance(self.sample_rate, int) and self.sample_rate >= 1000,
            "sample_rate of at least 1000 Hz",
            self.sample_rate,
        )
        _require(
            _finite(low, high) and low <= high,
            "train_snr_db as [lowest, highest] in dB",
            self.train_snr_db,
        )
        _require(
            step is None or (_finite(step) and step > 0),
            "train_snr_step_db above 0 dB, or null for any value",
            step,
        )
        _require(
            len(self.test_snr_db) > 0 and _finite(*self.test_snr_db),
            "test_snr_db as a list of finite values in dB",
            self.test_snr_db,
        )
        _require(
            len(set(self.test_snr_db)) == len(self.test_snr_db),
            "different values in test_snr_db",
            self.test_snr_db,
        )
        for name in ("segment_s", "max_test_s"):
            value = getattr(self, name)
            _require(
                value is None or (_finite(value) and value >= 0.1),
                f"{name} of at least 0.1 s, or null for whole utterances",
                value,
            )
        _require(
            _finite(self.babble_share) and 0 <= self.babble_share <= 1,
            "babble_share from 0 to 1",
            self.babble_share,
        )
        _require(
            2 <= fewest <= most,
            "babble_talkers as [fewest, most] with at least 2",
            self.babble_talkers,
        )
        _require(
            isinstance(self.seed, int) and self.seed >= 0,
            "seed as a whole number of at least 0",
            self.seed,
        )


@dataclass(frozen=True)
class Mixture:
    """One noisy item.

    Attributes:
        noisy: Speech plus noise, shape (T,).
        clean: The speech at the level that it has in ``noisy``, shape (T,).
        record: How it was made: id, SNR, files and first samples, at the corpus's sample rate.
    """

    noisy: Samples
    clean: Samples
    record: dict[str, Any]


@dataclass
class Mixer:
    """Makes mixtures from sources by the rules.

    Attributes:
        rules: How to mix.
        store: Where the samples come from.
        speech: Speech sources of each split.
        noise: Noise sources of each split.
    """

    rules: MixingRules
    store: AudioStore
    speech: Mapping[str, Sequence[Source]]
    noise: Mapping[str, Sequence[Source]]
    _orders: dict[tuple[int, ...], Any] = field(default_factory=dict, repr=False)

    @cached_property
    def _talkers(self) -> dict[str, list[Source]]:
        return by_group(self.speech["train"])

    def training(self, split: str, index: int, epoch: int) -> Mixture:
        """Return item ``index`` of the training set at an epoch, or of the validation set.

        Training utterances are drawn so that each occurs once before any occurs again; validation
        and test utterances alternate between the speakers.
        """
        epoch = epoch if split == "train" and self.rules.fresh_each_epoch else 0
        key = [self.rules.seed, SPLITS.index(split), index, epoch]
        rng = np.random.default_rng(key)
        target = (
            self._shuffled(index, epoch) if split == "train" else self._alternating(split, index)
        )
        limit_s = self.rules.segment_s if split == "train" else self.rules.max_test_s
        speech, start = self._speech(target, limit_s, rng)
        snr_db = self._draw_snr(rng)
        if rng.random() < self.rules.babble_share:
            name, noise, parts = "babble", *self._babble(target, len(speech), rng)
        else:
            source = self.noise[split][int(rng.integers(len(self.noise[split])))]
            name, (noise, parts) = source.group, self._noise(source, len(speech), rng)
        record = {
            "split": split,
            "index": index,
            "epoch": epoch,
            "noise_name": name,
            "snr_db": snr_db,
            "seed": key,
        }
        return self._mix(target, start, speech, noise, {**record, "noise": parts})

    def test(self, noise_name: str, snr_db: float, index: int) -> Mixture:
        """Return item ``index`` of a test condition; its speech is the same in all conditions, its noise at all SNRs."""
        split = SPLITS.index("test")
        target = self._alternating("test", index)
        speech, start = self._speech(
            target,
            self.rules.max_test_s,
            np.random.default_rng([self.rules.seed, split, index, _STREAM_SPEECH]),
        )
        key = [
            self.rules.seed,
            split,
            index,
            _STREAM_NOISE,
            zlib.crc32(noise_name.encode(errors="surrogateescape")),
        ]
        rng = np.random.default_rng(key)
        sources = [source for source in self.noise["test"] if source.group == noise_name]
        noise, parts = self._noise(sources[int(rng.integers(len(sources)))], len(speech), rng)
        record = {
            "split": "test",
            "index": index,
            "noise_name": noise_name,
            "snr_db": float(snr_db),
            "seed": key,
            "noise": parts,
        }
        return self._mix(target, start, speech, noise, record)

    def _mix(
        self,
        target: Source,
        start: int,
        speech: Samples,
        noise: np.ndarray,
        record: dict[str, Any],
    ) -> Mixture:
        noisy, _ = mix_at_snr(speech, noise, record["snr_db"])
        gain = float(rms_gain(noisy)) if self.rules.rms_normalise else 1.0
        record |= {
            "id": f"{record['index']:06d}_{target.path.stem}",
            "speaker": target.group,
            "frames": len(speech),
        }
        record |= {"speech": {"path": target.relative, "start": start}}
        return Mixture(
            (gain * noisy).astype(np.float32),
            (gain * speech.astype(np.float64)).astype(np.float32),
            record,
        )

    def _draw_snr(self, rng: np.random.Generator) -> float:
        low, high = self.rules.train_snr_db
        step = self.rules.train_snr_step_db
        if step is None:
            return float(rng.uniform(low, high))
        return float(low + step * rng.integers(int(math.floor((high - low) / step + 1e-9)) + 1))

    def _shuffled(self, index: int, epoch: int) -> Source:
        """Return the utterance of a training item: a new order for every pass over the utterances."""
        sources = self.speech["train"]
        round_, place = divmod(index, len(sources))
        key = (self.rules.seed, SPLITS.index("train"), epoch, round_, _STREAM_ORDER)
        if key not in self._orders:
            if len(self._orders) > 64:
                self._orders.clear()
            self._orders[key] = np.random.default_rng(key).permutation(len(sources))
        return sources[int(self._orders[key][place])]

    def _alternating(self, split: str, index: int) -> Source:
        """Return the utterance of a validation or test item: one of each speaker in turn, again from the start when all are used."""
        key = (self.rules.seed, SPLITS.index(split), 0, 0, _STREAM_ORDER)
        if key not in self._orders:
            self._orders[key] = in_turns(self.speech[split], np.random.default_rng(key))
        order = self._orders[key]
        return order[index % len(order)]

    def _speech(
        self, source: Source, limit_s: float | None, rng: np.random.Generator
    ) -> tuple[Samples, int]:
        """Return an utterance, or an audible part of ``limit_s``, and its first sample."""
        samples = self.store.whole(source.path)
        length = (
            len(samples)
            if limit_s is None
            else min(len(samples), round(limit_s * self.rules.sample_rate))
        )
        start = audible_start(samples, length, source.level, rng)
        return samples[start : start + length], start

    def _noise(
        self, source: Source, length: int, rng: np.random.Generator
    ) -> tuple[Samples, list[dict[str, Any]]]:
        """Return an audible excerpt of a noise, repeated from its begin when it is shorter, and where it starts."""
        total = max(1, self.store.length(source.path))
        for _ in range(_TRIES):
            start = int(rng.integers(total - length + 1 if total >= length else total))
            noise = self._looped(source, total, start, length)
            if rms(noise) > FAINT_SHARE * source.level:
                break
        else:
            start = _around_loudest(self.store.excerpt(source.path, 0, total), length)
            noise = self._looped(source, total, start, length)
        return noise, [{"path": source.relative, "start": start}]

    def _looped(self, source: Source, total: int, start: int, length: int) -> Samples:
        if start + length <= total:
            return self.store.excerpt(source.path, start, length)
        return np.take(
            self.store.excerpt(source.path, 0, total),
            np.arange(start, start + length),
            mode="wrap",
        )

    def _babble(
        self, target: Source, length: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Return the sum of training speakers other than the target's, each at the same level."""
        others = sorted(set(self._talkers) - {target.group})
        count = min(
            len(others),
            int(rng.integers(self.rules.babble_talkers[0], self.rules.babble_talkers[1] + 1)),
        )
        babble, parts = np.zeros(length), []
        for place in rng.permutation(len(others))[:count]:
            utterances = self._talkers[others[int(place)]]
            source = utterances[int(rng.integers(len(utterances)))]
            samples = self.store.whole(source.path)
            start = int(rng.integers(len(samples)))
            babble += (
                np.take(samples, np.arange(start, start + length), mode="wrap") / source.level
            )
            parts.append({"path": source.relative, "start": start})
        return babble, parts


class Mixtures(Dataset):
    """The items of one split, or of one test condition, as tensors.

    Item: ``noisy`` and ``clean`` (T,) float32, ``id``, ``noise``, ``snr_db``.

    Args:
        mixer: Makes the mixtures.
        length: Number of items.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        condition: Noise and SNR in dB of a test condition.
    """

    def __init__(
        self, mixer: Mixer, length: int, split: str, condition: tuple[str, float] | None = None
    ) -> None:
        self.mixer = mixer
        self.length = length
        self.split = split
        self.condition = condition
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose items follow; call it before the loader starts its workers."""
        self.epoch = epoch

    def mixture(self, index: int) -> Mixture:
        """Return item ``index`` with the record of how it was made."""
        if not 0 <= index < self.length:
            raise IndexError(f"expected an index below {self.length}, got {index}")
        if self.condition:
            return self.mixer.test(*self.condition, index)
        return self.mixer.training(self.split, index, self.epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        mixture = self.mixture(index)
        return {
            "noisy": torch.from_numpy(mixture.noisy),
            "clean": torch.from_numpy(mixture.clean),
            "id": mixture.record["id"],
            "noise": mixture.record["noise_name"],
            "snr_db": mixture.record["snr_db"],
        }


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items to a batch: ``noisy`` and ``clean`` (B, T) filled with zeros, ``lengths`` (B,), lists of the rest."""
    lengths = torch.tensor([len(item["noisy"]) for item in items])
    batch: dict[str, Any] = {"lengths": lengths}
    for key in ("noisy", "clean"):
        batch[key] = torch.zeros(len(items), int(lengths.max()))
        for row, item in zip(batch[key], items, strict=True):
            row[: len(item[key])] = item[key]
    return batch | {key: [item[key] for item in items] for key in ("id", "noise", "snr_db")}


def by_group(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Return the sources of each speaker or noise, in the order of the names."""
    groups: dict[str, list[Source]] = {
        name: [] for name in sorted({source.group for source in sources})
    }
    for source in sources:
        groups[source.group].append(source)
    return groups


def in_turns(sources: Sequence[Source], rng: np.random.Generator) -> list[Source]:
    """Return sources in an order that takes one of each speaker in turn, so that the first few hold every speaker."""
    queues = [
        [utterances[i] for i in rng.permutation(len(utterances))]
        for utterances in by_group(sources).values()
    ]
    turns = range(max(map(len, queues), default=0))
    return [queue[turn] for turn in turns for queue in queues if turn < len(queue)]


def condition_name(noise: str, snr_db: float) -> str:
    """Return the name of a test condition, such as ``babble_-5dB``."""
    return f"{noise}_{snr_db:g}dB"


def audible_start(samples: Samples, length: int, level: float, rng: np.random.Generator) -> int:
    """Return a random start of an excerpt that is not faint; if none is found, the excerpt holds the largest sample.

    Args:
        samples: Shape (T,).
        length: Samples of the excerpt, at most T.
        level: Root mean square of the whole file.
        rng: Source of the start.
    """
    for _ in range(_TRIES):
        start = int(rng.integers(len(samples) - length + 1))
        if rms(samples[start : start + length]) > FAINT_SHARE * level:
            return start
    return _around_loudest(samples, length)


def _around_loudest(samples: Samples, length: int) -> int:
    """Return a start whose excerpt holds the largest sample."""
    middle = int(np.abs(samples).argmax()) - length // 2
    return max(0, min(middle, len(samples) - length))


def _finite(*values: float) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _require(fine: bool, expected: str, given: Any) -> None:
    if not fine:
        raise ConfigError(f"expected {expected}, got {given}; correct the data configuration")


def require_talkers(rules: MixingRules, speech: Mapping[str, Sequence[Source]]) -> None:
    """Raise a DataError when babble is wanted and too few training speakers are there to leave out the target."""
    speakers = len({source.group for source in speech["train"]})
    if rules.babble_share > 0 and speakers < 3:
        raise DataError(
            f"expected at least 3 training speakers to mix babble, found {speakers}; use "
            f"data.babble_share=0 or add speakers"
        )

"""How speech and noise become one noisy item: excerpts, SNR, level and random numbers.

``Mixer`` makes item ``index`` of a split or test condition as a ``Mixture`` with signals (T,).
Every item is a function of the seed, the split, its index and the epoch alone, in whatever order
items are asked for. Which files may be used where is decided in noisy_mixtures.py.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from audioprune.data.files.audio import AudioStore, Samples
from audioprune.data.speech.augmentation import faster, joined
from audioprune.data.speech.mixing_rules import MixingRules
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.sources import Source, by_group, in_turns
from audioprune.dsp import mix_at_snr, rms, rms_gain
from audioprune.errors import DataError

FAINT_SHARE = 0.01
"""An excerpt is drawn again when its level is below this share, -40 dB, of its file's."""
_TRIES = 20
_MOST_ORDERS = 64
_STREAM_SPEECH, _STREAM_NOISE, _STREAM_ORDER, _STREAM_VARIED = range(4)


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
        if split == "train":
            target = self._shuffled(index, epoch)
        else:
            target = self._alternating(split, index)
        speech, start = self._speech(target, split == "train", rng)
        snr_db = self._draw_snr(rng)
        if rng.random() < self.rules.babble_share:
            name = "babble"
            noise, parts = self._babble(target, len(speech), rng)
        else:
            source = _draw(self.noise[split], rng)
            name = source.group
            noise, parts = self._noise(source, len(speech), rng)
        record = {
            "split": split,
            "index": index,
            "epoch": epoch,
            "noise_name": name,
            "snr_db": snr_db,
            "seed": key,
            "noise": parts,
        }
        if split == "train" and not self.rules.augmentation.is_idle:
            return self._augmented(target, start, speech, noise, record)
        return self._mix(target, start, speech, noise, record)

    def _augmented(
        self,
        target: Source,
        start: int,
        speech: Samples,
        noise: np.ndarray,
        record: dict[str, Any],
    ) -> Mixture:
        """Mix a training item whose speed, colour, noise and level vary."""
        varied, rate = self.rules.augmentation, self.rules.sample_rate
        rng = np.random.default_rng([*record["seed"], _STREAM_VARIED])
        speed = varied.draw_speed(rng)
        whole, needed = self.store.whole(target.path), math.ceil(len(speech) * speed)
        start = max(0, min(start, len(whole) - needed))
        speech = faster(whole[start : start + needed], speed, len(speech))
        if varied.wants_second(rng):
            second, parts = self._noise(_draw(self.noise["train"], rng), len(speech), rng)
            noise = joined(noise, second, rng)
            record["noise"] = [*record["noise"], *parts]
        speech = varied.coloured(speech, rate, rng)
        noise = varied.coloured(noise, rate, rng)
        record["speed"] = speed
        return self._mix(target, start, speech, noise, record, varied.gain(rng))

    def test(self, noise_name: str, snr_db: float, index: int) -> Mixture:
        """Return item ``index`` of a test condition.

        Its speech is the same in all conditions, its noise the same at all SNRs.
        """
        seed, split = self.rules.seed, SPLITS.index("test")
        target = self._alternating("test", index)
        speech_rng = np.random.default_rng([seed, split, index, _STREAM_SPEECH])
        speech, start = self._speech(target, False, speech_rng)
        name_key = zlib.crc32(noise_name.encode(errors="surrogateescape"))
        key = [seed, split, index, _STREAM_NOISE, name_key]
        rng = np.random.default_rng(key)
        sources = [source for source in self.noise["test"] if source.group == noise_name]
        noise, parts = self._noise(_draw(sources, rng), len(speech), rng)
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
        level: float = 1.0,
    ) -> Mixture:
        noisy, _ = mix_at_snr(speech, noise, record["snr_db"])
        # One gain for both, so that clean stays the speech within noisy.
        gain = level * (float(rms_gain(noisy)) if self.rules.rms_normalise else 1.0)
        record |= {
            "id": f"{record['index']:06d}_{target.path.stem}",
            "speaker": target.group,
            "frames": len(speech),
            "speech": {"path": target.relative, "start": start},
        }
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
        steps = int(math.floor((high - low) / step + 1e-9)) + 1
        return float(low + step * rng.integers(steps))

    def _shuffled(self, index: int, epoch: int) -> Source:
        """Return the utterance of a training item: a new order for every pass over them."""
        sources = self.speech["train"]
        round_, place = divmod(index, len(sources))
        key = (self.rules.seed, SPLITS.index("train"), epoch, round_, _STREAM_ORDER)
        if key not in self._orders:
            if len(self._orders) > _MOST_ORDERS:
                self._orders.clear()
            self._orders[key] = np.random.default_rng(key).permutation(len(sources))
        return sources[int(self._orders[key][place])]

    def _alternating(self, split: str, index: int) -> Source:
        """Return the utterance of a validation or test item: one of each speaker in turn.

        When all are used, it begins again.
        """
        key = (self.rules.seed, SPLITS.index(split), 0, 0, _STREAM_ORDER)
        if key not in self._orders:
            self._orders[key] = in_turns(self.speech[split], np.random.default_rng(key))
        order = self._orders[key]
        return order[index % len(order)]

    def _speech(
        self, source: Source, training: bool, rng: np.random.Generator
    ) -> tuple[Samples, int]:
        """Return an utterance, or an audible part of it, and its first sample."""
        total = self.store.length(source.path)
        length = self.rules.length(total, training)

        def read(start: int, count: int) -> Samples:
            return self.store.excerpt(source.path, start, count)

        return audible_part(read, total, length, source.level, rng)

    def _noise(
        self, source: Source, length: int, rng: np.random.Generator
    ) -> tuple[Samples, list[dict[str, Any]]]:
        """Return an audible excerpt of a noise and where it starts.

        A noise that is too short begins again at its end.
        """
        total = max(1, self.store.length(source.path))
        # A noise that is long enough is not looped, so its last starts are no choice.
        starts = total - length + 1 if total >= length else total
        for _ in range(_TRIES):
            start = int(rng.integers(starts))
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
        return _wrapped(self.store.excerpt(source.path, 0, total), start, length)

    def _babble(
        self, target: Source, length: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Return the sum of training speakers other than the target's, each at the same level."""
        others = sorted(set(self._talkers) - {target.group})
        fewest, most = self.rules.babble_talkers
        count = min(len(others), int(rng.integers(fewest, most + 1)))
        babble = np.zeros(length)
        parts = []
        for place in rng.permutation(len(others))[:count]:
            source = _draw(self._talkers[others[int(place)]], rng)
            total = self.store.length(source.path)
            start = int(rng.integers(total))
            babble += self._looped(source, total, start, length) / source.level
            parts.append({"path": source.relative, "start": start})
        return babble, parts


def _draw(sources: Sequence[Source], rng: np.random.Generator) -> Source:
    return sources[int(rng.integers(len(sources)))]


def _wrapped(samples: Samples, start: int, length: int) -> Samples:
    """Return ``length`` samples from ``start`` on; behind the last sample comes the first."""
    return np.take(samples, np.arange(start, start + length), mode="wrap")


def condition_name(noise: str, snr_db: float) -> str:
    """Return the name of a test condition, such as ``babble_-5dB``."""
    return f"{noise}_{snr_db:g}dB"


def audible_part(
    read: Callable[[int, int], np.ndarray],
    total: int,
    length: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, int]:
    """Return a random excerpt that is not faint, shape (T,), and its first sample.

    If none is found, the excerpt holds the largest sample.

    Args:
        read: Returns some samples of a file, from the first that is wanted on.
        total: Samples of the file.
        length: Samples of the excerpt, at most ``total``.
        level: Root mean square of the whole file.
        rng: Source of the start.
    """
    for _ in range(_TRIES):
        start = int(rng.integers(total - length + 1))
        samples = read(start, length)
        if rms(samples) > FAINT_SHARE * level:
            return samples, start
    start = _around_loudest(read(0, total), length)
    return read(start, length), start


def _around_loudest(samples: Samples, length: int) -> int:
    """Return a start whose excerpt holds the largest sample."""
    middle = int(np.abs(samples).argmax()) - length // 2
    return max(0, min(middle, len(samples) - length))


def require_talkers(rules: MixingRules, speech: Mapping[str, Sequence[Source]]) -> None:
    """Refuse babble of too few training speakers.

    Raises:
        DataError: Babble is wanted and there are fewer than 3: the target's speaker never joins.
    """
    speakers = len({source.group for source in speech["train"]})
    if rules.babble_share > 0 and speakers < 3:
        raise DataError(
            f"expected at least 3 training speakers to mix babble, found {speakers}; use "
            f"data.babble_share=0 or add speakers"
        )

"""Which numbers decide a mixture besides the files: SNRs, lengths, babble, level and seed.

``MixingRules`` checks them. How an item is mixed by them is written in mixing.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from audioprune.data.speech.augmentation import Augmentation
from audioprune.errors import ConfigError

_SHORTEST_S = 0.1


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
    augmentation: Augmentation = field(default_factory=Augmentation)

    def facts(self) -> dict[str, Any]:
        """Return the values that stand in the fingerprint; an augmentation only if any."""
        known = asdict(self)
        if self.augmentation.is_idle:
            del known["augmentation"]
        return known

    def __post_init__(self) -> None:
        self._check_snrs()
        self._check_lengths()
        share, (fewest, most) = self.babble_share, self.babble_talkers
        _require(_finite(share) and 0 <= share <= 1, "babble_share from 0 to 1", share)
        talkers = "babble_talkers as [fewest, most] with at least 2"
        _require(2 <= fewest <= most, talkers, self.babble_talkers)
        whole = isinstance(self.seed, int) and self.seed >= 0
        _require(whole, "seed as a whole number of at least 0", self.seed)

    def _check_snrs(self) -> None:
        (low, high), step, tested = self.train_snr_db, self.train_snr_step_db, self.test_snr_db
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
        listed = len(tested) > 0 and _finite(*tested)
        _require(listed, "test_snr_db as a list of finite values in dB", tested)
        _require(len(set(tested)) == len(tested), "different values in test_snr_db", tested)

    def _check_lengths(self) -> None:
        rate = self.sample_rate
        whole = isinstance(rate, int) and rate >= 1000
        _require(whole, "sample_rate of at least 1000 Hz", rate)
        for name, seconds in (("segment_s", self.segment_s), ("max_test_s", self.max_test_s)):
            _require(
                seconds is None or (_finite(seconds) and seconds >= _SHORTEST_S),
                f"{name} of at least {_SHORTEST_S} s, or null for whole utterances",
                seconds,
            )

    def length(self, available: int, training: bool) -> int:
        """Return the samples of an item that is cut from ``available`` samples.

        Args:
            available: Samples of the utterance.
            training: Whether the item trains; validation and test have a limit of their own.
        """
        limit_s = self.segment_s if training else self.max_test_s
        if limit_s is None:
            return available
        return min(available, round(limit_s * self.sample_rate))


def check_counts(wanted: Mapping[str, int | None], null_means: str) -> None:
    """Check numbers of items by split.

    Raises:
        ConfigError: A number is below 1.
    """
    for name, count in wanted.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ConfigError(
                f"expected {name}_mixtures of at least 1, or null for {null_means}, got {count}; "
                f"correct it"
            )


def _finite(*values: float) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _require(fine: bool, expected: str, given: object) -> None:
    if not fine:
        raise ConfigError(f"expected {expected}, got {given}; correct the data configuration")

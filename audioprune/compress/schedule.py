"""How much is pruned at which epoch: gradual, linear and one-shot sparsity schedules.

Which weights go is decided in select.py; when a threshold is meant instead of a sparsity, only
``epochs`` is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from audioprune.errors import ConfigError


def epochs(start: int, end: int, frequency: int) -> range:
    """Return the epochs at which a scheduled action runs; the end is exclusive.

    Args:
        start: First epoch, at least 0.
        end: First epoch at which nothing happens any more, above ``start``.
        frequency: Distance of two actions in epochs, 1 .. end - start.

    Raises:
        ConfigError: A number is outside its range.

    Source: Plain & Biswas, compression schedule (starting_epoch, ending_epoch, frequency).
    """
    if start < 0 or end <= start:
        raise ConfigError(
            f"schedule: expected 0 <= start < end, got start={start}, end={end}; correct the "
            f"epochs"
        )
    if not 0 < frequency <= end - start:
        raise ConfigError(
            f"schedule: expected 1 <= frequency <= end - start = {end - start}, got "
            f"{frequency}; correct the frequency"
        )
    return range(start, end, frequency)


class Schedule(Protocol):
    """What every schedule answers."""

    def epochs(self) -> range:
        """Return the epochs at which to prune."""
        ...

    def sparsity(self, epoch: int) -> float:
        """Return the removed fraction that is reached after an epoch, 0..1; 0 before the first pruning."""
        ...


@dataclass(frozen=True)
class Cubic:
    """Prune fast first and slowly at the end: s_t = s_f + (s_i - s_f) (1 - (t - start) / span)^3.

    The span ends at the last scheduled epoch, so that the final sparsity is hit exactly.

    Attributes:
        start: First epoch.
        end: Epoch after the last one, exclusive.
        frequency: Distance of two prunings in epochs.
        initial: Sparsity at the first epoch, 0 .. final.
        final: Sparsity at the last scheduled epoch, initial .. 1.

    Raises:
        ConfigError: A number is outside its range, or fewer than two epochs are scheduled.

    Source: automated gradual pruning as Plain & Biswas's schedule files use it (Zhu & Gupta 2017,
    equation 1).
    """

    start: int
    end: int
    frequency: int
    initial: float
    final: float

    def __post_init__(self) -> None:
        _check_ramp(self.epochs(), self.initial, self.final)

    def epochs(self) -> range:
        """Return the epochs at which to prune."""
        return epochs(self.start, self.end, self.frequency)

    def sparsity(self, epoch: int) -> float:
        """Return the removed fraction that is reached after an epoch, 0..1; 0 before the first pruning."""
        return _ramp(self.epochs(), epoch, self.initial, self.final, lambda left: left**3)


@dataclass(frozen=True)
class Linear:
    """Prune by the same amount at every scheduled epoch; the attributes are those of ``Cubic``.

    Raises:
        ConfigError: A number is outside its range, or fewer than two epochs are scheduled.
    """

    start: int
    end: int
    frequency: int
    initial: float
    final: float

    def __post_init__(self) -> None:
        _check_ramp(self.epochs(), self.initial, self.final)

    def epochs(self) -> range:
        """Return the epochs at which to prune."""
        return epochs(self.start, self.end, self.frequency)

    def sparsity(self, epoch: int) -> float:
        """Return the removed fraction that is reached after an epoch, 0..1; 0 before the first pruning."""
        return _ramp(self.epochs(), epoch, self.initial, self.final, lambda left: left)


@dataclass(frozen=True)
class OneShot:
    """Prune once.

    Attributes:
        start: The epoch of the pruning, at least 0.
        final: Sparsity from then on, 0..1.

    Raises:
        ConfigError: A number is outside its range.
    """

    start: int
    final: float

    def __post_init__(self) -> None:
        self.epochs()
        if not 0.0 <= self.final <= 1.0:
            raise ConfigError(
                f"schedule: expected 0 <= final <= 1, got {self.final}; sparsity is the removed "
                f"fraction"
            )

    def epochs(self) -> range:
        """Return the one epoch at which to prune."""
        return epochs(self.start, self.start + 1, 1)

    def sparsity(self, epoch: int) -> float:
        """Return the removed fraction that is reached after an epoch: 0 before the pruning, then the final one."""
        return self.final if epoch >= self.start else 0.0


SCHEDULES: dict[str, type[Cubic] | type[Linear] | type[OneShot]] = {
    "cubic": Cubic,
    "linear": Linear,
    "one_shot": OneShot,
}


def _check_ramp(scheduled: range, initial: float, final: float) -> None:
    if not 0.0 <= initial < final <= 1.0:  # also refuses NaN
        raise ConfigError(
            f"schedule: expected 0 <= initial < final <= 1, got initial={initial}, "
            f"final={final}; correct the sparsities"
        )
    if len(scheduled) < 2:
        raise ConfigError(
            f"schedule: expected at least 2 prunings, got 1 (start={scheduled.start}, "
            f"end={scheduled.stop}, "
            f"frequency={scheduled.step}); lower the frequency or use one_shot"
        )


def _ramp(
    scheduled: range, epoch: int, initial: float, final: float, shape: Callable[[float], float]
) -> float:
    if epoch < scheduled.start:
        return 0.0
    reached = min((epoch - scheduled.start) // scheduled.step, len(scheduled) - 1)
    left = 1.0 - reached / (len(scheduled) - 1)
    return final + (initial - final) * shape(left)

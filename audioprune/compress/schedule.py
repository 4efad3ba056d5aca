"""How much is pruned at which epoch: ``Cubic`` for gradual pruning, ``epochs`` for any action.

Sparsity is the removed fraction, 0..1. Which weights go is decided in select.py.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        scheduled = self.epochs()
        if not 0.0 <= self.initial < self.final <= 1.0:  # also refuses NaN
            raise ConfigError(
                f"schedule: expected 0 <= initial < final <= 1, got initial={self.initial}, "
                f"final={self.final}; correct the sparsities"
            )
        if len(scheduled) < 2:
            raise ConfigError(
                f"schedule: expected at least 2 prunings, got 1 (start={scheduled.start}, "
                f"end={scheduled.stop}, "
                f"frequency={scheduled.step}); lower the frequency or use one_shot"
            )

    def epochs(self) -> range:
        """Return the epochs at which to prune."""
        return epochs(self.start, self.end, self.frequency)

    def sparsity(self, epoch: int) -> float:
        """Return the sparsity after an epoch, 0..1; it is 0 before the first pruning."""
        scheduled = self.epochs()
        if epoch < scheduled.start:
            return 0.0
        reached = min((epoch - scheduled.start) // scheduled.step, len(scheduled) - 1)
        left = 1.0 - reached / (len(scheduled) - 1)
        return self.final + (self.initial - self.final) * left**3

"""How a regulariser joins a training late: ``RampedPenalty``, a hook of the training loop.

Its strength is 0 first, then rises by the same amount every epoch, then stays whole. What is
penalised is decided in compress/penalties.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from audioprune.errors import ConfigError


class RampedPenalty:
    """Add a penalty to the loss of a model, with a strength that rises over the epochs.

    Args:
        penalty: Returns the whole penalty of a model, a scalar.
        begin: Share of the epochs, 0..1, before which nothing is added.
        end: Share of the epochs from which on the whole penalty is added, at least ``begin``.
        epochs: Epochs of the training.

    Raises:
        ConfigError: The shares are not in order or lie outside 0..1.
    """

    def __init__(
        self, penalty: Callable[[nn.Module], Tensor], begin: float, end: float, epochs: int
    ) -> None:
        check_ramp(begin, end)
        self._whole, self._begin, self._end, self._epochs = penalty, begin, end, epochs
        self.epoch = 0

    def strength(self) -> float:
        """Return the share of the penalty that is added in the present epoch, 0..1."""
        if self.epoch >= first_whole_epoch(self._end, self._epochs):
            return 1.0
        done = self.epoch / self._epochs
        if done < self._begin:
            return 0.0
        return (done - self._begin) / (self._end - self._begin)

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return what is added now."""
        strength = self.strength()
        return strength * self._whole(model) if strength else None

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, which a training that goes on within it is not told again."""
        return {"facts": {"epoch": self.epoch}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the epoch."""
        self.epoch = int(state["facts"]["epoch"])


def first_whole_epoch(end: float, epochs: int) -> int:
    """Return the first epoch, counted from 0, in which a ramp that ends there is over.

    Args:
        end: Share of the epochs from which on the whole penalty is added, 0..1.
        epochs: Epochs of the training.
    """
    # The smallest whole number that is at least end * epochs, without 0.3 * 10 > 3.
    return next(epoch for epoch in range(epochs + 1) if epoch / epochs >= end)


def check_ramp(begin: float, end: float) -> None:
    """Refuse shares that are not in order.

    Raises:
        ConfigError: They are not, or lie outside 0..1.
    """
    if not 0 <= begin <= end <= 1:
        raise ConfigError(
            f"ramp_begin and ramp_end: expected shares of the epochs in order, from 0 to 1, got "
            f"{begin} and {end}; 0 and 0 add the whole regulariser from the start"
        )

"""A weight of a loss that falls step by step from some epoch on: ``DecayingWeight``.

What the weight is multiplied with, the task decides. Training stores how far it has fallen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError


class DecayingWeight(nn.Module):
    """A weight that falls by the same amount at every step from an epoch on.

    Args:
        initial: Weight of the first steps.
        decay: By how much it falls at each step.
        first_epoch: Epoch, from 0, from which on it falls.

    Attributes:
        epoch: The epoch whose steps follow.
        fallen: By how many steps it has fallen, a buffer that training stores.
    """

    fallen: Tensor

    def __init__(self, initial: float, decay: float, first_epoch: int) -> None:
        super().__init__()
        if first_epoch < 0:
            raise ConfigError(
                f"expected l1_decay_from of at least 0, got {first_epoch}; change "
                f"task.l1_decay_from"
            )
        self.initial, self.decay, self.first_epoch, self.epoch = initial, decay, first_epoch, 0
        self.register_buffer("fallen", torch.tensor(0))

    def step(self) -> float:
        """Count one step and return its weight."""
        if self.decay and self.epoch >= self.first_epoch:
            self.fallen += 1
        return max(0.0, self.initial - self.decay * int(self.fallen))

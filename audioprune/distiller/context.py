"""What a pruner may look at besides the weights of one tensor.

``PruningContext`` joins the model, the place in the training, the masks so far and the statistics
of the first pruning. Nothing here decides what is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from audioprune.errors import ConfigError


@dataclass(frozen=True)
class TrainingPosition:
    """An epoch, and the epochs of the policy that acts in it.

    Attributes:
        epoch: Present epoch.
        start: First epoch of the policy.
        end: Epoch after the last one of the policy.
        frequency: Epochs between two prunings, or None for a policy that lists its epochs.
    """

    epoch: int
    start: int
    end: int
    frequency: int | None


@dataclass
class FirstStatistics:
    """Statistics of each tensor at its first pruning; later prunings use them unchanged.

    They are part of the state of a training.

    Attributes:
        sigmas: Parameter name -> unbiased standard deviation of the weights.
        magnitudes: Parameter name -> mean and unbiased standard deviation of the absolute weights.
    """

    sigmas: dict[str, float] = field(default_factory=dict)
    magnitudes: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class PruningContext:
    """What a pruner may look at besides the weights of one tensor.

    Attributes:
        model: The model.
        position: The epoch, and the epochs of the policy.
        masks: Kept positions of every tensor that is masked so far.
        statistics: Statistics of the first pruning; a pruner adds those that are missing.
    """

    model: nn.Module
    position: TrainingPosition
    masks: Mapping[str, Tensor]
    statistics: FirstStatistics


def required_frequency(position: TrainingPosition) -> int:
    """Return the frequency of a policy.

    Raises:
        ConfigError: The policy lists its epochs instead.
    """
    if position.frequency is None:
        raise ConfigError(
            "expected starting_epoch, ending_epoch and frequency for a gradual pruner, got a "
            "list of epochs; give the three"
        )
    return position.frequency

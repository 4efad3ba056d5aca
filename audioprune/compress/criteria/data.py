"""The data on which a criterion looks at a model: ``CalibrationData``.

The magnitude and normalisation criteria need none. This module computes no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from audioprune.errors import ConfigError

Batch = Any
Scores = dict[str, Tensor]


def _weight_one(batch: Batch) -> float:
    return 1.0


@dataclass(frozen=True)
class CalibrationData:
    """Validation data for the gradient, activation and information criteria.

    Attributes:
        batches: Batches; every criterion walks through them once.
        loss: (model, batch) -> scalar mean loss; also the forward pass of the activation and
            information criteria.
        weight: batch -> its share in the loss over the whole set, such as its number of examples.
        target: batch -> what the model is to produce, in few numbers per frame, shape (B, N, d);
            information criterion only.
        samples: Largest number of pairs of example and frame that the information criterion
            draws.
        noise_rel: Standard deviation of the noise that the information criterion adds to a unit,
            as a fraction of the unit's own.
        seed: Of all that the information criterion draws.
        facts: Filled by the criteria: ``mi_samples``, the pairs that the information criterion
            used.
    """

    batches: Iterable[Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    weight: Callable[[Batch], float] = _weight_one
    target: Callable[[Batch], Tensor] | None = None
    samples: int = 2000
    noise_rel: float = 0.05
    seed: int = 0
    facts: dict[str, float] = field(default_factory=dict)


def needed(data: CalibrationData | None, criterion: str) -> CalibrationData:
    """Return the data.

    Raises:
        ConfigError: There is none.
    """
    if data is None:
        raise ConfigError(
            f"{criterion} criterion: expected validation data, got none; give the validation "
            f"batches and the loss"
        )
    return data

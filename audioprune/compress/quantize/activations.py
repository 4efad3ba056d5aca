"""Which values the layers of a network read and make, for exports with eight-bit activations.

``activation_ranges(model, inputs)`` runs the network on calibration inputs and returns a range for
the input and the output of every layer with weights; an `ActivationRange` has the scale and the
zero point of any number of bits. The network stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError, DivergedError, unknown_name

BY = ("extremes", "average")
_LAYERS = (nn.Linear, nn.Embedding, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class ActivationRange:
    """The values of one tensor of activations, widened to hold zero.

    Attributes:
        low: Least value, at most 0.
        high: Largest value, at least 0.
    """

    low: float
    high: float

    def scale(self, bits: int = 8) -> float:
        """Return the step of an unsigned grid of so many bits over the range; 1 where it is 0."""
        return (self.high - self.low) / (2**bits - 1) or 1.0

    def zero_point(self, bits: int = 8) -> int:
        """Return the code of 0, from 0 to 2^bits - 1."""
        return round(-self.low / self.scale(bits))


@dataclass(frozen=True)
class LayerRanges:
    """What a layer reads and makes."""

    reads: ActivationRange
    makes: ActivationRange


class _Seen:
    """Extremes of every batch of one tensor of activations."""

    def __init__(self) -> None:
        self.lows: list[float] = []
        self.highs: list[float] = []

    def add(self, values: Tensor) -> None:
        self.lows.append(float(values.min()))
        self.highs.append(float(values.max()))

    def range(self, by: str) -> ActivationRange:
        if by == "extremes":
            low, high = min(self.lows), max(self.highs)
        else:
            count = len(self.lows)
            low, high = math.fsum(self.lows) / count, math.fsum(self.highs) / count
        return ActivationRange(min(low, 0.0), max(high, 0.0))


@torch.no_grad()
def activation_ranges(
    model: nn.Module,
    inputs: Iterable[Tensor | Sequence[Tensor]],
    *,
    by: str = "extremes",
) -> dict[str, LayerRanges]:
    """Return the range of what every layer with weights reads and makes.

    A recurrent layer's output is its sequence; its states lie within it.

    Args:
        model: Any module; it runs in evaluation mode and gets its mode back.
        inputs: Argument or arguments of the forward pass, one entry a batch.
        by: ``extremes`` of all batches, or the ``average`` of the extremes of each, which single
            loud batches move less.

    Returns:
        By name of the layer; a layer that no input reached is left out.

    Raises:
        ConfigError: There is no input, or ``by`` is none of these.
        DivergedError: A layer made NaN or infinity; the message names it.
    """
    if by not in BY:
        raise ConfigError(unknown_name("by", by, BY))
    layers = {name: each for name, each in model.named_modules() if isinstance(each, _LAYERS)}
    seen = {name: (_Seen(), _Seen()) for name in layers}
    handles = [
        each.register_forward_hook(partial(_note, name, seen[name]))
        for name, each in layers.items()
    ]
    ran = 0
    try:
        with evaluating(model):
            for given in inputs:
                model(*((given,) if isinstance(given, Tensor) else given))
                ran += 1
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise ConfigError("inputs: expected at least one calibration input, got none; give some")
    return _ranges(seen, by)


def _ranges(seen: Mapping[str, tuple[_Seen, _Seen]], by: str) -> dict[str, LayerRanges]:
    found = {}
    for name, (reads, makes) in seen.items():
        if reads.lows:
            found[name] = LayerRanges(reads.range(by), makes.range(by))
    return found


def _note(
    name: str, seen: tuple[_Seen, _Seen], layer: nn.Module, given: tuple[Any, ...], made: Any
) -> None:
    result = made if isinstance(made, Tensor) else made[0]
    for place, values in zip(seen, (given[0], result), strict=True):
        if values.numel() == 0:
            continue
        if not bool(values.isfinite().all()):
            raise DivergedError(
                f"{name}: expected finite activations, got NaN or infinite ones; calibrate with "
                f"other inputs or an earlier checkpoint"
            )
        place.add(values)

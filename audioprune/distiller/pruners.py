"""Pruners of single weights: by threshold, by level, gradually, with splicing.

Each pruner has ``keep(name, weight, context)``, which returns the kept positions of one tensor.
Pruners of structures, such as filters, are in structures.py. When a pruner acts, and what happens
to its masks, is decided in hook.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from audioprune.compress import select
from audioprune.compress.criteria.importance import magnitude_over_sigma
from audioprune.compress.schedule import Cubic
from audioprune.distiller.arguments import check_names, check_number, check_ramp, check_values
from audioprune.distiller.context import PruningContext, TrainingPosition, required_frequency
from audioprune.distiller.names import DEFAULT
from audioprune.errors import ConfigError


class Pruner(Protocol):
    """What every pruner offers; ``NAMED`` is the field that holds its parameter names."""

    NAMED: ClassVar[str]

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions, bool, of the weight's shape; None leaves the mask alone."""
        ...


@dataclass(frozen=True)
class SensitivityPruner:
    """Remove the weights of magnitude at most sensitivity times their tensor's deviation.

    The standard deviation is taken at the first pruning, so that the threshold is constant while
    weights drift into it.

    Attributes:
        sensitivities: Parameter name or ``*`` -> sensitivity, at least 0; 0 removes exact zeros
            only. ``*`` means every other parameter, biases and slopes among them.

    Raises:
        ConfigError: A sensitivity is no number >= 0.

    Source: Plain & Biswas, "Sensitivity Pruning".
    """

    sensitivities: Mapping[str, float]
    NAMED: ClassVar[str] = "sensitivities"

    def __post_init__(self) -> None:
        check_values("sensitivities", self.sensitivities)

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        sensitivity = value_of(self.sensitivities, name)
        if sensitivity is None:
            return None
        scores = magnitude_over_sigma({name: weight}, context.statistics.sigmas)
        return select.threshold(scores, {name: sensitivity})[name]


@dataclass(frozen=True)
class MagnitudeParameterPruner:
    """Remove the weights whose magnitude is at most a threshold.

    Attributes:
        thresholds: Parameter name -> threshold, at least 0; ``*``, which has to be there, for all
            others.

    Raises:
        ConfigError: A threshold is no number >= 0, or ``*`` is missing.
    """

    thresholds: Mapping[str, float]
    NAMED: ClassVar[str] = "thresholds"

    def __post_init__(self) -> None:
        check_values("thresholds", self.thresholds)
        if DEFAULT not in self.thresholds:
            raise ConfigError(
                "thresholds: expected an entry '*' for the parameters that are not named, got "
                "none; add it"
            )

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        threshold = self.thresholds.get(name, self.thresholds[DEFAULT])
        return select.threshold({name: weight.detach().abs()}, {name: threshold})[name]


@dataclass(frozen=True)
class SparsityLevelParameterPruner:
    """Remove a fixed share of the smallest weights of every tensor; see ``level_keep``.

    Attributes:
        levels: Parameter name or ``*`` -> removed fraction, 0..1; 0 leaves a tensor alone.

    Raises:
        ConfigError: A level is no number 0..1.
    """

    levels: Mapping[str, float]
    NAMED: ClassVar[str] = "levels"

    def __post_init__(self) -> None:
        check_values("levels", self.levels, most=1.0)

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        level = value_of(self.levels, name)
        return level_keep(weight, level) if level else None


@dataclass(frozen=True)
class AutomatedGradualPruner:
    """Remove the smallest weights of every tensor, more of them at every pruning.

    The sparsity rises by the cubic schedule; see ``level_keep`` for what is removed.

    Attributes:
        initial_sparsity: Sparsity at the first epoch of the policy, 0 or more.
        final_sparsity: Sparsity at its last scheduled epoch, above the initial one, at most 1.
        weights: Parameter names.

    Raises:
        ConfigError: A sparsity is outside its range, or no weights are named.

    Source: Zhu & Gupta 2017, equation 1, as compress.schedule.Cubic writes it.
    """

    initial_sparsity: float
    final_sparsity: float
    weights: Sequence[str]
    NAMED: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        check_names(self.weights)
        check_ramp(self.initial_sparsity, self.final_sparsity)

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        if name not in self.weights:
            return None
        sparsity = gradual(context.position, self.initial_sparsity, self.final_sparsity)
        return level_keep(weight, sparsity)


@dataclass(frozen=True)
class SplicingPruner:
    """Remove weights below a low threshold and bring those above a high one back.

    Weights between the two stay as they are. Both thresholds are (mean + sensitivity * standard
    deviation) of the absolute weights at the first pruning, times a factor. Weights come back only
    where the policy says ``mask_on_forward_only``, since masked weights are zero otherwise.

    Attributes:
        sensitivities: Parameter name or ``*`` -> sensitivity, at least 0.
        low_thresh_mult: Factor of the low threshold.
        hi_thresh_mult: Factor of the high threshold.
        sensitivity_multiplier: Growth of the sensitivity per epoch since the first one, as a
            fraction of it.

    Raises:
        ConfigError: A number is negative.

    Source: Guo et al. 2016, Dynamic Network Surgery, equation 3.
    """

    sensitivities: Mapping[str, float]
    low_thresh_mult: float
    hi_thresh_mult: float
    sensitivity_multiplier: float = 0.0
    NAMED: ClassVar[str] = "sensitivities"

    def __post_init__(self) -> None:
        check_values("sensitivities", self.sensitivities)
        for name in ("low_thresh_mult", "hi_thresh_mult", "sensitivity_multiplier"):
            check_number(name, getattr(self, name))

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        sensitivity = value_of(self.sensitivities, name)
        if sensitivity is None:
            return None
        magnitude = weight.detach().abs()
        now = (float(magnitude.mean()), float(magnitude.std()))
        mean, deviation = context.statistics.magnitudes.setdefault(name, now)
        passed = context.position.epoch - context.position.start
        grown = sensitivity * (1 + passed * self.sensitivity_multiplier)
        bound = mean + deviation * grown
        # What lies between the two thresholds keeps the mask that it had before.
        before = context.masks.get(name, torch.ones_like(magnitude, dtype=torch.bool))
        above_low = magnitude >= bound * self.low_thresh_mult
        above_high = magnitude >= bound * self.hi_thresh_mult
        return (before & above_low) | above_high


@dataclass(frozen=True)
class BaiduRNNPruner:
    """Remove the weights below a threshold that rises slowly, and faster from the ramp epoch on.

    Attributes:
        initial_sparsity: Not used by the method; must lie below the final one.
        final_sparsity: Not used by the method.
        q: Magnitude at the 90th percentile of a trained model's weights.
        ramp_epoch: Epoch from which the threshold rises faster.
        ramp_slope_mult: How much faster.
        weights: Parameter names.

    Raises:
        ConfigError: A number is negative, the sparsities do not rise, or no weights are named.

    Source: Narang et al. 2017, Exploring Sparsity in Recurrent Neural Networks, equation 1, with
    epochs for iterations.
    """

    initial_sparsity: float
    final_sparsity: float
    q: float
    ramp_epoch: int
    ramp_slope_mult: float
    weights: Sequence[str]
    NAMED: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        check_names(self.weights)
        check_ramp(self.initial_sparsity, self.final_sparsity)
        for name in ("q", "ramp_epoch", "ramp_slope_mult"):
            check_number(name, getattr(self, name))

    def threshold(self, position: TrainingPosition) -> float:
        """Return the threshold at an epoch."""
        every = required_frequency(position)
        slow_epochs = self.ramp_epoch - position.start
        fast_epochs = position.end - self.ramp_epoch
        slope = 2 * self.q * every / (2 * slow_epochs + 3 * fast_epochs)
        if position.epoch < self.ramp_epoch:
            return slope * (position.epoch - position.start + 1) / every
        steep = slope * self.ramp_slope_mult
        return (slope * (slow_epochs + 1) + steep * (position.epoch - self.ramp_epoch + 1)) / every

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        if name not in self.weights:
            return None
        return weight.detach().abs() > self.threshold(context.position)


def level_keep(weight: Tensor, sparsity: float) -> Tensor:
    """Keep the weights of larger magnitude than the ``int(sparsity * n)``-th smallest.

    Weights of the same magnitude as that one are removed as well.

    Args:
        weight: Weights of any shape.
        sparsity: Removed fraction, 0..1; all weights are kept where it is less than one weight.
    """
    magnitude = weight.detach().abs()
    count = int(sparsity * magnitude.numel())
    if count == 0:
        return torch.ones_like(magnitude, dtype=torch.bool)
    return magnitude > magnitude.flatten().kthvalue(count).values


def gradual(position: TrainingPosition, initial: float, final: float) -> float:
    """Return the sparsity that gradual pruning has reached at an epoch.

    Raises:
        ConfigError: The policy lists its epochs, or has fewer than two.
    """
    every = required_frequency(position)
    return Cubic(position.start, position.end, every, initial, final).sparsity(position.epoch)


def value_of(values: Mapping[str, float], name: str) -> float | None:
    """Return what a mapping says of a parameter, or of all others, or None."""
    return values.get(name, values.get(DEFAULT))

"""Which single weights the pruners of a schedule keep: by threshold, by level, gradually, with splicing.

Structures such as filters have their own file. When a pruner acts, and what happens to its masks,
is decided in hook.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from audioprune.compress import select
from audioprune.compress.criteria.importance import magnitude_over_sigma
from audioprune.compress.schedule import Cubic
from audioprune.distiller.names import DEFAULT
from audioprune.errors import ConfigError


@dataclass(frozen=True)
class Moment:
    """When a pruner is asked.

    Attributes:
        epoch: Present epoch.
        start: First epoch of the policy.
        end: Epoch behind the last one of the policy.
        frequency: Epochs between two prunings, or None for a policy that lists its epochs.
    """

    epoch: int
    start: int
    end: int
    frequency: int | None


@dataclass
class Memory:
    """What was measured of every tensor at its first pruning, and holds for all later ones; part of the training's state.

    Attributes:
        sigmas: Parameter name -> unbiased standard deviation of the weights.
        magnitudes: Parameter name -> mean and unbiased standard deviation of the absolute weights.
    """

    sigmas: dict[str, float] = field(default_factory=dict)
    magnitudes: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """What a pruner may look at besides the weights of one tensor.

    Attributes:
        model: The model.
        moment: When.
        masks: Kept positions of every tensor that is masked so far.
        memory: First measurements.
    """

    model: nn.Module
    moment: Moment
    masks: Mapping[str, Tensor]
    memory: Memory


class Pruner(Protocol):
    """What every pruner answers; ``NAMED`` is the field that holds its parameter names."""

    NAMED: ClassVar[str]

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor, bool, of its shape; None leaves its mask as it is."""


@dataclass(frozen=True)
class SensitivityPruner:
    """Remove the weights whose magnitude is at most sensitivity times the standard deviation of their tensor.

    The standard deviation is that of the first pruning, so that the threshold is constant while
    weights drift into it.

    Attributes:
        sensitivities: Parameter name or ``*`` -> sensitivity, at least 0; 0 removes exact zeros
            only. ``*`` stands for every other parameter, biases and slopes among them.

    Raises:
        ConfigError: A sensitivity is no number >= 0.

    Source: Plain & Biswas, "Sensitivity Pruning".
    """

    sensitivities: Mapping[str, float]
    NAMED: ClassVar[str] = "sensitivities"

    def __post_init__(self) -> None:
        check_values("sensitivities", self.sensitivities)

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        sensitivity = value_of(self.sensitivities, name)
        if sensitivity is None:
            return None
        scores = magnitude_over_sigma({name: weight}, scene.memory.sigmas)
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

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        return select.threshold(
            {name: weight.detach().abs()}, {name: value_of(self.thresholds, name)}
        )[name]


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

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        level = value_of(self.levels, name)
        return level_keep(weight, level) if level else None


@dataclass(frozen=True)
class AutomatedGradualPruner:
    """Remove the smallest weights of every tensor up to a sparsity that rises by the cubic schedule; see ``level_keep``.

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

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        if name not in self.weights:
            return None
        return level_keep(
            weight, gradual(scene.moment, self.initial_sparsity, self.final_sparsity)
        )


@dataclass(frozen=True)
class SplicingPruner:
    """Remove weights below a low threshold, bring those above a high one back, and leave those between as they are.

    Both thresholds are (mean + sensitivity * standard deviation) of the absolute weights at the
    first pruning, times a factor. Weights come back only where the policy says
    ``mask_on_forward_only``, since masked weights are zero otherwise.

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

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        sensitivity = value_of(self.sensitivities, name)
        if sensitivity is None:
            return None
        magnitude = weight.detach().abs()
        mean, deviation = scene.memory.magnitudes.setdefault(
            name, (float(magnitude.mean()), float(magnitude.std()))
        )
        grown = sensitivity * (
            1 + (scene.moment.epoch - scene.moment.start) * self.sensitivity_multiplier
        )
        bound = mean + deviation * grown
        before = scene.masks.get(name, torch.ones_like(magnitude, dtype=torch.bool))
        return (before & (magnitude >= bound * self.low_thresh_mult)) | (
            magnitude >= bound * self.hi_thresh_mult
        )


@dataclass(frozen=True)
class BaiduRNNPruner:
    """Remove the weights below a threshold that rises slowly up to the ramp epoch and faster from there on.

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

    def threshold(self, moment: Moment) -> float:
        """Return the threshold at a moment."""
        every = needed_frequency(moment)
        slope = (
            2
            * self.q
            * every
            / (2 * (self.ramp_epoch - moment.start) + 3 * (moment.end - self.ramp_epoch))
        )
        if moment.epoch < self.ramp_epoch:
            return slope * (moment.epoch - moment.start + 1) / every
        steep = slope * self.ramp_slope_mult
        return (
            slope * (self.ramp_epoch - moment.start + 1)
            + steep * (moment.epoch - self.ramp_epoch + 1)
        ) / every

    def keep(self, name: str, weight: Tensor, scene: Scene) -> Tensor | None:
        """Return the kept positions of one tensor."""
        if name not in self.weights:
            return None
        return weight.detach().abs() > self.threshold(scene.moment)


def level_keep(weight: Tensor, sparsity: float) -> Tensor:
    """Keep the weights above the magnitude of the ``int(sparsity * n)``-th smallest one; what equals it goes as well.

    Args:
        weight: Weights of any shape.
        sparsity: Removed fraction, 0..1; where it stands for less than one weight, all are kept.
    """
    magnitude = weight.detach().abs()
    count = int(sparsity * magnitude.numel())
    if count == 0:
        return torch.ones_like(magnitude, dtype=torch.bool)
    return magnitude > magnitude.flatten().kthvalue(count).values


def gradual(moment: Moment, initial: float, final: float) -> float:
    """Return the sparsity that gradual pruning has reached at a moment.

    Raises:
        ConfigError: The policy lists its epochs, or has fewer than two.
    """
    return Cubic(moment.start, moment.end, needed_frequency(moment), initial, final).sparsity(
        moment.epoch
    )


def needed_frequency(moment: Moment) -> int:
    """Return the frequency of a policy.

    Raises:
        ConfigError: The policy lists its epochs instead.
    """
    if moment.frequency is None:
        raise ConfigError(
            "expected starting_epoch, ending_epoch and frequency for a gradual pruner, got a "
            "list of epochs; give the three"
        )
    return moment.frequency


def value_of(values: Mapping[str, float], name: str) -> float | None:
    """Return what a mapping says of a parameter, or of all others, or None."""
    return values.get(name, values.get(DEFAULT))


def check_values(what: str, values: Any, most: float | None = None) -> None:
    """Refuse anything but a mapping of parameter names to numbers from 0 to ``most``."""
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(
            f"{what}: expected a mapping of parameter names to numbers, got {_kind(values)}; "
            f"write 'name: number' lines"
        )
    for name, value in values.items():
        check_number(f"{what}, '{name}'", value, most)


def check_names(names: Any) -> None:
    """Refuse anything but a list of parameter names."""
    if (
        not isinstance(names, list | tuple)
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ConfigError(
            f"weights: expected a list of parameter names, got {_kind(names)}; list at least one"
        )


def check_number(what: str, value: Any, most: float | None = None) -> None:
    """Refuse anything but a number from 0 to ``most``."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= (float("inf") if most is None else most)
    ):
        wanted = "a number >= 0" if most is None else f"a number from 0 to {most:g}"
        raise ConfigError(f"{what}: expected {wanted}, got {value!r}; correct it")


def check_ramp(initial: Any, final: Any) -> None:
    """Refuse sparsities that do not rise within 0..1."""
    check_number("initial_sparsity", initial, 1.0)
    check_number("final_sparsity", final, 1.0)
    if final <= initial:
        raise ConfigError(
            f"expected final_sparsity above initial_sparsity, got {final} and {initial}; "
            f"correct one"
        )


def _kind(value: Any) -> str:
    return (
        "an empty one"
        if value in ({}, [], ())
        else "nothing"
        if value is None
        else type(value).__name__
    )

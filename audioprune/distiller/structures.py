"""Pruners of filters, channels, rows and other structures of a weight.

Each pruner has ``keep(name, weight, context)``, which returns the kept positions. The axes are the
layer's own: the filters of a transposed convolution are on its second axis, where Distiller takes
the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice
from audioprune.compress.units.weight_groups import (
    INPUTS,
    KERNELS,
    OUTPUTS,
    expand,
    group_norms,
    group_sizes,
    weight_groups,
)
from audioprune.distiller.arguments import check_names, check_number, check_ramp
from audioprune.distiller.context import PruningContext
from audioprune.distiller.pruners import gradual
from audioprune.errors import ConfigError, unknown_name

_KINDS = {
    "Filters": OUTPUTS,
    "3D": OUTPUTS,
    "Rows": OUTPUTS,
    "Channels": INPUTS,
    "Cols": INPUTS,
    "2D": KERNELS,
}
GROUP_TYPES = (*_KINDS, "4D")
RANKED = {"Filters": "Filters", "3D": "Filters", "Channels": "Channels", "Rows": "Channels"}
"""Structures that can be ranked -> which groups they are.

In Distiller's rankings, rows are the rows of the transposed matrix.
"""

CRITERIA = ("Max", "Mean_Abs")


def structures(model: nn.Module, name: str, group_type: str) -> Slice:
    """Return the structures of a weight.

    Args:
        model: The model.
        name: Parameter name.
        group_type: ``Filters`` or ``3D`` for what writes one output, ``Rows`` likewise;
            ``Channels`` or ``Cols`` for what reads one input; ``2D`` for kernels; ``4D`` for the
            tensor as a whole.

    Raises:
        ConfigError: The type is unknown, or the weight has no such structures.
    """
    if group_type not in GROUP_TYPES:
        raise ConfigError(unknown_name("structure", str(group_type), GROUP_TYPES))
    shape = dict(model.named_parameters())[name].shape
    if group_type == "4D":
        return Slice(name, 0, torch.arange(shape[0])[None])
    least = 3 if group_type == "2D" else 2
    if len(shape) < least:
        raise ConfigError(
            f"'{name}': expected a weight of at least {least} axes for {group_type}, got shape "
            f"{tuple(shape)}; leave it out"
        )
    return weight_groups(model, _KINDS[group_type], [name])[0].slices[0]


def threshold_keep(
    model: nn.Module, name: str, weight: Tensor, group_type: str, threshold: float, criterion: str
) -> Tensor:
    """Keep the structures whose mean or largest magnitude is above a threshold.

    Args:
        model: The model.
        name: Parameter name.
        weight: Its weights.
        group_type: See ``structures``; several, joined by ``+``, have to be kept all.
        threshold: The threshold, at least 0.
        criterion: ``Mean_Abs`` or ``Max``.

    Returns:
        Kept positions, bool, shape of the weight.
    """
    kept = torch.ones_like(weight, dtype=torch.bool)
    for each in group_type.split("+"):
        part = structures(model, name, each)
        norms = group_norms(weight.detach(), part, math.inf if criterion == "Max" else 1)
        scale = 1 if criterion == "Max" else group_sizes(part, weight.shape)
        kept &= expand(part, norms / scale > threshold, weight.shape)
    return kept


@dataclass(frozen=True)
class StructureParameterPruner:
    """Remove the structures whose mean or largest magnitude is at most a threshold.

    Attributes:
        reg_regims: Parameter name -> [threshold, structure], see ``structures``.
        threshold_criteria: ``Mean_Abs`` or ``Max``; Distiller ignores it for channels, which
            always have the mean there.

    Raises:
        ConfigError: A name is unknown or a number negative.
    """

    reg_regims: Mapping[str, Sequence[Any]]
    threshold_criteria: str
    NAMED: ClassVar[str] = "reg_regims"

    def __post_init__(self) -> None:
        check_regime(self.reg_regims)
        if self.threshold_criteria not in CRITERIA:
            raise ConfigError(
                unknown_name("threshold_criteria", str(self.threshold_criteria), CRITERIA)
            )

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        if name not in self.reg_regims:
            return None
        threshold, group_type = self.reg_regims[name]
        return threshold_keep(
            context.model, name, weight, group_type, threshold, self.threshold_criteria
        )


@dataclass(frozen=True)
class RankedStructurePruner:
    """Remove a share of the structures of a weight, lowest norm first; see ``ranked_keep``.

    Attributes:
        group_type: ``Filters`` (or ``3D``), ``Channels`` or ``Rows``.
        desired_sparsity: Removed share of the structures, 0..1.
        weights: Parameter names.
        group_dependency: ``Leader`` removes everywhere what the first of the weights ranks lowest;
            None ranks each by itself.
        p: 1 or 2, the norm.

    Raises:
        ConfigError: A name is unknown or the share no number 0..1.

    Source: Li et al. 2017, Pruning Filters for Efficient ConvNets.
    """

    group_type: str
    desired_sparsity: float
    weights: Sequence[str]
    group_dependency: str | None = None
    p: int = 1
    NAMED: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        check_number("desired_sparsity", self.desired_sparsity, 1.0)
        check_ranking(self.group_type, self.weights, self.group_dependency)

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        return ranked_keep(self, name, weight, context.model, self.desired_sparsity)


@dataclass(frozen=True)
class GradualStructurePruner:
    """Remove the structures of lowest norm, more of them at every pruning; see ``ranked_keep``.

    The removed share rises by the cubic schedule.

    Attributes:
        initial_sparsity: Share at the first epoch of the policy, 0 or more.
        final_sparsity: Share at its last scheduled epoch, above the initial one, at most 1.
        group_type: ``Filters`` (or ``3D``), ``Channels`` or ``Rows``.
        weights: Parameter names.
        group_dependency: ``Leader`` or None, as for ``RankedStructurePruner``.
        p: 1 or 2, the norm.

    Raises:
        ConfigError: A name is unknown or a share outside its range.
    """

    initial_sparsity: float
    final_sparsity: float
    group_type: str
    weights: Sequence[str]
    group_dependency: str | None = None
    p: int = 1
    NAMED: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        check_ramp(self.initial_sparsity, self.final_sparsity)
        check_ranking(self.group_type, self.weights, self.group_dependency)

    def keep(self, name: str, weight: Tensor, context: PruningContext) -> Tensor | None:
        """Return the kept positions of one tensor."""
        share = gradual(context.position, self.initial_sparsity, self.final_sparsity)
        return ranked_keep(self, name, weight, context.model, share)


def ranked_keep(
    ranking: RankedStructurePruner | GradualStructurePruner,
    name: str,
    weight: Tensor,
    model: nn.Module,
    share: float,
) -> Tensor | None:
    """Remove ``floor(share * n)`` of n structures; ties with the last of them go as well.

    All of them go only if the share is 1. Structures of one weight have one size, so that the norm
    ranks as the mean does. ``Rows`` are input features, as in Distiller's rankings, where they are
    the rows of the transposed matrix.

    Args:
        ranking: The pruner.
        name: Parameter name.
        weight: Its weights.
        model: The model.
        share: Removed share, 0..1.

    Returns:
        Kept positions, bool, shape of the weight; None where the share is less than one structure.

    Raises:
        ConfigError: The weight has no such structures, or other numbers of them than its leader.
    """
    if name not in ranking.weights or share == 0:
        return None
    group_type = RANKED[ranking.group_type]
    leader = ranking.weights[0] if ranking.group_dependency else name
    leading = weight if leader == name else dict(model.named_parameters())[leader]
    norms = group_norms(leading.detach(), structures(model, leader, group_type), ranking.p)
    part = structures(model, name, group_type)
    if len(norms) != len(part.index):
        raise ConfigError(
            f"'{name}': expected {len(norms)} {ranking.group_type} as its leader '{leader}' "
            f"has, got {len(part.index)}"
        )
    count = math.floor(share * len(norms))
    if count == len(norms) and share != 1:
        count -= 1
    if not count:
        return None
    return expand(part, norms > norms.kthvalue(count).values, weight.shape)


def check_ranking(group_type: Any, weights: Any, group_dependency: Any) -> None:
    """Refuse a ranking of unknown structures, of no weights, or with an unknown dependency."""
    check_names(weights)
    if group_type not in RANKED:
        raise ConfigError(unknown_name("group_type", str(group_type), RANKED))
    if group_dependency not in (None, "Leader"):
        raise ConfigError(unknown_name("group_dependency", str(group_dependency), ["Leader"]))


def check_regime(regime: Any, known: Sequence[str] = GROUP_TYPES) -> None:
    """Refuse anything but a mapping of parameter names to [number, structure]."""
    if not isinstance(regime, Mapping) or not regime:
        raise ConfigError(
            "reg_regims: expected a mapping of parameter names to [number, structure]; write "
            "'name: [0.001, Filters]' lines"
        )
    for name, entry in regime.items():
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise ConfigError(
                f"reg_regims, '{name}': expected [number, structure], got {entry!r}; correct it"
            )
        check_number(f"reg_regims, '{name}'", entry[0])
        for each in str(entry[1]).split("+"):
            if each not in known:
                raise ConfigError(unknown_name(f"structure of '{name}'", each, known))

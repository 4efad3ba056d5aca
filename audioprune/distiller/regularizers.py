"""Regularizers: what they add to the loss, and which weights they zero after every step.

Each has ``penalty(name, weight, model)``, a scalar, and ``keep(name, weight, model)``, the
positions above its threshold. When they act is decided in hook.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from audioprune.compress.units.weight_groups import group_norms
from audioprune.distiller.arguments import check_values
from audioprune.distiller.structures import (
    CRITERIA,
    GROUP_TYPES,
    check_regime,
    structures,
    threshold_keep,
)
from audioprune.errors import ConfigError, unknown_name


class Regularizer(Protocol):
    """What every regularizer offers; ``NAMED`` is the field that holds its parameter names."""

    NAMED: ClassVar[str]

    def penalty(self, name: str, weight: Tensor, model: nn.Module) -> Tensor:
        """Return the penalty of one named tensor, a scalar."""
        ...

    def keep(self, name: str, weight: Tensor, model: nn.Module) -> Tensor | None:
        """Return the positions above the threshold, or None where there is no threshold."""
        ...


@dataclass(frozen=True)
class L1Regularizer:
    """Add strength * sum |w| of every named tensor to the loss.

    Attributes:
        reg_regims: Parameter name -> strength, at least 0.
        threshold_criteria: Anything but None also sets weights of magnitude at most strength to
            zero after every step.

    Raises:
        ConfigError: A strength is no number >= 0.
    """

    reg_regims: Mapping[str, float]
    threshold_criteria: str | None = None
    NAMED: ClassVar[str] = "reg_regims"

    def __post_init__(self) -> None:
        check_values("reg_regims", self.reg_regims)

    def penalty(self, name: str, weight: Tensor, model: nn.Module) -> Tensor:
        """Return the penalty of one named tensor."""
        return torch.linalg.vector_norm(weight, 1) * self.reg_regims[name]

    def keep(self, name: str, weight: Tensor, model: nn.Module) -> Tensor | None:
        """Return the positions above the threshold."""
        if self.threshold_criteria is None:
            return None
        return weight.detach().abs() > self.reg_regims[name]


@dataclass(frozen=True)
class GroupLassoRegularizer:
    """Add strength * sum of the l2 norms of all structures of every named tensor to the loss.

    A structure of zeros has the gradient 0; no small number inside the root is needed for that.

    Attributes:
        reg_regims: Parameter name -> [strength, structure]; structures joined by ``+`` add their
            norms.
        threshold_criteria: ``Mean_Abs`` or ``Max`` also sets structures of at most that magnitude
            to zero after every step.

    Raises:
        ConfigError: A name is unknown or a number negative.

    Source: Yuan & Lin 2006; without the factor sqrt(size of the group), as schedule files mean it.
    """

    reg_regims: Mapping[str, Sequence[Any]]
    threshold_criteria: str | None = None
    NAMED: ClassVar[str] = "reg_regims"

    def __post_init__(self) -> None:
        check_regime(self.reg_regims, GROUP_TYPES)
        if self.threshold_criteria not in (None, *CRITERIA):
            raise ConfigError(
                unknown_name("threshold_criteria", str(self.threshold_criteria), CRITERIA)
            )

    def penalty(self, name: str, weight: Tensor, model: nn.Module) -> Tensor:
        """Return the penalty of one named tensor."""
        strength, group_type = self.reg_regims[name]
        parts = [structures(model, name, each) for each in group_type.split("+")]
        return strength * sum(group_norms(weight, part, 2).sum() for part in parts)

    def keep(self, name: str, weight: Tensor, model: nn.Module) -> Tensor | None:
        """Return the positions of structures above the threshold."""
        if self.threshold_criteria is None:
            return None
        strength, group_type = self.reg_regims[name]
        return threshold_keep(model, name, weight, group_type, strength, self.threshold_criteria)

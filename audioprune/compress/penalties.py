"""What training adds to the loss so that weights become small: l1 and sparse group lasso.

Both are built once for a model and return a scalar for its present weights. They shrink weights
and weight groups but reach no zero under gradient steps: zeros come from pruning, or from the
optimisers in audioprune.optim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, sqrt

import torch
from torch import Tensor, nn

from audioprune.compress.masks import prunable
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.weight_groups import (
    group_count,
    group_norms,
    group_sizes,
    weight_groups,
)
from audioprune.errors import ConfigError, unknown_name


class L1Penalty:
    """Add lambda_1 / n(W) * sum |w| over all weights of the network.

    n(W) is counted over the whole network when the penalty is built and stays fixed while weights
    are pruned.

    Args:
        model: The model that will be trained.
        lambda_1: Strength, at least 0; each weight is pulled by lambda_1 / n(W).
        names: Weight tensors, by default all prunable ones.

    Raises:
        ConfigError: The strength is negative or not finite, a name is unknown, or the model has no
            weights.

    Source: Tan & Wang, ICASSP 2021, R_l1. That W excludes parameters of one axis is our reading.
    """

    def __init__(
        self, model: nn.Module, lambda_1: float, names: Iterable[str] | None = None
    ) -> None:
        self.lambda_1 = _strength("lambda_1", lambda_1)
        self._shapes = _shapes(model, prunable(model) if names is None else names)
        self.n_weights = sum(shape.numel() for shape in self._shapes.values())
        if not self.n_weights:
            raise ConfigError(
                "penalty: expected at least one weight tensor, got none; check the names"
            )

    def __call__(self, model: nn.Module) -> Tensor:
        """Compute the penalty of the model's present weights, a scalar.

        Raises:
            ConfigError: A weight tensor has gone or changed its shape since the penalty was built.
        """
        return self.lambda_1 / self.n_weights * _l1(_current(model, self._shapes))


class SparseGroupLasso:
    """Add lambda_1 / n(W) * sum |w| + lambda_2 / n(G) * sum sqrt(p_g) ||g||_2.

    The sums are over all weights w and all weight groups g, of p_g weights each. n(W) and n(G) are
    counted over the whole network when the penalty is built and stay fixed while groups are
    pruned. The gradient at a group of zeros is 0.

    Args:
        model: The model that will be trained.
        lambda_1: Strength of the l1 term, at least 0.
        lambda_2: Strength of the group term, at least 0. With equal strengths a group term pulls
            about n(W) / n(G) times more at each weight than the l1 term.
        groups: Weight groups as unit sets; by default those of ``weight_groups(model)``. Where a
            set has several slices, a group is all of them together, and a weight in two of them
            counts twice.

    Raises:
        ConfigError: A strength is negative or not finite, a name is unknown, or there are no
            groups.

    Source: Tan & Wang, ICASSP 2021, R_SGL, after Simon et al. 2013.
    """

    def __init__(
        self,
        model: nn.Module,
        lambda_1: float,
        lambda_2: float,
        groups: Sequence[UnitSet] | None = None,
    ) -> None:
        self.lambda_1 = _strength("lambda_1", lambda_1)
        self.lambda_2 = _strength("lambda_2", lambda_2)
        self._groups = tuple(weight_groups(model) if groups is None else groups)
        if not self._groups:
            raise ConfigError(
                "penalty: expected at least one weight group, got none; check the groups"
            )
        parts = [part for each in self._groups for part in each.slices]
        self._shapes = _shapes(model, [*prunable(model), *(part.tensor for part in parts)])
        self.n_weights = sum(shape.numel() for shape in self._shapes.values())
        self.n_groups = group_count(self._groups)

    def __call__(self, model: nn.Module) -> Tensor:
        """Compute the penalty of the model's present weights, a scalar.

        Raises:
            ConfigError: A weight tensor has gone or changed its shape since the penalty was built.
        """
        weights = _current(model, self._shapes)
        grouped = torch.stack([_group_term(each, weights) for each in self._groups]).sum()
        single = self.lambda_1 / self.n_weights * _l1(weights)
        return single + self.lambda_2 / self.n_groups * grouped


def _group_term(groups: UnitSet, weights: dict[str, Tensor]) -> Tensor:
    """Compute sum sqrt(p_g) ||g||_2 over the groups of one set."""
    size = sum(group_sizes(part, weights[part.tensor].shape) for part in groups.slices)
    norms = [group_norms(weights[part.tensor], part, 2) for part in groups.slices]
    # one norm per group, over all slices of the set
    joint = norms[0]
    if len(norms) > 1:
        joint = torch.linalg.vector_norm(torch.stack(norms), 2, dim=0)
    return sqrt(size) * joint.sum()


def _strength(name: str, value: float) -> float:
    if not (isfinite(value) and value >= 0):
        raise ConfigError(
            f"{name}: expected a finite number >= 0, got {value}; 0 switches the term off"
        )
    return float(value)


def _shapes(model: nn.Module, names: Iterable[str]) -> dict[str, torch.Size]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    shapes = {}
    for name in names:
        if name not in parameters:
            raise ConfigError(unknown_name("weight tensor", name, parameters))
        shapes[name] = parameters[name].shape
    return shapes


def _current(model: nn.Module, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, shape in shapes.items():
        got = tuple(parameters[name].shape) if name in parameters else "nothing"
        if got != tuple(shape):
            raise ConfigError(
                f"penalty on '{name}': expected shape {tuple(shape)}, got {got}; build the "
                f"penalty anew after trimming"
            )
    return {name: parameters[name] for name in shapes}


def _l1(weights: dict[str, Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(weight, 1) for weight in weights.values()]
    return torch.stack(norms).sum()

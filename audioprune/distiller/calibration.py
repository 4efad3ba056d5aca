"""By which factor to multiply all sensitivities, so that one pruning reaches a total sparsity.

``factor_for`` finds the factor, ``scaled`` applies it to a schedule. Neither changes the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from audioprune.compress.criteria.importance import magnitude_over_sigma
from audioprune.compress.masks import prunable
from audioprune.distiller.context import FirstStatistics
from audioprune.distiller.names import DEFAULT
from audioprune.distiller.pruners import SensitivityPruner, value_of
from audioprune.distiller.schedule import Schedule
from audioprune.errors import ConfigError

_STEPS = 60
"""Halvings of the bisection, more than single precision can tell apart."""


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """Return the schedule with every sensitivity multiplied by one factor."""
    policies = []
    for policy in schedule.policies:
        if isinstance(policy.actor, SensitivityPruner):
            values = {name: factor * value for name, value in policy.actor.sensitivities.items()}
            policy = replace(policy, actor=replace(policy.actor, sensitivities=values))
        policies.append(policy)
    return replace(schedule, policies=tuple(policies))


@torch.no_grad()
def factor_for(
    schedule: Schedule, model: nn.Module, total_sparsity: float, statistics: FirstStatistics
) -> float:
    """Find the factor with which one pruning of the present weights reaches a total sparsity.

    The factor is found by bisection, to the last weight. The smallest one that reaches the total
    is returned, 0 if the weights are that sparse already. Sensitivities of 0 stay 0.

    Args:
        schedule: Bound schedule whose pruners are all SensitivityPruner.
        model: The model with the weights that are pruned.
        total_sparsity: Wanted zeros over all weights of all prunable tensors, 0..1.
        statistics: Standard deviations measured so far; missing ones are added.

    Raises:
        ConfigError: The schedule has other pruners, or the total is out of its reach.
    """
    ratios, fixed, count = _ratios(schedule, model, statistics)
    wanted = total_sparsity * count - fixed
    if wanted <= 0:
        return 0.0
    reachable = sum(len(each) for each in ratios)
    if reachable < wanted:
        share = (fixed + reachable) / count
        raise ConfigError(
            f"calibrate.total_sparsity: expected at most {share:.4f}, the share of the tensors "
            f"with a sensitivity above 0, got {total_sparsity:g}; lower it or give more tensors "
            f"a sensitivity"
        )
    least, most = 0.0, max((float(each.max()) for each in ratios if len(each)), default=0.0)
    for _ in range(_STEPS):
        middle = (least + most) / 2
        enough = sum(int((each <= middle).sum()) for each in ratios) >= wanted
        least, most = (least, middle) if enough else (middle, most)
    return most * (1 + 1e-6)  # thresholds are compared in single precision


def _ratios(
    schedule: Schedule, model: nn.Module, statistics: FirstStatistics
) -> tuple[list[Tensor], int, int]:
    """Return what decides the total sparsity for a factor.

    Returns:
        |w| / (sigma * sensitivity) of the weights that can go, one tensor each; the zeros of the
        other tensors; the number of all weights. A weight goes if the factor is at least its
        ratio.
    """
    sensitivities = _sensitivities(schedule)
    weights, names = dict(model.named_parameters()), prunable(model)
    ratios, fixed = [], 0
    for name in names:
        sensitivity = value_of(sensitivities, name)
        if sensitivity:
            scores = magnitude_over_sigma({name: weights[name]}, statistics.sigmas)[name]
            ratios.append(scores.flatten() / sensitivity)
        else:
            fixed += int((weights[name] == 0).sum())
    return ratios, fixed, sum(weights[name].numel() for name in names)


def _sensitivities(schedule: Schedule) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for policy in schedule.of("pruner"):
        if not isinstance(policy.actor, SensitivityPruner):
            raise ConfigError(
                f"calibrate: expected pruners of class SensitivityPruner, got "
                f"{type(policy.actor).__name__}; leave it out"
            )
        for name, value in policy.actor.sensitivities.items():
            found[name] = max(value, found.get(name, 0.0)) if name != DEFAULT else value
    if not any(found.values()):
        raise ConfigError(
            "calibrate: expected a sensitivity above 0, got none; there is nothing to multiply"
        )
    return found

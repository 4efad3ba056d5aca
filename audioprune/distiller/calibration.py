"""By which factor all sensitivities of a schedule have to be multiplied so that one pruning reaches a stated total sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from audioprune.compress.criteria.importance import magnitude_over_sigma
from audioprune.compress.masks import prunable
from audioprune.distiller.names import DEFAULT
from audioprune.distiller.pruners import Memory, SensitivityPruner, value_of
from audioprune.distiller.schedule import Schedule
from audioprune.errors import ConfigError

_STEPS = 60


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """Return the schedule with every sensitivity multiplied by one factor, so that those of 0 stay 0."""
    policies = []
    for policy in schedule.policies:
        if isinstance(policy.actor, SensitivityPruner):
            values = {name: factor * value for name, value in policy.actor.sensitivities.items()}
            policy = replace(policy, actor=replace(policy.actor, sensitivities=values))
        policies.append(policy)
    return replace(schedule, policies=tuple(policies))


@torch.no_grad()
def factor_for(
    schedule: Schedule, model: nn.Module, total_sparsity: float, memory: Memory
) -> float:
    """Find the factor of all non-zero sensitivities with which one pruning of the present weights reaches a total sparsity.

    The factor is found by bisection, to the last weight. The smallest one that reaches the total
    is returned, 0 if the weights are that sparse already.

    Args:
        schedule: Bound schedule whose pruners are all SensitivityPruner.
        model: The model with the weights that are pruned.
        total_sparsity: Wanted zeros over all weights of all prunable tensors, 0..1.
        memory: Standard deviations measured so far; missing ones are added.

    Raises:
        ConfigError: The schedule has other pruners, or the total is out of its reach.
    """
    ratios, fixed, count = _ratios(schedule, model, memory)
    wanted = total_sparsity * count - fixed
    if wanted <= 0:
        return 0.0
    least, most = 0.0, max((float(each.max()) for each in ratios if len(each)), default=0.0)
    if sum(len(each) for each in ratios) < wanted:
        share = (fixed + sum(len(each) for each in ratios)) / count
        raise ConfigError(
            f"calibrate.total_sparsity: expected at most {share:.4f}, the share of the tensors "
            f"with a sensitivity above 0, got "
            f"{total_sparsity:g}; lower it or give more tensors a sensitivity"
        )
    for _ in range(_STEPS):
        middle = (least + most) / 2
        enough = sum(int((each <= middle).sum()) for each in ratios) >= wanted
        least, most = (least, middle) if enough else (middle, most)
    return most * (1 + 1e-6)  # thresholds are compared in single precision


def _ratios(schedule: Schedule, model: nn.Module, memory: Memory) -> tuple[list[Tensor], int, int]:
    """Return |w| / (sigma * sensitivity) of every weight that can go, the number of other zeros, and the number of weights."""
    sensitivities = _sensitivities(schedule)
    weights, names = dict(model.named_parameters()), prunable(model)
    ratios, fixed = [], 0
    for name in names:
        sensitivity = value_of(sensitivities, name)
        if sensitivity:
            scores = magnitude_over_sigma({name: weights[name]}, memory.sigmas)[name]
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

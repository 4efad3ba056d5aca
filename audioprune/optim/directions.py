"""Which direction the base optimiser (SGD, Adam, AdamW) would follow, with its moments.

``gather`` collects what takes part in a step, ``direction`` computes where it leads. No parameter
of a group is changed here; the step itself is taken in group_steps.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.optim.group_steps import Move
from audioprune.optim.groups import Layout
from audioprune.optim.plans import Plan

State = Mapping[Tensor, dict[str, Any]]


@dataclass(frozen=True)
class Work:
    """What one step of one param group works on.

    Attributes:
        plan: The groups.
        params: The tensors that hold groups, then the others.
        gradients: Their gradients, in the same order.
    """

    plan: Plan
    params: list[Tensor]
    gradients: list[Tensor]

    @property
    def split(self) -> int:
        """Number of tensors that hold groups."""
        return len(self.plan.covered)

    def grouped(self, directions: Sequence[Tensor], group: Mapping[str, Any]) -> Move:
        """Take the plain step of tensors without groups; return the move of those with groups."""
        lr = float(group["lr"])
        if self.split < len(self.params):
            rest = list(directions[self.split :])
            torch._foreach_add_(self.params[self.split :], rest, alpha=-lr)
        held, ds = self.params[: self.split], directions[: self.split]
        return Move(self.plan, held, ds, lr, group["fused"])


def gather(group: Mapping[str, Any], layout: Layout) -> Work | None:
    """Collect parameters and gradients of a param group; None when nothing has a gradient.

    A parameter without a gradient is left alone, unless a unit joins it to one that has a
    gradient: then its gradient is zero.

    Raises:
        ConfigError: A gradient is sparse.
    """
    params = group["params"]
    gradients = [param.grad for param in params]
    present = [gradient is not None for gradient in gradients]
    if not any(present):
        return None
    plan = layout.plan(params, present)
    chosen = plan.covered + plan.plain
    aligned = [_gradient(params[i], gradients[i]) for i in chosen]
    return Work(plan, [params[i] for i in chosen], aligned)


def align(tensor: Tensor, param: Tensor) -> Tensor:
    """Return the tensor itself, or a copy in the memory order of the parameter."""
    if tensor.stride() == param.stride():
        return tensor
    strides = zip(tensor.stride(), param.stride(), param.shape, strict=True)
    same = all(ours == theirs for ours, theirs, length in strides if length > 1)
    return tensor if same else torch.empty_like(param).copy_(tensor)


def direction(
    group: Mapping[str, Any], state: State, params: Sequence[Tensor], gradients: list[Tensor]
) -> list[Tensor]:
    """Return the direction of the base optimiser for each parameter and update its moments.

    Args:
        group: Options ``base``, ``momentum``, ``betas``, ``eps``, ``weight_decay``.
        state: Moments per parameter, filled on the first step.
        params: Parameters, unchanged.
        gradients: Their gradients, unchanged.

    Source: the update rules of torch.optim.SGD, Adam and AdamW, whose step is ``x - lr *
    direction``.
    """
    decay = group["weight_decay"]
    if decay and group["base"] != "adamw":
        gradients = list(torch._foreach_add(gradients, list(params), alpha=decay))
    if group["base"] == "sgd":
        factor = group["momentum"]
        return _momentum(state, params, gradients, factor) if factor else gradients
    found = _adam(state, params, gradients, group["betas"], group["eps"])
    if decay and group["base"] == "adamw":
        torch._foreach_add_(found, list(params), alpha=decay)
    return found


def moment(state: State, param: Tensor, name: str) -> Tensor:
    """Return a state tensor of a parameter in its memory order, zero when it is new."""
    held = state[param].get(name)
    found = torch.zeros_like(param) if held is None else align(held, param)
    state[param][name] = found
    return found


def _gradient(param: Tensor, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        return torch.zeros_like(param)
    if gradient.is_sparse:
        raise ConfigError(
            "expected dense gradients, got a sparse one; build the embedding with sparse=False"
        )
    return align(gradient, param)


def _momentum(
    state: State, params: Sequence[Tensor], gradients: list[Tensor], factor: float
) -> list[Tensor]:
    buffers = [moment(state, param, "momentum_buffer") for param in params]
    torch._foreach_mul_(buffers, factor)
    torch._foreach_add_(buffers, gradients)
    return buffers


def _adam(
    state: State,
    params: Sequence[Tensor],
    gradients: list[Tensor],
    betas: Sequence[float],
    eps: float,
) -> list[Tensor]:
    first = [moment(state, param, "exp_avg") for param in params]
    second = [moment(state, param, "exp_avg_sq") for param in params]
    ages = []
    for param in params:
        state[param]["step"] = int(state[param].get("step", 0)) + 1
        ages.append(state[param]["step"])
    # m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2, each divided by its bias.
    torch._foreach_lerp_(first, gradients, 1 - betas[0])
    torch._foreach_mul_(second, betas[1])
    torch._foreach_addcmul_(second, gradients, gradients, 1 - betas[1])
    scale = torch._foreach_sqrt(second)
    torch._foreach_div_(scale, [(1 - betas[1] ** age) ** 0.5 for age in ages])
    torch._foreach_add_(scale, eps)
    found = torch._foreach_div(first, scale)
    torch._foreach_div_(found, [1 - betas[0] ** age for age in ages])
    return list(found)

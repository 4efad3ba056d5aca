"""Which direction the base optimiser (SGD, Adam, AdamW) would follow, with its moments.

``gather`` collects what takes part in a step, ``direction`` computes where it leads; ``Work.move``
hands both to group_steps.py, which takes the step. No parameter of a group is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.optim.groups import Layout
from audioprune.optim.plans import Plan

State = Mapping[Tensor, dict[str, Any]]
Floats = NDArray[np.floating]


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

    def move(
        self, group: Mapping[str, Any], state: State, gradients: list[Tensor] | None = None
    ) -> Move:
        """Take the plain step of tensors without groups; return the move of those with groups.

        Args:
            group: Options of the param group.
            state: Moments per parameter.
            gradients: Of all parameters, in place of ``self.gradients``.
        """
        lr, split = float(group["lr"]), self.split
        given = self.gradients if gradients is None else gradients
        rest = self.params[split:]
        if rest:
            torch._foreach_add_(rest, direction(group, state, rest, given[split:]), alpha=-lr)
        base = Base(group, state)
        return Move(self.plan, self.params[:split], given[:split], lr, group["fused"], base)


@dataclass(frozen=True)
class Base:
    """How gradients become directions in one step of a param group.

    Attributes:
        group: Its options.
        state: Moments per parameter, moved on by whichever of the two methods is called.
        copies: z and u of every parameter of ADMM, see admm.py, for compiled code alone.
        rho: Weight of ``x - z + u`` in the gradient; 0 without copies.
    """

    group: Mapping[str, Any]
    state: State
    copies: Sequence[tuple[Tensor, Tensor]] = ()
    rho: float = 0.0

    def directions(self, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction of each parameter."""
        return direction(self.group, self.state, params, list(gradients))

    def compiled(
        self, params: Sequence[Tensor], gradients: Sequence[Tensor], memory: Floats
    ) -> tuple[NDArray[np.int64], Floats, Any]:
        """Return the same for compiled code: addresses, bias corrections, and a ``Rule``.

        Args:
            params: Parameters that hold groups.
            gradients: Their gradients, which must stay alive.
            memory: Scratch for the directions of one group, which must stay alive.
        """
        from audioprune.optim.kernels import moments as kernels

        options, decay = self.group, float(self.group["weight_decay"])
        adam, ages = options["base"] != "sgd", np.ones(len(params))
        factor, beta = options["betas"] if adam else (options["momentum"], 0.0)
        tensors = np.zeros((len(params), 6), np.int64)
        tensors[:, kernels.X], tensors[:, kernels.G] = _addresses(params), _addresses(gradients)
        if adam:
            first = [moment(self.state, param, "exp_avg") for param in params]
            second = [moment(self.state, param, "exp_avg_sq") for param in params]
            tensors[:, kernels.M], tensors[:, kernels.V] = _addresses(first), _addresses(second)
            ages = np.array(_aged(self.state, params), np.float64)
        elif factor:
            first = [moment(self.state, param, "momentum_buffer") for param in params]
            tensors[:, kernels.M] = _addresses(first)
        if self.copies:
            tensors[:, kernels.Z] = _addresses([z for z, _ in self.copies])
            tensors[:, kernels.U] = _addresses([u for _, u in self.copies])
        own = adam or self.rho or decay  # whether the direction needs memory of its own
        bias = np.stack([1 - float(factor) ** ages, np.sqrt(1 - float(beta) ** ages)], 1)
        rule = kernels.Rule(
            kind=kernels.ADAM if adam else kernels.MOMENTUM if factor else kernels.SGD,
            memory=memory.ctypes.data if own else 0,
            factor=float(factor),
            beta=float(beta),
            eps=float(options["eps"]),
            decay=decay,
            decoupled=options["base"] == "adamw",
            rho=float(self.rho),
        )
        return tensors, bias, rule


GIVEN = Base({"base": "sgd", "momentum": 0.0, "weight_decay": 0.0, "eps": 0.0}, {})
"""Takes gradients as they are."""


@dataclass(frozen=True)
class Move:
    """The tensors of one step, for group_steps.py.

    Attributes:
        plan: The groups among them.
        xs: Parameters that hold groups, changed in place.
        gradients: Gradient of each, with the same memory order.
        lr: Learning rate.
        fused: True demands the compiled kernels, False forbids them, None leaves the choice to the
            size; the sub-gradient step has none.
        base: How gradients become directions; None takes them as they are.
    """

    plan: Plan
    xs: Sequence[Tensor]
    gradients: Sequence[Tensor]
    lr: float
    fused: bool | None = None
    base: Base | None = None

    def directions(self) -> Sequence[Tensor]:
        """Return the direction of each parameter; the moments move on, so ask once a step."""
        return self.base.directions(self.xs, self.gradients) if self.base else self.gradients


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
    ages = _aged(state, params)
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


def _aged(state: State, params: Sequence[Tensor]) -> list[int]:
    """Count a step of each parameter and return the numbers of steps."""
    for param in params:
        state[param]["step"] = int(state[param].get("step", 0)) + 1
    return [state[param]["step"] for param in params]


def _addresses(tensors: Sequence[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]

"""HSPG: the half-space stochastic projected gradient method.

It finds far more zero groups than proximal steps alone. The one class here is ``HSPG``; what it
shares with the other optimisers is in group_optimizer.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from audioprune.errors import ConfigError
from audioprune.optim import options
from audioprune.optim.directions import Move, Work
from audioprune.optim.group_optimizer import Group, GroupOptimizer
from audioprune.optim.group_steps import (
    half_space_step,
    penalised,
    prox_step,
    subgradient_step,
)
from audioprune.optim.groups import Units
from audioprune.optim.plans import alive_groups

# The released code adds this to every group norm; the published method has no such guard.
_RELEASED_GUARD = 1e-6


class HSPG(GroupOptimizer):
    """Take proximal steps first, then half-space steps, which zero a group that turns back.

    In the half-space stage a group that is not zero moves to ``x+ = x - lr (d + lmbda x /
    ||x||)``; it becomes zero, for good, when ``<x+, x> < epsilon ||x||^2``. With ``epsilon=0``
    that is a step through the origin's plane. The closer ``epsilon`` is to 1, the shorter a step
    suffices; close to 1 nearly every group that shrinks at all is zeroed within a few steps and
    the network collapses (a small network lost all its filters at 0.98), so raise it in small
    steps and watch the loss, or set ``target_group_sparsity``.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        lr: Learning rate, >= 0.
        lmbda: Weight of the sum of group norms, >= 0.
        units: Groups of param groups that name none: ``"rows"`` (along axis 0; of a vector each
            entry), a list of UnitSet (needs named parameters) or None (not regularised).
        epsilon: Size of the projection region, 0 <= epsilon < 1.
        prox_steps: Steps before the half-space stage; inf never leaves the first stage. A param
            group that is added later counts its own steps.
        first_stage: ``"prox"`` as published; ``"subgradient"`` is the authors' released code,
            which takes sub-gradient steps, so that nothing is zero before the half-space stage,
            and adds 1e-6 to the norms of both stages.
        base: ``"sgd"`` as published, ``"adam"`` or ``"adamw"``. Thresholds stay ``lr * lmbda`` for
            all of them.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        regularizer_inside_moments: True adds the sub-gradient of the regulariser to the gradient
            before the moments (as the released code does; for Adam the scale of ``lmbda`` is then
            largely normalised away), False adds it to the direction, so that the reach is
            ``lmbda`` times the sum of learning rates. A proximal step is never inside.
        target_group_sparsity: Cap on the share of zero groups of a param group, above 0 and up to
            1: no step zeroes more than ``floor(cap * n) - zeros before`` of its n groups, smallest
            ``<x+, x> / ||x||^2`` first; the groups left over take the plain step. Groups that are
            kept stay regularised when the cap is reached.
        fused: None uses one-pass CPU kernels for large models, True demands them, False uses plain
            torch operations.
        maximize: Must be False.

    Raises:
        ConfigError: An option is unknown or out of range, or no group is regularised.

    Source: Chen, "HSPG"; Chen et al., "Half-Space Proximal Stochastic Gradient Method" (arXiv
    2009.12078). The other bases and the cap are additions; the released code zeroes random groups
    beyond its cap.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        lmbda: float,
        units: Units = None,
        epsilon: float = 0.0,
        prox_steps: int | float,
        first_stage: Literal["prox", "subgradient"] = "prox",
        base: Literal["sgd", "adam", "adamw"] = "sgd",
        momentum: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        regularizer_inside_moments: bool = False,
        target_group_sparsity: float | None = None,
        fused: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            units,
            lr=lr,
            lmbda=lmbda,
            base=base,
            momentum=momentum,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=fused,
            maximize=maximize,
            epsilon=epsilon,
            prox_steps=prox_steps,
            first_stage=first_stage,
            regularizer_inside_moments=regularizer_inside_moments,
            target_group_sparsity=target_group_sparsity,
        )

    @property
    def stage(self) -> str:
        """Stage of the next step: ``"prox"``, ``"subgradient"`` or ``"half-space"``.

        Each param group counts its own steps; this is the stage of the first one.
        """
        return _stage(self.param_groups[0])

    def _step_group(self, group: Group, work: Work) -> None:
        if group["steps"] == 0:
            _refuse_frozen_start(group, work)
        lmbda, gradients, stage = float(group["lmbda"]), work.gradients, _stage(group)
        guard = _RELEASED_GUARD if group["first_stage"] == "subgradient" else 0.0
        if group["regularizer_inside_moments"] and stage != "prox" and work.split:
            inner = penalised(
                work.plan, work.params[: work.split], gradients[: work.split], lmbda, guard
            )
            gradients, lmbda = inner + gradients[work.split :], 0.0
        move = work.move(group, self.state, gradients)
        if move.xs:
            _take(stage, move, lmbda, group["epsilon"], guard, _limit(group, work))

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        options.choice("norm", group["norm"], ("group",))
        options.number("epsilon", group["epsilon"], high=1.0)
        options.count("prox_steps", group["prox_steps"], 0)
        options.choice("first stage", group["first_stage"], ("prox", "subgradient"))
        options.flag("regularizer_inside_moments", group["regularizer_inside_moments"])
        options.share("target_group_sparsity", group["target_group_sparsity"])


def _stage(group: Mapping[str, Any]) -> str:
    return group["first_stage"] if group["steps"] < group["prox_steps"] else "half-space"


def _limit(group: Mapping[str, Any], work: Work) -> int | None:
    cap = group["target_group_sparsity"]
    # The small number undoes the rounding of products such as 0.29 * 100.
    return None if cap is None else math.floor(cap * work.plan.size + 1e-9)


def _take(
    stage: str, move: Move, lmbda: float, epsilon: float, guard: float, limit: int | None
) -> None:
    if stage == "prox":
        prox_step(move, move.lr * lmbda, limit)
    elif stage == "subgradient":
        subgradient_step(move, lmbda, guard)
    else:
        half_space_step(move, lmbda, epsilon, guard, limit)


def _refuse_frozen_start(group: Mapping[str, Any], work: Work) -> None:
    if group["prox_steps"] > 0 or not work.split:
        return
    zeros = work.plan.size - int(alive_groups(work.plan, work.params[: work.split]).sum())
    if zeros:
        raise ConfigError(
            f"expected no zero group at the start with prox_steps=0, got {zeros} of "
            f"{work.plan.size}, which would stay zero for good; set prox_steps >= 1 or leave "
            f"their parameters out of the units"
        )

"""OBProxSG: proximal and orthant steps by turns, for single zero entries (l1 norm).

The one class here is ``OBProxSG``; what it shares with the other optimisers is in
group_optimizer.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from audioprune.errors import ConfigError
from audioprune.optim import options
from audioprune.optim.directions import Work
from audioprune.optim.group_optimizer import Group, GroupOptimizer
from audioprune.optim.group_steps import orthant_step, prox_l1_step, zero_entries
from audioprune.optim.groups import Units


class OBProxSG(GroupOptimizer):
    """Step with the l1 norm: a phase of proximal steps, then one of orthant steps, and again.

    An orthant step keeps every entry on its side of zero and freezes entries at zero; a proximal
    step may revive them.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        lr: Learning rate, >= 0.
        lmbda: Weight of the l1 norm, >= 0.
        units: Entries that are regularised: ``"rows"`` (all of the param group), those of a list
            of UnitSet (needs named parameters), or None (none). ``group_sparsity`` counts these
            groups, though the method looks at single entries.
        prox_steps: Length of a proximal phase in steps; inf is ProxSG.
        orthant_steps: Length of an orthant phase in steps; None or inf never returns to proximal
            steps (OBProxSG+).
        base: ``"sgd"`` as published, ``"adam"`` or ``"adamw"``. Thresholds stay ``lr * lmbda`` for
            all of them.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        fused: None uses one-pass CPU kernels for large models, True demands them, False uses plain
            torch operations.
        maximize: Must be False.

    Raises:
        ConfigError: An option is unknown or out of range, or no entry is regularised.

    Source: Chen et al., "Orthant Based Proximal Stochastic Gradient Method" (arXiv 2004.03639),
    named by Chen, "HSPG", as the method for fine-grained sparsity. Phases are counted in steps
    where the authors' code counts epochs.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        lmbda: float,
        units: Units = None,
        prox_steps: int | float,
        orthant_steps: int | float | None = None,
        base: Literal["sgd", "adam", "adamw"] = "sgd",
        momentum: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
            norm="l1",
            prox_steps=prox_steps,
            orthant_steps=orthant_steps,
        )

    @property
    def stage(self) -> str:
        """Stage of the next step of the first param group: ``"prox"`` or ``"orthant"``."""
        return _stage(self.param_groups[0])

    def _step_group(self, group: Group, work: Work) -> None:
        if group["steps"] == 0:
            _refuse_frozen_start(group, work)
        move = work.move(group, self.state)
        if move.xs and _stage(group) == "prox":
            prox_l1_step(move, move.lr * float(group["lmbda"]))
        elif move.xs:
            orthant_step(move, float(group["lmbda"]))

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        options.choice("norm", group["norm"], ("l1",))
        options.count("prox_steps", group["prox_steps"], 0)
        if group["orthant_steps"] is not None:
            options.count("orthant_steps", group["orthant_steps"], 1)


def _stage(group: Mapping[str, Any]) -> str:
    prox, orthant, place = group["prox_steps"], group["orthant_steps"], group["steps"]
    if orthant is not None and math.inf not in (prox, orthant):
        place %= prox + orthant
    return "prox" if place < prox else "orthant"


def _refuse_frozen_start(group: Mapping[str, Any], work: Work) -> None:
    if group["prox_steps"] > 0 or not work.split:
        return
    zeros, entries = zero_entries(work.plan, work.params[: work.split])
    if zeros:
        raise ConfigError(
            f"expected no zero entry at the start with prox_steps=0, got {zeros} of {entries}, "
            f"which would stay zero for good; set prox_steps >= 1"
        )

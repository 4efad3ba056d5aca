"""OBProxSG: proximal and orthant steps by turns, for single zero entries (l1 norm)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from audioprune.errors import ConfigError
from audioprune.optim import options
from audioprune.optim.directions import Work, direction, gather
from audioprune.optim.group_state import STATE, UnitGroups, check_state, evaluate, listed
from audioprune.optim.group_steps import orthant_step, prox_l1_step, zero_entries
from audioprune.optim.groups import Units


class OBProxSG(Optimizer):
    """Step with the l1 norm: ``prox_steps`` proximal steps, then ``orthant_steps`` orthant steps, and again.

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
    named by Chen, "HSPG", as the method
        for fine-grained sparsity. Phases are counted in steps where the authors' code counts
        epochs.
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
        self.unit_groups = UnitGroups(units)
        common = {"lr": lr, "lmbda": lmbda, "fused": fused, "maximize": maximize, **STATE}
        base_options = {
            "base": base,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        phases = {"norm": "l1", "prox_steps": prox_steps, "orthant_steps": orthant_steps}
        super().__init__(listed(params), {**common, **base_options, **phases})
        self.unit_groups.require_any()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with their options and units.

        Raises:
            ConfigError: An option or a unit is wrong.
        """
        self.unit_groups.add(self, super().add_param_group, param_group, self._check)

    @property
    def stage(self) -> str:
        """Stage of the next step of the first param group: ``"prox"`` or ``"orthant"``."""
        return _stage(self.param_groups[0])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Carry out one step and return the loss of the closure, if one is given.

        Raises:
            ConfigError: The very first step would be an orthant step, and entries that are zero
                would be frozen by it.
        """
        loss = evaluate(closure)
        for group, layout in zip(self.param_groups, self.unit_groups.layouts, strict=True):
            work = gather(group, layout)
            if work is None:
                continue
            if group["steps"] == 0:
                _refuse_frozen_start(group, work)
            move = work.grouped(direction(group, self.state, work.params, work.gradients), group)
            if move.xs and _stage(group) == "prox":
                prox_l1_step(move, move.lr * float(group["lmbda"]))
            elif move.xs:
                orthant_step(move, float(group["lmbda"]))
            group["steps"] += 1
        return loss

    def group_sparsity(self) -> float:
        """Return the share of the declared groups that are exactly zero, 0..1."""
        return self.unit_groups.sparsity(self.param_groups)

    def entry_sparsity(self) -> float:
        """Return the share of exact zeros among the regularised entries, 0..1."""
        return self.unit_groups.entry_sparsity(self.param_groups)

    def objective_penalty(self) -> float:
        """Return lambda times the l1 norm of the regularised entries."""
        return self.unit_groups.penalty(self.param_groups)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where the saved state stopped, phase included.

        Raises:
            CheckpointError: The state belongs to another optimiser, model or set of units.
        """
        check_state(self, state_dict, self._check)
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "unit_groups": self.unit_groups}

    def _check(self, group: Mapping[str, Any]) -> None:
        options.check_common(group, self.defaults)
        options.choice("norm", group["norm"], ("l1",))
        options.count("prox_steps", group["prox_steps"], 0)
        if group["orthant_steps"] is not None:
            options.count("orthant_steps", group["orthant_steps"], 1)


def _stage(group: Mapping[str, Any]) -> str:
    orthant = math.inf if group["orthant_steps"] is None else group["orthant_steps"]
    place = (
        group["steps"]
        if math.inf in (orthant, group["prox_steps"])
        else group["steps"] % (group["prox_steps"] + orthant)
    )
    return "prox" if place < group["prox_steps"] else "orthant"


def _refuse_frozen_start(group: Mapping[str, Any], work: Work) -> None:
    if group["prox_steps"] > 0 or not work.split:
        return
    zeros, entries = zero_entries(work.plan, work.params[: work.split])
    if zeros:
        raise ConfigError(
            f"expected no zero entry at the start with prox_steps=0, got {zeros} of {entries}, "
            f"which would stay zero for good; "
            "set prox_steps >= 1"
        )

"""ProxSG: the stochastic proximal gradient method for the mixed l1/l2 norm or the l1 norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from audioprune.optim import options
from audioprune.optim.directions import direction, gather
from audioprune.optim.group_state import STATE, UnitGroups, check_state, evaluate, listed
from audioprune.optim.group_steps import prox_l1_step, prox_step
from audioprune.optim.groups import Units


class ProxSG(Optimizer):
    """Step along the direction of a base optimiser, then apply the proximal operator of the regulariser.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        lr: Learning rate, >= 0.
        lmbda: Weight of the regulariser, >= 0.
        units: Groups of param groups that name none: ``"rows"`` (along axis 0; of a vector each
            entry), a list of UnitSet (needs named parameters) or None (not regularised).
        norm: ``"group"`` for the sum of the groups' l2 norms, ``"l1"`` for the l1 norm of their
            entries.
        base: ``"sgd"``, ``"adam"`` or ``"adamw"``. The proximal threshold is ``lr * lmbda`` for
            all of them: the adaptive scale of Adam does not enter it, so that the shrink budget
            stays ``lmbda`` times the sum of learning rates.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        fused: None uses one-pass CPU kernels for large models, True demands them, False uses plain
            torch operations.
        maximize: Must be False.

    Raises:
        ConfigError: An option is unknown or out of range, or no group is regularised.

    Source: Chen, "Choices of r(x)" and "Why existing stochastic optimizers failed", whose ProxSG
    has base SGD without momentum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        lmbda: float,
        units: Units = None,
        norm: Literal["group", "l1"] = "group",
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
        super().__init__(listed(params), {**common, **base_options, "norm": norm})
        self.unit_groups.require_any()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with their options and units.

        Raises:
            ConfigError: An option or a unit is wrong.
        """
        self.unit_groups.add(self, super().add_param_group, param_group, self._check)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Carry out one step and return the loss of the closure, if one is given."""
        loss = evaluate(closure)
        for group, layout in zip(self.param_groups, self.unit_groups.layouts, strict=True):
            work = gather(group, layout)
            if work is None:
                continue
            move = work.grouped(direction(group, self.state, work.params, work.gradients), group)
            if move.xs:
                apply = prox_step if group["norm"] == "group" else prox_l1_step
                apply(move, move.lr * float(group["lmbda"]))
            group["steps"] += 1
        return loss

    def group_sparsity(self) -> float:
        """Return the share of groups that are exactly zero, 0..1."""
        return self.unit_groups.sparsity(self.param_groups)

    def entry_sparsity(self) -> float:
        """Return the share of exact zeros among the regularised entries, 0..1."""
        return self.unit_groups.entry_sparsity(self.param_groups)

    def objective_penalty(self) -> float:
        """Return lambda times the sum of the group norms, or times the l1 norm."""
        return self.unit_groups.penalty(self.param_groups)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where the saved state stopped.

        Raises:
            CheckpointError: The state belongs to another optimiser, model or set of units.
        """
        check_state(self, state_dict, self._check)
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "unit_groups": self.unit_groups}

    def _check(self, group: Mapping[str, Any]) -> None:
        options.check_common(group, self.defaults)
        options.choice("norm", group["norm"], ("group", "l1"))

"""ADMM: the stochastic alternating direction method, which keeps a dense x and a group-sparse copy z of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from audioprune.optim import options
from audioprune.optim.directions import Work, align, direction, gather
from audioprune.optim.group_state import STATE, UnitGroups, check_state, evaluate, listed
from audioprune.optim.group_steps import (
    Move,
    clear_outside,
    group_norms,
    keep_groups,
    prox_step,
    smallest_groups,
)
from audioprune.optim.groups import Units, alive_groups


class ADMM(Optimizer):
    """Split the problem as x = z: ``inner_steps`` gradient steps on x, then one proximal step on z, then the multiplier u.

    x-step: a step of the base optimiser on ``g + rho (x - z + u)``; z-step: ``z = prox_{lmbda /
    rho}(x + u)`` per group; ``u += x - z``; at the start ``z = x`` and ``u = 0``. The parameters
    of the model are x and stay dense; ``consensus`` and ``project_`` give the sparse model, x
    masked by the groups in which z is not zero. ``state[param]["z"]`` holds z.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        lr: Learning rate, >= 0.
        lmbda: Weight of the sum of group norms, >= 0; unused when ``target_group_sparsity`` is
            set.
        rho: Weight of the coupling, > 0.
        inner_steps: x-steps per z-step, >= 1.
        units: Groups of param groups that name none: ``"rows"`` (along axis 0; of a vector each
            entry), a list of UnitSet (needs named parameters) or None (not regularised).
        target_group_sparsity: None for the regulariser; a share K/n above 0 and up to 1 for the
            constraint that K groups are zero: the z-step then zeroes the floor(share * n) groups
            of smallest norm of x + u, ties by position.
        base: ``"sgd"``, ``"adam"`` or ``"adamw"``, fed with the gradient of the augmented
            Lagrangian.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        fused: None uses one-pass CPU kernels for the z-step of large models, True demands them,
            False uses torch operations.
        maximize: Must be False.

    Raises:
        ConfigError: An option is unknown or out of range, or no group is regularised.

    Source: Chen, "Sparse Optimizer" and "Sparsity Inducing Optimization Problem" (the constraint
    with K); the formulas are the
        standard scaled form, which the slides do not print.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        lmbda: float,
        rho: float,
        inner_steps: int,
        units: Units = None,
        target_group_sparsity: float | None = None,
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
        split = {
            "rho": rho,
            "inner_steps": inner_steps,
            "target_group_sparsity": target_group_sparsity,
        }
        residuals = {"primal_square": 0.0, "dual_square": 0.0}
        super().__init__(listed(params), {**common, **base_options, **split, **residuals})
        self.unit_groups.require_any()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with their options and units.

        Raises:
            ConfigError: An option or a unit is wrong.
        """
        self.unit_groups.add(self, super().add_param_group, param_group, self._check)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Carry out one x-step, and after every ``inner_steps`` of them a z-step; return the loss of the closure, if any."""
        loss = evaluate(closure)
        for group, layout in zip(self.param_groups, self.unit_groups.layouts, strict=True):
            work = gather(group, layout)
            if work is None:
                continue
            self._x_step(group, work)
            group["steps"] += 1
            if work.split and group["steps"] % group["inner_steps"] == 0:
                self._z_step(group, work)
        return loss

    def primal_residual(self) -> float:
        """Return ||x - z|| at the last z-step."""
        return math.sqrt(sum(group["primal_square"] for group in self.param_groups))

    def dual_residual(self) -> float:
        """Return rho ||z - z before|| at the last z-step."""
        return math.sqrt(sum(group["dual_square"] for group in self.param_groups))

    def group_sparsity(self, of: Literal["x", "z"] = "x") -> float:
        """Return the share of groups of x (the model) or of z that are exactly zero, 0..1."""
        return self.unit_groups.sparsity(self.param_groups, self._pick(of))

    def entry_sparsity(self, of: Literal["x", "z"] = "x") -> float:
        """Return the share of exact zeros among the regularised entries of x or of z, 0..1."""
        return self.unit_groups.entry_sparsity(self.param_groups, self._pick(of))

    def objective_penalty(self, of: Literal["x", "z"] = "x") -> float:
        """Return lambda times the sum of the group norms of x or of z."""
        return self.unit_groups.penalty(self.param_groups, self._pick(of))

    @torch.no_grad()
    def consensus(self) -> dict[str, Tensor]:
        """Return a copy of every regularised parameter, masked by the groups in which z is not zero.

        Keys are the names of the parameters, or ``"<param group>.<position>"`` for parameters
        without names.
        """
        found = {}
        for number, (group, layout) in enumerate(
            zip(self.param_groups, self.unit_groups.layouts, strict=True)
        ):
            plan = layout.plan(group["params"])
            copies = [group["params"][i].detach().clone() for i in plan.covered]
            self._mask(group, layout, copies)
            names = layout.names or [f"{number}.{i}" for i in range(len(group["params"]))]
            found |= {names[i]: copy for i, copy in zip(plan.covered, copies, strict=True)}
        return found

    @torch.no_grad()
    def project_(self) -> None:
        """Zero, in the model itself, the groups in which z is zero."""
        for group, layout in zip(self.param_groups, self.unit_groups.layouts, strict=True):
            self._mask(
                group, layout, [group["params"][i] for i in layout.plan(group["params"]).covered]
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where the saved state stopped, z and u included.

        Raises:
            CheckpointError: The state belongs to another optimiser, model or set of units.
        """
        check_state(self, state_dict, self._check)
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "unit_groups": self.unit_groups}

    def _x_step(self, group: dict[str, Any], work: Work) -> None:
        pulls = [
            x - z + u for x, (z, u) in ((x, self._copies(x)) for x in work.params[: work.split])
        ]
        clear_outside(work.plan, pulls)
        pulled = [
            g.add(pull, alpha=float(group["rho"]))
            for g, pull in zip(work.gradients, pulls, strict=False)
        ]
        gradients = pulled + work.gradients[work.split :]
        move = work.grouped(direction(group, self.state, work.params, gradients), group)
        if move.xs:
            torch._foreach_add_(list(move.xs), list(move.ds), alpha=-move.lr)

    def _z_step(self, group: dict[str, Any], work: Work) -> None:
        rho, xs = float(group["rho"]), work.params[: work.split]
        copies = [self._copies(x) for x in xs]
        before = [z.clone() for z, _ in copies]
        for x, (z, u) in zip(xs, copies, strict=True):
            torch.add(x, u, out=z)
        self._shrink(group, work, [z for z, _ in copies], rho)
        gaps = [x - z for x, (z, _) in zip(xs, copies, strict=True)]
        for gap, (_, u) in zip(gaps, copies, strict=True):
            u.add_(gap)
        group["primal_square"] = _square_sum(gaps)
        group["dual_square"] = rho**2 * _square_sum(
            [z - old for old, (z, _) in zip(before, copies, strict=True)]
        )

    def _shrink(self, group: Mapping[str, Any], work: Work, zs: list[Tensor], rho: float) -> None:
        target = group["target_group_sparsity"]
        if target is None:
            # A step of length 0 leaves the proximal operator alone.
            prox_step(Move(work.plan, zs, zs, 0.0, group["fused"]), float(group["lmbda"]) / rho)
        else:
            count = math.floor(target * work.plan.size + 1e-9)
            keep_groups(work.plan, zs, ~smallest_groups(group_norms(work.plan, zs), count))

    def _mask(self, group: Mapping[str, Any], layout: Any, tensors: list[Tensor]) -> None:
        plan = layout.plan(group["params"])
        if tensors:
            zs = [self._pick("z")(group["params"][i]) for i in plan.covered]
            keep_groups(plan, tensors, alive_groups(plan, zs))

    def _copies(self, param: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and u of a parameter in its memory order."""
        held = self.state[param]
        held["z"] = align(held["z"], param) if "z" in held else param.detach().clone()
        held["u"] = align(held["u"], param) if "u" in held else torch.zeros_like(param)
        return held["z"], held["u"]

    def _pick(self, of: str) -> Callable[[Tensor], Tensor]:
        options.choice("variable of ADMM", of, ("x", "z"))
        if of == "x":
            return Tensor.detach
        return lambda param: (
            align(self.state[param]["z"], param)
            if "z" in self.state.get(param, {})
            else param.detach()
        )

    def _check(self, group: Mapping[str, Any]) -> None:
        options.check_common(group, self.defaults)
        options.choice("norm", group["norm"], ("group",))
        options.number("rho", group["rho"], above=True)
        options.number("inner_steps", group["inner_steps"])
        options.count("inner_steps", group["inner_steps"], 1)
        options.share("target_group_sparsity", group["target_group_sparsity"])


def _square_sum(tensors: list[Tensor]) -> float:
    return float(sum(tensor.to(torch.float64).square().sum() for tensor in tensors))

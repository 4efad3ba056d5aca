"""ADMM: the stochastic alternating direction method of multipliers.

It keeps a dense x, the parameters of the model, and a group-sparse copy z of it. The one class
here is ``ADMM``; what it shares with the other optimisers is in group_optimizer.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from audioprune.optim import options
from audioprune.optim.directions import GIVEN, Base, Move, Work, align
from audioprune.optim.group_optimizer import Group, GroupOptimizer, Pick
from audioprune.optim.group_steps import (
    clear_outside,
    compiled_kernels,
    group_norms,
    keep_groups,
    plain_step,
    prox_step,
    smallest_groups,
    split_step,
)
from audioprune.optim.groups import Units
from audioprune.optim.plans import Plan, alive_groups


class ADMM(GroupOptimizer):
    """Split the problem as x = z: gradient steps on x, now and then a proximal step on z.

    x-step: a step of the base optimiser on ``g + rho (x - z + u)``. After every ``inner_steps`` of
    them a z-step: ``z = prox_{lmbda / rho}(x + u)`` per group, then the multiplier ``u += x - z``.
    At the start ``z = x`` and ``u = 0``. The parameters of the model are x and stay dense;
    ``consensus`` and ``project_`` give the sparse model, x masked by the groups in which z is not
    zero. ``state[param]["z"]`` holds z.

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
    with K); the formulas are the standard scaled form, which the slides do not print.
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
            rho=rho,
            inner_steps=inner_steps,
            target_group_sparsity=target_group_sparsity,
            primal_square=0.0,
            dual_square=0.0,
        )

    def primal_residual(self) -> float:
        """Return ||x - z|| at the last z-step."""
        return math.sqrt(sum(group["primal_square"] for group in self.param_groups))

    def dual_residual(self) -> float:
        """Return rho ||z - z before|| at the last z-step."""
        return math.sqrt(sum(group["dual_square"] for group in self.param_groups))

    def group_sparsity(self, of: Literal["x", "z"] = "x") -> float:
        """Return the share of groups of x (the model) or of z that are exactly zero, 0..1."""
        return self._group_sparsity(self._pick(of))

    def entry_sparsity(self, of: Literal["x", "z"] = "x") -> float:
        """Return the share of exact zeros among the regularised entries of x or of z, 0..1."""
        return self._entry_sparsity(self._pick(of))

    def objective_penalty(self, of: Literal["x", "z"] = "x") -> float:
        """Return lambda times the sum of the group norms of x or of z."""
        return self._penalty(self._pick(of))

    @torch.no_grad()
    def consensus(self) -> dict[str, Tensor]:
        """Return copies of the regularised parameters, zero in the groups in which z is zero.

        Keys are the names of the parameters, or ``"<param group>.<position>"`` for parameters
        without names.
        """
        found: dict[str, Tensor] = {}
        for number, (group, plan, params) in enumerate(self._groups(Tensor.detach)):
            copies = [param.clone() for param in params]
            self._mask(group, plan, copies)
            given = self.layouts[number].names
            names = given or [f"{number}.{i}" for i in range(len(group["params"]))]
            found |= {names[i]: copy for i, copy in zip(plan.covered, copies, strict=True)}
        return found

    @torch.no_grad()
    def project_(self) -> None:
        """Zero, in the model itself, the groups in which z is zero."""
        for group, plan, params in self._groups(Tensor.detach):
            self._mask(group, plan, params)

    def _step_group(self, group: Group, work: Work) -> None:
        self._x_step(group, work)
        if work.split and (group["steps"] + 1) % group["inner_steps"] == 0:
            self._z_step(group, work)

    def _x_step(self, group: Group, work: Work) -> None:
        move = self._coupled(group, work)
        if move.xs and compiled_kernels(move) is None:
            rho, pulls = float(group["rho"]), []
            for x in move.xs:
                z, u = self._copies(x)
                pulls.append((x - z).add_(u))
            clear_outside(work.plan, pulls)
            torch._foreach_mul_(pulls, rho)
            torch._foreach_add_(pulls, list(move.gradients))
            move = replace(move, gradients=pulls)
        if move.xs:
            plain_step(move)

    def _coupled(self, group: Group, work: Work) -> Move:
        """Return the move of the x-step; compiled code makes the pull to z of its base itself."""
        move = work.move(group, self.state)
        copies = [self._copies(x) for x in move.xs]
        return replace(move, base=Base(group, self.state, copies, float(group["rho"])))

    def _z_step(self, group: Group, work: Work) -> None:
        rho, xs = float(group["rho"]), work.params[: work.split]
        copies = [self._copies(x) for x in xs]
        if group["target_group_sparsity"] is None:
            base = replace(GIVEN, copies=copies)
            move = Move(work.plan, xs, xs, 0.0, group["fused"], base)
            squares = split_step(move, float(group["lmbda"]) / rho)
            if squares is not None:
                group["primal_square"], group["dual_square"] = squares[0], rho**2 * squares[1]
                return
        before = [z.clone() for z, _ in copies]
        for x, (z, u) in zip(xs, copies, strict=True):
            torch.add(x, u, out=z)
        self._shrink(group, work, [z for z, _ in copies], rho)
        gaps = [x - z for x, (z, _) in zip(xs, copies, strict=True)]
        for gap, (_, u) in zip(gaps, copies, strict=True):
            u.add_(gap)
        group["primal_square"] = _square_sum(gaps)
        changes = [z - old for old, (z, _) in zip(before, copies, strict=True)]
        group["dual_square"] = rho**2 * _square_sum(changes)

    def _shrink(self, group: Mapping[str, Any], work: Work, zs: list[Tensor], rho: float) -> None:
        target = group["target_group_sparsity"]
        if target is None:
            # A step of length 0 leaves the proximal operator alone.
            prox_step(Move(work.plan, zs, zs, 0.0, group["fused"]), float(group["lmbda"]) / rho)
        else:
            count = math.floor(target * work.plan.size + 1e-9)
            keep_groups(work.plan, zs, ~smallest_groups(group_norms(work.plan, zs), count))

    def _mask(self, group: Group, plan: Plan, tensors: list[Tensor]) -> None:
        """Zero, in tensors as the plan covers them, the groups in which z is zero."""
        if tensors:
            zs = [self._z(group["params"][i]) for i in plan.covered]
            keep_groups(plan, tensors, alive_groups(plan, zs))

    def _copies(self, param: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and u of a parameter in its memory order."""
        held = self.state[param]
        held["z"] = align(held["z"], param) if "z" in held else param.detach().clone()
        held["u"] = align(held["u"], param) if "u" in held else torch.zeros_like(param)
        return held["z"], held["u"]

    def _pick(self, of: str) -> Pick:
        options.choice("variable of ADMM", of, ("x", "z"))
        return Tensor.detach if of == "x" else self._z

    def _z(self, param: Tensor) -> Tensor:
        """Return z of a parameter, which is x itself before the first step."""
        held = self.state.get(param, {})
        return align(held["z"], param) if "z" in held else param.detach()

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        options.choice("norm", group["norm"], ("group",))
        options.number("rho", group["rho"], above=True)
        options.number("inner_steps", group["inner_steps"])
        options.count("inner_steps", group["inner_steps"], 1)
        options.share("target_group_sparsity", group["target_group_sparsity"])


def _square_sum(tensors: list[Tensor]) -> float:
    return float(sum(tensor.to(torch.float64).square().sum() for tensor in tensors))

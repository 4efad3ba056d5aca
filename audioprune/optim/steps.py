"""What one step does to all groups at once: proximal, half-space, sub-gradient and orthant steps, in place.

Every step takes the direction ``d`` that the base optimiser would follow (see directions.py). Large CPU models go through
kernels.py, everything else through plain torch operations that run on any device; both compute the same formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.optim.groups import Plan

# Below this many entries, compiling or loading the kernels costs more than they save.
_LARGE = 1 << 16


@dataclass(frozen=True)
class Move:
    """The tensors of one step.

    Attributes:
        plan: The groups among them.
        xs: Parameters that hold groups, changed in place.
        ds: Direction of each, with the same memory order.
        lr: Learning rate.
        fused: True demands the compiled kernels, False forbids them, None leaves the choice to the size.
    """

    plan: Plan
    xs: Sequence[Tensor]
    ds: Sequence[Tensor]
    lr: float
    fused: bool | None = None


def group_norms(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return the l2 norm of every group, shape (size,)."""
    return _squares(plan, plan.rows(tensors)).sqrt()


def absolute_sums(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return the l1 norm of every group, shape (size,)."""
    return plan.per_group(torch.cat([row.abs().sum(dim=1, dtype=plan.dtype) for row in plan.rows(tensors)]))


def clear_outside(plan: Plan, tensors: Sequence[Tensor]) -> None:
    """Zero the entries that belong to no group."""
    if plan.covers_all:
        return
    for rows, inside in zip(plan.rows(tensors), _inside(plan), strict=True):
        rows.masked_fill_(~inside, 0.0)


def zero_entries(plan: Plan, tensors: Sequence[Tensor]) -> tuple[int, int]:
    """Return the number of exact zeros among the entries that belong to groups, and the number of those entries."""
    zeros = total = 0
    for rows, inside in zip(plan.rows(tensors), _inside(plan), strict=True):
        zeros += int(((rows == 0) & inside).sum())
        total += int(inside.sum()) * rows.shape[1]
    return zeros, total


def prox_step(move: Move, threshold: float, limit: int | None = None) -> None:
    """Replace every group by the proximal point of its step: ``max(0, 1 - t / ||x_g - lr d_g||) (x_g - lr d_g)``.

    Args:
        move: The tensors.
        threshold: t, the learning rate times lambda.
        limit: Largest number of zero groups after the step; groups beyond it, those of largest norm, take the plain step.

    Source: Chen, "Choices of r(x)" and "Why existing stochastic optimizers failed"; the limit is an addition.
    """
    plan = move.plan
    kernels = _kernels(move)
    if kernels:
        allowed = plan.all_allowed
        if limit is not None:
            norms = _kernel_sums(kernels, move)[2].sqrt_()
            allowed = _smallest(norms, norms <= threshold, limit).numpy()
        _launch(kernels.prox, move, allowed, move.lr, threshold)
        return
    xs, ds = plan.rows(move.xs), plan.rows(move.ds)
    norms = _moved_norms(plan, xs, ds, move.lr)
    inside = norms <= threshold
    dead = inside if limit is None else _smallest(norms, inside, limit)
    pull = torch.where(inside, 0.0, threshold / norms)
    rows = zip(xs, ds, plan.per_row(pull, 0.0), plan.per_row(dead, False), strict=True)
    for x, d, part, gone in rows:
        change = torch.sub(x, d, alpha=move.lr).mul_(part).add_(d, alpha=move.lr)
        x.sub_(change).masked_fill_(gone, 0.0)


def half_space_step(move: Move, lmbda: float, epsilon: float, guard: float, limit: int | None = None) -> None:
    """Step every non-zero group and zero those that leave their half-space ``<x+, x> >= epsilon ||x||^2``.

    Args:
        move: The tensors.
        lmbda: Weight of the group norm, whose sub-gradient ``x_g / (||x_g|| + guard)`` joins the direction.
        epsilon: Share of ``||x||^2`` below which a step counts as leaving; 0 is the plain half-space.
        guard: Added to the norm in the sub-gradient.
        limit: Largest number of zero groups after the step; candidates of smallest ``<x+, x> / ||x||^2`` come first, ties by
            position.

    Source: Chen et al., "Half-Space Proximal Stochastic Gradient Method" (arXiv 2009.12078), half-space step; the limit is an
    addition.
    """
    plan = move.plan
    kernels = _kernels(move)
    if kernels:
        allowed = plan.all_allowed
        if limit is not None:
            squares, products, _ = _kernel_sums(kernels, move)
            allowed = _half_space_verdict(squares, products, move.lr, lmbda, epsilon, guard, limit)[1].numpy()
        _launch(kernels.half_space, move, allowed, move.lr, lmbda, epsilon, guard)
        return
    xs, ds = plan.rows(move.xs), plan.rows(move.ds)
    squares = _squares(plan, xs)
    products = plan.per_group(torch.cat([_dots(x, d, plan.dtype) for x, d in zip(xs, ds, strict=True)]))
    pull, dead = _half_space_verdict(squares, products, move.lr, lmbda, epsilon, guard, limit)
    _pulled_step(plan, xs, ds, move.lr, pull, dead | (squares == 0))


def subgradient_step(move: Move, lmbda: float, guard: float) -> None:
    """Carry out ``x_g - lr (d_g + lambda x_g / (||x_g|| + guard))`` for every group.

    Source: first stage of the code that the authors of HSPG released.
    """
    plan = move.plan
    xs, ds = plan.rows(move.xs), plan.rows(move.ds)
    norms = _squares(plan, xs).sqrt()
    pull = torch.where(norms > 0, move.lr * lmbda / (norms + guard), 0.0)
    _pulled_step(plan, xs, ds, move.lr, pull, None)


def penalised(plan: Plan, xs: Sequence[Tensor], gradients: Sequence[Tensor], lmbda: float, guard: float) -> list[Tensor]:
    """Return gradients plus lambda times the sub-gradient of the group norms, 0 for zero groups."""
    rows = plan.rows(xs)
    norms = _squares(plan, rows).sqrt()
    pull = torch.where(norms > 0, lmbda / (norms + guard), 0.0)
    sums = [gradient.clone() for gradient in gradients]
    for x, total, part in zip(rows, plan.rows(sums), plan.per_row(pull, 0.0), strict=True):
        total.addcmul_(x, part.to(x.dtype))
    return sums


def prox_l1_step(move: Move, threshold: float) -> None:
    """Soft-threshold every entry of the step: ``sign(h) max(|h| - t, 0)`` with ``h = x - lr d``.

    Source: Chen, "Choices of r(x)", l1 norm.
    """
    plan = move.plan
    kernels = _kernels(move)
    if kernels:
        _launch(kernels.prox_l1, move, plan.size, move.lr, threshold)
        return
    bounds = plan.per_row(torch.full((plan.size,), threshold, dtype=plan.dtype, device=plan.owners.device), 0.0)
    for x, d, bound in zip(plan.rows(move.xs), plan.rows(move.ds), bounds, strict=True):
        x.sub_(d, alpha=move.lr)
        x.sub_(x.clamp(-bound, bound))


def orthant_step(move: Move, lmbda: float) -> None:
    """Step every non-zero entry on its side of zero; entries that would cross, and entries at zero, are zero.

    Source: Chen et al., "Orthant Based Proximal Stochastic Gradient Method" (arXiv 2004.03639), orthant step.
    """
    plan = move.plan
    kernels = _kernels(move)
    if kernels:
        _launch(kernels.orthant, move, plan.size, move.lr, lmbda)
        return
    for x, d, covered in zip(plan.rows(move.xs), plan.rows(move.ds), _inside(plan), strict=True):
        sign = x.sign().mul_(covered)
        x.sub_((sign * lmbda).add_(d), alpha=move.lr)
        x.masked_fill_((x * sign <= 0) & covered, 0.0)


def keep_groups(plan: Plan, tensors: Sequence[Tensor], keep: Tensor) -> None:
    """Zero every group whose entry of the bool tensor ``keep``, shape (size,), is False."""
    for rows, gone in zip(plan.rows(tensors), plan.per_row(~keep, False), strict=True):
        rows.masked_fill_(gone, 0.0)


def smallest_groups(norms: Tensor, count: int) -> Tensor:
    """Mark the ``count`` groups of smallest norm, ties by position, as a bool tensor of shape (size,)."""
    return _smallest(norms, torch.ones_like(norms, dtype=torch.bool), count)


def _kernels(move: Move) -> ModuleType | None:
    able = move.plan.compiled
    if move.fused and not able:
        raise ConfigError("expected float32 or float64 CPU parameters of one type with fused=True, got others; leave fused at None")
    if not able or not (move.plan.entries >= _LARGE if move.fused is None else move.fused):
        return None
    from audioprune.optim import kernels

    return kernels


def _launch(kernel: Any, move: Move, *arguments: Any) -> None:
    xs = np.fromiter((x.data_ptr() for x in move.xs), np.int64, len(move.xs))
    ds = np.fromiter((d.data_ptr() for d in move.ds), np.int64, len(move.ds))
    like = np.empty(1, np.float64 if move.plan.dtype == torch.float64 else np.float32)
    kernel(xs, ds, *move.plan.runs, like, *arguments)
    # Writes through an address are unseen by autograd, which must refuse a later backward pass through old values.
    torch.autograd.graph.increment_version(move.xs)


def _kernel_sums(kernels: ModuleType, move: Move) -> tuple[Tensor, Tensor, Tensor]:
    squares, products, moved = (np.empty(move.plan.size) for _ in range(3))
    _launch(kernels.sums, move, move.lr, squares, products, moved)
    return torch.from_numpy(squares), torch.from_numpy(products), torch.from_numpy(moved)


def _half_space_verdict(
    squares: Tensor, products: Tensor, lr: float, lmbda: float, epsilon: float, guard: float, limit: int | None
) -> tuple[Tensor, Tensor]:
    """Return the relative pull of the regulariser on each group and which groups the step projects to zero."""
    alive = squares > 0
    pull = torch.where(alive, lr * lmbda / (squares.sqrt() + guard), 0.0)
    inner = squares - (lr * products + pull * squares)
    leaving = (inner < epsilon * squares) & alive
    if limit is not None:
        room = max(0, limit - int((~alive).sum()))
        leaving = _smallest(inner / squares, leaving, room)
    return pull, leaving


def _inside(plan: Plan) -> list[Tensor]:
    return plan.per_row(torch.ones(plan.size, dtype=torch.bool, device=plan.owners.device), False)


def _smallest(values: Tensor, candidates: Tensor, count: int) -> Tensor:
    positions = candidates.nonzero().flatten()
    chosen = positions[values[positions].argsort(stable=True)[:count]]
    return torch.zeros_like(candidates).index_fill_(0, chosen, True)


def _squares(plan: Plan, rows: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(row, dim=1, dtype=plan.dtype) for row in rows]
    return plan.per_group(torch.cat(norms).square_())


def _moved_norms(plan: Plan, xs: Sequence[Tensor], ds: Sequence[Tensor], lr: float) -> Tensor:
    return _squares(plan, [torch.sub(x, d, alpha=lr) for x, d in zip(xs, ds, strict=True)]).sqrt_()


def _dots(x: Tensor, d: Tensor, dtype: torch.dtype) -> Tensor:
    return (x * d).sum(dim=1, dtype=dtype)


def _pulled_step(plan: Plan, xs: Sequence[Tensor], ds: Sequence[Tensor], lr: float, pull: Tensor, dead: Tensor | None) -> None:
    """Carry out x - (lr d + pull x), rounded once, so that a pull far below one ulp of x still acts on average."""
    gone = [None] * len(xs) if dead is None else plan.per_row(dead, False)
    for x, d, part, clear in zip(xs, ds, plan.per_row(pull, 0.0), gone, strict=True):
        x.sub_((x * part).add_(d, alpha=lr))
        if clear is not None:
            x.masked_fill_(clear, 0.0)

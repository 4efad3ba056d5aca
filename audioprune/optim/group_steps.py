"""What one step does to all groups at once, in place.

There are plain, proximal, half-space, sub-gradient and orthant steps. Every step takes the
direction ``d`` that the base optimiser would follow (directions.py). Large CPU models go through
kernels/, which makes the direction in the same pass, everything else through plain torch
operations that run on any device; both compute the same formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.optim.directions import GIVEN, Move
from audioprune.optim.plans import Plan

# Below this many entries, compiling or loading the kernels costs more than they save.
_LARGE = 1 << 16


def group_norms(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return the l2 norm of every group, shape (size,)."""
    return _squares(plan, plan.rows(tensors)).sqrt()


def absolute_sums(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return the l1 norm of every group, shape (size,)."""
    sums = [row.abs().sum(dim=1, dtype=plan.dtype) for row in plan.rows(tensors)]
    return plan.per_group(torch.cat(sums))


def clear_outside(plan: Plan, tensors: Sequence[Tensor]) -> None:
    """Zero the entries that belong to no group."""
    if plan.covers_all:
        return
    for rows, inside in zip(plan.rows(tensors), _inside(plan), strict=True):
        rows.masked_fill_(~inside, 0.0)


def zero_entries(plan: Plan, tensors: Sequence[Tensor]) -> tuple[int, int]:
    """Return how many entries of groups are exactly zero, and how many entries groups have."""
    zeros = total = 0
    for rows, inside in zip(plan.rows(tensors), _inside(plan), strict=True):
        zeros += int(((rows == 0) & inside).sum())
        total += int(inside.sum()) * rows.shape[1]
    return zeros, total


def prox_step(move: Move, threshold: float, limit: int | None = None) -> None:
    """Replace every group by the proximal point of its step.

    With ``h = x_g - lr d_g`` that is ``max(0, 1 - t / ||h||) h``.

    Args:
        move: The tensors.
        threshold: t, the learning rate times lambda.
        limit: Largest number of zero groups after the step; groups beyond it, those of largest
            norm, take the plain step.

    Source: Chen, "Choices of r(x)" and "Why existing stochastic optimizers failed"; the limit is
    an addition.
    """
    plan = move.plan
    kernels = compiled_kernels(move)
    if kernels:
        leaving = np.full(plan.size, np.inf)
        with _launched(move) as given:
            kernels.prox(*given, leaving, limit is not None, move.lr, threshold)
            if limit is not None:
                groups, dies = _settled(leaving, limit)
                kernels.finish(*given, groups, dies, move.lr, 0.0, 0.0)
        return
    xs, ds = plan.rows(move.xs), plan.rows(move.directions())
    moved = list(zip(xs, ds, _scratch(xs), strict=True))
    norms = _squares(plan, (torch.sub(x, d, alpha=move.lr, out=h) for x, d, h in moved)).sqrt_()
    inside = norms <= threshold
    dead = inside if limit is None else _smallest(norms, inside, limit)
    pull = torch.where(inside, 0.0, threshold / norms)
    rates = plan.per_row(move.lr * (1 - pull), move.lr)
    for (x, d, h), part, rate in zip(moved, plan.per_row(pull, 0.0), rates, strict=True):
        x.sub_(torch.mul(d, rate, out=h).addcmul_(x, part))
    _clear(plan, xs, dead)


def half_space_step(
    move: Move, lmbda: float, epsilon: float, guard: float, limit: int | None = None
) -> None:
    """Step every non-zero group and zero those that leave their half-space.

    The half-space is ``<x+, x> >= epsilon ||x||^2``.

    Args:
        move: The tensors.
        lmbda: Weight of the group norm, whose sub-gradient ``x_g / (||x_g|| + guard)`` joins the
            direction.
        epsilon: Share of ``||x||^2`` below which a step counts as leaving; 0 is the plain
            half-space.
        guard: Added to the norm in the sub-gradient.
        limit: Largest number of zero groups after the step; candidates of smallest ``<x+, x> /
            ||x||^2`` come first, ties by position.

    Source: Chen et al., "Half-Space Proximal Stochastic Gradient Method" (arXiv 2009.12078),
    half-space step; the limit is an addition.
    """
    plan = move.plan
    kernels = compiled_kernels(move)
    if kernels:
        leaving, numbers = np.full(plan.size, np.inf), (move.lr, lmbda, epsilon, guard)
        with _launched(move) as given:
            zeros = kernels.half_space(*given, leaving, limit is not None, *numbers)
            if limit is not None:
                groups, dies = _settled(leaving, max(0, limit - zeros))
                kernels.finish(*given, groups, dies, move.lr, lmbda, guard)
        return
    xs, ds = plan.rows(move.xs), plan.rows(move.directions())
    squares, products = _squares_and_products(plan, xs, ds)
    weight, dead = _half_space_verdict(squares, products, move.lr, lmbda, epsilon, guard, limit)
    _pulled_step(plan, xs, ds, move.lr, weight, dead | (squares == 0))


def subgradient_step(move: Move, lmbda: float, guard: float) -> None:
    """Set x to ``x_g - lr (d_g + lambda x_g / (||x_g|| + guard))`` for every group.

    Source: first stage of the code that the authors of HSPG released.
    """
    plan = move.plan
    xs, ds = plan.rows(move.xs), plan.rows(move.directions())
    _pulled_step(plan, xs, ds, move.lr, _weight(_squares(plan, xs).sqrt(), lmbda, guard), None)


def penalised(
    plan: Plan, xs: Sequence[Tensor], gradients: Sequence[Tensor], lmbda: float, guard: float
) -> list[Tensor]:
    """Return gradients plus lambda times the sub-gradient of the group norms.

    The sub-gradient of a zero group is 0.
    """
    rows = plan.rows(xs)
    weight = _weight(_squares(plan, rows).sqrt(), lmbda, guard)
    sums = [gradient.clone() for gradient in gradients]
    for x, total, part in zip(rows, plan.rows(sums), plan.per_row(weight, 0.0), strict=True):
        total.addcmul_(x, part.to(x.dtype))
    return sums


def prox_l1_step(move: Move, threshold: float) -> None:
    """Soft-threshold every entry of the step: ``sign(h) max(|h| - t, 0)`` with ``h = x - lr d``.

    Source: Chen, "Choices of r(x)", l1 norm.
    """
    plan = move.plan
    kernels = compiled_kernels(move)
    if kernels:
        with _launched(move) as given:
            kernels.prox_l1(*given, plan.size, move.lr, threshold)
        return
    device = plan.owners.device
    threshold_each = torch.full((plan.size,), threshold, dtype=plan.dtype, device=device)
    bounds = plan.per_row(threshold_each, 0.0)  # entries of no group are not shrunk
    for x, d, bound in zip(plan.rows(move.xs), plan.rows(move.directions()), bounds, strict=True):
        x.sub_(d, alpha=move.lr)
        x.sub_(x.clamp(-bound, bound))


def orthant_step(move: Move, lmbda: float) -> None:
    """Step every non-zero entry on its side of zero; one that would cross becomes zero.

    Source: Chen et al., "Orthant Based Proximal Stochastic Gradient Method" (arXiv 2004.03639),
    orthant step.
    """
    plan = move.plan
    kernels = compiled_kernels(move)
    if kernels:
        with _launched(move) as given:
            kernels.orthant(*given, plan.size, move.lr, lmbda)
        return
    ds = plan.rows(move.directions())
    for x, d, covered in zip(plan.rows(move.xs), ds, _inside(plan), strict=True):
        sign = x.sign().mul_(covered)
        x.sub_((sign * lmbda).add_(d), alpha=move.lr)
        x.masked_fill_((x * sign <= 0) & covered, 0.0)


def keep_groups(plan: Plan, tensors: Sequence[Tensor], keep: Tensor) -> None:
    """Zero every group whose entry of the bool tensor ``keep``, shape (size,), is False."""
    _clear(plan, plan.rows(tensors), ~keep)


def smallest_groups(norms: Tensor, count: int) -> Tensor:
    """Mark the ``count`` groups of smallest norm, bool of shape (size,), ties by position."""
    return _smallest(norms, torch.ones_like(norms, dtype=torch.bool), count)


def plain_step(move: Move) -> None:
    """Take the step of the base optimiser: ``x - lr d``."""
    kernels = compiled_kernels(move)
    if kernels:
        with _launched(move) as given:
            kernels.plain(*given, move.plan.size, move.lr)
        return
    torch._foreach_add_(list(move.xs), list(move.directions()), alpha=-move.lr)


def split_step(move: Move, threshold: float) -> tuple[float, float] | None:
    """Take the z-step of ADMM on the copies of the base, in compiled code.

    Args:
        move: The tensors; its base holds the copies.
        threshold: lambda / rho.

    Returns:
        ``||x - z||^2`` and ``||z - z before||^2``, or None where compiled code is not used.
    """
    if compiled_kernels(move) is None:
        return None
    from audioprune.optim.kernels import splitting

    kernel: Any = splitting.split
    with _launched(move) as given:
        found: tuple[float, float] = kernel(*given, move.plan.size, threshold)
    return found


def compiled_kernels(move: Move) -> ModuleType | None:
    """Return the module of compiled kernels, or None where plain torch operations do the step."""
    able = move.plan.compiled
    if move.fused and not able:
        raise ConfigError(
            "expected float32 or float64 CPU parameters of one type with fused=True, got "
            "others; leave fused at None"
        )
    wanted = move.plan.entries >= _LARGE if move.fused is None else move.fused
    if not able or not wanted:
        return None
    from audioprune.optim.kernels import steps

    return steps


@contextmanager
def _launched(move: Move) -> Iterator[tuple[Any, ...]]:
    """Give what all kernels take; the step counts as taken.

    Autograd is told of writes through an address, so that it refuses a later backward pass through
    old values.
    """
    plan, wide = move.plan, move.plan.dtype == torch.float64
    offsets, runs = plan.runs
    memory: Any = np.empty(plan.longest, np.float64 if wide else np.float32)
    tensors, bias, rule = (move.base or GIVEN).compiled(move.xs, move.gradients, memory)
    yield tensors, runs, memory[:0], bias, rule, offsets
    torch.autograd.graph.increment_version(move.xs)


def _settled(
    leaving: NDArray[np.float64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the groups that a capped step has left, and which of them become zero."""
    groups = np.flatnonzero(leaving < np.inf)
    dies = np.zeros(groups.size, np.bool_)
    dies[np.argsort(leaving[groups], kind="stable")[:room]] = True
    return groups, dies


def _half_space_verdict(
    squares: Tensor,
    products: Tensor,
    lr: float,
    lmbda: float,
    epsilon: float,
    guard: float,
    limit: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the weight of x in the sub-gradient of each group, and which groups become zero."""
    alive = squares > 0
    weight = _weight(squares.sqrt(), lmbda, guard)
    inner = squares - lr * (products + weight * squares)
    leaving = (inner < epsilon * squares) & alive
    if limit is not None:
        room = max(0, limit - int((~alive).sum()))
        leaving = _smallest(inner / squares, leaving, room)
    return weight, leaving


def _weight(norms: Tensor, lmbda: float, guard: float) -> Tensor:
    """Return lambda / (norm + guard) for every group, 0 for a zero group."""
    return torch.where(norms > 0, lmbda / (norms + guard), 0.0)


def _inside(plan: Plan) -> list[Tensor]:
    """Mark the rows that belong to a group, bool of shapes (R, 1)."""
    return plan.per_row(torch.ones(plan.size, dtype=torch.bool, device=plan.owners.device), False)


def _smallest(values: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Mark the ``count`` candidates of smallest value, ties by position."""
    positions = candidates.nonzero().flatten()
    chosen = positions[values[positions].argsort(stable=True)[:count]]
    return torch.zeros_like(candidates).index_fill_(0, chosen, True)


def _scratch(rows: Sequence[Tensor]) -> list[Tensor]:
    """Return a temporary for each view; all share one memory, which stays in the CPU's cache."""
    longest: dict[torch.dtype, int] = {}
    for row in rows:
        longest[row.dtype] = max(longest.get(row.dtype, 0), row.numel())
    memory = {
        dtype: torch.empty(length, dtype=dtype, device=rows[0].device)
        for dtype, length in longest.items()
    }
    kinds = {(row.shape, row.dtype) for row in rows}
    views = {(shape, dtype): memory[dtype][: shape.numel()].view(shape) for shape, dtype in kinds}
    return [views[row.shape, row.dtype] for row in rows]


def _squares(plan: Plan, rows: Iterable[Tensor]) -> Tensor:
    """Return the squared norm of every group, shape (size,)."""
    norms = [torch.linalg.vector_norm(row, dim=1, dtype=plan.dtype) for row in rows]
    return plan.per_group(torch.cat(norms).square_())


def _squares_and_products(
    plan: Plan, xs: Sequence[Tensor], ds: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return ||x||^2 and <x, d> of every group; each block is read from memory once for both."""
    norms, products = [], []
    for x, d, h in zip(xs, ds, _scratch(xs), strict=True):
        products.append(torch.mul(x, d, out=h).sum(dim=1, dtype=plan.dtype))
        norms.append(torch.linalg.vector_norm(x, dim=1, dtype=plan.dtype))
    return plan.per_group(torch.cat(norms).square_()), plan.per_group(torch.cat(products))


def _pulled_step(
    plan: Plan,
    xs: Sequence[Tensor],
    ds: Sequence[Tensor],
    lr: float,
    weight: Tensor,
    dead: Tensor | None,
) -> None:
    """Set x to x - lr (d + weight x), rounded once.

    So a pull far below the last digit of x still acts on average.
    """
    for x, d, part, h in zip(xs, ds, plan.per_row(weight, 0.0), _scratch(xs), strict=True):
        x.sub_(torch.addcmul(d, x, part, out=h), alpha=lr)
    if dead is not None:
        _clear(plan, xs, dead)


def _clear(plan: Plan, rows: Sequence[Tensor], dead: Tensor) -> None:
    """Set the rows of dead groups to +0.

    A CPU looks for them first, where a GPU would have to wait for the answer.
    """
    if dead.device.type != "cpu":
        for row, gone in zip(rows, plan.per_row(dead, False), strict=True):
            row.masked_fill_(gone, 0.0)
        return
    for row, gone in zip(rows, plan.where_true(dead), strict=True):
        if len(gone):
            row.index_fill_(0, gone, 0.0)

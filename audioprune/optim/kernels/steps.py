"""One-pass CPU kernels over groups, compiled: the steps of group_steps.py for large models.

Each group is read once from memory, its moments are moved on and it is judged while it is in the
cache, and it is written once. A cap on zeros costs no second pass: groups that would become zero
are left as they are and noted (``leaving``), and ``finish`` settles these few. Importing this
module compiles, so group_steps.py imports it only when a model is large enough.

What all kernels take: ``tensors``, ``runs``, ``like``, ``bias`` and ``rule`` as ``direction`` of
moments.py does, and ``offsets``, the number of the first run of each group, int64 (G + 2,),
the last of which belong to no group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audioprune.compiled import compiled
from audioprune.optim.kernels.entries import half_space_entries, prox_entries
from audioprune.optim.kernels.moments import (
    LENGTH,
    MOMENTUM,
    START,
    SUMS,
    TENSOR,
    Floats,
    G,
    Ints,
    M,
    Rule,
    X,
    direction,
    part_of,
    run_of,
    stretch_direction,
    unowned,
    view,
)
from audioprune.optim.plans import RUN

Bools = NDArray[np.bool_]
STRETCH = RUN  # most groups of one entry that are stepped at once


@compiled(fastmath=SUMS)
def _squares_and_product(x: Floats, d: Floats) -> tuple[float, float]:
    squares = 0.0
    product = 0.0
    for i in range(x.size):
        a = np.float64(x[i])
        squares += a * a
        product += a * np.float64(d[i])
    return squares, product


@compiled(fastmath=SUMS)
def _moved_squares(x: Floats, d: Floats, lr: float) -> float:
    total = 0.0
    for i in range(x.size):
        a = np.float64(x[i]) - lr * np.float64(d[i])
        total += a * a
    return total


@compiled(fastmath={"contract"})
def _move(x: Floats, d: Floats, lr: float, pull: float) -> None:
    """Set x to x - (lr d + pull x), rounded once.

    So a pull far below the last digit of x still acts on average.
    """
    rate = x.dtype.type(lr)
    part = x.dtype.type(pull)
    for i in range(x.size):
        x[i] -= rate * d[i] + part * x[i]


@compiled(fastmath={"contract"})
def _move_then_shrink(x: Floats, d: Floats, lr: float, pull: float) -> None:
    """Set x to (1 - pull)(x - lr d), rounded once."""
    rate = x.dtype.type(lr)
    part = x.dtype.type(pull)
    for i in range(x.size):
        step = rate * d[i]
        x[i] -= step + part * (x[i] - step)


@compiled()
def _clear(tensors: Ints, runs: Ints, like: Floats, first: int, last: int) -> None:
    for k in range(first, last):
        x = run_of(tensors, runs, like, k, X)
        for i in range(x.size):
            x[i] = 0


@compiled()
def _again(tensors: Ints, runs: Ints, like: Floats, rule: Rule, k: int, place: int) -> Floats:
    """Return the direction of a run that the first look at its group has left."""
    if rule.memory != 0 and rule.kind != MOMENTUM:
        return view(rule.memory + place * like.itemsize, runs[k, LENGTH], like)
    # otherwise it is the momentum or the gradient itself
    return run_of(tensors, runs, like, k, M if rule.kind == MOMENTUM else G)


@compiled()
def _step_outside(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    count: int,
    lr: float,
) -> None:
    """Take the plain step on the runs of no group."""
    for k in range(offsets[count], offsets[count + 1]):
        _move(
            run_of(tensors, runs, like, k, X),
            direction(tensors, runs, like, bias, rule, k, 0, False, True),
            lr,
            0.0,
        )


@compiled()
def plain(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    count: int,
    lr: float,
) -> None:
    """Take the plain step on all runs."""
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    for k in range(offsets[count]):
        _move(
            run_of(tensors, runs, like, k, X),
            direction(tensors, runs, like, bias, rule, k, 0, True, True),
            lr,
            0.0,
        )
    _step_outside(tensors, runs, like, bias, rule, offsets, count, lr)


@compiled()
def _singles(runs: Ints, offsets: Ints, g: int, count: int) -> int:
    """Count the groups of one entry from ``g`` on that are neighbours, such as those of a bias."""
    first = offsets[g]
    size = 0
    while (
        g + size < count
        and size < STRETCH
        and offsets[g + size + 1] == first + size + 1
        and runs[first + size, LENGTH] == 1
        and runs[first + size, TENSOR] == runs[first, TENSOR]
        and runs[first + size, START] == runs[first, START] + size
    ):
        size += 1
    return size


@compiled()
def prox(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    leaving: Floats,
    capped: bool,
    lr: float,
    threshold: float,
) -> None:
    """Step, then shrink the norm of every group, to zero where it is at most the threshold.

    Args:
        tensors: See above.
        runs: See above.
        like: See above.
        bias: See above.
        rule: See above.
        offsets: See above.
        leaving: Float64 of the number of groups; where ``capped``, the norm of each group that
            would become zero is written there, and the group is left.
        capped: Whether a group that would become zero is left for ``finish``.
        lr: Learning rate.
        threshold: Learning rate times lambda.
    """
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    leaving = unowned(leaving)
    count = leaving.size
    g = -1
    while g + 1 < count:
        g += 1
        size = _singles(runs, offsets, g, count)
        if size:
            t, start = runs[offsets[g], TENSOR], runs[offsets[g], START]
            x = part_of(tensors, like, t, start, size, X)
            d = stretch_direction(tensors, like, bias, rule, t, start, size, 0, True, True)
            prox_entries(x, d, leaving[g : g + size], capped, lr, threshold)
            g += size - 1
            continue
        first = offsets[g]
        last = offsets[g + 1]
        total = 0.0
        place = 0
        for k in range(first, last):
            d = direction(tensors, runs, like, bias, rule, k, place, True, True)
            total += _moved_squares(run_of(tensors, runs, like, k, X), d, lr)
            place += runs[k, LENGTH]
        norm = np.sqrt(total)
        if norm <= threshold:
            if capped:
                leaving[g] = norm
            else:
                _clear(tensors, runs, like, first, last)
            continue
        place = 0
        for k in range(first, last):
            _move_then_shrink(
                run_of(tensors, runs, like, k, X),
                _again(tensors, runs, like, rule, k, place),
                lr,
                threshold / norm,
            )
            place += runs[k, LENGTH]
    _step_outside(tensors, runs, like, bias, rule, offsets, count, lr)


@compiled()
def half_space(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    leaving: Floats,
    capped: bool,
    lr: float,
    lmbda: float,
    epsilon: float,
    guard: float,
) -> int:
    """Step every non-zero group; a group that leaves its half-space becomes zero.

    Args:
        tensors: See above.
        runs: See above.
        like: See above.
        bias: See above.
        rule: See above.
        offsets: See above.
        leaving: As for ``prox``: ``<x+, x> / ||x||^2`` of each group that would become zero.
        capped: As for ``prox``.
        lr: Learning rate.
        lmbda: Weight of the group norm.
        epsilon: Share of ``||x||^2`` below which a step counts as leaving.
        guard: Added to the norm in the sub-gradient.

    Returns:
        The number of groups that are zero before the step.
    """
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    leaving = unowned(leaving)
    count = leaving.size
    zeros = 0
    g = -1
    while g + 1 < count:
        g += 1
        size = _singles(runs, offsets, g, count)
        if size:
            t, start = runs[offsets[g], TENSOR], runs[offsets[g], START]
            x = part_of(tensors, like, t, start, size, X)
            d = stretch_direction(tensors, like, bias, rule, t, start, size, 0, True, True)
            near = leaving[g : g + size]
            zeros += half_space_entries(x, d, near, capped, lr, lmbda, epsilon, guard)
            g += size - 1
            continue
        first = offsets[g]
        last = offsets[g + 1]
        squares = 0.0
        product = 0.0
        place = 0
        for k in range(first, last):
            d = direction(tensors, runs, like, bias, rule, k, place, True, True)
            part, along = _squares_and_product(run_of(tensors, runs, like, k, X), d)
            squares += part
            product += along
            place += runs[k, LENGTH]
        if squares == 0.0:
            zeros += 1
            continue
        pull = lr * lmbda / (np.sqrt(squares) + guard)
        inner = squares - (lr * product + pull * squares)
        if inner < epsilon * squares:
            if capped:
                leaving[g] = inner / squares
            else:
                _clear(tensors, runs, like, first, last)
            continue
        place = 0
        for k in range(first, last):
            _move(
                run_of(tensors, runs, like, k, X),
                _again(tensors, runs, like, rule, k, place),
                lr,
                pull,
            )
            place += runs[k, LENGTH]
    _step_outside(tensors, runs, like, bias, rule, offsets, count, lr)
    return zeros


@compiled()
def finish(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    groups: Ints,
    dies: Bools,
    lr: float,
    lmbda: float,
    guard: float,
) -> None:
    """Settle the groups that a capped step has left: zero them, or take the step.

    Args:
        tensors: See above.
        runs: See above.
        like: See above.
        bias: See above.
        rule: See above.
        offsets: See above.
        groups: Numbers of these groups.
        dies: Which of them become zero.
        lr: Learning rate.
        lmbda: Weight of the group norm; 0 for the plain step that a proximal one leaves.
        guard: Added to the norm in the sub-gradient.
    """
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    for j in range(groups.size):
        first = offsets[groups[j]]
        last = offsets[groups[j] + 1]
        if dies[j]:
            _clear(tensors, runs, like, first, last)
            continue
        squares = 0.0
        for k in range(first, last):
            x = run_of(tensors, runs, like, k, X)
            squares += _squares_and_product(x, x)[0]
        pull = lr * lmbda / (np.sqrt(squares) + guard) if lmbda != 0.0 else 0.0
        for k in range(first, last):
            _move(
                run_of(tensors, runs, like, k, X),
                direction(tensors, runs, like, bias, rule, k, 0, True, False),
                lr,
                pull,
            )


@compiled()
def prox_l1(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    count: int,
    lr: float,
    threshold: float,
) -> None:
    """Step, then soft-threshold every entry that belongs to a group."""
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    for k in range(offsets[count]):
        x = run_of(tensors, runs, like, k, X)
        d = direction(tensors, runs, like, bias, rule, k, 0, True, True)
        rate = x.dtype.type(lr)
        bound = x.dtype.type(threshold)
        for i in range(x.size):
            moved = x[i] - rate * d[i]
            x[i] = moved - max(-bound, min(moved, bound))
    _step_outside(tensors, runs, like, bias, rule, offsets, count, lr)


@compiled()
def orthant(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    count: int,
    lr: float,
    lmbda: float,
) -> None:
    """Step every non-zero entry on its side of zero; one that would cross becomes zero."""
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    for k in range(offsets[count]):
        x = run_of(tensors, runs, like, k, X)
        d = direction(tensors, runs, like, bias, rule, k, 0, True, True)
        rate = x.dtype.type(lr)
        weight = x.dtype.type(lmbda)
        zero = x.dtype.type(0)
        for i in range(x.size):
            sign = np.sign(x[i])
            moved = x[i] - rate * (d[i] + weight * sign)
            x[i] = zero if moved * sign <= 0 else moved
    _step_outside(tensors, runs, like, bias, rule, offsets, count, lr)

"""One-pass CPU kernels over groups, compiled: the steps of group_steps.py for large models.

Each group is read once from memory, judged while it is in the cache, and written once. Tensors
arrive as addresses, because a group may lie in any number of tensors; the caller keeps them alive,
dense and of one dtype. Importing this module compiles, so group_steps.py imports it only when a
model is large enough.

What all kernels take: ``xs`` and ``ds``, addresses of the parameters and of their directions;
``offsets``, ``tensor``, ``start`` and ``length``, the runs of memory of each group
(``plans.Plan.runs``), the last of which belong to no group; ``like``, an empty array of the dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from audioprune.compiled import compiled

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Sums may be reordered so that they run in vector registers; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract"}


def _typed_pointer(context: Any, address: Any, like: Any) -> Any:
    """Say to the compiler that an address is a pointer to numbers of the dtype of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(like.dtype)(address, like), generate


# Compiled code calls it with address and like alone; the compiler adds the context.
_pointer: Any = intrinsic(_typed_pointer)


@compiled()
def _run(address: int, start: int, length: int, like: Floats) -> Floats:
    run: Floats = carray(_pointer(address + start * like.itemsize, like), length)
    return run


@compiled(fastmath=_SUMS)
def _squares_and_product(x: Floats, d: Floats) -> tuple[float, float]:
    squares = 0.0
    product = 0.0
    for i in range(x.size):
        a = np.float64(x[i])
        squares += a * a
        product += a * np.float64(d[i])
    return squares, product


@compiled(fastmath=_SUMS)
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
def _clear(
    xs: Ints, first: int, last: int, tensor: Ints, start: Ints, length: Ints, like: Floats
) -> None:
    for k in range(first, last):
        x = _run(xs[tensor[k]], start[k], length[k], like)
        for i in range(x.size):
            x[i] = 0


@compiled()
def _prox_entry(x: Floats, d: Floats, allowed: bool, lr: float, threshold: float) -> None:
    """Do what ``prox`` does to a group of one entry, such as an entry of a bias."""
    h = np.float64(x[0]) - lr * np.float64(d[0])
    if abs(h) <= threshold:
        x[0] = 0.0 if allowed else h
    else:
        x[0] = h - np.copysign(threshold, h)


@compiled()
def _half_space_entry(
    x: Floats, d: Floats, allowed: bool, lr: float, lmbda: float, epsilon: float, guard: float
) -> None:
    """Do what ``half_space`` does to a group of one entry, such as an entry of a bias."""
    a = np.float64(x[0])
    moved = a - lr * (np.float64(d[0]) + lmbda * a / (abs(a) + guard)) if a != 0.0 else 0.0
    x[0] = 0.0 if allowed and moved * a < epsilon * a * a else moved


@compiled()
def sums(
    xs: Ints,
    ds: Ints,
    offsets: Ints,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    lr: float,
    squares: Floats,
    products: Floats,
    moved: Floats,
) -> None:
    """Write ||x||^2, <x, d> and ||x - lr d||^2 of every group."""
    for g in range(squares.size):
        a = 0.0
        b = 0.0
        c = 0.0
        for k in range(offsets[g], offsets[g + 1]):
            x = _run(xs[tensor[k]], start[k], length[k], like)
            d = _run(ds[tensor[k]], start[k], length[k], like)
            part, product = _squares_and_product(x, d)
            a += part
            b += product
            c += _moved_squares(x, d, lr)
        squares[g] = a
        products[g] = b
        moved[g] = c


@compiled()
def _step_outside(
    xs: Ints,
    ds: Ints,
    first: int,
    last: int,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    lr: float,
) -> None:
    """Take the plain step on the runs of no group."""
    for k in range(first, last):
        t = tensor[k]
        _move(
            _run(xs[t], start[k], length[k], like), _run(ds[t], start[k], length[k], like), lr, 0.0
        )


@compiled()
def prox(
    xs: Ints,
    ds: Ints,
    offsets: Ints,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    allowed: Bools,
    lr: float,
    threshold: float,
) -> None:
    """Step, then shrink the norm of every group; allowed groups may become zero."""
    count = allowed.size
    for g in range(count):
        first = offsets[g]
        last = offsets[g + 1]
        if last == first + 1 and length[first] == 1:
            t = tensor[first]
            _prox_entry(
                _run(xs[t], start[first], 1, like),
                _run(ds[t], start[first], 1, like),
                allowed[g],
                lr,
                threshold,
            )
            continue
        total = 0.0
        for k in range(first, last):
            t = tensor[k]
            total += _moved_squares(
                _run(xs[t], start[k], length[k], like), _run(ds[t], start[k], length[k], like), lr
            )
        norm = np.sqrt(total)
        if norm <= threshold and allowed[g]:
            _clear(xs, first, last, tensor, start, length, like)
            continue
        pull = 0.0 if norm <= threshold else threshold / norm
        for k in range(first, last):
            t = tensor[k]
            _move_then_shrink(
                _run(xs[t], start[k], length[k], like),
                _run(ds[t], start[k], length[k], like),
                lr,
                pull,
            )
    _step_outside(xs, ds, offsets[count], offsets[count + 1], tensor, start, length, like, lr)


@compiled()
def half_space(
    xs: Ints,
    ds: Ints,
    offsets: Ints,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    allowed: Bools,
    lr: float,
    lmbda: float,
    epsilon: float,
    guard: float,
) -> None:
    """Step every non-zero group; an allowed group that leaves its half-space becomes zero."""
    count = allowed.size
    for g in range(count):
        first = offsets[g]
        last = offsets[g + 1]
        if last == first + 1 and length[first] == 1:
            t = tensor[first]
            _half_space_entry(
                _run(xs[t], start[first], 1, like),
                _run(ds[t], start[first], 1, like),
                allowed[g],
                lr,
                lmbda,
                epsilon,
                guard,
            )
            continue
        squares = 0.0
        product = 0.0
        for k in range(first, last):
            t = tensor[k]
            part, along = _squares_and_product(
                _run(xs[t], start[k], length[k], like), _run(ds[t], start[k], length[k], like)
            )
            squares += part
            product += along
        if squares == 0.0:
            continue
        pull = lr * lmbda / (np.sqrt(squares) + guard)
        if squares - (lr * product + pull * squares) < epsilon * squares and allowed[g]:
            _clear(xs, first, last, tensor, start, length, like)
            continue
        for k in range(first, last):
            t = tensor[k]
            _move(
                _run(xs[t], start[k], length[k], like),
                _run(ds[t], start[k], length[k], like),
                lr,
                pull,
            )
    _step_outside(xs, ds, offsets[count], offsets[count + 1], tensor, start, length, like, lr)


@compiled()
def prox_l1(
    xs: Ints,
    ds: Ints,
    offsets: Ints,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    count: int,
    lr: float,
    threshold: float,
) -> None:
    """Step, then soft-threshold every entry that belongs to a group."""
    for k in range(offsets[count]):
        x = _run(xs[tensor[k]], start[k], length[k], like)
        d = _run(ds[tensor[k]], start[k], length[k], like)
        rate = x.dtype.type(lr)
        bound = x.dtype.type(threshold)
        for i in range(x.size):
            moved = x[i] - rate * d[i]
            x[i] = moved - max(-bound, min(moved, bound))
    _step_outside(xs, ds, offsets[count], offsets[count + 1], tensor, start, length, like, lr)


@compiled()
def orthant(
    xs: Ints,
    ds: Ints,
    offsets: Ints,
    tensor: Ints,
    start: Ints,
    length: Ints,
    like: Floats,
    count: int,
    lr: float,
    lmbda: float,
) -> None:
    """Step every non-zero entry on its side of zero; one that would cross becomes zero."""
    for k in range(offsets[count]):
        x = _run(xs[tensor[k]], start[k], length[k], like)
        d = _run(ds[tensor[k]], start[k], length[k], like)
        rate = x.dtype.type(lr)
        weight = x.dtype.type(lmbda)
        zero = x.dtype.type(0)
        for i in range(x.size):
            sign = np.sign(x[i])
            moved = x[i] - rate * (d[i] + weight * sign)
            x[i] = zero if moved * sign <= 0 else moved
    _step_outside(xs, ds, offsets[count], offsets[count + 1], tensor, start, length, like, lr)

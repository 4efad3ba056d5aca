"""One-pass CPU kernels over groups: each group is read once from memory, judged while it is in the cache, and written once.

Tensors arrive as addresses, because a group may lie in any number of tensors; the caller keeps
them alive, dense and of one dtype. Importing this module compiles, so steps.py imports it only
when a model is large enough.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

# Sums may be reordered so that they run in vector registers; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract"}


def _compiled(**options: object) -> Callable[[Callable], Callable]:
    """Compile with an on-disk cache, or without one where no folder can be written."""

    def wrap(function: Callable) -> Callable:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return wrap


@intrinsic
def _pointer(context, address, like):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@_compiled()
def _run(address, start, length, like):
    return carray(_pointer(address + start * like.itemsize, like), length)


@_compiled(fastmath=_SUMS)
def _squares_and_product(x, d):
    squares = 0.0
    product = 0.0
    for i in range(x.size):
        a = np.float64(x[i])
        squares += a * a
        product += a * np.float64(d[i])
    return squares, product


@_compiled(fastmath=_SUMS)
def _moved_squares(x, d, lr):
    total = 0.0
    for i in range(x.size):
        a = np.float64(x[i]) - lr * np.float64(d[i])
        total += a * a
    return total


@_compiled(fastmath={"contract"})
def _move(x, d, lr, pull):
    """x - (lr d + pull x), rounded once, so that a pull far below one ulp of x still acts on average."""
    rate = x.dtype.type(lr)
    part = x.dtype.type(pull)
    for i in range(x.size):
        x[i] -= rate * d[i] + part * x[i]


@_compiled(fastmath={"contract"})
def _move_then_shrink(x, d, lr, pull):
    """(1 - pull)(x - lr d), rounded once."""
    rate = x.dtype.type(lr)
    part = x.dtype.type(pull)
    for i in range(x.size):
        step = rate * d[i]
        x[i] -= step + part * (x[i] - step)


@_compiled()
def _clear(xs, first, last, tensor, start, length, like):
    for k in range(first, last):
        x = _run(xs[tensor[k]], start[k], length[k], like)
        for i in range(x.size):
            x[i] = 0


@_compiled()
def _prox_entry(x, d, allowed, lr, threshold):
    """Do what ``prox`` does to a group of one entry, such as an entry of a bias."""
    h = np.float64(x[0]) - lr * np.float64(d[0])
    if abs(h) <= threshold:
        x[0] = 0.0 if allowed else h
    else:
        x[0] = h - np.copysign(threshold, h)


@_compiled()
def _half_space_entry(x, d, allowed, lr, lmbda, epsilon, guard):
    """Do what ``half_space`` does to a group of one entry, such as an entry of a bias."""
    a = np.float64(x[0])
    moved = a - lr * (np.float64(d[0]) + lmbda * a / (abs(a) + guard)) if a != 0.0 else 0.0
    x[0] = 0.0 if allowed and moved * a < epsilon * a * a else moved


@_compiled()
def sums(xs, ds, offsets, tensor, start, length, like, lr, squares, products, moved):
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


@_compiled()
def _step_outside(xs, ds, first, last, tensor, start, length, like, lr):
    """Carry out the plain step on the runs of no group."""
    for k in range(first, last):
        t = tensor[k]
        _move(
            _run(xs[t], start[k], length[k], like), _run(ds[t], start[k], length[k], like), lr, 0.0
        )


@_compiled()
def prox(xs, ds, offsets, tensor, start, length, like, allowed, lr, threshold):
    """Step, then shrink the norm of every group by the threshold; allowed groups may become zero."""
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


@_compiled()
def half_space(xs, ds, offsets, tensor, start, length, like, allowed, lr, lmbda, epsilon, guard):
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


@_compiled()
def prox_l1(xs, ds, offsets, tensor, start, length, like, count, lr, threshold):
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


@_compiled()
def orthant(xs, ds, offsets, tensor, start, length, like, count, lr, lmbda):
    """Step every non-zero entry within its orthant; an entry that would change its sign becomes zero."""
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

"""The z-step of ADMM, compiled: ``split``; each group is read and written once."""

from __future__ import annotations

import numpy as np

from audioprune.compiled import compiled
from audioprune.optim.kernels.moments import SUMS, Floats, Ints, Rule, U, X, Z, run_of, unowned


@compiled(fastmath=SUMS)
def _sum_squares(x: Floats, u: Floats) -> float:
    total = 0.0
    for i in range(x.size):
        y = np.float64(x[i]) + np.float64(u[i])
        total += y * y
    return total


@compiled(fastmath=SUMS)
def _split(x: Floats, z: Floats, u: Floats, pull: float) -> tuple[float, float]:
    """Set z to (1 - pull)(x + u) and add x - z to u; return the squares of both changes."""
    part = x.dtype.type(pull)
    primal = 0.0
    dual = 0.0
    for i in range(x.size):
        y = x[i] + u[i]
        new = y - part * y
        change = np.float64(new) - np.float64(z[i])
        gap = x[i] - new
        z[i] = new
        u[i] += gap
        dual += change * change
        primal += np.float64(gap) * np.float64(gap)
    return primal, dual


@compiled()
def split(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    offsets: Ints,
    count: int,
    threshold: float,
) -> tuple[float, float]:
    """Take the z-step of ADMM: z becomes the proximal point of x + u, then u grows by x - z.

    Returns:
        ``||x - z||^2`` and ``||z - z before||^2``.
    """
    tensors, runs, like = unowned(tensors), unowned(runs), unowned(like)
    bias, offsets = unowned(bias), unowned(offsets)
    primal, dual = 0.0, 0.0
    for g in range(count + 1):
        first = offsets[g]
        last = offsets[g + 1]
        pull = 0.0
        if g < count:
            total = 0.0
            for k in range(first, last):
                u = run_of(tensors, runs, like, k, U)
                total += _sum_squares(run_of(tensors, runs, like, k, X), u)
            norm = np.sqrt(total)
            pull = 1.0 if norm <= threshold else threshold / norm
        for k in range(first, last):
            z, u = run_of(tensors, runs, like, k, Z), run_of(tensors, runs, like, k, U)
            one, other = _split(run_of(tensors, runs, like, k, X), z, u, pull)
            primal += one
            dual += other
    return primal, dual

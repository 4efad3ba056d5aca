"""The direction of a base optimiser for one run of memory, compiled: ``direction``, with moments.

The kernels of steps.py call it for each run of a group, so that gradient, moments and parameter
are read once from memory. The formulas are those of directions.py; ``Rule`` says what the base
does. Tensors arrive as addresses, which the caller keeps alive.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from audioprune.compiled import compiled

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
SGD, MOMENTUM, ADAM = 0, 1, 2
# Sums may be reordered so that they run in vector registers; NaN and infinity keep their meaning.
SUMS = {"reassoc", "contract"}

# Columns of the addresses of each tensor, and of the runs of memory.
X, G, M, V, Z, U = range(6)
TENSOR, START, LENGTH = range(3)


class Rule(NamedTuple):
    """How a gradient becomes a direction: numbers alone, which compiled code keeps in registers.

    Attributes:
        kind: ``SGD``, ``MOMENTUM`` or ``ADAM``.
        memory: Address of a scratch for the directions of one group, or 0 where the direction is
            the gradient or the momentum itself.
        factor: Momentum, or the first beta.
        beta: The second beta.
        eps: Of Adam.
        decay: Weight decay.
        decoupled: Whether it joins the direction instead of the gradient.
        rho: Weight of the pull ``x - z + u`` on the parameters of groups.
    """

    kind: int
    memory: int
    factor: float
    beta: float
    eps: float
    decay: float
    decoupled: bool
    rho: float


def _typed_pointer(context: Any, address: Any, like: Any) -> Any:
    """Say to the compiler that an address is a pointer to numbers of the dtype of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(like.dtype)(address, like), generate


# Compiled code calls it with address and like alone; the compiler adds the context.
_pointer: Any = intrinsic(_typed_pointer)


@compiled()
def view(address: int, length: int, like: Floats) -> Floats:
    """View the numbers at an address."""
    run: Floats = carray(_pointer(address, like), length)
    return run


@compiled()
def unowned(array: Any) -> Any:
    """View an array of one or two axes, which its caller holds, without counting references.

    The counts would take longer than the numbers of a short run.
    """
    return carray(_pointer(array.ctypes.data, array), array.shape)


@compiled()
def part_of(tensors: Ints, like: Floats, t: int, start: int, length: int, column: int) -> Floats:
    """View some entries of a parameter, or of another column of its addresses."""
    return view(tensors[t, column] + start * like.itemsize, length, like)


@compiled()
def run_of(tensors: Ints, runs: Ints, like: Floats, k: int, column: int) -> Floats:
    """View run ``k`` of the parameters, or of another column of their addresses."""
    t, start, length = runs[k, TENSOR], runs[k, START], runs[k, LENGTH]
    return part_of(tensors, like, t, start, length, column)


@compiled(fastmath={"contract"})
def _decayed(h: Floats, x: Floats, g: Floats, decay: float) -> None:
    """Write the gradient with weight decay."""
    weight = x.dtype.type(decay)
    for i in range(x.size):
        h[i] = g[i] + weight * x[i]


@compiled(fastmath={"contract"})
def _pulled(h: Floats, x: Floats, g: Floats, z: Floats, u: Floats, rho: float) -> None:
    """Write the gradient of the augmented Lagrangian."""
    weight = x.dtype.type(rho)
    for i in range(x.size):
        h[i] = g[i] + weight * (x[i] - z[i] + u[i])


@compiled()
def _momentum(m: Floats, g: Floats, factor: float) -> None:
    keep = m.dtype.type(factor)
    for i in range(m.size):
        m[i] = keep * m[i] + g[i]


@compiled(fastmath={"contract"}, error_model="numpy")
def _moments(
    h: Floats,
    m: Floats,
    v: Floats,
    g: Floats,
    betas: tuple[float, float],
    bias: tuple[float, float],
    eps: float,
) -> None:
    """Set m to beta1 m + (1 - beta1) g, v to beta2 v + (1 - beta2) g^2, and h as ``_adam``."""
    new, keep = m.dtype.type(1 - betas[0]), m.dtype.type(betas[1])
    square = m.dtype.type(1 - betas[1])
    outer, inner = h.dtype.type(bias[0] / bias[1]), h.dtype.type(bias[0] * eps)
    for i in range(m.size):
        one = g[i]
        first = m[i] + new * (one - m[i])
        second = keep * v[i] + square * one * one
        m[i], v[i] = first, second
        h[i] = first / (np.sqrt(second) * outer + inner)


@compiled(fastmath={"contract"}, error_model="numpy")
def _adam(h: Floats, m: Floats, v: Floats, bias: tuple[float, float], eps: float) -> None:
    """Write m / (sqrt(v) / root of its bias + eps) / bias of m."""
    outer, inner = h.dtype.type(bias[0] / bias[1]), h.dtype.type(bias[0] * eps)
    for i in range(h.size):
        h[i] = m[i] / (np.sqrt(v[i]) * outer + inner)


@compiled()
def _made(
    tensors: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    t: int,
    start: int,
    length: int,
    place: int,
    grouped: bool,
    fresh: bool,
) -> Floats:
    g = part_of(tensors, like, t, start, length, G)
    x = part_of(tensors, like, t, start, length, X)
    h = view(rule.memory + place * like.itemsize, length, like)
    if rule.rho != 0.0 and grouped:
        z = part_of(tensors, like, t, start, length, Z)
        _pulled(h, x, g, z, part_of(tensors, like, t, start, length, U), rule.rho)
        g = h
    if rule.decay != 0.0 and not rule.decoupled:
        _decayed(h, x, g, rule.decay)
        g = h
    if rule.kind == SGD:
        return g
    m = part_of(tensors, like, t, start, length, M)
    if rule.kind == MOMENTUM:
        if fresh:
            _momentum(m, g, rule.factor)
        return m
    v = part_of(tensors, like, t, start, length, V)
    both = (bias[t, 0], bias[t, 1])
    if fresh:
        _moments(h, m, v, g, (rule.factor, rule.beta), both, rule.eps)
    else:
        _adam(h, m, v, both, rule.eps)
    if rule.decay != 0.0 and rule.decoupled:
        _decayed(h, x, h, rule.decay)
    return h


@compiled()
def stretch_direction(
    tensors: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    t: int,
    start: int,
    length: int,
    place: int,
    grouped: bool,
    fresh: bool,
) -> Floats:
    """Return the direction of some entries of a parameter, as ``direction`` does for a run.

    Args:
        tensors: Addresses of each parameter, its gradient, moments, and copies, int64 (T, 6).
        like: An empty array of the dtype.
        bias: Bias correction of the first moment, and the root of that of the second, (T, 2).
        rule: How a gradient becomes a direction.
        t: The parameter.
        start: The first entry.
        length: The number of entries.
        place: Entries of the scratch that are taken by the group's other runs.
        grouped: Whether they belong to groups, which a pull acts on.
        fresh: Whether the moments take the gradient in; false asks for the same direction again.
    """
    if rule.memory == 0 and rule.kind == SGD:
        return part_of(tensors, like, t, start, length, G)
    if rule.memory == 0:  # momentum alone, the usual case
        m = part_of(tensors, like, t, start, length, M)
        if fresh:
            _momentum(m, part_of(tensors, like, t, start, length, G), rule.factor)
        return m
    return _made(tensors, like, bias, rule, t, start, length, place, grouped, fresh)


@compiled()
def direction(
    tensors: Ints,
    runs: Ints,
    like: Floats,
    bias: Floats,
    rule: Rule,
    k: int,
    place: int,
    grouped: bool,
    fresh: bool,
) -> Floats:
    """Return the direction of run ``k``, which may lie in the scratch from ``place`` on.

    ``runs`` are tensor, first entry and entries of each run, int64 (R, 3); the rest is as for
    ``stretch_direction``.
    """
    t, start, length = runs[k, TENSOR], runs[k, START], runs[k, LENGTH]
    return stretch_direction(tensors, like, bias, rule, t, start, length, place, grouped, fresh)

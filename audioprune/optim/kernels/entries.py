"""Steps of neighbouring groups of one entry, compiled, such as those of the entries of a bias.

``prox_entries`` and ``half_space_entries`` do to many of them at once what the kernels of steps.py
do to a group.
"""

from __future__ import annotations

import numpy as np

from audioprune.compiled import compiled
from audioprune.optim.kernels.moments import Floats


@compiled()
def prox_entries(
    x: Floats, d: Floats, leaving: Floats, capped: bool, lr: float, threshold: float
) -> None:
    """Do what ``prox`` does to groups of one entry."""
    for i in range(x.size):
        h = np.float64(x[i]) - lr * np.float64(d[i])
        if not abs(h) <= threshold:
            x[i] = h - np.copysign(threshold, h)
        elif capped:
            leaving[i] = abs(h)
        else:
            x[i] = 0


@compiled()
def half_space_entries(
    x: Floats,
    d: Floats,
    leaving: Floats,
    capped: bool,
    lr: float,
    lmbda: float,
    epsilon: float,
    guard: float,
) -> int:
    """Do what ``half_space`` does to groups of one entry."""
    zeros = 0
    for i in range(x.size):
        a = np.float64(x[i])
        if a == 0.0:
            zeros += 1
            continue
        moved = a - lr * (np.float64(d[i]) + lmbda * a / (abs(a) + guard))
        if not moved * a < epsilon * a * a:
            x[i] = moved
        elif capped:
            leaving[i] = moved / a
        else:
            x[i] = 0
    return zeros

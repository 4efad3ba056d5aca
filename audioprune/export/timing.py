"""How fast an exported form runs and how far its results are from torch: ``timed``, ``gap``.

Inputs and outputs are lists of tensors, states among them. Seconds are those of the clock on one
thread of this machine, without the first runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
WARM, FRAMES, SECONDS = 5, 200, 2.0
"""Runs that are not counted, runs that are, and after how many seconds no more are begun."""


@dataclass(frozen=True)
class Timing:
    """How long one frame, or one whole signal, takes.

    Attributes:
        mean_s: Mean over the runs.
        worst_s: The longest one.
        runs: How many were counted.
    """

    mean_s: float
    worst_s: float
    runs: int


def timed(run: Callable[[], object]) -> Timing:
    """Time a function that is called again and again."""
    for _ in range(WARM):
        run()
    taken: list[float] = []
    while len(taken) < FRAMES and sum(taken) < SECONDS:
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return Timing(statistics.fmean(taken), max(taken), len(taken))


def gap(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the largest difference as a share of the peak of what is wanted."""
    worst = 0.0
    for value, other in zip(found, wanted, strict=True):
        peak = max(float(other.abs().max()), 1e-6)
        worst = max(worst, float((value - other).abs().max()) / peak)
    return worst


def noise_db(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the power of what is wanted over that of the difference, in dB."""
    power = sum(float(each.double().square().sum()) for each in wanted)
    error = sum(
        float((value.double() - other.double()).square().sum())
        for value, other in zip(found, wanted, strict=True)
    )
    return 10 * float(torch.log10(torch.tensor(max(power, 1e-30) / max(error, 1e-30))))


def longer(value: Tensor, axis: int, length: int) -> Tensor:
    """Return a signal of another length, made of a given one again and again."""
    times = -(-length // value.shape[axis])
    return torch.cat([value] * times, axis).narrow(axis, 0, length)

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

from audioprune.export.streaming import StreamingModel

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


def frames_of(stream: StreamingModel, signals: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Cut signals into the frames of a streaming form."""
    count = signals[0].shape[stream.time_dims[0]] // stream.frame
    return [
        tuple(
            value.narrow(axis, t * stream.frame, stream.frame).contiguous()
            for value, axis in zip(signals, stream.time_dims, strict=True)
        )
        for t in range(count)
    ]


@torch.no_grad()
def streamed(
    run: Function, stream: StreamingModel, signals: Sequence[Tensor]
) -> list[tuple[Tensor, ...]]:
    """Run one frame after another from the initial state and return the outputs of each."""
    states: tuple[Tensor, ...] = tuple(stream.initial_state(1))
    count, found = len(stream.output_names), []
    for frame in frames_of(stream, signals):
        made = run(*frame, *states)
        found.append(tuple(value.clone() for value in made[:count]))
        states = made[count:]
    return found


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

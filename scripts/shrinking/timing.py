"""CPU time of a network for a second of audio: ``cpu_ms_per_second``."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from audioprune.experiment import cost

_REPEATS = 15
_LEAST_S = 0.02
"""Least CPU time of one measurement; shorter passes are repeated within it."""


def cpu_ms_per_second(model: nn.Module, example_of: nn.Module | None = None) -> float:
    """Return the CPU time of one thread for a second of audio in ms, the median of fifteen.

    Args:
        model: The network.
        example_of: The network that says what an example is, where this one does not.
    """
    costed = cost.require_example(example_of or model)
    example, seconds = costed.example_input(), cost.example_seconds(costed)
    model.eval()
    with torch.inference_mode():
        started = time.process_time()
        model(example)
        repeats = max(1, round(_LEAST_S / max(1e-5, time.process_time() - started)))
        times = []
        for _ in range(_REPEATS):
            started = time.process_time()
            for _ in range(repeats):
                model(example)
            times.append((time.process_time() - started) / repeats)
    return 1000 * statistics.median(times) / seconds

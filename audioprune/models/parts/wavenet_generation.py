"""How samples of a WaveNet are drawn one after another: checks, draws, eager or compiled steps.

``generate`` returns classes (B, steps). The compiled loop itself is in ``wavenet_kernels``, the
layers are in ``wavenet_layers``.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numpy as np
import torch
from torch import Tensor

from audioprune.errors import ConfigError, DataError
from audioprune.models.parts.wavenet_layers import SampleModel

ROWS_AT_ONCE = 64


def generate(
    model: SampleModel,
    steps: int,
    cond: Tensor | None,
    seed: int,
    temperature: float,
    start: Tensor | None,
    half: bool = False,
) -> Tensor:
    """Draw samples, by the compiled loop where the model allows it; see ``WaveNet.generate``."""
    weight = model.out1.weight
    cond = None if cond is None else cond.to(weight.device)
    start = None if start is None else start.to(weight.device)
    start, draws = prepare(model, steps, cond, seed, temperature, start)
    compiled = weight.device.type == "cpu" and weight.dtype == torch.float32
    if compiled:
        return run_compiled(model, start, cond, draws, temperature, half, free_cores())
    if half:
        raise ConfigError(
            f"generate: expected a float32 model on the CPU for half, got {weight.dtype} on "
            f"{weight.device.type}; leave half out"
        )
    return run_eagerly(model, start, cond, draws.to(weight.device), temperature)


def prepare(
    model: SampleModel,
    steps: int,
    cond: Tensor | None,
    seed: int,
    temperature: float,
    start: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Check the arguments of ``WaveNet.generate``.

    Returns:
        The start (B, T0), and the draws (B, steps) in 0..1, float64, on the CPU.
    """
    for what, value, least in (("steps", steps, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"generate: expected {what} as a whole number of at least {least}, got "
                f"{value!r}; correct it"
            )
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not 0 <= temperature < math.inf:
        raise ConfigError(
            f"generate: expected a finite temperature of at least 0, got {temperature!r}; 1 "
            f"draws, 0 takes the likeliest"
        )
    if start is None:
        batch = 1 if cond is None else cond.shape[0]
        start = torch.full((batch, 1), model.classes // 2, device=model.out1.weight.device)
    shaped = start.dim() == 2 and start.dtype == torch.long and start.shape[1] > 0
    if not shaped or int(start.min()) < 0 or int(start.max()) >= model.classes:
        raise DataError(
            f"expected a start of int64 classes (B, T0) below {model.classes}, got "
            f"{start.dtype} {tuple(start.shape)}"
        )
    model.check_cond(cond, start.shape[0], start.shape[1] + steps - 1)
    return start, uniform_draws(seed, start.shape[0], steps)


def uniform_draws(seed: int, batch: int, steps: int) -> Tensor:
    """Return numbers in 0..1, float64, (batch, steps); row b depends on the seed and b alone."""
    rows = [np.random.default_rng([seed, row]).random(steps) for row in range(batch)]
    return torch.from_numpy(np.stack(rows))


def choose(logits: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """Choose classes (B,) by the inverse of the cumulative distribution.

    Args:
        logits: Shape (B, Q).
        draws: Numbers in 0..1, shape (B,).
        temperature: Divisor of the logits; 0 takes the most probable class, the first of equal
            ones.
    """
    if temperature == 0:
        return logits.argmax(1)
    scaled = (logits.double() - logits.amax(1, keepdim=True).double()) / temperature
    summed = torch.exp(scaled).cumsum(1)
    chosen = torch.searchsorted(summed, (draws.to(summed) * summed[:, -1])[:, None], right=True)
    return chosen.squeeze(1).clamp_max(logits.shape[1] - 1)


@torch.no_grad()
def run_eagerly(
    model: SampleModel, start: Tensor, cond: Tensor | None, draws: Tensor, temperature: float
) -> Tensor:
    """Draw samples by ``model.step``; arguments as ``prepare`` returns them."""
    state, known = model.initial_state(start.shape[0]), start.shape[1]
    drawn: list[Tensor] = []
    for t in range(known + draws.shape[1] - 1):
        token = start[:, t] if t < known else drawn[-1]
        logits = model.step(token, state, None if cond is None else cond[:, :, t : t + 1])
        if t >= known - 1:
            drawn.append(choose(logits, draws[:, t - known + 1], temperature))
    return torch.stack(drawn, 1)


def free_cores() -> int:
    """Return how many cores torch may use, or 1 where others keep them busy.

    Two cores that share a row wait for each other thousands of times a second: beside other jobs
    one core is faster.
    """
    cores = min(torch.get_num_threads(), len(os.sched_getaffinity(0)))
    return cores if os.getloadavg()[0] < (os.cpu_count() or 1) - 0.5 else 1


def run_compiled(
    model: SampleModel,
    start: Tensor,
    cond: Tensor | None,
    draws: Tensor,
    temperature: float,
    half: bool = False,
    cores: int = 1,
) -> Tensor:
    """Draw samples by the compiled loop; arguments as ``prepare`` returns them.

    The classes of a row depend neither on the other rows nor on the number of cores.

    Args:
        model: A WaveNet in float32 on the CPU.
        start: Classes (B, T0).
        cond: Features (B, C, T) or None.
        draws: Numbers (B, steps).
        temperature: Divisor of the logits.
        half: Whether matrices are rounded to bfloat16, which halves what is read.
        cores: How many run: several rows are shared out among them, one row by two at most.
    """
    # here, since numba is slow to import and compiling takes seconds
    from audioprune.models.parts import wavenet_kernels as kernels
    from audioprune.models.parts.wavenet_tiles import pack

    packed = pack(model, half)
    fed = start.shape[1] + draws.shape[1] - 1
    biases = packed.biases, packed.shifts
    weights = (packed.words, packed.tiles, *biases, packed.dilations, packed.ahead, packed.widths)

    def drawn(rows: slice, helped: bool = False) -> np.ndarray:
        """Draw a few rows, with the help of another core or without."""
        features = np.zeros((len(start[rows]), fed, packed.features), np.float32)
        if cond is not None:
            features[:, :, : cond.shape[1]] = cond[rows, :, :fed].transpose(1, 2).numpy()
        state = kernels.shared_state(packed, len(features))
        begin = np.ascontiguousarray(start[rows].numpy())
        drawing = features, np.ascontiguousarray(draws[rows].numpy()), float(temperature)
        helper = Thread(target=kernels.sum_skips, args=(weights, state, len(features), fed))
        if helped:
            helper.start()
        found = kernels.draw_rows(packed.first, weights, state, begin, *drawing, not helped)
        if helped:
            helper.join()
        return found

    if len(start) == 1:
        return torch.from_numpy(drawn(slice(0, 1), cores > 1))
    share = min(ROWS_AT_ONCE, -(-len(start) // cores))
    parts = [slice(begin, begin + share) for begin in range(0, len(start), share)]
    if cores == 1:
        return torch.from_numpy(np.concatenate([drawn(part) for part in parts]))
    with ThreadPoolExecutor(cores) as threads:
        return torch.from_numpy(np.concatenate(list(threads.map(drawn, parts))))

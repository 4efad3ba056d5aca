"""How samples of a WaveNet are drawn one after another: checks, draws, eager or compiled steps.

``generate`` returns classes (B, steps). The compiled loop itself is in ``wavenet_kernels``, the
layers are in ``wavenet_layers``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from audioprune.errors import ConfigError, DataError
from audioprune.models.parts.wavenet_layers import SampleModel


def generate(
    model: SampleModel,
    steps: int,
    cond: Tensor | None,
    seed: int,
    temperature: float,
    start: Tensor | None,
) -> Tensor:
    """Draw samples, by the compiled loop where the model allows it; see ``WaveNet.generate``."""
    weight = model.out1.weight
    cond = None if cond is None else cond.to(weight.device)
    start = None if start is None else start.to(weight.device)
    start, draws = prepare(model, steps, cond, seed, temperature, start)
    compiled = weight.device.type == "cpu" and weight.dtype == torch.float32
    if compiled:
        return run_compiled(model, start, cond, draws, temperature)
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


def run_compiled(
    model: SampleModel, start: Tensor, cond: Tensor | None, draws: Tensor, temperature: float
) -> Tensor:
    """Draw samples by the compiled loop, row by row; arguments as ``prepare`` returns them."""
    # here, since numba is slow to import and compiling takes seconds
    from audioprune.models.parts.wavenet_kernels import TILE, generate_row, pack

    packed = pack(model)
    fed = start.shape[1] + draws.shape[1] - 1
    features = np.zeros((len(start), fed, packed.features), np.float32)
    if cond is not None:
        features[:, :, : cond.shape[1]] = cond[:, :, :fed].transpose(1, 2).numpy()
    weights = (packed.first, packed.layers, packed.dilations, packed.widths)
    ends = (packed.out1, packed.out2)
    tiled = features.reshape(*features.shape[:2], -1, TILE)
    each = zip(start.contiguous().numpy(), tiled, draws.numpy(), strict=True)
    rows = [generate_row(*weights, *ends, *row, float(temperature)) for row in each]
    return torch.from_numpy(np.stack(rows))

"""Parameters and steps for the tests of optimisers."""

from __future__ import annotations

import torch
from torch import nn


def seeded_param(
    seed: int = 0, shape: tuple[int, ...] = (20, 5), dtype: torch.dtype = torch.float64
) -> nn.Parameter:
    return nn.Parameter(
        torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    )


def drive(
    optimizer: torch.optim.Optimizer,
    params: list[nn.Parameter],
    steps: int,
    seed: int = 9,
    scale: float = 1.0,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for param in params:
            param.grad = scale * torch.randn(param.shape, generator=generator, dtype=param.dtype)
        optimizer.step()

"""How narrow networks of convolutions are drawn, where the rule of their paper does not hold.

``keep_variance_`` changes a model in place. Initialisations that a paper states are with its
model.
"""

from __future__ import annotations

import torch
from torch import nn

Conv = nn.Conv1d | nn.ConvTranspose1d
QUIET = 0.1


@torch.no_grad()
def keep_variance_(model: nn.Module, quiet: Conv | None = None) -> None:
    """Draw convolutions so that ReLU networks of them keep the variance of their input.

    Biases are zero. Each output sample of a transposed convolution sums over in * k / stride
    products. Where a layer tapers its kernel by a buffer ``window``, what that takes is given
    back.

    Args:
        model: Drawn in place.
        quiet: A layer of it, such as the last one, whose weights start at a tenth.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, Conv):
            nn.init.normal_(module.weight, 0.0, (2 / _terms(module)) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if quiet is not None:
        quiet.weight.mul_(QUIET)


def _terms(module: Conv) -> float:
    """Return how many products of full weight one output sample sums over."""
    terms: float = module.in_channels * module.kernel_size[0]
    if module.transposed:
        terms /= module.stride[0]
    window = dict(module.named_buffers()).get("window")
    if window is None or window.is_meta:
        return terms
    return terms * float(window.square().mean())

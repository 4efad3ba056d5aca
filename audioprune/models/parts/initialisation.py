"""How networks of convolutions are drawn whose layers are too narrow for the initialisation of their paper.

Initialisations that a paper states stand with its model.
"""

from __future__ import annotations

import torch
from torch import nn

QUIET = 0.1


@torch.no_grad()
def keep_variance_(model: nn.Module, quiet: nn.Module | None = None) -> None:
    """Draw convolutions, transposed ones too, so that ReLU networks of them keep the variance of their input; biases are zero.

    Each output sample of a transposed convolution sums over in * k / stride products. Where a
    layer tapers its kernel by an attribute ``window``, what that takes is given back.

    Args:
        model: Drawn in place.
        quiet: A layer of it, such as the last one, whose weights start at a tenth.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            terms = module.in_channels * module.kernel_size[0]
            terms = terms / module.stride[0] if module.transposed else terms
            window = getattr(module, "window", None)
            terms = (
                terms
                if window is None or window.is_meta
                else terms * float(window.square().mean())
            )
            nn.init.normal_(module.weight, 0.0, (2 / terms) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if quiet is not None:
        quiet.weight.mul_(QUIET)

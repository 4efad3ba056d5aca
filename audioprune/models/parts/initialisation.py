"""How networks are drawn for short trainings, where the rule of their paper does not hold.

``keep_variance_`` changes a model in place, ``smooth_over_`` one tensor. Initialisations that a
paper states are with its model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Conv = nn.Conv1d | nn.ConvTranspose1d
QUIET = 0.1
WAVES = 8


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


@torch.no_grad()
def smooth_over_(weight: Tensor, dim: int) -> None:
    """Draw a tensor anew so that it is smooth along one axis, at the deviation that it has.

    Along the axis, seen as -1..1, every line is a sum of `WAVES` half cosines with random weights
    that fall as one over their number.

    Args:
        weight: Drawn in place.
        dim: The axis.
    """
    count, deviation = weight.shape[dim], weight.std()
    place = (torch.arange(count, device=weight.device) + 0.5) / count
    number = torch.arange(1, WAVES + 1, device=weight.device)
    waves = torch.cos(torch.pi * number[:, None] * place) / number[:, None]  # (WAVES, count)
    others = [size for axis, size in enumerate(weight.shape) if axis != dim]
    drawn = torch.randn(*others, WAVES, device=weight.device) @ waves.to(weight)
    weight.copy_((drawn * deviation / drawn.std()).movedim(-1, dim))


def _terms(module: Conv) -> float:
    """Return how many products of full weight one output sample sums over."""
    terms: float = module.in_channels * module.kernel_size[0]
    if module.transposed:
        terms /= module.stride[0]
    window = dict(module.named_buffers()).get("window")
    if window is None or window.is_meta:
        return terms
    return terms * float(window.square().mean())

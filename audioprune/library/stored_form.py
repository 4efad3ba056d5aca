"""How a network is stored in few bytes, seen in its weights alone: ``stored_form``.

Zeros become positions, tensors of few values grids or codebooks; all are exact. Files are written
in saving.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.contract import PER, Quantized, channels_of
from audioprune.compress.quantize.kmeans import cluster
from audioprune.compress.quantize.recognise import grid_of

_MOST_SHARED = 4096
"""Most different values of a tensor that is stored by a codebook."""
_TOO_FEW = 2  # so few values are a codebook, whatever they are


def stored_form(model: nn.Module) -> tuple[Mask | None, dict[str, Quantized]]:
    """Return the positions of weights that are not zero, and the forms of tensors of few values.

    Args:
        model: Any module.

    Returns:
        The mask of the tensors that hold zeros, None where no tensor does, and a form of every
        tensor that lies on a uniform grid of its own, of its gates or of its channels, or else
        whose different values are at most half as many as its weights: a codebook.
    """
    weights = dict(model.named_parameters())
    names = prunable(model)
    kept = {name: weights[name].detach() != 0 for name in names}
    sparse = {name: keep for name, keep in kept.items() if not bool(keep.all())}
    forms: dict[str, Quantized] = {}
    for name in names:
        weight = weights[name].detach()
        if weight.dtype != torch.float32:
            continue
        values = weight[kept[name]]
        different = len(values.unique())
        grid = _grid(model, name, weight, kept[name]) if different > _TOO_FEW else None
        if grid is not None:
            forms[name] = grid
            continue
        if 0 < different <= _MOST_SHARED and 2 * different <= len(values):
            forms[name] = cluster(weight, different)
    return (Mask(sparse) if sparse else None), forms


def _grid(model: nn.Module, name: str, weight: Tensor, keep: Tensor) -> Quantized | None:
    """Return the grid with the fewest scales that holds a tensor, or None."""
    # most layers have no gates, and some a single channel
    for channels in dict.fromkeys(channels_of(model, name, per) for per in PER):
        grid = grid_of(weight, channels, keep)
        if grid is not None:
            return grid
    return None

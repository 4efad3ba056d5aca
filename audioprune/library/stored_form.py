"""How a network is stored in few bytes, seen in its weights alone: ``stored_form``.

Zeros become positions, tensors of few values codebooks; both are exact. Files are written in
saving.py.
"""

from __future__ import annotations

import torch
from torch import nn

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.kmeans import Codebook, cluster

_MOST_SHARED = 4096
"""Most different values of a tensor that is stored by a codebook."""


def stored_form(model: nn.Module) -> tuple[Mask | None, dict[str, Codebook]]:
    """Return the positions of weights that are not zero, and codebooks of tensors of few values.

    Args:
        model: Any module.

    Returns:
        The mask of the tensors that hold zeros, None where no tensor does, and a codebook of every
        tensor whose different values are at most half as many as its weights.
    """
    weights = dict(model.named_parameters())
    names = prunable(model)
    kept = {name: weights[name].detach() != 0 for name in names}
    sparse = {name: keep for name, keep in kept.items() if not bool(keep.all())}
    books = {}
    for name in names:
        weight = weights[name].detach()
        if weight.dtype != torch.float32:
            continue
        values = weight[kept[name]]
        different = len(values.unique())
        if 0 < different <= _MOST_SHARED and 2 * different <= len(values):
            books[name] = cluster(weight, different)
    return (Mask(sparse) if sparse else None), books

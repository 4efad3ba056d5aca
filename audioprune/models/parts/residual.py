"""A residual block, and the units of blocks and of the streams that run through them.

Kernels, strides and widths of the blocks belong to ``resnet`` and ``cp_resnet``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices
from audioprune.compress.units.declare import UnitSet
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.scenes import NormedConv, read, written


class Residual(nn.Module):
    """Add a branch of convolutions to its input: (B, C, F, N) to (B, C', F', N').

    ReLU follows every convolution of the branch but the last one, and the sum.

    Args:
        branch: Convolutions of the branch, in the order of the data.
        shortcut: Projection of the input where the branch changes the number of channels or the
            stride.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, Fig. 5.
    """

    branch: Layers[NormedConv]

    def __init__(self, branch: Sequence[NormedConv], shortcut: NormedConv | None = None) -> None:
        super().__init__()
        self.branch = Layers(branch)
        self.shortcut = shortcut

    def forward(self, values: Tensor) -> Tensor:
        """Map features."""
        inner = values
        for layer in self.branch[:-1]:
            inner = torch.relu(layer(inner))
        kept = values if self.shortcut is None else self.shortcut(values)
        return torch.relu(self.branch[-1](inner) + kept)


def residual_units(stem: NormedConv, blocks: Sequence[Residual], readers: Slices) -> list[UnitSet]:
    """Return the unit sets of a stem ``stem``, residual blocks ``blocks.i`` and a last layer.

    - ``blocks.i.branch.j``: channels inside a block.
    - ``stream.n``: channels of a residual stream. It starts at the stem or at a shortcut and ends
      at the next shortcut or the last layer; all that adds to a channel, the shortcut or stem and
      the last convolutions of its blocks, belongs to the unit, and all that reads it.

    Every set is exact. Each keeps at least one unit: a block whose inner units are all zero adds a
    constant, the shift of its last normalisation, and is reduced to one zero unit inside, which
    leaves this constant as it is.

    Args:
        stem: First layer.
        blocks: The blocks in the order of the data.
        readers: Slices of the last layer that read the last stream.
    """
    inner: list[UnitSet] = []
    streams: list[UnitSet] = []
    stream = written("stem", stem)
    for i, block in enumerate(blocks):
        names = [f"blocks.{i}.branch.{j}" for j in range(len(block.branch))]
        for j, name in enumerate(names[:-1]):
            following = read(names[j + 1], block.branch[j + 1])
            inner.append(UnitSet(name, written(name, block.branch[j]) + following))
        stream += read(names[0], block.branch[0])
        if block.shortcut is not None:
            shortcut = f"blocks.{i}.shortcut"
            ended = stream + read(shortcut, block.shortcut)
            streams.append(UnitSet(f"stream.{len(streams)}", ended))
            stream = written(shortcut, block.shortcut)
        stream += written(names[-1], block.branch[-1])
    return [*inner, *streams, UnitSet(f"stream.{len(streams)}", stream + readers)]

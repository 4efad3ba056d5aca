"""The VGG-like classifier of acoustic scenes: eleven convolutions, their units and their stages.

``VGG`` maps log-mel spectrograms (B, C, mels, frames) to scores of classes (B, K). Features, loss
and labels belong to the data and the task.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.scenes import (
    FRAMES_PER_SECOND,
    NormedConv,
    check_scene,
    check_share,
    example_scene,
    he_init_,
    read,
    written,
)
from audioprune.models.parts.widths import check_rate, check_whole
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range

SHARES = (1, 1, 2, 2, 4, 4, 4, 4, 16, 16)  # channels of the hidden layers in widths
KERNELS = (5, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1)
PADDINGS = (2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0)
POOLED = (1, 3, 7)  # layers with pooling and dropout behind them
DROPPED = (8, 9)  # layers with dropout alone
LEAST = 47  # mel bands and frames of which the ninth layer, which pads nothing, gets 3 by 3


class VGG(nn.Module):
    """Classify scenes by a stack of small convolutions; the last one has a filter per class.

    Batch normalisation and ReLU follow every convolution, also the last one, whose outputs are
    averaged over all bands and frames: all scores are 0 or above. The model of width 32 has
    1,442,772 parameters for 10 classes and 1,445,342 for 15; 1,728 filters can be pruned. Widths
    are read from the weights, so that a trimmed model runs as it is.

    Args:
        classes: Number of scenes K, 2 to 10,000.
        channels: Audio channels of the input, 1 to 64.
        mels: Mel bands of the example input, 47 to 4096; any number of bands is accepted as input.
        width: Channels of the first layer, 1 to 512; 32 is the usual model.
        pool_dropout: Share of entries that are dropped after each pooling, 0 to below 1.
        head_dropout: The same, after each of the last two hidden layers.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Chen, "DNN pruning for acoustic scene classification", calls a model VGG and does not
    print its layers. They are chosen here after the VGG-like networks of CP-JKU's submissions to
    DCASE (Eghbal-zadeh et al., "CP-JKU submissions for DCASE-2016", and later ones), of which also
    the ReLU behind the classes and both dropout shares are taken. Initialisation: see
    ``he_init_``.
    """

    frames_per_second: float = FRAMES_PER_SECOND
    time_dim: int = 3
    layers: Layers[NormedConv]

    def __init__(
        self,
        *,
        classes: Annotated[int, Range(2, 10_000), FOLLOWS] = 10,
        channels: Annotated[int, Range(1, 64)] = 2,
        mels: Annotated[int, Range(47, 4096), FOLLOWS] = 256,
        width: Annotated[int, Range(1, 512)] = 32,
        pool_dropout: Annotated[float, Range(0, below=1)] = 0.3,
        head_dropout: Annotated[float, Range(0, below=1)] = 0.5,
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = FRAMES_PER_SECOND,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.classes = check_whole("classes", classes, 2, 10_000)
        self.channels = check_whole("channels", channels, 1, 64)
        self.mels = check_whole("mels", mels, LEAST, 4096)
        self.width = check_whole("width", width, 1, 512)
        self.pool_dropout = check_share("pool_dropout", pool_dropout)
        self.head_dropout = check_share("head_dropout", head_dropout)
        sizes = [channels, *[width * share for share in SHARES], classes]
        self.layers = Layers(
            NormedConv(sizes[i], sizes[i + 1], KERNELS[i], 2 if i == 0 else 1, PADDINGS[i])
            for i in range(len(KERNELS))
        )
        he_init_(self)

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (B, C, mels, frames) to scores (B, K).

        Raises:
            DataError: The input has another number of axes or channels, or less than 47 mel bands
                or frames.
        """
        check_scene(scene, self.layers[0].conv.weight.shape[1], LEAST)
        values = scene
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        return [(f"layers.{i}.", partial(self._layer, i)) for i in range(len(self.layers))]

    def _layer(self, layer: int, values: Tensor) -> Tensor:
        values = torch.relu(self.layers[layer](values))
        if layer in POOLED:
            return F.dropout(F.max_pool2d(values, 2), self.pool_dropout, self.training)
        if layer in DROPPED:
            return F.dropout(values, self.head_dropout, self.training)
        return values.mean((2, 3)) if layer == len(self.layers) - 1 else values

    def example_input(self, frames: int = 431) -> Tensor:
        """Return one scene (1, C, mels, frames) of fixed random values; 431 frames are 10 s."""
        return example_scene(self.layers[0].conv.weight, self.mels, frames)

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels of each hidden layer.

        A unit owns its filter and normalisation, and the part of the next layer that reads it. The
        filters of the classes stay.
        """
        return [self._hidden_units(i) for i in range(len(self.layers) - 1)]

    def _hidden_units(self, layer: int) -> UnitSet:
        name = f"layers.{layer}"
        following = read(f"layers.{layer + 1}", self.layers[layer + 1])
        return UnitSet(name, written(name, self.layers[layer]) + following)

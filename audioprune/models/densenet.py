"""The densely connected network (DenseNet-121) for acoustic scenes: layers, units and stages.

``DenseNet`` maps log-mel spectrograms (B, C, mels, frames) to scores of classes (B, K). Features,
loss and labels belong to the data and the task.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices, batch_norm, conv_in, conv_out, linear_in
from audioprune.compress.units.declare import UnitSet
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.scenes import (
    FRAMES_PER_SECOND,
    NormedConv,
    check_depths,
    check_scene,
    example_scene,
    he_init_,
    written,
)
from audioprune.models.parts.widths import check_rate, check_whole
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range

BOTTLENECK = 4  # channels inside a layer per channel that it adds


class DenseLayer(nn.Module):
    """Append channels made from all before: (B, C, F, N) to (B, C + growth, F, N)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.squeeze = NormedConv(inputs, BOTTLENECK * growth, 1)
        self.grow = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Map features."""
        inner = torch.relu(self.squeeze(torch.relu(self.norm(values))))
        return torch.cat((values, self.grow(inner)), 1)


class Transition(nn.Module):
    """Mix channels and halve bands and frames: (B, C, F, N) to (B, C', F/2, N/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Map features."""
        return F.avg_pool2d(self.conv(torch.relu(self.norm(values))), 2)


class DenseNet(nn.Module):
    """Classify scenes by blocks of layers, each of which reads all layers before it in its block.

    A 7x7 convolution of stride 2 and a pooling of stride 2 precede the blocks; between two blocks
    a 1x1 convolution halves the channels and a pooling bands and frames; after the last one all
    channels are normalised, averaged over bands and frames and read by a linear layer. With the
    default arguments it is DenseNet-121: 7,978,856 parameters with 3 input channels and 1000
    classes, 6,960,970 with 2 channels and 10 classes, and 10,240 filters, each of which is a unit.
    Widths are read from the weights, so that a trimmed model runs as it is.

    Args:
        classes: Number of scenes K, 2 to 10,000.
        channels: Audio channels of the input, 1 to 64.
        mels: Mel bands of the example input, up to 4096; any number of bands from 2^(blocks + 1) -
            3 on is accepted as input.
        width: Channels of the first layer, 1 to 1024.
        growth: Channels that each layer adds, 1 to 256; inside it has four times as many.
        depths: Numbers of layers of each of 1 to 4 blocks, each 1 to 128.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Huang et al., "Densely connected convolutional networks", CVPR 2017, Table 1,
    DenseNet-BC. Chen, "DNN pruning for acoustic scene classification", does not say which DenseNet
    he prunes; DenseNet-121 with a stem of two channels is the choice made here. Initialisation:
    see ``he_init_``.
    """

    frames_per_second: float = FRAMES_PER_SECOND
    time_dim: int = 3
    blocks: Layers[Layers[DenseLayer]]
    transitions: Layers[Transition]

    def __init__(
        self,
        *,
        classes: Annotated[int, Range(2, 10_000), FOLLOWS] = 10,
        channels: Annotated[int, Range(1, 64)] = 2,
        mels: Annotated[int, Range(1, 4096), FOLLOWS] = 256,
        width: Annotated[int, Range(1, 1024)] = 64,
        growth: Annotated[int, Range(1, 256)] = 32,
        depths: Annotated[tuple[int, ...] | list[int], Range(1, 128)] = (6, 12, 24, 16),
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = FRAMES_PER_SECOND,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.classes = check_whole("classes", classes, 2, 10_000)
        self.channels = check_whole("channels", channels, 1, 64)
        self.depths = check_depths("depths", depths)
        self.mels = check_whole("mels", mels, self.least, 4096)
        self.width = check_whole("width", width, 1, 1024)
        self.growth = check_whole("growth", growth, 1, 256)
        self.stem = NormedConv(channels, width, 7, 2, 3)
        self.blocks, self.transitions = Layers(), Layers()
        size = width
        for block, depth in enumerate(self.depths):
            self.blocks.append(Layers(DenseLayer(size + i * growth, growth) for i in range(depth)))
            size += depth * growth
            if block < len(self.depths) - 1:
                self.transitions.append(Transition(size, size // 2))
                size //= 2
        self.norm = nn.BatchNorm2d(size)
        self.classifier = nn.Linear(size, classes)
        he_init_(self)

    @property
    def least(self) -> int:
        """Smallest number of mel bands and of frames of which the last block gets any."""
        return 2 ** (len(self.depths) + 1) - 3

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (B, C, mels, frames) to scores (B, K).

        Raises:
            DataError: The input has another number of axes or channels, or too few mel bands or
                frames.
        """
        check_scene(scene, self.stem.conv.weight.shape[1], self.least)
        values = scene
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        stages: list[Stage] = [("stem.", self._stem)]
        for i, block in enumerate(self.blocks):
            stages += [(f"blocks.{i}.{j}.", layer) for j, layer in enumerate(block)]
            if i < len(self.transitions):
                stages.append((f"transitions.{i}.", self.transitions[i]))
        return [*stages, (("norm.", "classifier."), self._classify)]

    def _stem(self, scene: Tensor) -> Tensor:
        return F.max_pool2d(torch.relu(self.stem(scene)), 3, 2, 1)

    def _classify(self, values: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.norm(values)).mean((2, 3)))

    def example_input(self, frames: int = 431) -> Tensor:
        """Return one scene (1, C, mels, frames) of fixed random values; 431 frames are 10 s."""
        return example_scene(self.stem.conv.weight, self.mels, frames)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels but the classes.

        - ``stem``, ``transitions.i``: channels that enter a block from before.
        - ``blocks.i.j``: channels that layer j of block i adds.
        - ``blocks.i.j.squeeze``: channels inside that layer.

        A channel that enters a block or is added in it is normalised anew by every later layer of
        the block and by its end, and scale and shift of all these normalisations belong to the
        unit: it is zero only when none of them makes a constant of it. All sets are exact.
        """
        sets: list[UnitSet] = []
        name, slices, count = "stem", written("stem", self.stem), self.stem.conv.weight.shape[0]
        for i in range(len(self.blocks)):
            sets.append(UnitSet(name, slices + self._readers(i, 0, 0, count)))
            sets += self._layer_units(i, count)
            if i < len(self.transitions):
                name, end = f"transitions.{i}", self.transitions[i].conv
                slices, count = conv_out(f"{name}.conv", end), end.weight.shape[0]
        return sets

    def _layer_units(self, block: int, offset: int) -> list[UnitSet]:
        sets: list[UnitSet] = []
        for j, layer in enumerate(self.blocks[block]):
            name, count = f"blocks.{block}.{j}", layer.grow.weight.shape[0]
            inner = written(f"{name}.squeeze", layer.squeeze) + conv_in(f"{name}.grow", layer.grow)
            added = conv_out(f"{name}.grow", layer.grow)
            added += self._readers(block, j + 1, offset, count)
            sets += [UnitSet(f"{name}.squeeze", inner), UnitSet(name, added)]
            offset += count
        return sets

    def _readers(self, block: int, first: int, offset: int, count: int) -> Slices:
        """List what normalises and reads channels of a block.

        Args:
            block: Number of the block.
            first: First layer of it that reads them; all later ones and the block's end do too.
            offset: First of the channels.
            count: Number of channels.
        """
        slices: Slices = ()
        for j, layer in enumerate(self.blocks[block][first:], first):
            name = f"blocks.{block}.{j}"
            slices += batch_norm(f"{name}.norm", layer.norm, offset, count=count)
            slices += conv_in(f"{name}.squeeze.conv", layer.squeeze.conv, offset, count=count)
        if block == len(self.transitions):
            slices += batch_norm("norm", self.norm, offset, count=count)
            return slices + linear_in("classifier", self.classifier, offset, count=count)
        name, end = f"transitions.{block}", self.transitions[block]
        slices += batch_norm(f"{name}.norm", end.norm, offset, count=count)
        return slices + conv_in(f"{name}.conv", end.conv, offset, count=count)

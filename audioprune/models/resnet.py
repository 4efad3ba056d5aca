"""The bottleneck residual network (ResNet-50) for acoustic scenes: layers, units and stages.

``ResNet`` maps log-mel spectrograms (B, C, mels, frames) to scores of classes (B, K). The network
with a chosen receptive field is in ``cp_resnet``.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import linear_in
from audioprune.compress.units.declare import UnitSet
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.residual import Residual, residual_units
from audioprune.models.parts.scenes import (
    FRAMES_PER_SECOND,
    NormedConv,
    check_depths,
    check_scene,
    example_scene,
    he_init_,
)
from audioprune.models.parts.widths import check_rate, check_whole
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range

EXPANSION = 4  # channels of a stream per channel inside its blocks
LEAST = 1


class ResNet(nn.Module):
    """Classify scenes by bottleneck blocks of 1x1, 3x3 and 1x1 convolutions.

    A 7x7 convolution of stride 2 and a pooling of stride 2 precede the blocks; the first block of
    every stage but the first halves bands and frames in its 3x3 convolution; the last stream is
    averaged over bands and frames and read by a linear layer. The model of width 64 and depths 3,
    4, 6, 3 is ResNet-50: 25,557,032 parameters with 3 input channels and 1000 classes, 23,525,386
    with 2 channels and 10 classes. Widths are read from the weights, so that a trimmed model runs
    as it is.

    Args:
        classes: Number of scenes K, 2 to 10,000.
        channels: Audio channels of the input, 1 to 64.
        mels: Mel bands of the example input, 1 to 4096; any number of bands is accepted as input.
        width: Channels of the first layer and inside the blocks of the first stage, 1 to 512;
            doubled in each further stage.
        depths: Numbers of blocks of each of 1 to 4 stages, each 1 to 128.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, Table 1. The
    stride is that of the 3x3 convolution (in the paper of the 1x1 convolution before it), which is
    the common choice today and changes no parameter. Chen, "DNN pruning for acoustic scene
    classification", names ResNet-50 and prints neither stem nor sizes. Initialisation: see
    ``he_init_``.
    """

    frames_per_second: float = FRAMES_PER_SECOND
    time_dim: int = 3
    blocks: Layers[Residual]

    def __init__(
        self,
        *,
        classes: Annotated[int, Range(2, 10_000), FOLLOWS] = 10,
        channels: Annotated[int, Range(1, 64)] = 2,
        mels: Annotated[int, Range(1, 4096), FOLLOWS] = 256,
        width: Annotated[int, Range(1, 512)] = 64,
        depths: Annotated[tuple[int, ...] | list[int], Range(1, 128)] = (3, 4, 6, 3),
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = FRAMES_PER_SECOND,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.classes = check_whole("classes", classes, 2, 10_000)
        self.channels = check_whole("channels", channels, 1, 64)
        self.mels = check_whole("mels", mels, LEAST, 4096)
        self.width = check_whole("width", width, 1, 512)
        self.depths = check_depths("depths", depths)
        self.stem = NormedConv(channels, width, 7, 2, 3)
        self.blocks = Layers()
        inputs = width
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                stride = 2 if stage and not block else 1
                self.blocks.append(
                    _bottleneck(inputs, width * 2**stage, stride, project=not block)
                )
                inputs = width * 2**stage * EXPANSION
        self.classifier = nn.Linear(inputs, classes)
        he_init_(self)

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (B, C, mels, frames) to scores (B, K).

        Raises:
            DataError: The input has another number of axes or channels.
        """
        check_scene(scene, self.stem.conv.weight.shape[1], LEAST)
        values = scene
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        stages: list[Stage] = [("stem.", self._stem)]
        stages += [(f"blocks.{i}.", block) for i, block in enumerate(self.blocks)]
        return [*stages, ("classifier.", self._classify)]

    def _stem(self, scene: Tensor) -> Tensor:
        return F.max_pool2d(torch.relu(self.stem(scene)), 3, 2, 1)

    def _classify(self, values: Tensor) -> Tensor:
        return self.classifier(values.mean((2, 3)))

    def example_input(self, frames: int = 431) -> Tensor:
        """Return one scene (1, C, mels, frames) of fixed random values; 431 frames are 10 s."""
        return example_scene(self.stem.conv.weight, self.mels, frames)

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels inside each block and of each stream; see ``residual_units``.

        ``stream.0`` is written by the stem alone. The rows of the classifier stay.
        """
        readers = linear_in("classifier", self.classifier)
        return residual_units(self.stem, list(self.blocks), readers)


def _bottleneck(inputs: int, width: int, stride: int, project: bool) -> Residual:
    outputs = width * EXPANSION
    branch = [
        NormedConv(inputs, width, 1),
        NormedConv(width, width, 3, stride, 1),
        NormedConv(width, outputs, 1),
    ]
    return Residual(branch, NormedConv(inputs, outputs, 1, stride) if project else None)

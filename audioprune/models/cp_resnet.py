"""The residual network with a chosen receptive field (CP-ResNet): layers, field, units, stages.

``CPResNet`` maps log-mel spectrograms (B, C, mels, frames) to scores of classes (B, K). Features,
loss and labels belong to the data and the task.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Annotated

import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError, unknown_name
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.residual import Residual, residual_units
from audioprune.models.parts.scenes import (
    FRAMES_PER_SECOND,
    NormedConv,
    check_scene,
    example_scene,
    he_init_,
    read,
)
from audioprune.models.parts.widths import check_rate, check_whole
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, OneOf, Range

BLOCKS = 12
PER_STAGE = 4
POOLED = (0, 1, 3)  # blocks with pooling behind them
MOST_RHO = 21
INITS = ("fixup", "he")
LEAST = 17  # mel bands and frames of which something is left after the pooling


class CPResNet(nn.Module):
    """Classify scenes by residual blocks with a chosen number of 3x3 convolutions.

    That number sets the receptive field. The stem, 5x5 of stride 2, is followed by three stages of
    four blocks of two convolutions, with 1, 2 and 4 times the width in channels. All convolutions
    are 1x1 but the first one and those from the third to the (rho + 2)-th, which are 3x3. Bands
    and frames are halved after the blocks 1, 2 and 4. A 1x1 convolution with one filter per class
    and a normalisation end the network; their outputs are averaged over bands and frames. The
    model of width 128 has 2,911,252 (rho 0) to 21,261,332 (rho 21) parameters for 10 classes, and
    at any rho 8,064 filters that can be pruned, in 4,480 units. Widths are read from the weights,
    so that a trimmed model runs as it is.

    Of the initialisation ``"fixup"``, the second convolution of each block and the filters of the
    classes are zero: 3,594 of 8,074 filters. No unit is zero then, for the normalisations are not
    and the streams have a stem or shortcut; but as nothing reads the first convolutions yet, a
    fresh model must not be searched for dead units.

    Args:
        classes: Number of scenes K, 2 to 10,000.
        channels: Audio channels of the input, 1 to 64.
        mels: Mel bands of the example input, 17 to 4096; any number of bands is accepted as input.
        rho: Number of 3x3 convolutions after the first one, 0 to 21; the receptive field grows
            with it from 23 to 583.
        width: Channels of the stem, 1 to 1024; 128 is the published model.
        init: ``"fixup"``, or ``"he"`` for He initialisation of all convolutions.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        time_dim: Axis of the frames in the input.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Koutini et al., "The receptive field as a regularizer in deep convolutional neural
    networks for acoustic scene classification", EUSIPCO 2019, and the authors' public code. The
    networks RN1 to RN3 of that paper are not printed in it.
    """

    frames_per_second: float = FRAMES_PER_SECOND
    time_dim: int = 3
    blocks: Layers[Residual]

    def __init__(
        self,
        *,
        classes: Annotated[int, Range(2, 10_000), FOLLOWS] = 10,
        channels: Annotated[int, Range(1, 64)] = 2,
        mels: Annotated[int, Range(17, 4096), FOLLOWS] = 256,
        rho: Annotated[int, Range(0, 21)] = 5,
        width: Annotated[int, Range(1, 1024)] = 128,
        init: Annotated[str, OneOf(*INITS)] = "fixup",
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = FRAMES_PER_SECOND,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        self.classes = check_whole("classes", classes, 2, 10_000)
        self.channels = check_whole("channels", channels, 1, 64)
        self.mels = check_whole("mels", mels, LEAST, 4096)
        self.rho = check_whole("rho", rho, 0, MOST_RHO)
        self.width = check_whole("width", width, 1, 1024)
        if init not in INITS:
            raise ConfigError(unknown_name("initialisation", init, INITS))
        self.init = init
        self.stem = NormedConv(channels, width, 5, 2, 1)
        sizes = [width, *[width * 2 ** (i // PER_STAGE) for i in range(BLOCKS)]]
        self.blocks = Layers(
            _basic(sizes[i], sizes[i + 1], _kernel(2 * i, rho), _kernel(2 * i + 1, rho))
            for i in range(BLOCKS)
        )
        self.head = NormedConv(sizes[-1], classes, 1)
        self.pool = nn.MaxPool2d(2)
        he_init_(self)
        if init == "fixup":
            self._fixup_()

    @torch.no_grad()
    def _fixup_(self) -> None:
        for block in self.blocks:
            first, second = block.branch[0].conv.weight, block.branch[1].conv.weight
            first.normal_(0, (2 / _outgoing(first) / BLOCKS) ** 0.5)
            second.zero_()
            if block.shortcut is not None:
                shortcut = block.shortcut.conv.weight
                shortcut.normal_(0, (2 / _outgoing(shortcut)) ** 0.5)
        self.head.conv.weight.zero_()

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (B, C, mels, frames) to scores (B, K).

        Raises:
            DataError: The input has another number of axes or channels, or less than 17 mel bands
                or frames.
        """
        return self.score_map(scene).mean((2, 3))

    def score_map(self, scene: Tensor) -> Tensor:
        """Map scenes (B, C, mels, frames) to scores (B, K, F, N), about one for 16 by 16 values.

        Raises:
            DataError: As of the forward pass.
        """
        check_scene(scene, self.stem.conv.weight.shape[1], LEAST)
        values = scene
        for _, run in self.stages()[:-1]:
            values = run(values)
        return self.head(values)

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass."""
        stages: list[Stage] = [("stem.", self._begin)]
        stages += [(f"blocks.{i}.", partial(self._block, i)) for i in range(len(self.blocks))]
        return [*stages, ("head.", self._classify)]

    def _begin(self, scene: Tensor) -> Tensor:
        return torch.relu(self.stem(scene))

    def _block(self, block: int, values: Tensor) -> Tensor:
        values = self.blocks[block](values)
        return self.pool(values) if block in POOLED else values

    def _classify(self, values: Tensor) -> Tensor:
        return self.head(values).mean((2, 3))

    def receptive_field(self) -> int:
        """Return how many mel bands, and frames, one place of the score map sees at most.

        A layer of kernel k widens the field by (k - 1) times the product of all strides before it.
        """
        field, stride = 1, 1
        for kernel, step in self._chain():
            field, stride = field + (kernel - 1) * stride, stride * step
        return field

    def _chain(self) -> list[tuple[int, int]]:
        """Return kernel and stride of every layer on the longest way through the network."""
        chain = [(self.stem.conv.weight.shape[2], self.stem.conv.stride[0])]
        for i, block in enumerate(self.blocks):
            chain += [(layer.conv.weight.shape[2], 1) for layer in block.branch]
            chain += [(2, 2)] if i in POOLED else []
        return chain

    def example_input(self, frames: int = 431) -> Tensor:
        """Return one scene (1, C, mels, frames) of fixed random values; 431 frames are 10 s."""
        return example_scene(self.stem.conv.weight, self.mels, frames)

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels inside each block and of the three streams; see ``residual_units``.

        The filters of the classes stay.
        """
        return residual_units(self.stem, list(self.blocks), read("head", self.head))


def _kernel(position: int, rho: int) -> int:
    """Return the kernel of a convolution by its position; the second one is never 3x3."""
    return 3 if position == 0 or 2 <= position <= rho + 1 else 1


def _basic(inputs: int, outputs: int, first: int, second: int) -> Residual:
    branch = [
        NormedConv(inputs, outputs, first, 1, first // 2),
        NormedConv(outputs, outputs, second, 1, second // 2),
    ]
    return Residual(branch, None if inputs == outputs else NormedConv(inputs, outputs, 1))


def _outgoing(weight: Tensor) -> int:
    return weight.shape[0] * prod(weight.shape[2:])

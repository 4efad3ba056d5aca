"""What the classifiers of acoustic scenes share: input checks and a normalised convolution.

How layers are joined is written in the module of each model; features and labels belong to the
data and the task.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices, batch_norm, conv_in, conv_out
from audioprune.errors import ConfigError, DataError
from audioprune.models.parts.widths import check_whole

FRAMES_PER_SECOND = 22050 / 512  # frames of 512 samples hop at 22,050 Hz
MOST_DEPTH = 128


class NormedConv(nn.Module):
    """Convolve without bias and normalise over the batch: (B, C, F, N) to (B, C', F', N').

    The activation is left to the caller.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Map features (B, C, F, N)."""
        return self.norm(self.conv(values))


def written(name: str, module: NormedConv) -> Slices:
    """List the filters of a normalised convolution and the normalisation behind them."""
    return conv_out(f"{name}.conv", module.conv) + batch_norm(f"{name}.norm", module.norm)


def read(name: str, module: NormedConv) -> Slices:
    """List the part of a normalised convolution that reads the channels before it."""
    return conv_in(f"{name}.conv", module.conv)


def he_init_(model: nn.Module) -> None:
    """Draw all convolutions, in place, with the variance 2 / (inputs of a filter).

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, Eq. 10.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")


def example_scene(weight: Tensor, mels: int, frames: int) -> Tensor:
    """Return one scene (1, C, mels, frames) of fixed random values from a normal distribution.

    Args:
        weight: Weight of the first convolution, which gives C, type and device.
        mels: Number of mel bands.
        frames: Number of frames.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, weight.shape[1], mels, frames, generator=generator).to(weight)


def check_scene(scene: Tensor, channels: int, least: int) -> None:
    """Refuse an input that the layers of a classifier cannot take.

    Args:
        scene: Input that should have the shape (B, C, mels, frames).
        channels: Number of audio channels C of the model.
        least: Smallest number of mel bands and of frames of which the last layer gets any.

    Raises:
        DataError: The input has another number of axes or channels, or too few mel bands or
            frames.
    """
    if scene.dim() != 4 or scene.shape[1] != channels or min(scene.shape[2:]) < least:
        raise DataError(
            f"expected scenes of shape (B, {channels}, mels, frames) with at least {least} mels "
            f"and frames, got {tuple(scene.shape)}; "
            "set model.channels as the recordings have, or use longer clips and more mel bands"
        )


def check_depths(name: str, depths: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """Return the numbers of blocks or layers of up to four stages.

    Raises:
        ConfigError: It is no list of 1 to 4 whole numbers from 1 to 128.
    """
    if not isinstance(depths, tuple | list) or not 1 <= len(depths) <= 4:
        raise ConfigError(
            f"expected {name} as a list of 1 to 4 whole numbers, got {depths!r}; change "
            f"model.{name}"
        )
    return tuple(
        check_whole(f"{name}[{i}]", depth, 1, MOST_DEPTH) for i, depth in enumerate(depths)
    )


def check_share(name: str, value: float) -> float:
    """Return a share that is at least 0 and below 1.

    Raises:
        ConfigError: It is no number or lies outside.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(
            f"expected {name} as a number from 0 to below 1, got {value!r}; change model.{name}"
        )
    return float(value)

"""The autoencoding SING network of Esling et al.: windowed strided convolutions and their units.

``SING`` maps audio (B, T) to audio (B, T') of a shorter, aligned stretch. Padding of notes and the
spectral loss belong to the generation task.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.models.parts.initialisation import keep_variance_
from audioprune.models.parts.widths import check_whole
from audioprune.ranges import FOLLOWS, OneOf, Range

NOTE_SAMPLES = 64_000
INITS = ("torch", "kaiming")


class WindowedConv1d(nn.Conv1d):
    """Convolve with kernels that a squared Hann window tapers, as for overlapping frames."""

    window: Tensor

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel_size, stride)
        self.register_buffer("window", torch.hann_window(kernel_size).square(), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C', N)."""
        return F.conv1d(signal, self.weight * self.window, self.bias, self.stride)


class WindowedConvTranspose1d(nn.ConvTranspose1d):
    """Overlap and add frames that a squared Hann window tapers.

    Half-covered samples of both ends are cut off.
    """

    window: Tensor

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, padding=kernel_size - stride)
        self.register_buffer("window", torch.hann_window(kernel_size).square(), persistent=False)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (B, C, N) to (B, C', T); another output size cannot be chosen."""
        padding = cast("tuple[int, ...]", self.padding)
        return F.conv_transpose1d(
            input, self.weight * self.window, self.bias, self.stride, padding
        )


class SING(nn.Module):
    """Encode audio into frames of a few dimensions and decode them into overlapping segments.

    The encoder is a windowed strided convolution, 1x1 convolutions and a linear 1x1 convolution
    into the latent frames; the decoder a convolution over ``context`` latent frames, 1x1
    convolutions and a windowed transposed convolution. The published sizes give 80,765,057
    parameters, 38,285,440 of them in the encoder. Widths are read from the weights, so that a
    trimmed model runs as it is.

    Args:
        channels: Channels of the inner layers, 1 to 8192.
        stride: Samples from one frame to the next, 1 to 8192.
        kernel_size: Samples of a frame, ``stride`` to 16384.
        dimension: Channels of the latent frames, 1 to 4096.
        context: Latent frames that one decoded frame reads, 1 to 64; odd if the stride is.
        rewrite_layers: 1x1 convolutions between the first and last layer of either side, 0 to 16.
            Esling et al. write of "9 layers", which 7 makes of either side (248,578,177
            parameters); 2, with a context of 9, is the network of Défossez et al.
        init: ``torch`` leaves layers as torch draws them. ``kaiming``, for narrow networks, keeps
            the variance of the audio through the layers and starts the last one at a tenth: with
            torch's, biases outweigh what a narrow network gets of its input, and training stands
            still for epochs, or for good, at one quiet sound for all notes.
        sample_rate: Samples in one second of audio, 1000 to 192,000.

    Attributes:
        frames_per_second: Positions of the input in one second of audio, here samples.
        time_dim: Axis of the samples in the input and the output.
        strip: Samples at each end of the input that the output does not have.
        pad: Zeros to put at each end of a note, so that the output covers it with two strides to
            spare.

    Raises:
        ConfigError: If an argument lies outside its range, ``strip`` is no whole number, or
            ``init`` is unknown.

    Source: Esling et al., Sec. 4.1, after Défossez et al., "SING: Symbol-to-instrument neural
    generator" (2018), whose autoencoder has 4096 channels, stride 256, kernels of 1024, 128
    dimensions and a context of 9.
    """

    sample_rate: int = 16_000
    frames_per_second: float = 16_000.0
    time_dim: int = 1

    def __init__(
        self,
        *,
        channels: Annotated[int, Range(1, 8192)] = 4096,
        stride: Annotated[int, Range(1, 8192)] = 256,
        kernel_size: Annotated[int, Range(1, 16_384)] = 1024,
        dimension: Annotated[int, Range(1, 4096)] = 128,
        context: Annotated[int, Range(1, 64)] = 9,
        rewrite_layers: Annotated[int, Range(0, 16)] = 2,
        init: Annotated[str, OneOf(*INITS)] = "torch",
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16_000,
    ) -> None:
        super().__init__()
        self.sample_rate = check_whole("sample_rate", sample_rate, 1000, 192_000)
        self.frames_per_second = float(sample_rate)
        check_whole("channels", channels, 1, 8192)
        check_whole("dimension", dimension, 1, 4096)
        check_whole("rewrite_layers", rewrite_layers, 0, 16)
        if init not in INITS:
            raise ConfigError(unknown_name("init", init, INITS))
        self.stride = check_whole("stride", stride, 1, 8192)
        self.kernel_size = check_whole("kernel_size", kernel_size, self.stride, 16384)
        self.context = check_whole("context", context, 1, 64)
        if (context - 1) * stride % 2:
            raise ConfigError(
                f"expected an odd context with an odd stride, got {context} and {stride}; "
                f"change model.context"
            )
        self.strip = kernel_size - stride + (context - 1) * stride // 2
        self.pad = self.strip + 2 * stride
        self.encoder = nn.Sequential(
            WindowedConv1d(1, channels, kernel_size, stride),
            nn.ReLU(),
            *_rewrites(channels, rewrite_layers),
            nn.Conv1d(channels, dimension, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(dimension, channels, context),
            nn.ReLU(),
            *_rewrites(channels, rewrite_layers),
            WindowedConvTranspose1d(channels, 1, kernel_size, stride),
        )
        if init == "kaiming":
            keep_variance_(self, quiet=cast(WindowedConvTranspose1d, self.decoder[-1]))

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio (B, T) to audio (B, T'), aligned with ``target(audio)``.

        Raises:
            DataError: If the audio is too short for one frame of output.
        """
        return self.decode(self.encode(audio))

    def encode(self, audio: Tensor) -> Tensor:
        """Map audio (B, T) to latent frames (B, D, N), ``N = (T - kernel_size) // stride + 1``."""
        self.output_length(audio.shape[-1])
        return self.encoder(audio.unsqueeze(1))

    def decode(self, latent: Tensor) -> Tensor:
        """Map latent frames (B, D, N) to audio (B, T'); ``context`` frames or more."""
        return self.decoder(latent).squeeze(1)

    def output_length(self, length: int) -> int:
        """Return the samples T' that an input of ``length`` samples gives.

        With the published sizes 68,608 samples give 65,024.

        Raises:
            DataError: If the input is too short.
        """
        decoded = (length - self.kernel_size) // self.stride + 2 - self.context
        result = (decoded + 1) * self.stride - self.kernel_size
        if decoded < 1 or result < 1:
            frames = max(1, self.kernel_size // self.stride) + self.context - 1
            least = self.kernel_size + (frames - 1) * self.stride
            raise DataError(
                f"expected at least {least} samples, got {length}; pad each note by {self.pad} "
                f"samples at both ends"
            )
        return result

    def target(self, audio: Tensor) -> Tensor:
        """Return the stretch (..., T') of an input (..., T) that the output reconstructs.

        ``strip`` samples are cut at each end; where the strides do not fill the input, its last
        samples are cut too.
        """
        return audio[..., self.strip : self.strip + self.output_length(audio.shape[-1])]

    def example_input(self) -> Tensor:
        """Return a padded note of 4 s: (1, 64,000 + 2 pad) fixed random samples within -1..1."""
        length = NOTE_SAMPLES + 2 * self.pad
        values = 2 * torch.rand(1, length, generator=torch.Generator().manual_seed(0)) - 1
        return values.to(next(self.encoder.parameters()))

    def example_seconds(self) -> float:
        """Return the seconds of audio that the example makes: its padding is work, not audio."""
        return NOTE_SAMPLES / self.sample_rate

    def step_input(self) -> Tensor:
        """Return the input of one generation step, which is a whole note."""
        return self.example_input()

    def step(self, audio: Tensor) -> Tensor:
        """Run one generation step: a pass over a whole note."""
        return self(audio)

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels of every layer but the latent one and the output.

        A unit owns its filter and bias and the next layer's input channel.
        """
        latent = f"encoder.{len(self.encoder) - 1}"
        units = chain_units([("encoder", self.encoder), ("decoder", self.decoder)])
        return [each for each in units if each.name != latent]


def _rewrites(channels: int, count: int) -> list[nn.Module]:
    return [
        module for _ in range(count) for module in (nn.Conv1d(channels, channels, 1), nn.ReLU())
    ]

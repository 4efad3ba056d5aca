"""The generator of Plain & Biswas: an auto-encoder of waveforms with skips and a noisy bottleneck.

``DCAE`` maps frames of coded speech (B, 1, T) to enhanced frames (B, 1, T). Pre-emphasis, framing
and the losses belong to the adversarial task; the discriminator is in ``discriminator``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import conv_in, conv_out, prelu
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError, unknown_name
from audioprune.models.parts.initialisation import keep_variance_
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.streaming import Tensors
from audioprune.models.parts.widths import check_sixteenths, check_whole, nearest_width
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, OneOf, Range

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 64)
MAX_WIDTH = 4
OUTPUTS = ("tanh", "linear")
INITS = ("segan", "kaiming")
INITIAL_DEVIATION = 0.02


class StridedConv(nn.Module):
    """Shorten a signal (B, C, T) to (B, C', T / stride) by a convolution and a PReLU.

    The ends of the signal are reflected; the PReLU starts as a ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel_size, stride, bias=bias)
        self.act = nn.PReLU(outputs, init=0.0)
        self.padding = (kernel_size // 2 - 1, kernel_size // 2)

    def linear(self, values: Tensor) -> Tensor:
        """Return what the convolution makes of the values, before the activation."""
        return self.conv(F.pad(values, self.padding, mode="reflect"))

    def forward(self, values: Tensor) -> Tensor:
        """Return the activated output."""
        return self.act(self.linear(values))


class StridedDeconv(nn.Module):
    """Lengthen a signal (B, C, T) to (B, C', T * stride) by a transposed convolution.

    Samples that are too many are cut off at the end.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int,
        bias: bool,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        padding, self.surplus = divmod(kernel_size - stride, 2)
        self.deconv = nn.ConvTranspose1d(inputs, outputs, kernel_size, stride, padding, bias=bias)
        self.act = activation

    def forward(self, values: Tensor) -> Tensor:
        """Return the activated output."""
        longer = self.deconv(values)
        return self.act(longer[..., : longer.shape[-1] - self.surplus])


class DCAE(nn.Module):
    """Enhance frames of coded speech by strided convolutions, noise and transposed convolutions.

    There are as many decoder as encoder layers; each decoder layer but the first reads, beside the
    one before it, the pre-activation output of its encoder layer, scaled by a learned factor per
    channel. Noise z, as wide as the bottleneck c, is joined to it as (z, c). With the default
    channels the model has 27,380,688 weights, 27,388,257 parameters in all; without the last layer
    24,333,264 and 24,339,169, 11.1 % fewer, which is the count that the talk gives for its
    DCAE_10. Channel counts are read from the tensors, so that a trimmed model runs as it is.

    Args:
        channels: Outputs of the encoder layers at width 1; the last one is the bottleneck.
        width: Multiplier of all channel counts, a multiple of 1/16 up to 4.
        kernel_size: Taps of every convolution, odd, from the stride to 255.
        stride: Shortening by each encoder layer, 2 to 4.
        z: Whether noise is joined to the bottleneck.
        bias: Whether convolutions have a bias.
        output: ``tanh``, which bounds the signal by -1 and 1, or ``linear``.
        residual: Whether the input is added to the output, so that the network estimates a
            correction; not in the talk.
        init: ``segan``, or ``kaiming`` for narrow models: a deviation of 0.02 is made for the full
            width, where layers sum thousands of products; at an eighth of it hardly anything
            passes the inner layers, and no gradient comes back. With ``residual`` the last layer
            then starts at a tenth.
        sample_rate: Samples per second that frames stand for; costs are counted per second of
            audio.

    Attributes:
        frames_per_second: Steps along ``time_dim``, which are samples, in one second of audio.
        time_dim: Axis of the samples in the input and the output.
        z_seed: Seed of the noise in evaluation mode, where all frames get the same one.
        z_index: Channels of the noise that trimming left, in a model with noise.

    Raises:
        ConfigError: If an argument lies outside its range, or a width leaves no whole number of
            channels.

    Source: Plain & Biswas, "Pruning of an audio enhancing deep generative neural network", whose
    schedule names the layers and whose drawing shows noise and skips. The talk gives no channels:
    ours are those of Pascual et al., "SEGAN: Speech enhancement generative adversarial network",
    INTERSPEECH 2017, with a bottleneck of 64, the narrowing at which one layer less is 11 % less.
    Kernel, activations, padding, skips and initialisation follow that network's published PyTorch
    implementation, in which only convolutions start from N(0, 0.02) and transposed ones from the
    library's uniform distribution.
    """

    time_dim: int = 2
    z_index: Tensor
    enc_blocks: Layers[StridedConv]
    dec_blocks: Layers[StridedDeconv]

    def __init__(
        self,
        *,
        channels: Annotated[Sequence[int], Range(1, 65_536)] = CHANNELS,
        width: Annotated[float, Range(0.0625, 4)] = 1.0,
        kernel_size: Annotated[int, Range(3, 255)] = 31,
        stride: Annotated[int, Range(2, 4)] = 2,
        z: bool = True,
        bias: bool = True,
        output: Annotated[str, OneOf(*OUTPUTS)] = "tanh",
        residual: bool = False,
        init: Annotated[str, OneOf(*INITS)] = "segan",
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
    ) -> None:
        super().__init__()
        for what, given, known in (("output", output, OUTPUTS), ("init", init, INITS)):
            if given not in known:
                raise ConfigError(unknown_name(f"model.{what}", given, known))
        self.channels, self.width, self.residual = tuple(channels), width, residual
        self.stride = check_whole("stride", stride, 2, 4)
        self.kernel_size = check_kernel(kernel_size, self.stride)
        self.frames_per_second = float(check_whole("sample_rate", sample_rate, 1000, 192000))
        self.z_seed = 0
        encoded = [1, *scaled_channels(channels, width)]
        self.z_channels = encoded[-1] if z else 0
        if z:
            self.register_buffer("z_index", torch.arange(self.z_channels))
        sizes = [(encoded[i], encoded[i + 1]) for i in range(len(encoded) - 1)]
        self.enc_blocks = Layers(StridedConv(a, b, kernel_size, stride, bias) for a, b in sizes)
        self.alphas = nn.ParameterList(torch.ones(count) for count in encoded[1:-1])
        self.dec_blocks = Layers()
        for place, (outputs, inputs) in enumerate(reversed(sizes)):
            # beside the layer before it: noise in the first decoder layer, a skip in the others
            joined = inputs + (inputs if place else self.z_channels)
            last = place + 1 == len(sizes)
            activation = _end(output) if last else nn.PReLU(outputs, init=0.0)
            self.dec_blocks.append(
                StridedDeconv(joined, outputs, kernel_size, stride, bias, activation)
            )
        initialise_(self)
        if init == "kaiming":
            # a correction of the input starts small
            keep_variance_(self, quiet=self.dec_blocks[-1].deconv if residual else None)

    @classmethod
    def width_for(
        cls,
        params: int,
        *,
        channels: Sequence[int] = CHANNELS,
        kernel_size: int = 31,
        z: bool = True,
    ) -> float:
        """Return the width whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            channels: As in the constructor.
            kernel_size: As in the constructor.
            z: As in the constructor.

        Returns:
            A multiple of 1/16.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model, or the channels are
                no multiples of 16.
        """

        def count(sixteenths: int) -> int:
            with torch.device("meta"):
                model = cls(channels=channels, width=sixteenths / 16, kernel_size=kernel_size, z=z)
            return sum(parameter.numel() for parameter in model.parameters())

        return nearest_width(count, params, MAX_WIDTH * 16) / 16

    @property
    def frame_length(self) -> int:
        """Samples of the example: 16384, or the next length that ``check_length`` allows."""
        return _next_multiple(max(16384, self._shortest()), self._multiple())

    def forward(self, coded: Tensor, z: Tensor | None = None) -> Tensor:
        """Enhance frames.

        Args:
            coded: Samples (B, 1, T); T is a multiple of stride^layers.
            z: Noise (B or 1, C, T / stride^layers) with the C bottleneck channels of the untrimmed
                model. None draws it, in training for each frame from torch's global generator, in
                evaluation from ``z_seed`` once for all frames.

        Raises:
            ConfigError: A shape is not as above.
        """
        values = self._begin(coded)
        for layer in range(1, len(self.enc_blocks)):
            values = self._encode(layer, values)
        for layer in range(len(self.dec_blocks)):
            values = self._decode(layer, values, z)
        return self._finished(values)

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefixes, function); in turn they are the forward pass.

        The values between two stages are a tuple: the input where it is added to the output, the
        skips that are still to be read, then the newest output.
        """
        count = len(self.enc_blocks)
        prefixes: list[str | tuple[str, ...]] = [f"enc_blocks.{i}." for i in range(count)]
        for i in range(len(self.alphas)):
            prefixes[i] = (f"enc_blocks.{i}.", f"alphas.{i}")
        stages: list[Stage] = [(prefixes[0], self._begin)]
        stages += [(prefixes[i], partial(self._encode, i)) for i in range(1, count)]
        stages += [(f"dec_blocks.{i}.", partial(self._decode, i)) for i in range(count - 1)]
        return [*stages, (f"dec_blocks.{count - 1}.", self._end)]

    def _begin(self, coded: Tensor) -> Tensors:
        self._check(coded)
        return self._encode(0, (coded, coded) if self.residual else (coded,))

    def _encode(self, layer: int, values: Tensors) -> Tensors:
        *kept, newest = values
        linear = self.enc_blocks[layer].linear(newest)
        if layer < len(self.alphas):
            kept.append(self.alphas[layer][:, None] * linear)
        return (*kept, self.enc_blocks[layer].act(linear))

    def _decode(self, layer: int, values: Tensors, z: Tensor | None = None) -> Tensors:
        *kept, newest = values
        if layer:
            inputs = torch.cat((newest, kept.pop()), 1)
        elif self.z_channels:
            inputs = torch.cat((self._noise(newest, z), newest), 1)
        else:
            inputs = newest
        return (*kept, self.dec_blocks[layer](inputs))

    def _end(self, values: Tensors) -> Tensor:
        return self._finished(self._decode(len(self.dec_blocks) - 1, values))

    def _finished(self, values: Tensors) -> Tensor:
        return values[0] + values[1] if self.residual else values[0]

    def _noise(self, bottleneck: Tensor, z: Tensor | None) -> Tensor:
        batch, _, length = bottleneck.shape
        if z is None and self.training:
            z = torch.randn(batch, self.z_channels, length, device=bottleneck.device)
        elif z is None:
            generator = torch.Generator("cpu").manual_seed(self.z_seed)
            z = torch.randn(1, self.z_channels, length, generator=generator, device="cpu")
        elif z.shape[1:] != (self.z_channels, length) or z.shape[0] not in (1, batch):
            raise ConfigError(
                f"expected z of shape ({batch} or 1, {self.z_channels}, {length}), got "
                f"{tuple(z.shape)}; draw it anew"
            )
        return z.to(bottleneck)[:, self.z_index].expand(batch, -1, -1)

    def _shortest(self) -> int:
        """Return the fewest samples: the last encoder layer reflects half a kernel."""
        return (self.kernel_size // 2 + 1) * self.stride ** (len(self.enc_blocks) - 1)

    def _multiple(self) -> int:
        """Return what divides a number of samples that all strides divide."""
        return self.stride ** len(self.enc_blocks)

    def check_length(self, samples: int) -> None:
        """Refuse frames of a length that the strides do not divide or the padding does not allow.

        Raises:
            ConfigError: The length does not fit.
        """
        multiple, shortest = self._multiple(), self._shortest()
        if samples % multiple or samples < shortest:
            least = _next_multiple(shortest, multiple)
            raise ConfigError(
                f"expected task.frame_length as a multiple of {multiple} from {least} on, got "
                f"{samples}; use {self.frame_length}"
            )

    def _check(self, coded: Tensor) -> None:
        multiple, shape = self._multiple(), tuple(coded.shape)
        if len(shape) != 3 or shape[1] != 1 or shape[2] % multiple or shape[2] < self._shortest():
            least = _next_multiple(self._shortest(), multiple)
            raise ConfigError(
                f"expected frames (B, 1, T) with T a multiple of {multiple} from "
                f"{least} on, got {shape}; cut frames of {self.frame_length} samples"
            )

    def example_input(self) -> Tensor:
        """Return one frame (1, 1, T) of fixed random samples of deviation 0.1."""
        generator = torch.Generator("cpu").manual_seed(0)
        values = torch.randn(1, 1, self.frame_length, generator=generator, device="cpu")
        return (values * 0.1).to(self.enc_blocks[0].conv.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels that can be removed.

        No normalisation crosses them, so that masking equals trimming. An encoder channel is read
        by the next layer and, through its factor, by its decoder layer; a bottleneck channel by
        the first decoder layer alone, whose weights are what writes a channel of the noise. A
        decoder channel is read by the next layer.
        """
        count = len(self.enc_blocks)
        return [
            *[self._encoder_units(i) for i in range(count)],
            *([self._noise_units()] if self.z_channels else []),
            *[self._decoder_units(i) for i in range(count - 1)],
        ]

    def _encoder_units(self, layer: int) -> UnitSet:
        block, name = self.enc_blocks[layer], f"enc_blocks.{layer}"
        count = block.conv.weight.shape[0]
        slices = conv_out(f"{name}.conv", block.conv) + prelu(f"{name}.act", block.act)
        partner = len(self.enc_blocks) - 1 - layer
        if partner:
            following = self.enc_blocks[layer + 1].conv
            slices += (Slice(f"alphas.{layer}", 0, rows(0, count), "in"),)
            slices += conv_in(f"enc_blocks.{layer + 1}.conv", following)
        # The decoder layer reads the encoder's channels behind those of the layer before it.
        reader = self.dec_blocks[partner].deconv
        first = reader.weight.shape[0] - count
        return UnitSet(
            name, slices + conv_in(f"dec_blocks.{partner}.deconv", reader, offset=first)
        )

    def _noise_units(self) -> UnitSet:
        units = rows(0, self.z_index.shape[0])
        written = Slice("dec_blocks.0.deconv.weight", 0, units)
        return UnitSet("z", (written, Slice("z_index", 0, units, "in")))

    def _decoder_units(self, layer: int) -> UnitSet:
        block, name = self.dec_blocks[layer], f"dec_blocks.{layer}"
        count, following = block.deconv.weight.shape[1], self.dec_blocks[layer + 1].deconv
        written = conv_out(f"{name}.deconv", block.deconv)
        if isinstance(block.act, nn.PReLU):
            written += prelu(f"{name}.act", block.act)
        return UnitSet(
            name, written + conv_in(f"dec_blocks.{layer + 1}.deconv", following, count=count)
        )


def _end(output: str) -> nn.Module:
    """Return the activation of the last layer."""
    return nn.Tanh() if output == "tanh" else nn.Identity()


def scaled_channels(channels: Sequence[int], width: float) -> list[int]:
    """Return channel counts times a width.

    Args:
        channels: One or more counts from 1 to 65536.
        width: Multiple of 1/16 up to 4.

    Raises:
        ConfigError: A count or the width lies outside its range, or a product is no whole number.
    """
    sixteenths = check_sixteenths("width", width, MAX_WIDTH)
    if not 1 <= len(channels) <= 16:
        raise ConfigError(
            f"expected 1 to 16 channel counts, got {len(channels)}; change model.channels"
        )
    scaled = [check_whole("channels", count, 1, 65536) * sixteenths / 16 for count in channels]
    if any(count % 1 for count in scaled):
        raise ConfigError(
            f"expected channels that width {width} scales to whole numbers, got "
            f"{list(channels)}; change model.width"
        )
    return [int(count) for count in scaled]


def check_kernel(kernel_size: int, stride: int) -> int:
    """Return the taps of a strided kernel.

    Raises:
        ConfigError: They are even, or lie outside ``stride`` to 255.
    """
    if check_whole("kernel_size", kernel_size, max(3, stride), 255) % 2 == 0:
        raise ConfigError(
            f"expected kernel_size as an odd number, got {kernel_size}; change model.kernel_size"
        )
    return kernel_size


@torch.no_grad()
def initialise_(model: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02) with zero biases, and linear layers by Xavier's rule.

    Transposed convolutions stay as they were built.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.normal_(module.weight, 0.0, INITIAL_DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def _next_multiple(value: int, of: int) -> int:
    return math.ceil(value / of) * of

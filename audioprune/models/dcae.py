"""What the generator of Plain & Biswas is: a deep convolutional auto-encoder of waveforms with skips and a random bottleneck.

It maps frames of coded speech to frames of enhanced speech; pre-emphasis, framing and the losses
belong to the adversarial task, the discriminator stands in discriminator.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import conv_in, conv_out, prelu
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError, unknown_name
from audioprune.models.parts.initialisation import keep_variance_
from audioprune.models.parts.streaming import Stage, Values
from audioprune.models.parts.widths import check_sixteenths, check_whole, nearest_width
from audioprune.ranges import FOLLOWS, OneOf, Range

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 64)
MAX_WIDTH = 4
OUTPUTS = ("tanh", "linear")
INITS = ("segan", "kaiming")
INITIAL_DEVIATION = 0.02


class StridedConv(nn.Module):
    """Shorten a signal (B, C, T) to (B, C', T / stride): reflected ends, a convolution, and a PReLU that starts as ReLU."""

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
    """Lengthen a signal (B, C, T) to (B, C', T * stride) by a transposed convolution; samples that are too many are cut off."""

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
    """Map frames of coded speech (B, 1, T) to enhanced frames (B, 1, T) by strided convolutions, noise and transposed convolutions.

    As many decoder as encoder layers; each decoder layer but the first reads, beside the one
    before it, the pre-activation output of its encoder layer, scaled by a learned factor per
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
        layers = [(encoded[i], encoded[i + 1]) for i in range(len(encoded) - 1)]
        self.enc_blocks = nn.ModuleList(
            StridedConv(a, b, kernel_size, stride, bias) for a, b in layers
        )
        self.alphas = nn.ParameterList(torch.ones(count) for count in encoded[1:-1])
        self.dec_blocks = nn.ModuleList()
        for place, (outputs, inputs) in enumerate(reversed(layers)):
            extra = self.z_channels if place == 0 else inputs
            activation = (
                nn.PReLU(outputs, init=0.0)
                if place + 1 < len(layers)
                else (nn.Tanh() if output == "tanh" else nn.Identity())
            )
            self.dec_blocks.append(
                StridedDeconv(inputs + extra, outputs, kernel_size, stride, bias, activation)
            )
        initialise_(self)
        if init == "kaiming":
            keep_variance_(
                self, quiet=self.dec_blocks[-1].deconv if residual else None
            )  # a correction starts small

    @classmethod
    def width_for(
        cls,
        params: int,
        *,
        channels: Sequence[int] = CHANNELS,
        kernel_size: int = 31,
        z: bool = True,
    ) -> float:
        """Return the width, a multiple of 1/16, whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            channels: As in the constructor.
            kernel_size: As in the constructor.
            z: As in the constructor.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model, or the channels are
                no multiples of 16.
        """

        def count(sixteenths: int) -> int:
            with torch.device("meta"):
                return sum(
                    p.numel()
                    for p in cls(
                        channels=channels, width=sixteenths / 16, kernel_size=kernel_size, z=z
                    ).parameters()
                )

        return nearest_width(count, params, MAX_WIDTH * 16) / 16

    @property
    def frame_length(self) -> int:
        """Samples of the example: 16384, or the next length that the strides divide and the padding allows."""
        return _next_multiple(max(16384, self._shortest()), self.stride ** len(self.enc_blocks))

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
        values: Values = coded
        for layer in range(len(self.enc_blocks)):
            values = self._encode(values, layer)
        for layer in range(len(self.dec_blocks)):
            values = self._decode(values, layer, z)
        return values

    def stages(self) -> list[Stage]:
        """Return (parameter prefixes, function) of each layer; composing the functions equals the forward pass.

        The values between two stages are a tuple: the skips that are still to be read, then the
        newest output.
        """
        last = len(self.enc_blocks) - 1
        prefixes = [
            (f"enc_blocks.{i}.", f"alphas.{i}") if i < last else f"enc_blocks.{i}."
            for i in range(last + 1)
        ]
        encoder: list[Stage] = [
            (prefixes[i], lambda values, i=i: self._encode(values, i)) for i in range(last + 1)
        ]
        decoder: list[Stage] = [
            (f"dec_blocks.{i}.", lambda values, i=i: self._decode(values, i))
            for i in range(last + 1)
        ]
        return encoder + decoder

    def _encode(self, values: Values, layer: int) -> Values:
        if layer == 0:
            self._check(values)
            values = (values, values) if self.residual else (values,)
        kept = values[:-1]
        linear = self.enc_blocks[layer].linear(values[-1])
        skip = (self.alphas[layer][:, None] * linear,) if layer < len(self.alphas) else ()
        return (*kept, *skip, self.enc_blocks[layer].act(linear))

    def _decode(self, values: Values, layer: int, z: Tensor | None = None) -> Values:
        kept, newest = values[:-1], values[-1]
        if layer == 0:
            inputs = torch.cat((self._noise(newest, z), newest), 1) if self.z_channels else newest
        else:
            kept, inputs = kept[:-1], torch.cat((newest, kept[-1]), 1)
        outputs = self.dec_blocks[layer](inputs)
        if layer + 1 < len(self.dec_blocks):
            return (*kept, outputs)
        return kept[0] + outputs if self.residual else outputs

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
        """Return the fewest samples: the last encoder layer reflects half a kernel of its input."""
        return (self.kernel_size // 2 + 1) * self.stride ** (len(self.enc_blocks) - 1)

    def check_length(self, samples: int) -> None:
        """Refuse frames of a length that the strides do not divide or the padding does not allow.

        Raises:
            ConfigError: The length does not fit.
        """
        multiple, shortest = self.stride ** len(self.enc_blocks), self._shortest()
        if samples % multiple or samples < shortest:
            least = _next_multiple(shortest, multiple)
            raise ConfigError(
                f"expected task.frame_length as a multiple of {multiple} from {least} on, got "
                f"{samples}; use {self.frame_length}"
            )

    def _check(self, coded: Tensor) -> None:
        multiple = self.stride ** len(self.enc_blocks)
        shape = tuple(coded.shape)
        if len(shape) != 3 or shape[1] != 1 or shape[2] % multiple or shape[2] < self._shortest():
            raise ConfigError(
                f"expected frames (B, 1, T) with T a multiple of {multiple} from "
                f"{_next_multiple(self._shortest(), multiple)} on, got "
                f"{shape}; cut frames of {self.frame_length} samples"
            )

    def example_input(self) -> Tensor:
        """Return one frame (1, 1, T) of fixed random samples from a normal distribution of deviation 0.1."""
        values = (
            torch.randn(
                1,
                1,
                self.frame_length,
                generator=torch.Generator("cpu").manual_seed(0),
                device="cpu",
            )
            * 0.1
        )
        return values.to(self.enc_blocks[0].conv.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels that can be removed; no normalisation crosses them, so that masking equals trimming.

        An encoder channel is read by the next layer and, through its factor, by its decoder layer;
        a bottleneck channel by the first decoder layer alone, whose weights are what writes a
        channel of the noise. A decoder channel is read by the next layer.
        """
        last = len(self.enc_blocks) - 1
        noise = [self._noise_units()] if self.z_channels else []
        return (
            [self._encoder_units(i) for i in range(last + 1)]
            + noise
            + [self._decoder_units(i) for i in range(last)]
        )

    def _encoder_units(self, layer: int) -> UnitSet:
        block, name = self.enc_blocks[layer], f"enc_blocks.{layer}"
        count = block.conv.weight.shape[0]
        slices = conv_out(f"{name}.conv", block.conv) + prelu(f"{name}.act", block.act)
        partner = len(self.enc_blocks) - 1 - layer
        reader = self.dec_blocks[partner].deconv
        if partner:
            slices += (Slice(f"alphas.{layer}", 0, rows(0, count), "in"),)
            slices += conv_in(f"enc_blocks.{layer + 1}.conv", self.enc_blocks[layer + 1].conv)
        slices += conv_in(
            f"dec_blocks.{partner}.deconv", reader, offset=reader.weight.shape[0] - count
        )
        return UnitSet(name, slices)

    def _noise_units(self) -> UnitSet:
        units = rows(0, self.z_index.shape[0])
        return UnitSet(
            "z", (Slice("dec_blocks.0.deconv.weight", 0, units), Slice("z_index", 0, units, "in"))
        )

    def _decoder_units(self, layer: int) -> UnitSet:
        block, name = self.dec_blocks[layer], f"dec_blocks.{layer}"
        read = conv_in(
            f"dec_blocks.{layer + 1}.deconv",
            self.dec_blocks[layer + 1].deconv,
            count=block.deconv.weight.shape[1],
        )
        return UnitSet(
            name, conv_out(f"{name}.deconv", block.deconv) + prelu(f"{name}.act", block.act) + read
        )


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
    """Draw convolutions from N(0, 0.02) with zero biases and linear layers by Xavier's rule; transposed convolutions stay as built."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.normal_(module.weight, 0.0, INITIAL_DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def _next_multiple(value: int, of: int) -> int:
    return math.ceil(value / of) * of

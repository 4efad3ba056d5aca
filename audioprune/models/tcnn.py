"""The temporal convolutional network of Pandey & Wang: layers, units, stages, one-frame steps.

``TCNN`` maps noisy to clean frames of samples (B, N, S). Framing, overlap-add and the loss belong
to the enhancement task.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, blocks, rows
from audioprune.errors import ConfigError
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.streaming import State, Tensors
from audioprune.models.parts.widths import check_rate, check_sixteenths, nearest_width
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range

# (channels in sixteenths of the width, stride, padding) along the samples of a frame
ENCODER = ((1, 1, 2), (1, 2, 2), (1, 2, 1), (2, 2, 1), (2, 2, 1), (4, 2, 1), (4, 2, 1))
# (channels, stride, padding, output padding); the last layer has one channel at every width
DECODER = (
    (4, 2, 1, 0),
    (2, 2, 1, 0),
    (2, 2, 1, 0),
    (1, 2, 1, 0),
    (1, 2, 1, 1),
    (1, 2, 2, 1),
    (0, 1, 2, 0),
)
ENCODER_SAMPLES = (320, 160, 79, 39, 19, 9, 4)
DILATIONS = (1, 2, 4, 8, 16, 32) * 3
INNER = 32
MAX_WIDTH = 4


class CausalConv(nn.Module):
    """Convolve over two frames, normalise and rectify: (B, C, N, S) to (B, C', N, S')."""

    def __init__(self, inputs: int, outputs: int, stride: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (2, 5), (1, stride), (0, padding))
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.PReLU()

    def forward(self, values: Tensor) -> Tensor:
        """Map all frames; the frame before the first one is zero."""
        return self._run(F.pad(values, (0, 0, 1, 0)))

    def step(self, frame: Tensor, before: Tensor) -> Tensor:
        """Map one frame (B, C, 1, S), given the frame before it."""
        return self._run(torch.cat((before, frame), 2))

    def _run(self, padded: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(padded)))


class TemporalBlock(nn.Module):
    """Add to a stream (B, C, N) what three convolutions make of it.

    The middle one is dilated and depthwise, the two around it are 1x1.
    """

    def __init__(self, stream: int, inner: int, dilation: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(stream, inner, 1)
        self.expand_activation = nn.PReLU()
        self.expand_norm = nn.BatchNorm1d(inner)
        self.depthwise = nn.Conv1d(inner, inner, 3, dilation=dilation, groups=inner)
        self.depthwise_activation = nn.PReLU()
        self.depthwise_norm = nn.BatchNorm1d(inner)
        self.project = nn.Conv1d(inner, stream, 1)

    @property
    def memory(self) -> int:
        """Number of past frames that the dilated convolution reads."""
        return 2 * self.depthwise.dilation[0]

    def forward(self, stream: Tensor) -> Tensor:
        """Map all frames; the frames before the first one are zero."""
        return stream + self._end(F.pad(self._begin(stream), (self.memory, 0)))

    def step(self, frame: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Map one frame (B, C, 1), given the last inner frames (B, I, memory).

        Returns:
            The mapped frame and the inner frames that the next step needs.
        """
        inner = torch.cat((before, self._begin(frame)), 2)
        return frame + self._end(inner), inner[:, :, 1:]

    def _begin(self, stream: Tensor) -> Tensor:
        return self.expand_norm(self.expand_activation(self.expand(stream)))

    def _end(self, padded: Tensor) -> Tensor:
        return self.project(self.depthwise_norm(self.depthwise_activation(self.depthwise(padded))))


class TransposedConv(nn.ConvTranspose2d):
    """A transposed convolution, computed as a plain one with the kernel turned round at stride 1.

    On a CPU torch is several times faster that way where few channels pass many positions, as in
    the last layer of the network, but not in the backward pass. Training therefore computes the
    convolution as it is written.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (B, C, N, S) to (B, C', N', S')."""
        if torch.is_grad_enabled() or self.stride != (1, 1) or output_size is not None:
            return super().forward(input, output_size)
        height, width = self.kernel_size
        cut_height, cut_width = cast("tuple[int, int]", self.padding)
        padding = (height - 1 - cut_height, width - 1 - cut_width)
        turned = self.weight.transpose(0, 1).flip(2, 3)
        return F.conv2d(input, turned, self.bias, padding=padding)


class CausalDeconv(nn.Module):
    """Undo a causal convolution: (B, C, N, S) to (B, C', N, S').

    The last layer of the network is ``linear``: neither normalised nor rectified.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        padding: int,
        output_padding: int,
        linear: bool,
    ) -> None:
        super().__init__()
        self.conv = TransposedConv(
            inputs, outputs, (2, 5), (1, stride), (0, padding), (0, output_padding)
        )
        self.norm = nn.Identity() if linear else nn.BatchNorm2d(outputs)
        self.activation = nn.Identity() if linear else nn.PReLU()

    def forward(self, values: Tensor) -> Tensor:
        """Map all frames; what reaches beyond the last frame is cut off."""
        return self.activation(self.norm(self.conv(values)[:, :, :-1]))

    def step(self, frame: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
        """Map one frame (B, C, 1, S), given what the frame before adds to it.

        Returns:
            The mapped frame and what it adds to the next one.
        """
        now, later = self.conv(frame).split(1, 2)
        # Both parts hold the bias, which the sum of two frames must count once.
        if self.conv.bias is not None:
            later = later - self.conv.bias[:, None, None]
        return self.activation(self.norm(now + overlap)), later


class TCNN(nn.Module):
    """Map noisy to clean frames by a causal encoder, 18 dilated blocks and a decoder.

    Seven convolutions shrink a frame of 320 samples to 64 channels of 4 samples, which are
    flattened into a stream of 256; the decoder reads the stream and, through concatenation under
    dropout, each encoder layer. The published network has 5,053,682 parameters at width 1. The
    last layer is linear, for the output is a waveform; with a normalised last layer it would be
    5,053,685. Channel counts are read from the weights, so that a trimmed model runs as it is.

    Args:
        width: Multiplier of all channel counts, a multiple of 1/16 up to 4; 1 is the published
            model.
        dropout: Share of encoder outputs that the decoder does not see in training, 0 to below 1.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        frame_length: Samples S of a frame.
        time_dim: Axis of the frames in the input and the output.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Pandey & Wang, "TCNN: Temporal convolutional neural network for real-time speech
    enhancement in the time domain", ICASSP 2019, Table 1 and Figure 3; TCNN of Tan & Wang, ICASSP
    2021, Table 2, whose 19.28 MB (2^20 bytes) fix bias vectors in all convolutions and one slope
    in each PReLU.
    """

    frames_per_second: float = 100.0
    frame_length: int = 320
    time_dim: int = 1
    encoder: Layers[CausalConv]
    blocks: Layers[TemporalBlock]
    decoder: Layers[CausalDeconv]

    def __init__(
        self,
        *,
        width: Annotated[float, Range(0.0625, 4)] = 1.0,
        dropout: Annotated[float, Range(0, below=1)] = 0.3,
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = 100.0,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        scale = check_sixteenths("width", width, MAX_WIDTH)
        if (
            isinstance(dropout, bool)
            or not isinstance(dropout, int | float)
            or not 0 <= dropout < 1
        ):
            raise ConfigError(
                f"expected dropout from 0 to below 1, got {dropout!r}; change model.dropout"
            )
        self.width, self.dropout = width, dropout
        encoded = [1, *[scale * share for share, _, _ in ENCODER]]
        stream = encoded[-1] * ENCODER_SAMPLES[-1]
        decoded = [encoded[-1], *[scale * share or 1 for share, _, _, _ in DECODER]]
        self.encoder = Layers(
            CausalConv(encoded[i], encoded[i + 1], *ENCODER[i][1:]) for i in range(7)
        )
        self.blocks = Layers(
            TemporalBlock(stream, scale * INNER, dilation) for dilation in DILATIONS
        )
        # Each decoder layer reads the one before it and the encoder layer of its size.
        inputs = [decoded[i] + encoded[7 - i] for i in range(7)]
        self.decoder = Layers(
            CausalDeconv(inputs[i], decoded[i + 1], *DECODER[i][1:], linear=i == 6)
            for i in range(7)
        )

    @classmethod
    def width_for(cls, params: int) -> float:
        """Return the width whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.

        Returns:
            A multiple of 1/16.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model.
        """

        def count(sixteenths: int) -> int:
            with torch.device("meta"):
                return sum(p.numel() for p in cls(width=sixteenths / 16).parameters())

        return nearest_width(count, params, MAX_WIDTH * 16) / 16

    def forward(self, frames: Tensor) -> Tensor:
        """Map noisy frames (B, N, S) to clean frames (B, N, S)."""
        values = frames
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefix, function); in turn they are the forward pass.

        The values between two stages are a tuple: the encoder outputs that are still to be read,
        then the newest output.
        """
        stages: list[Stage] = [("encoder.0.", self._begin)]
        stages += [(f"encoder.{i}.", partial(self._encode, i)) for i in range(1, 7)]
        stages += [(f"blocks.{i}.", partial(self._transform, i)) for i in range(len(self.blocks))]
        stages += [(f"decoder.{i}.", partial(self._decode, i)) for i in range(6)]
        return [*stages, ("decoder.6.", self._end)]

    def _begin(self, frames: Tensor) -> Tensors:
        return (self.encoder[0](frames.unsqueeze(1)),)  # (B, N, S) -> (B, 1, N, S)

    def _encode(self, layer: int, values: Tensors) -> Tensors:
        return (*values, self.encoder[layer](values[-1]))

    def _transform(self, layer: int, values: Tensors) -> Tensors:
        if layer == 0:  # the last encoder output is read again by the first decoder layer
            return (*values, self.blocks[0](_to_stream(values[-1])))
        return (*values[:-1], self.blocks[layer](values[-1]))

    def _decode(self, layer: int, values: Tensors) -> Tensors:
        *kept, skip, newest = values
        inputs = _from_stream(newest, skip) if layer == 0 else newest
        return (*kept, self.decoder[layer](self._join(inputs, skip)))

    def _end(self, values: Tensors) -> Tensor:
        return self._decode(6, values)[-1].squeeze(1)

    def _join(self, values: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((values, F.dropout(skip, self.dropout, self.training)), 1)

    def initial_state(self, batch: int = 1) -> State:
        """Return zero memories.

        They are the last input of 7 encoder layers, the inner frames of 18 blocks and what 7
        decoder layers add to the next frame.
        """
        samples = (self.frame_length, *ENCODER_SAMPLES)
        shapes: list[tuple[int, ...]] = []
        for i, encoder in enumerate(self.encoder):
            shapes.append((batch, encoder.conv.weight.shape[1], 1, samples[i]))
        for block in self.blocks:
            shapes.append((batch, block.depthwise.weight.shape[0], block.memory))
        for i, decoder in enumerate(self.decoder):
            shapes.append((batch, decoder.conv.weight.shape[1], 1, samples[6 - i]))
        weight = self.encoder[0].conv.weight
        return tuple(weight.new_zeros(shape) for shape in shapes)

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map a noisy frame (B, S) and the state before it to the clean frame and the next state.

        Equal to the forward pass in evaluation mode, where normalisation and dropout do not depend
        on other frames.
        """
        values = frame[:, None, None, :]  # (B, 1, 1, S)
        after: list[Tensor] = []
        skips: list[Tensor] = []
        memories = iter(state)
        for encoder in self.encoder:
            after.append(values)
            values = encoder.step(values, next(memories))
            skips.append(values)
        values = _to_stream(values)
        for block in self.blocks:
            values, memory = block.step(values, next(memories))
            after.append(memory)
        values = _from_stream(values, skips[-1])
        for decoder, skip in zip(self.decoder, reversed(skips), strict=True):
            values, memory = decoder.step(self._join(values, skip), next(memories))
            after.append(memory)
        return values[:, 0, 0, :], tuple(after)

    def example_input(self, frames: int = 100) -> Tensor:
        """Return frames (1, frames, S) of fixed random samples of deviation 0.1."""
        generator = torch.Generator().manual_seed(0)
        values = torch.randn(1, frames, self.frame_length, generator=generator)
        return (values * 0.1).to(self.encoder[0].conv.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels that can be removed.

        No normalisation crosses them, so that masking equals trimming. A channel of encoder layer
        0 to 5 is read by the next layer and by its decoder layer. A channel of the last encoder
        layer is one with the positions of the stream that it is flattened into: all blocks read
        and write them, and the first decoder layer reads both. An inner channel of a block runs
        through its depthwise convolution. A decoder channel is read by the next layer.
        """
        encoder = [self._encoder_units(i) for i in range(6)]
        inner = [self._inner_units(i) for i in range(len(self.blocks))]
        decoder = [self._decoder_units(i) for i in range(6)]
        return [*encoder, self._stream_units(), *inner, *decoder]

    def _encoder_units(self, layer: int) -> UnitSet:
        count, partner = self.encoder[layer].conv.weight.shape[0], 6 - layer
        # In the decoder layer the encoder's channels follow those of the layer before it.
        units, first = rows(0, count), self.decoder[partner].conv.weight.shape[0] - count
        return UnitSet(
            f"encoder.{layer}",
            (
                *_written(f"encoder.{layer}.conv", 0, units),
                *_normed(f"encoder.{layer}.norm", units),
                Slice(f"encoder.{layer + 1}.conv.weight", 1, units, "in"),
                Slice(f"decoder.{partner}.conv.weight", 0, rows(first, count), "in"),
            ),
        )

    def _stream_units(self) -> UnitSet:
        count = self.encoder[-1].conv.weight.shape[0]
        samples = self.blocks[0].expand.weight.shape[1] // count
        units, flat = rows(0, count), blocks(0, count, samples)
        slices = _written("encoder.6.conv", 0, units) + _normed("encoder.6.norm", units)
        for i in range(len(self.blocks)):
            slices += _written(f"blocks.{i}.project", 0, flat)
            slices += (Slice(f"blocks.{i}.expand.weight", 1, flat, "in"),)
        both = rows(0, count, repeat=2, stride=count)
        return UnitSet("stream", slices + (Slice("decoder.0.conv.weight", 0, both, "in"),))

    def _inner_units(self, layer: int) -> UnitSet:
        name, units = f"blocks.{layer}", rows(0, self.blocks[layer].depthwise.weight.shape[0])
        return UnitSet(
            name,
            (
                *_written(f"{name}.expand", 0, units),
                *_written(f"{name}.depthwise", 0, units),
                *_normed(f"{name}.expand_norm", units),
                *_normed(f"{name}.depthwise_norm", units),
                Slice(f"{name}.project.weight", 1, units, "in"),
            ),
        )

    def _decoder_units(self, layer: int) -> UnitSet:
        units = rows(0, self.decoder[layer].conv.weight.shape[1])
        return UnitSet(
            f"decoder.{layer}",
            (
                *_written(f"decoder.{layer}.conv", 1, units),
                *_normed(f"decoder.{layer}.norm", units),
                Slice(f"decoder.{layer + 1}.conv.weight", 0, units, "in"),
            ),
        )


def _to_stream(values: Tensor) -> Tensor:
    return values.transpose(2, 3).flatten(1, 2)  # (B, C, N, S) -> (B, C * S, N)


def _from_stream(stream: Tensor, like: Tensor) -> Tensor:
    return stream.unflatten(1, (-1, like.shape[3])).transpose(2, 3)


def _written(layer: str, dim: int, units: Tensor) -> tuple[Slice, ...]:
    return Slice(f"{layer}.weight", dim, units), Slice(f"{layer}.bias", 0, units)


def _normed(norm: str, units: Tensor) -> tuple[Slice, ...]:
    return tuple(
        Slice(f"{norm}.{kind}", 0, units, "norm")
        for kind in ("weight", "bias", "running_mean", "running_var")
    )

"""What WaveNet as Esling et al. prune it is: layers, receptive field, one-sample steps and units.

It maps classes of samples to logits of the next class. How samples are drawn one after another
stands in wavenet_generation.py; mu-law and the loss belong to dsp.py and the task.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices, conv_in, conv_out
from audioprune.compress.units.declare import UnitSet, rows
from audioprune.errors import ConfigError, DataError
from audioprune.models.parts import wavenet_generation as generation
from audioprune.models.parts.widths import check_whole
from audioprune.ranges import FOLLOWS, Range


class ClassConv(nn.Conv1d):
    """Convolve one-hot classes with kernels of two samples by looking weights up; equal to the convolution of the one-hot vectors."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__(classes, outputs, 2)

    def forward(self, tokens: Tensor, past: Tensor | None = None) -> Tensor:
        """Map classes (B, T) to (B, C, T).

        Args:
            tokens: Classes, int64.
            past: Classes one sample earlier, same shape, -1 where there is none; by default the
                tokens themselves, shifted.
        """
        past = F.pad(tokens[:, :-1], (1, 0), value=-1) if past is None else past
        before, now = self.weight.permute(2, 1, 0)
        heard = F.embedding(past.clamp_min(0), before) * (past >= 0).unsqueeze(-1)
        return (heard + F.embedding(tokens, now) + self.bias).transpose(1, 2)


class CausalConv(nn.Conv1d):
    """Convolve with dilated kernels of two positions that hear only the past."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(inputs, outputs, 2, dilation=dilation)

    def forward(self, values: Tensor, past: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C', T).

        Args:
            values: All positions, or one, (B, C, 1), if ``past`` is given.
            past: The position one dilation earlier, (B, C, 1); without it, all before the first
                position is zero.
        """
        if past is None:
            return F.conv1d(
                F.pad(values, (self.dilation[0], 0)),
                self.weight,
                self.bias,
                dilation=self.dilation,
            )
        both = torch.cat((past, values), 2).flatten(1)
        return F.linear(both, self.weight.flatten(1), self.bias).unsqueeze(2)


class GatedBlock(nn.Module):
    """One residual layer: a gated dilated convolution whose result is added to the stream and to the skip sum."""

    def __init__(
        self, residual: int, gate: int, skip: int, conditioning: int, dilation: int, last: bool
    ) -> None:
        super().__init__()
        self.dilated = CausalConv(residual, 2 * gate, dilation)
        self.cond = nn.Conv1d(conditioning, 2 * gate, 1) if conditioning else None
        self.res = None if last else nn.Conv1d(gate, residual, 1)
        self.skip = nn.Conv1d(gate, skip, 1)

    def forward(
        self, values: Tensor, cond: Tensor | None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map the stream (B, R, T) and conditioning (B, C, T) to the stream after the layer and what it adds to the skip sum."""
        gates = self.dilated(values, past)
        if self.cond is not None and cond is not None:
            gates = gates + self.cond(cond)
        content, gate = gates.chunk(2, 1)
        gated = torch.tanh(content) * torch.sigmoid(gate)
        return values if self.res is None else values + self.res(gated), self.skip(gated)


@dataclass
class Queues:
    """What a WaveNet remembers between samples; ``step`` changes it in place.

    Attributes:
        token: Class of the last sample, shape (B, 1), -1 before the first one.
        streams: For each layer the last ``dilation`` values of its input, oldest first, each (B,
            R, 1).
    """

    token: Tensor
    streams: list[deque[Tensor]]


class WaveNet(nn.Module):
    """Predict the class of each next sample from the classes of the past by dilated gated convolutions.

    Layer i has dilation ``2^(i mod (layers / cycles))``. With the published widths there are
    2,486,784 parameters, or 2,901,504 with 80 features of conditioning; of 40 layers in four
    cycles 4,793,344 and 5,622,784. Widths are read from the weights, and each layer has its own
    gate width, so that a trimmed model runs as it is.

    Args:
        layers: Number of gated layers, 1 to 200.
        cycles: How often the dilations start again from 1; it divides ``layers``, and a cycle has
            at most 16 layers. The text's "2 successive stacks of 20 layers" would hear 131 s with
            one cycle a stack; the authors' code has 20 layers in two cycles, the default.
        residual: Channels R of the stream, 1 to 4096.
        gate: Channels G of each gated half, 1 to 4096.
        skip: Channels S of the skip sum, 1 to 4096.
        end: Channels E between the two output layers, 1 to 4096.
        classes: Number of classes Q of a sample, 2 to 65,536.
        conditioning: Features C that every sample is conditioned on, 0 to 4096; 0 is an
            unconditional model.
        sample_rate: Samples in one second of audio, 1000 to 192,000.

    Attributes:
        frames_per_second: Positions of the input in one second of audio, here samples.
        time_dim: Axis of the samples in the input; in the logits it is the last.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Esling et al., Sec. 4.1, after van den Oord et al., "WaveNet: A generative model for
    raw audio" (2016); layer table of the authors' code, in which the first layer ends in tanh, the
    last block has no residual output and the output layers no bias.
    """

    sample_rate: int = 16_000
    frames_per_second: float = 16_000.0
    time_dim: int = 1

    def __init__(
        self,
        *,
        layers: Annotated[int, Range(1, 200)] = 20,
        cycles: Annotated[int, Range(1, 200)] = 2,
        residual: Annotated[int, Range(1, 4096)] = 128,
        gate: Annotated[int, Range(1, 4096)] = 128,
        skip: Annotated[int, Range(1, 4096)] = 256,
        end: Annotated[int, Range(1, 4096)] = 256,
        classes: Annotated[int, Range(2, 65_536)] = 256,
        conditioning: Annotated[int, Range(0, 4096), FOLLOWS] = 0,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16_000,
    ) -> None:
        super().__init__()
        self.sample_rate = check_whole("sample_rate", sample_rate, 1000, 192_000)
        self.frames_per_second = float(sample_rate)
        for name, width in (("residual", residual), ("gate", gate), ("skip", skip), ("end", end)):
            check_whole(name, width, 1, 4096)
        check_whole("layers", layers, 1, 200)
        if layers % check_whole("cycles", cycles, 1, layers) or layers // cycles > 16:
            raise ConfigError(
                f"expected cycles to divide {layers} layers into parts of 1 to 16, got "
                f"{cycles}; change model.cycles"
            )
        self.classes = check_whole("classes", classes, 2, 65_536)
        self.conditioning = check_whole("conditioning", conditioning, 0, 4096)
        self.first = ClassConv(classes, residual)
        self.blocks = nn.ModuleList(
            GatedBlock(
                residual,
                gate,
                skip,
                conditioning,
                2 ** (i % (layers // cycles)),
                last=i == layers - 1,
            )
            for i in range(layers)
        )
        self.out1 = nn.Conv1d(skip, end, 1, bias=False)
        self.out2 = nn.Conv1d(end, classes, 1, bias=False)

    @property
    def dilations(self) -> list[int]:
        """Dilation of each layer."""
        return [block.dilated.dilation[0] for block in self.blocks]

    @property
    def receptive_field(self) -> int:
        """Number of samples that one prediction hears, the newest one included."""
        return 2 + sum(self.dilations)

    def forward(self, tokens: Tensor, cond: Tensor | None = None) -> Tensor:
        """Map classes to logits.

        Args:
            tokens: Classes of the samples, int64, shape (B, T).
            cond: Features of each sample, shape (B, C, T); None for an unconditional model.

        Returns:
            Logits (B, Q, T); those at t name sample t + 1.

        Raises:
            DataError: The shapes do not fit.
        """
        if tokens.dim() != 2 or tokens.dtype != torch.long:
            raise DataError(
                f"expected int64 classes (B, T), got {tokens.dtype} {tuple(tokens.shape)}; "
                f"encode the samples with mu-law first"
            )
        self.check_cond(cond, *tokens.shape)
        values, total = torch.tanh(self.first(tokens)), None
        for block in self.blocks:
            values, skip = block(values, cond)
            total = skip if total is None else total + skip
        return self._classify(total)

    def _classify(self, total: Tensor) -> Tensor:
        return self.out2(F.relu(self.out1(F.relu(total))))

    def check_cond(self, cond: Tensor | None, batch: int, length: int) -> None:
        """Refuse features that do not fit.

        Args:
            cond: Features (B, C, T) or None.
            batch: Wanted B.
            length: Least T.

        Raises:
            DataError: They have another shape, are missing or are not wanted.
        """
        wanted = (batch, self.conditioning, length) if self.conditioning else None
        given = None if cond is None else tuple(cond.shape)
        longer = None if given is None else (*given[:2], min(given[-1], length))
        if (longer if given and len(given) == 3 else given) != wanted:
            raise DataError(
                f"expected conditioning of shape {wanted or 'none'}, got {given or 'none'}; "
                f"compare model.conditioning"
            )

    def initial_state(self, batch: int = 1) -> Queues:
        """Return what is remembered before the first sample: nothing but zeros."""
        weight = self.out1.weight
        zero = weight.new_zeros(batch, self.first.out_channels, 1)
        streams = [deque([zero] * dilation) for dilation in self.dilations]
        return Queues(torch.full((batch, 1), -1, device=weight.device), streams)

    def step(self, token: Tensor, state: Queues, cond: Tensor | None = None) -> Tensor:
        """Run one generation step.

        Args:
            token: Classes of one sample, shape (B,).
            state: What is remembered, brought up to date in place.
            cond: Features of the sample, shape (B, C, 1).

        Returns:
            Logits (B, Q) of the next sample, equal to those of the forward pass over the whole
            past up to rounding.
        """
        token = token.unsqueeze(1)
        values, total = torch.tanh(self.first(token, state.token)), None
        state.token = token
        for block, stream in zip(self.blocks, state.streams, strict=True):
            stream.append(values)
            values, skip = block(values, cond, stream.popleft())
            total = skip if total is None else total + skip
        return self._classify(total).squeeze(2)

    @torch.no_grad()
    def generate(
        self,
        steps: int,
        cond: Tensor | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        start: Tensor | None = None,
    ) -> Tensor:
        """Draw samples one after another, each from the distribution given all before it.

        Every layer remembers its past, so that a sample costs one step. On a CPU, float32 models
        run in one compiled loop on one thread; its tokens, those of ``step`` and those of whole
        forward passes are equal except where a rounding error of about 1e-6 decides between two
        classes.

        Args:
            steps: Number of samples to draw, 1 or more.
            cond: Features (B, C, at least T0 + steps - 1) of the samples that are fed, the start
                first; None if unconditional.
            seed: Seed of the draws; row b of a batch depends on the seed and b alone.
            temperature: Divisor of the logits; 0 takes the most probable class.
            start: Classes (B, T0) that are fed first, T0 >= 1; by default one sample of silence,
                with B as of ``cond``, else 1.

        Returns:
            Classes of the new samples, int64, shape (B, steps), without the start.

        Raises:
            ConfigError: ``steps``, ``seed`` or ``temperature`` lies outside its range.
            DataError: ``start`` or ``cond`` do not fit.
        """
        return generation.generate(self, steps, cond, seed, temperature, start)

    def state_bytes(self) -> int:
        """Return the bytes of what one stream remembers between samples as float32, which no count of traffic holds."""
        return 4 * sum(self.dilations) * self.first.out_channels

    def example_input(self, frames: int = 1024) -> Tensor | tuple[Tensor, Tensor]:
        """Return fixed random classes (1, frames) and, for a conditional model, features (1, C, frames)."""
        generator = torch.Generator().manual_seed(0)
        device = self.out1.weight.device
        tokens = torch.randint(self.classes, (1, frames), generator=generator).to(device)
        if not self.conditioning:
            return tokens
        return tokens, torch.rand(1, self.conditioning, frames, generator=generator).to(
            self.out1.weight
        )

    def example_seconds(self, frames: int = 1024) -> float:
        """Return the seconds of audio that the example of so many samples stands for."""
        return frames / self.sample_rate

    def step_input(self) -> tuple[Tensor, Queues, Tensor | None]:
        """Return the arguments of ``step`` for one sample."""
        weight = self.out1.weight
        cond = weight.new_zeros(1, self.conditioning, 1) if self.conditioning else None
        return torch.zeros(1, dtype=torch.long, device=weight.device), self.initial_state(), cond

    def unit_sets(self) -> list[UnitSet]:
        """Return the channels of the stream, of each layer's gates, of the skip sum and between the output layers.

        The stream is one set for the whole network, for every layer adds to it. A gate unit owns
        its row in both halves.
        """
        stream, skips = conv_out("first", self.first), ()
        for name, block in self._named_blocks():
            stream += conv_in(f"{name}.dilated", block.dilated)
            stream += () if block.res is None else conv_out(f"{name}.res", block.res)
            skips += conv_out(f"{name}.skip", block.skip)
        return [
            UnitSet("stream", stream),
            *[
                UnitSet(f"{name}.gate", _gate_units(name, block))
                for name, block in self._named_blocks()
            ],
            UnitSet("skip", skips + conv_in("out1", self.out1)),
            UnitSet("end", conv_out("out1", self.out1) + conv_in("out2", self.out2)),
        ]

    def _named_blocks(self) -> list[tuple[str, GatedBlock]]:
        return [(f"blocks.{i}", block) for i, block in enumerate(self.blocks)]


def _gate_units(name: str, block: GatedBlock) -> Slices:
    count = block.dilated.out_channels // 2
    halves = rows(0, count, repeat=2, stride=count)
    slices = conv_out(f"{name}.dilated", block.dilated, index=halves)
    slices += () if block.cond is None else conv_out(f"{name}.cond", block.cond, index=halves)
    slices += () if block.res is None else conv_in(f"{name}.res", block.res)
    return slices + conv_in(f"{name}.skip", block.skip)

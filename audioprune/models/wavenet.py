"""WaveNet as Esling et al. prune it: layers, receptive field, one-sample steps and units.

``WaveNet`` maps classes of samples (B, T) to logits (B, Q, T) of the next class. How samples are
drawn one after another is in ``parts/wavenet_generation``; mu-law and the loss belong to the task.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices, conv_in, conv_out
from audioprune.compress.units.declare import UnitSet, rows
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.models.parts import wavenet_generation as generation
from audioprune.models.parts.initialisation import smooth_over_
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.wavenet_layers import ClassConv, GatedBlock, Queues
from audioprune.models.parts.widths import check_whole
from audioprune.ranges import FOLLOWS, OneOf, Range

TABLES = ("drawn", "smooth")


class WaveNet(nn.Module):
    """Predict the class of each next sample from the past by dilated gated convolutions.

    Layer i has dilation ``2^(i mod (layers / cycles))``. With the published widths there are
    2,486,784 parameters, or 2,901,504 with 80 features of conditioning; of 40 layers in four
    cycles 4,793,344 and 5,622,784. Widths are read from the weights, and each layer has its own
    gate width, so that a trimmed model runs as it is.

    Args:
        layers: Number of gated layers, 1 to 200.
        cycles: How often the dilations start again from 1; it divides ``layers``, and a cycle has
            at most 16 layers. The text's "2 successive stacks of 20 layers" would read 131 s with
            one cycle a stack; the authors' code has 20 layers in two cycles, the default.
        residual: Channels R of the stream, 1 to 4096.
        gate: Channels G of each gated half, 1 to 4096.
        skip: Channels S of the skip sum, 1 to 4096.
        end: Channels E between the two output layers, 1 to 4096.
        classes: Number of classes Q of a sample, 2 to 65,536.
        tables: How weights of the classes in the first and last layer are drawn: ``drawn``,
            each class by itself, as torch does, or ``smooth``, as a smooth function of the class's
            value, so that neighbours are alike from the start.
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
    blocks: Layers[GatedBlock]

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
        tables: Annotated[str, OneOf(*TABLES)] = "drawn",
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
        dilations = [2 ** (i % (layers // cycles)) for i in range(layers)]
        self.blocks = Layers(
            GatedBlock(residual, gate, skip, conditioning, dilation, last=i == layers - 1)
            for i, dilation in enumerate(dilations)
        )
        self.out1 = nn.Conv1d(skip, end, 1, bias=False)
        self.out2 = nn.Conv1d(end, classes, 1, bias=False)
        if tables not in TABLES:
            raise ConfigError(unknown_name("model.tables", tables, TABLES))
        if tables == "smooth":
            smooth_over_(self.first.weight, 1)
            smooth_over_(self.out2.weight, 0)

    @property
    def dilations(self) -> list[int]:
        """Dilation of each layer."""
        return [block.dilated.dilation[0] for block in self.blocks]

    @property
    def receptive_field(self) -> int:
        """Number of samples that one prediction reads, the newest one included."""
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
        first, *others = self.blocks
        values, total = first(torch.tanh(self.first(tokens)), cond)
        for block in others:
            values, skip = block(values, cond)
            total = total + skip
        return self._classify(total)

    def _classify(self, total: Tensor) -> Tensor:
        """Map the skip sum (B, S, T) to logits (B, Q, T)."""
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
        used = given
        if given is not None and len(given) == 3:  # what is longer than needed fits too
            used = (*given[:2], min(given[-1], length))
        if used != wanted:
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
        values = torch.tanh(self.first(token, state.token))
        state.token = token
        skips: list[Tensor] = []
        for block, stream in zip(self.blocks, state.streams, strict=True):
            stream.append(values)
            values, skip = block(values, cond, stream.popleft())
            skips.append(skip)
        # added in the order of the layers, as in the forward pass
        return self._classify(sum(skips[1:], skips[0])).squeeze(2)

    @torch.no_grad()
    def generate(
        self,
        steps: int,
        cond: Tensor | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        start: Tensor | None = None,
        half: bool = False,
    ) -> Tensor:
        """Draw samples one after another, each from the distribution given all before it.

        Every layer remembers its past, so that a sample costs one step. On a CPU, float32 models
        run in one compiled loop; its tokens, those of ``step`` and those of whole forward passes
        are equal except where a rounding error of about 1e-6 decides between two classes. Where
        torch may use two cores or more and they are idle, two share one row, or all share several;
        the tokens are the same.

        Args:
            steps: Number of samples to draw, 1 or more.
            cond: Features (B, C, at least T0 + steps - 1) of the samples that are fed, the start
                first; None if unconditional.
            seed: Seed of the draws; row b of a batch depends on the seed and b alone.
            temperature: Divisor of the logits; 0 takes the most probable class.
            start: Classes (B, T0) that are fed first, T0 >= 1; by default one sample of silence,
                with B as of ``cond``, else 1.
            half: Whether the matrices are rounded to bfloat16 for this call, which halves what is
                read for each sample: the tokens are those of a model with rounded weights.

        Returns:
            Classes of the new samples, int64, shape (B, steps), without the start.

        Raises:
            ConfigError: ``steps``, ``seed`` or ``temperature`` lies outside its range, or ``half``
                is asked for where the compiled loop cannot run.
            DataError: ``start`` or ``cond`` do not fit.
        """
        return generation.generate(self, steps, cond, seed, temperature, start, half)

    def state_bytes(self) -> int:
        """Return the bytes that one stream remembers between samples, as float32."""
        return 4 * sum(self.dilations) * self.first.out_channels

    def example_input(self, frames: int = 1024) -> Tensor | tuple[Tensor, Tensor]:
        """Return fixed random classes (1, frames) and, if conditional, features (1, C, frames)."""
        generator = torch.Generator().manual_seed(0)
        device = self.out1.weight.device
        tokens = torch.randint(self.classes, (1, frames), generator=generator).to(device)
        if not self.conditioning:
            return tokens
        features = torch.rand(1, self.conditioning, frames, generator=generator)
        return tokens, features.to(self.out1.weight)

    def example_seconds(self, frames: int = 1024) -> float:
        """Return the seconds of audio that so many samples are."""
        return frames / self.sample_rate

    def step_input(self) -> tuple[Tensor, Queues, Tensor | None]:
        """Return the arguments of ``step`` for one sample."""
        weight = self.out1.weight
        cond = weight.new_zeros(1, self.conditioning, 1) if self.conditioning else None
        return torch.zeros(1, dtype=torch.long, device=weight.device), self.initial_state(), cond

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels that can be removed.

        They are those of the stream, of each layer's gates, of the skip sum and between the output
        layers. The stream is one set for the whole network, for every layer adds to it. A gate
        unit owns its row in both halves.
        """
        stream = conv_out("first", self.first)
        skips: Slices = ()
        gates: list[UnitSet] = []
        for i, block in enumerate(self.blocks):
            name = f"blocks.{i}"
            stream += conv_in(f"{name}.dilated", block.dilated)
            stream += () if block.res is None else conv_out(f"{name}.res", block.res)
            skips += conv_out(f"{name}.skip", block.skip)
            gates.append(UnitSet(f"{name}.gate", _gate_units(name, block)))
        end = conv_out("out1", self.out1) + conv_in("out2", self.out2)
        return [
            UnitSet("stream", stream),
            *gates,
            UnitSet("skip", skips + conv_in("out1", self.out1)),
            UnitSet("end", end),
        ]


def _gate_units(name: str, block: GatedBlock) -> Slices:
    count = block.dilated.out_channels // 2
    halves = rows(0, count, repeat=2, stride=count)
    slices = conv_out(f"{name}.dilated", block.dilated, index=halves)
    slices += () if block.cond is None else conv_out(f"{name}.cond", block.cond, index=halves)
    slices += () if block.res is None else conv_in(f"{name}.res", block.res)
    return slices + conv_in(f"{name}.skip", block.skip)

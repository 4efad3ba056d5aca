"""The layers of WaveNet, what it remembers between samples, and what drawing samples needs of it.

How the layers are joined is written in ``models/wavenet.py``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.models.parts.layers import Layers


class ClassConv(nn.Conv1d):
    """Convolve one-hot classes with kernels of two samples, by looking weights up."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__(classes, outputs, 2)

    def forward(self, tokens: Tensor, past: Tensor | None = None) -> Tensor:
        """Map classes (B, T) to (B, C, T), as the convolution of their one-hot vectors would.

        Args:
            tokens: Classes, int64.
            past: Classes one sample earlier, same shape, -1 where there is none; by default the
                tokens themselves, shifted.
        """
        past = F.pad(tokens[:, :-1], (1, 0), value=-1) if past is None else past
        before, now = self.weight.permute(2, 1, 0)
        earlier = F.embedding(past.clamp_min(0), before) * (past >= 0).unsqueeze(-1)
        bias = cast(Tensor, self.bias)
        return (earlier + F.embedding(tokens, now) + bias).transpose(1, 2)


class CausalConv(nn.Conv1d):
    """Convolve with dilated kernels of two positions, this one and one in the past."""

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
            padded = F.pad(values, (self.dilation[0], 0))
            return F.conv1d(padded, self.weight, self.bias, dilation=self.dilation)
        both = torch.cat((past, values), 2).flatten(1)
        return F.linear(both, self.weight.flatten(1), self.bias).unsqueeze(2)


class GatedBlock(nn.Module):
    """One residual layer: a gated dilated convolution that adds to the stream and the skip sum."""

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
        """Run the layer.

        Args:
            values: The stream (B, R, T).
            cond: Features (B, C, T), or None.
            past: The stream one dilation earlier, (B, R, 1), where one sample is run.

        Returns:
            The stream after the layer and what it adds to the skip sum.
        """
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


class SampleModel(Protocol):
    """What drawing samples needs of a WaveNet; see there for the members."""

    classes: int
    conditioning: int
    first: ClassConv
    blocks: Layers[GatedBlock]
    out1: nn.Conv1d
    out2: nn.Conv1d

    @property
    def dilations(self) -> list[int]:
        """Dilation of each layer."""
        ...

    def check_cond(self, cond: Tensor | None, batch: int, length: int) -> None:
        """Refuse features that do not fit."""
        ...

    def initial_state(self, batch: int = 1) -> Queues:
        """Return what is remembered before the first sample."""
        ...

    def step(self, token: Tensor, state: Queues, cond: Tensor | None = None) -> Tensor:
        """Return the logits (B, Q) after one sample."""
        ...

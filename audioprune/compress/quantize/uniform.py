"""How the weights of a tensor become whole steps of a scale: uniform grids of 2 to 8 bits.

``Uniform(bits).quantize(weight, channels, keep)`` returns a ``Grid``; a value is scale times
(code - zero point). Zero is always on the grid, so that a pruned weight stays exactly zero.
K-means, whose values lie anywhere, is in kmeans.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.compress.quantize.contract import PER, Channels, check_kept, check_weight
from audioprune.errors import ConfigError, DivergedError, unknown_name
from audioprune.ranges import OneOf, Range

SCALES = ("least_squares", "max")
LEAST_BITS, MOST_BITS = 2, 8
SCALE_BITS = 12
"""Significant bits of a scale: times a code of 8 bits it is exact in float32."""
_TRIED_BITS = 4  # up to so many bits every zero point is tried
_TINY, _LARGEST = 2.0**-100, 2.0**100  # so that no product of scale and code leaves float32


@dataclass(frozen=True, eq=False)
class Grid:
    """The form of a tensor whose values are whole steps of a scale.

    Attributes:
        scales: Size of a step for each channel, float32 (G,), above 0, of 12 significant bits.
        zeros: The code that means zero, for each channel, uint8 (G,).
        steps: Number of codes K: 2^bits, or 2^bits - 1 for a symmetric grid.
        axis: Axis of the channels; it falls into G parts of the same length.
        codes: Code of each coded weight in row-major order, uint8 (S,).
    """

    scales: Tensor
    zeros: Tensor
    steps: int
    axis: int
    codes: Tensor
    has_zero = True

    @property
    def levels(self) -> int:
        """Number of codes K."""
        return self.steps

    @property
    def symmetric(self) -> bool:
        """Whether as many codes are below zero as above it."""
        return self.steps % 2 == 1

    @property
    def code_bits(self) -> int:
        """Bits of a code, 2..8."""
        return math.ceil(math.log2(self.steps))

    @property
    def side_bits(self) -> float:
        """Bits of the scales, 32 each, and of the zero points of a grid that is not symmetric."""
        zero_bits = 0 if self.symmetric else self.code_bits
        return float(self.scales.numel() * (32 + zero_bits))

    @property
    def bits(self) -> float:
        """Bits of the codes at their fixed length, of scales and zero points."""
        return self.codes.numel() * self.code_bits + self.side_bits

    @property
    def told(self) -> str:
        """What tables call this form."""
        kind = "" if self.symmetric else " with zero point"
        return f"uniform, {self.code_bits} bits{kind}"

    def restore(self, keep: Tensor) -> Tensor:
        """Return the whole tensor on the device of ``keep``, zeros where it is false.

        Raises:
            ConfigError: ``keep`` does not have as many true positions as there are codes.
        """
        check_kept(keep, self.codes)
        where = keep.cpu()
        scale, zero = self._spread(self.scales, where), self._spread(self.zeros, where)
        codes = torch.zeros(keep.shape, dtype=torch.float32)
        codes[where] = self.codes.cpu().float()
        return torch.where(where, (codes - zero.float()) * scale, 0.0).to(keep.device)

    def project(self, weight: Tensor, keep: Tensor) -> Tensor:
        """Return the nearest grid point of every weight, and zeros where ``keep`` is false."""
        steps = self._steps(weight) * self._spread(self.scales, weight)
        return torch.where(keep, steps, 0.0)

    def passes(self, weight: Tensor) -> Tensor:
        """Tell of every weight whether it lies within the grid, half a step beyond its ends."""
        return self._rounded(weight) == self._steps(weight)

    def recoded(self, weight: Tensor, keep: Tensor) -> Grid:
        """Return the same grid with the codes of another tensor, rounded to the nearest."""
        steps = self._steps(weight) + self._spread(self.zeros, weight).float()
        return replace(self, codes=steps[keep].to(torch.uint8).cpu())

    def tensors(self) -> dict[str, Tensor]:
        """Return what stores this form, by the name of each part."""
        form = torch.tensor([self.steps, self.axis])
        return {"scales": self.scales, "zeros": self.zeros, "form": form, "codes": self.codes}

    def _rounded(self, weight: Tensor) -> Tensor:
        return torch.round(weight.detach() / self._spread(self.scales, weight)) + 0.0

    def _steps(self, weight: Tensor) -> Tensor:
        """Return the steps from zero of every weight, within the grid; + 0 makes -0 equal to 0."""
        zero = self._spread(self.zeros, weight).float()
        rounded = self._rounded(weight)
        return torch.minimum(torch.maximum(rounded, -zero), self.steps - 1 - zero)

    def _spread(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return one value a channel so that it stands beside the weights of its channel."""
        return beside(values.to(weight.device), weight.shape, self.axis)


@dataclass(frozen=True)
class Uniform:
    """Quantise to equal steps.

    A symmetric grid of b bits has the codes -(2^(b-1) - 1)..2^(b-1) - 1, one value less than its
    bits allow, so that both signs reach equally far; one with a zero point has all 2^b. The values
    always reach from at most zero to at least zero. Scales are rounded to 12 significant bits,
    which shortens the file and makes all values exact in float32; they are 2^-100 at least.

    Attributes:
        bits: Bits of a code, 2..8.
        symmetric: Whether zero is in the middle; otherwise a zero point for each scale says where.
        per: What shares a scale: a ``tensor``, a ``gate`` of a recurrent layer, or an output
            ``channel``, which in a recurrent layer is a row.
        scale: ``max``: nothing is clipped; the largest magnitude of a symmetric grid, or the whole
            range, are the ends of the grid. ``least_squares``: the scale of the least squared
            error of all scales, see `clipping_kernels`. The zero point is then the best of all
            for up to 4 bits, and for more that of the whole range.

    Raises:
        ConfigError: An attribute is none of these.

    Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
    2018, Sec. 2, for symmetric and affine grids per tensor and channel.
    """

    bits: Annotated[int, Range(LEAST_BITS, MOST_BITS)] = 4
    symmetric: bool = True
    per: Annotated[str, OneOf(*PER)] = "channel"
    scale: Annotated[str, OneOf(*SCALES)] = "least_squares"

    def __post_init__(self) -> None:
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not whole or not LEAST_BITS <= self.bits <= MOST_BITS:
            raise ConfigError(
                f"bits: expected a whole number from {LEAST_BITS} to {MOST_BITS} for a uniform "
                f"grid, got {self.bits!r}; correct it"
            )
        for name, value, choices in (("per", self.per, PER), ("scale", self.scale, SCALES)):
            if value not in choices:
                raise ConfigError(unknown_name(name, value, choices))

    @property
    def steps(self) -> int:
        """Number of codes."""
        return int(2**self.bits) - self.symmetric

    def kept(self, weight: Tensor) -> Tensor:
        """Return every position: zero is a value of the grid."""
        return torch.ones_like(weight, dtype=torch.bool)

    def quantize(
        self, weight: Tensor, channels: Channels | None = None, keep: Tensor | None = None
    ) -> Grid:
        """Return the grid of a tensor, which stays as it is.

        Args:
            weight: float32 tensor of any shape.
            channels: Which weights share a scale; None for all.
            keep: Bool tensor of the same shape, true for the weights that are coded; None codes
                all. Scales depend on coded weights only.

        Raises:
            ConfigError: ``weight`` is not float32, or ``keep`` has another shape.
            DivergedError: A coded weight is NaN or infinite.
        """
        channels = channels or Channels()
        check_weight(weight, keep, "a uniform grid")
        given = weight.detach().cpu()
        where = self.kept(given) if keep is None else keep.cpu()
        values = torch.where(where, given, 0.0)
        fits = values.abs() < _LARGEST
        if not bool(fits.all()):
            raise DivergedError(
                f"expected finite weights below 2^100, got {int((~fits).sum())} of "
                f"{int(where.sum())} that are not; quantize an earlier checkpoint"
            )
        rows = channel_rows(values, channels)
        found = [self._fitted(row[row != 0].astype(np.float64)) for row in rows]
        grid = Grid(
            scales=torch.tensor([scale for scale, _ in found], dtype=torch.float32),
            zeros=torch.tensor([zero for _, zero in found], dtype=torch.uint8),
            steps=self.steps,
            axis=channels.axis,
            codes=torch.empty(0, dtype=torch.uint8),
        )
        return grid.recoded(given, where)

    def _fitted(self, values: NDArray[np.float64]) -> tuple[float, int]:
        """Return scale and zero point for the values of a channel that are not zero."""
        last = self.steps - 1
        low, high = min(values.min(initial=0.0), 0.0), max(values.max(initial=0.0), 0.0)
        if self.symmetric:
            zero = last // 2
            step = max(high, -low) / zero
        else:
            step = (high - low) / last
            zero = round(-low / step) if step else 0
        if self.scale == "least_squares" and values.size:
            step, zero = self._least_squares(values, zero)
        return rounded_scale(step), zero

    def _least_squares(self, values: NDArray[np.float64], zero: int) -> tuple[float, int]:
        from audioprune.compress.quantize import clipping_kernels as kernels

        last = self.steps - 1
        up, down = np.sort(values[values > 0]), np.sort(-values[values < 0])
        tried = [zero]
        if not self.symmetric and self.bits <= _TRIED_BITS:
            tried += [other for other in range(self.steps) if other != zero]
        found = [(*kernels.best_scale(up, down, last - each, each)[::-1], each) for each in tried]
        _, scale, best = min(found, key=lambda each: each[0])
        return scale, best


def rounded_scale(scale: float) -> float:
    """Return a scale with 12 significant bits, of at least 2^-100.

    Where every weight is zero, and the scale with it, it is 1.
    """
    if scale == 0:
        return 1.0
    mantissa, exponent = math.frexp(max(scale, _TINY))
    return math.ldexp(round(math.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)


def beside(values: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """Return one value a channel so that it stands beside the weights of its channel.

    Args:
        values: A value for each of G channels, (G,).
        shape: Shape of the weights.
        axis: The axis that falls into G parts of the same length.

    Returns:
        Of as many axes as the weights, all of length 1 but ``axis``.
    """
    length = shape[axis] if shape else 1
    wide = values.repeat_interleave(length // max(1, values.numel()))
    return wide.reshape([length if dim == axis else 1 for dim in range(len(shape))])


def channel_rows(values: Tensor, channels: Channels) -> NDArray[np.float32]:
    """Return the weights of each channel as a row, (G, weights of a channel)."""
    if values.dim() == 0:
        return values.reshape(1, 1).numpy()
    moved = values.movedim(channels.axis, 0)
    length = moved.shape[0] // channels.count
    return moved.reshape(channels.count, length * math.prod(moved.shape[1:])).numpy()

"""How a weight lies in ROM: ``stored(value)`` returns a ``Weight``, the smallest form of it.

Forms are float32; codes of 1 to 8 bits into a codebook of at most 256 values; and codes of as
many bits on a grid of each output's own, as uniform quantization leaves it. ``rounded`` puts a
weight on such a grid of 8 bits. A weight is (out, ...), or (in, out / groups, ...) of a transposed
convolution. What C reads of it is in kernels.h; it is written in `files`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CODED = 64
"""From so many values on, codes are worth their tables."""
_MOST = 256
_SAME = 1e-6  # of the largest value: how far a value may lie off its grid


@dataclass(frozen=True)
class Layout:
    """Where the values of each output lie.

    Attributes:
        turned: Whether the weight is that of a transposed convolution.
        groups: Its groups.
    """

    turned: bool = False
    groups: int = 1

    def rows(self, value: Tensor) -> Tensor:
        """Return the values of each output in a row, (out, n)."""
        if not self.turned:
            return value.flatten(1)
        return value.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)

    def flat(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return rows in the order of the weight."""
        if not self.turned:
            return rows.flatten()
        out, inner = shape[1], shape[0] // self.groups
        return rows.reshape(self.groups, out, inner, -1).transpose(1, 2).flatten()


@dataclass(frozen=True)
class Weight:
    """A weight as ROM holds it.

    Attributes:
        values: Floats in the order of the weight; None where there are codes.
        codes: Numbers of ``bits`` bits; a code means ``book[code]``, or ``code - zero[out]``
            where there is no book.
        book: The codebook.
        zero: The code of 0 of each output.
        scale: What the values of each output are multiplied by, or None.
        bits: Bits of a code.
    """

    values: Tensor | None
    codes: Tensor | None = None
    book: Tensor | None = None
    zero: Tensor | None = None
    scale: Tensor | None = None
    bits: int = 32

    @property
    def rom_bytes(self) -> int:
        """Bytes of codes and tables."""
        tables = sum(4 * each.numel() for each in (self.book, self.scale) if each is not None)
        tables += 0 if self.zero is None else 2 * self.zero.numel()
        if self.values is not None:
            return tables + 4 * self.values.numel()
        assert self.codes is not None
        spare = self.bits != 8  # the byte that `packed` adds
        return tables + -(-self.codes.numel() * self.bits // 8) + spare

    def same(self, other: Weight) -> bool:
        """Tell whether both would be written alike."""
        mine = (self.values, self.codes, self.book, self.zero, self.scale)
        theirs = (other.values, other.codes, other.book, other.zero, other.scale)
        return self.bits == other.bits and all(
            _alike(a, b) for a, b in zip(mine, theirs, strict=True)
        )


def stored(value: Tensor, layout: Layout, scale: Tensor | None = None) -> Weight:
    """Return the smallest form that holds a weight.

    Args:
        value: The weight.
        layout: Where its outputs lie.
        scale: What each output is multiplied by, such as that of a folded normalisation.
    """
    found = [each for each in (_coded(value, scale), _on_grid(value, layout, scale)) if each]
    plain = value if scale is None else _scaled(value, layout, scale)
    return min([*found, Weight(plain.float().flatten())], key=lambda each: each.rom_bytes)


def rounded(value: Tensor, layout: Layout) -> Tensor:
    """Return a weight whose outputs lie on a symmetric grid of 8 bits each."""
    rows = layout.rows(value.detach().float())
    step = rows.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
    return layout.flat((rows / step).round() * step, value.shape).reshape(value.shape)


def packed(codes: Tensor, bits: int) -> bytes:
    """Pack codes one behind the other from the lowest bit on, with a byte to read beyond them."""
    if bits == 8:
        return codes.to(torch.uint8).numpy().tobytes()
    ones = codes[:, None] >> torch.arange(bits) & 1
    return np.packbits(ones.numpy().astype(bool), bitorder="little").tobytes() + b"\0"


def _scaled(value: Tensor, layout: Layout, scale: Tensor) -> Tensor:
    rows = layout.rows(value.double()) * scale.double()[:, None]
    return layout.flat(rows, value.shape).float()


def _coded(value: Tensor, scale: Tensor | None) -> Weight | None:
    """Return codes into a book of all values."""
    flat = value.detach().float().flatten()
    if flat.numel() < CODED:
        return None
    # a look at some values spares the sort of all
    if len(torch.unique(flat[: 4 * _MOST])) > _MOST:
        return None
    book = torch.unique(flat)
    if len(book) > _MOST:
        return None
    return Weight(None, torch.searchsorted(book, flat), book, None, scale, _bits(len(book)))


def _on_grid(value: Tensor, layout: Layout, scale: Tensor | None) -> Weight | None:
    """Return codes on a grid of each output, where all values lie on one."""
    rows = layout.rows(value.detach().float()).double()
    if value.numel() < CODED or len(torch.unique(rows[0])) > _MOST:
        return None
    peak = rows.abs().amax(1, keepdim=True).clamp_min(1e-30)
    step = _step(rows, peak)
    numbers = (rows / step).round()
    lowest = numbers.amin(1).clamp_max(0)
    most = int((numbers.amax(1).clamp_min(0) - lowest).max())
    off = (numbers * step - rows).abs() / peak
    if most >= _MOST or float(off.max()) > _SAME:
        return None
    codes = layout.flat((numbers - lowest[:, None]).long(), value.shape)
    size = step[:, 0] if scale is None else step[:, 0] * scale.double()
    zero = (-lowest).to(torch.int16)
    return Weight(None, codes, None, zero, size.float(), _bits(most + 1))


def _step(rows: Tensor, peak: Tensor) -> Tensor:
    """Return the step of each row's grid (out, 1), which holds 0, as far as there is one."""
    with_zero = torch.cat((rows, torch.zeros_like(rows[:, :1])), 1).sort(1).values
    gaps = with_zero.diff(dim=1)
    far = gaps > peak / (2 * _MOST)
    least = torch.where(far, gaps, torch.inf).amin(1, keepdim=True)
    least = torch.where(least.isinf(), peak, least)
    # neighbours may be absent: the step is a part of the least gap then, the largest that fits
    best = least
    for parts in range(int((_MOST * least / peak).max()), 0, -1):
        step = peak / (peak / least * parts).round().clamp_min(1)
        off = ((rows / step).round() * step - rows).abs().amax(1, keepdim=True) / peak
        best = torch.where(off <= _SAME, step, best)
    return best


def _bits(count: int) -> int:
    return max(1, math.ceil(math.log2(count)))


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return torch.equal(a, b)

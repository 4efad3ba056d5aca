"""How sequences of small integers become few bytes: frequency tables and an ANS coder.

``Writer`` collects symbols and codes them, ``Reader`` returns them in the same order;
``write_symbols`` adds a frequency table where one pays. Every probability is a ratio of integers
that this file computes, so a file written on one machine decodes on any other. What the integers
mean (positions, codes, bytes of floats) is decided in positions.py, codes.py and tensors.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Protocol

import numpy as np
from constriction import stream
from numpy.typing import NDArray

AnsCoder = stream.stack.AnsCoder
Categorical = stream.model.Categorical
Uniform = stream.model.Uniform
Ints = NDArray[np.integer]

_TOTAL = 1 << 24  # the precision of the ANS models
# Levels per octave of a frequency table; 0 means that all symbols are alike.
_PER_OCTAVE = (0, 1, 2, 4, 8, 16)
# 2^(16 + i / 16) for i of 0..15, rounded: the sixteen steps of an octave.
_ROOTS = np.array(
    [65536, 68438, 71468, 74632, 77936, 81386, 84990, 88752]
    + [92682, 96785, 101070, 105545, 110218, 115098, 120194, 125515]
)
_MAX_LEVEL = 16 * 40
_DECAYS = 15
_TABLE_BITS = 3.0  # what an entry of a frequency table costs about


class Coder(Protocol):
    """What is used of the ANS coder, a stack: what is encoded last is decoded first."""

    def encode_reverse(self, symbols: NDArray[np.int32], model: object, *sizes: object) -> None:
        """Encode symbols, the last one first."""
        ...

    def decode(self, model: object, sizes: object) -> NDArray[np.int32]:
        """Return symbols: as many as a number says, or one for each parameter of the model."""
        ...

    def get_compressed(self) -> NDArray[np.uint32]:
        """Return all words."""
        ...

    def is_empty(self) -> bool:
        """Tell whether everything was decoded."""
        ...


class BadStream(Exception):
    """Bytes that no writer of this package produced."""


class Writer:
    """A sequence of symbols to be coded, with its length in bits known before it is coded."""

    def __init__(self) -> None:
        self.bits = 0.0
        self._steps: list[Callable[[Coder], None]] = []

    def uniform(self, symbols: Ints, size: int) -> None:
        """Append symbols of 0..size-1 that are all alike, size < 2^24.

        Nothing is written if there is one choice only.
        """
        if size > 1 and symbols.size:
            self.bits += symbols.size * float(np.log2(size))
            self._push(symbols, Uniform(size))

    def packed(self, values: Ints, widths: Ints) -> None:
        """Append integers of 0..2^width-1, widths 0..48, at their plain length."""
        for shift in (0, 16, 32):  # the coder takes at most 16 bits of a value at once
            width = np.clip(widths - shift, 0, 16)
            some = width > 0
            if some.any():
                part = ((values[some] >> shift) & ((1 << width[some]) - 1)).astype(np.int32)
                sizes = (1 << width[some]).astype(np.int32)
                self.bits += float(width.sum())
                self._push(part, Uniform(), sizes)

    def table(self, symbols: Ints, weights: Ints) -> None:
        """Append symbols of 0..len(weights)-1, each as probable as its integer weight says."""
        if symbols.size and weights.size > 1:
            frequencies = _normalised(weights)
            counts = np.bincount(symbols, minlength=weights.size)
            self.bits -= float(counts @ np.log2((frequencies + 1) / _TOTAL))
            self._push(symbols, _model(frequencies))

    def extend(self, other: Writer) -> None:
        """Append everything that another writer holds."""
        self.bits += other.bits
        self._steps += other._steps

    def finish(self) -> bytes:
        """Code all symbols; the last one goes first, since the coder is a stack."""
        coder: Coder = AnsCoder()
        for step in reversed(self._steps):
            step(coder)
        return coder.get_compressed().astype("<u4").tobytes()

    def _push(self, symbols: Ints, model: object, *sizes: object) -> None:
        self._steps.append(partial(_encode, symbols, model, sizes))


class Reader:
    """The reverse of Writer: each method returns what the method of the same name appended.

    Args:
        coded: What ``Writer.finish`` returned.

    Raises:
        BadStream: The bytes are not a possible state of the coder.
    """

    def __init__(self, coded: bytes) -> None:
        words = np.zeros(1, np.uint32)
        if len(coded) % 4 == 0:
            words = np.frombuffer(coded, dtype="<u4").astype(np.uint32)
        if words.size and words[-1] == 0:
            raise BadStream("the stream ends in zeros")
        self._coder: Coder = AnsCoder(words) if words.size else AnsCoder()

    def uniform(self, count: int, size: int) -> NDArray[np.int32]:
        """Return ``count`` symbols of 0..size-1."""
        if size <= 1 or count == 0:
            return np.zeros(count, np.int32)
        return self._coder.decode(Uniform(size), count)

    def packed(self, widths: Ints) -> NDArray[np.int64]:
        """Return one integer of 0..2^width-1 for each width."""
        values = np.zeros(widths.size, np.int64)
        for shift in (0, 16, 32):
            width = np.clip(widths - shift, 0, 16)
            some = width > 0
            if some.any():
                part = self._coder.decode(Uniform(), (1 << width[some]).astype(np.int32))
                values[some] |= part.astype(np.int64) << shift
        return values

    def table(self, count: int, weights: Ints) -> NDArray[np.int32]:
        """Return ``count`` symbols of 0..len(weights)-1."""
        if count == 0 or weights.size <= 1:
            return np.zeros(count, np.int32)
        return self._coder.decode(_model(_normalised(weights)), count)

    def check_end(self) -> None:
        """Fail if anything is left.

        Raises:
            BadStream: Symbols were not used up.
        """
        if not self._coder.is_empty():
            raise BadStream("data left after the last symbol")


def _encode(symbols: Ints, model: object, sizes: tuple[object, ...], coder: Coder) -> None:
    coder.encode_reverse(np.ascontiguousarray(symbols, dtype=np.int32), model, *sizes)


def write_symbols(writer: Writer, symbols: Ints, alphabet: int) -> None:
    """Append symbols of 0..alphabet-1, with or without a frequency table, whichever is shorter.

    The table holds the logarithms of the frequencies, as coarse as is best, between the lowest and
    the highest symbol in use.
    """
    if alphabet <= 1 or symbols.size == 0:
        return
    counts = np.bincount(symbols, minlength=alphabet)
    used = np.flatnonzero(counts)
    first, last = int(used[0]), int(used[-1])
    choices = [_plain(symbols, alphabet)]
    for mode in range(1, len(_PER_OCTAVE)):
        choices.append(_with_table(symbols, counts, first, last, alphabet, mode))
    writer.extend(min(choices, key=lambda choice: choice.bits))


def estimated_bits(counts: Ints) -> NDArray[np.float64]:
    """Return about how many bits ``write_symbols`` takes for sequences, shape (sequences,).

    Args:
        counts: How often each symbol occurs in each sequence, shape (sequences, alphabet).
    """
    total, alphabet = counts.sum(axis=1), counts.shape[1]
    used = np.maximum(counts, 1)
    entropy = total * np.log2(np.maximum(total, 1)) - (used * np.log2(used)).sum(axis=1)
    coded = entropy + _TABLE_BITS * np.count_nonzero(counts, axis=1) + 2 * np.log2(alphabet) + 8
    return np.where(total > 0, np.minimum(coded, total * np.log2(alphabet) + 3), 0.0)


def read_symbols(reader: Reader, count: int, alphabet: int) -> NDArray[np.int32]:
    """Return the ``count`` symbols that ``write_symbols`` appended.

    Raises:
        BadStream: The frequency table is impossible.
    """
    if alphabet <= 1 or count == 0:
        return np.zeros(count, np.int32)
    mode = int(reader.uniform(1, len(_PER_OCTAVE))[0])
    if mode == 0:
        return reader.uniform(count, alphabet)
    first, last = (int(end) for end in reader.uniform(2, alphabet))
    if first > last:
        raise BadStream("a frequency table ends before it starts")
    if first == last:
        return np.full(count, first, np.int32)
    levels = _read_levels(reader, last - first + 1)
    return reader.table(count, _weights(levels, _PER_OCTAVE[mode])) + np.int32(first)


def write_increasing(writer: Writer, values: NDArray[np.float32]) -> None:
    """Append strictly increasing finite float32 values, bit for bit.

    They are written as differences of their ranks among all floats.
    """
    if values.size == 0:
        return
    ranks = _ranks(values)
    writer.packed(ranks[:1], np.array([32]))
    gaps = np.diff(ranks)
    # Gaps of at least 1 are exact in float64, so that the exponent is their length in bits.
    widths = np.frexp(gaps.astype(np.float64))[1].astype(np.int64)
    write_symbols(writer, widths, 33)
    writer.packed(gaps - (1 << np.maximum(widths - 1, 0)), widths - 1)


def read_increasing(reader: Reader, count: int) -> NDArray[np.float32]:
    """Return the ``count`` values that ``write_increasing`` appended.

    Raises:
        BadStream: The values do not increase or are not finite.
    """
    if count == 0:
        return np.empty(0, np.float32)
    start = reader.packed(np.array([32]))
    widths = read_symbols(reader, count - 1, 33).astype(np.int64)
    if (widths < 1).any():
        raise BadStream("a codebook does not increase")
    gaps = reader.packed(widths - 1) + (1 << (widths - 1))
    ranks = np.cumsum(np.concatenate([start, gaps]))
    if ranks[-1] >= 1 << 32:
        raise BadStream("a codebook leaves the range of float32")
    bits = np.where(ranks >= 1 << 31, ranks - (1 << 31), (1 << 32) - 1 - ranks).astype(np.uint32)
    values = bits.view(np.float32)
    if not np.isfinite(values).all():
        raise BadStream("a codebook holds NaN or infinity")
    return values


def _ranks(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Map float32 to integers that keep the order."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits < 1 << 31, bits + (1 << 31), (1 << 32) - 1 - bits)


def _plain(symbols: Ints, alphabet: int) -> Writer:
    writer = Writer()
    writer.uniform(np.zeros(1, np.int32), len(_PER_OCTAVE))
    writer.uniform(symbols, alphabet)
    return writer


def _with_table(
    symbols: Ints, counts: Ints, first: int, last: int, alphabet: int, mode: int
) -> Writer:
    writer = Writer()
    writer.uniform(np.array([mode]), len(_PER_OCTAVE))
    writer.uniform(np.array([first, last]), alphabet)
    if first < last:
        inner = counts[first : last + 1]
        with np.errstate(divide="ignore"):
            rounded = 1 + np.rint(np.log2(inner) * _PER_OCTAVE[mode])
        levels = np.where(inner > 0, rounded, 0).astype(np.int64)
        levels = np.minimum(levels, _MAX_LEVEL)
        _write_levels(writer, levels)
        writer.table(symbols - first, _weights(levels, _PER_OCTAVE[mode]))
    return writer


def _write_levels(writer: Writer, levels: Ints) -> None:
    """Append the levels of a table as zig-zag differences.

    They are coded under the best of 15 geometric distributions.
    """
    steps = np.diff(levels, prepend=0)
    zigzag = np.where(steps < 0, -2 * steps - 1, 2 * steps)
    decay = 1 + int(np.argmin(_geometric_bits()[:, zigzag].sum(axis=1)))
    writer.uniform(np.array([decay - 1]), _DECAYS)
    writer.table(zigzag, _geometric(decay))


def _read_levels(reader: Reader, count: int) -> NDArray[np.int64]:
    decay = 1 + int(reader.uniform(1, _DECAYS)[0])
    zigzag = reader.table(count, _geometric(decay)).astype(np.int64)
    levels = np.cumsum(np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2))
    if levels.min() < 0 or levels.max() > _MAX_LEVEL or levels.max() == 0:
        raise BadStream("a frequency table is out of range")
    return levels


def _weights(levels: Ints, per_octave: int) -> NDArray[np.int64]:
    """Return integer weights 2^((level - 1) / per_octave), at most 38 bits wide.

    Level 0 is an absent symbol.
    """
    sixteenths = np.maximum(levels - 1, 0) * (16 // per_octave)
    # All octaves go down alike, so that the largest weight is below 2^38.
    octaves = sixteenths // 16 - max(0, int(sixteenths.max()) // 16 - 21)
    roots = _ROOTS[sixteenths % 16]
    larger, smaller = roots << np.maximum(octaves, 0), roots >> np.maximum(-octaves, 0)
    weights = np.where(octaves >= 0, larger, smaller)
    return np.where(levels > 0, weights, 0)


@cache
def _geometric(decay: int) -> NDArray[np.int64]:
    """Return weights of the differences 0, 1, 2, ... that fall by decay / 16 each."""
    weights = [(1 << 37) * decay**z // 16**z for z in range(2 * _MAX_LEVEL + 1)]
    return np.array(weights, dtype=np.int64)


@cache
def _geometric_bits() -> NDArray[np.float64]:
    """Return the bits of each difference under each of the distributions."""
    shares = [(_normalised(_geometric(decay)) + 1) / _TOTAL for decay in range(1, _DECAYS + 1)]
    return -np.log2(np.stack(shares))


def _normalised(weights: Ints) -> NDArray[np.int64]:
    """Scale weights below 2^39 to integers whose sum is 2^24 - len(weights).

    The coder adds 1 to each.
    """
    total = _TOTAL - weights.size
    scaled = weights.astype(np.int64) * total // int(weights.sum())
    # What rounding left over goes to the largest.
    scaled[int(np.argmax(weights))] += total - int(scaled.sum())
    return scaled


def _model(frequencies: NDArray[np.int64]) -> object:
    return Categorical(frequencies.astype(np.float64), perfect=False)

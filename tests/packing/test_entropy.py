"""The symbol coder: exact round trips, lengths close to the entropy, refusal of foreign bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioprune.packing.entropy import (
    BadStream,
    Reader,
    Writer,
    _write_levels,
    estimated_bits,
    read_increasing,
    read_symbols,
    write_increasing,
    write_symbols,
)


def entropy_bits(symbols: np.ndarray) -> float:
    counts = np.unique(symbols, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum())


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_symbols_round_trip(data: st.DataObject) -> None:
    alphabet = data.draw(st.sampled_from([1, 2, 3, 17, 256, 65536]))
    top = data.draw(st.integers(0, alphabet - 1))
    symbols = np.array(data.draw(st.lists(st.integers(0, top), max_size=60)), np.int64)
    writer = Writer()
    write_symbols(writer, symbols, alphabet)
    writer.uniform(np.array([3]), 7)
    coded = writer.finish()
    assert abs(8 * len(coded) - writer.bits) <= 96
    reader = Reader(coded)
    assert np.array_equal(read_symbols(reader, symbols.size, alphabet), symbols)
    assert reader.uniform(1, 7)[0] == 3
    reader.check_end()


@pytest.mark.parametrize("alphabet", [2, 16, 64, 256])
def test_length_is_the_entropy(alphabet: int) -> None:
    rng = np.random.default_rng(alphabet)
    symbols = np.minimum(rng.geometric(min(0.8, 6 / alphabet), 50_000) - 1, alphabet - 1)
    writer = Writer()
    write_symbols(writer, symbols, alphabet)
    coded = writer.finish()
    assert 8 * len(coded) <= 1.003 * entropy_bits(symbols) + 6 * alphabet + 96
    assert 8 * len(coded) == pytest.approx(writer.bits, abs=64)
    assert writer.bits == pytest.approx(
        float(estimated_bits(np.bincount(symbols, minlength=alphabet)[None])[0]), rel=0.02, abs=200
    )


def test_uniform_symbols_need_no_table() -> None:
    symbols = np.arange(64) % 64
    writer = Writer()
    write_symbols(writer, symbols, 64)
    assert writer.bits <= 64 * 6 + 3


def test_same_bytes_on_every_machine() -> None:
    """The coded form is part of the file format: within version 1 these bytes never change."""
    writer = Writer()
    write_symbols(writer, np.repeat([0, 1, 2, 5], [40, 20, 7, 1]), 6)
    write_increasing(writer, np.array([-1.5, -0.25, 3e-5, 2.0], np.float32))
    writer.packed(np.array([5, 0, 1 << 40]), np.array([3, 0, 41]))
    assert writer.finish().hex() == EXPECTED


EXPECTED = "0000a00000ec40d92083a87e757c14b562ffff3fc466d6d04a3673e934d75b4c39eb486eb07f112a"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=30))
def test_increasing_floats_round_trip(values: list[float]) -> None:
    array = np.unique(np.array(values, np.float32)) + np.float32(0)
    writer = Writer()
    write_increasing(writer, array)
    reader = Reader(writer.finish())
    assert read_increasing(reader, array.size).tobytes() == array.tobytes()
    reader.check_end()


def test_codebooks_take_less_than_32_bits_a_value() -> None:
    array = np.sort(np.random.default_rng(0).laplace(size=256).astype(np.float32))
    writer = Writer()
    write_increasing(writer, array)
    assert writer.bits < 25 * array.size


def test_packed_integers_round_trip() -> None:
    widths = np.arange(49)
    values = (1 << widths) - 1
    writer = Writer()
    writer.packed(values, widths)
    assert np.array_equal(Reader(writer.finish()).packed(widths), values)


def test_foreign_bytes_are_refused() -> None:
    with pytest.raises(BadStream):
        Reader(b"abc")
    with pytest.raises(BadStream, match="zeros"):
        Reader(b"\1\0\0\0\0\0\0\0")
    with pytest.raises(BadStream, match="left"):
        Reader(b"\1\0\0\0\1\0\0\0").check_end()
    refused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        reader = Reader(rng.integers(1, 256, 24).astype(np.uint8).tobytes())
        try:
            symbols = read_symbols(reader, 20, 9)
            values = read_increasing(reader, 4)
            assert symbols.min() >= 0 and symbols.max() < 9
            assert np.isfinite(values).all() and (np.diff(values) > 0).all()
        except BadStream:
            refused += 1
    assert refused > 100


def test_refusals_name_the_fault() -> None:
    """Each stream is written as no writer of a sound sequence would."""
    ends = Writer()
    ends.uniform(np.array([1]), 6)
    ends.uniform(np.array([3, 2]), 9)
    with pytest.raises(BadStream, match="^a frequency table ends before it starts$"):
        read_symbols(Reader(ends.finish()), 5, 9)
    same = Writer()
    same.uniform(np.array([1]), 6)
    same.uniform(np.array([3, 3]), 9)
    assert read_symbols(Reader(same.finish()), 5, 9).tolist() == [3] * 5
    empty = Writer()
    empty.uniform(np.array([1]), 6)
    empty.uniform(np.array([2, 3]), 9)
    _write_levels(empty, np.array([0, 0]))
    with pytest.raises(BadStream, match="^a frequency table is out of range$"):
        read_symbols(Reader(empty.finish()), 5, 9)
    level = Writer()
    write_increasing(level, np.array([1.0], np.float32))
    write_symbols(level, np.array([0]), 33)
    with pytest.raises(BadStream, match="^a codebook does not increase$"):
        read_increasing(Reader(level.finish()), 2)
    far = Writer()
    far.packed(np.array([(1 << 32) - 1]), np.array([32]))
    write_symbols(far, np.array([1]), 33)
    with pytest.raises(BadStream, match="^a codebook leaves the range of float32$"):
        read_increasing(Reader(far.finish()), 2)
    infinite = Writer()
    infinite.packed(np.array([(1 << 31) + 0x7F800000]), np.array([32]))
    with pytest.raises(BadStream, match="^a codebook holds NaN or infinity$"):
        read_increasing(Reader(infinite.finish()), 1)
    for coded, message in (
        (b"abc", "the stream ends in zeros"),
        (b"\1\0\0\0\1\0\0\0", "data left after the last symbol"),
    ):
        with pytest.raises(BadStream, match=f"^{message}$"):
            Reader(coded).check_end()


def test_what_needs_no_bits_takes_none() -> None:
    writer = Writer()
    writer.uniform(np.zeros(5, int), 1)
    writer.uniform(np.zeros(0, int), 9)
    writer.table(np.zeros(4, int), np.array([3]))
    writer.table(np.zeros(0, int), np.array([3, 1]))
    write_symbols(writer, np.zeros(4, int), 1)
    write_symbols(writer, np.zeros(0, int), 7)
    write_increasing(writer, np.empty(0, np.float32))
    assert writer.bits == 0 and writer.finish() == b""
    reader = Reader(b"")
    assert reader.uniform(5, 1).tolist() == [0] * 5 and reader.uniform(0, 9).size == 0
    assert (
        reader.table(4, np.array([3])).tolist() == [0] * 4
        and reader.table(0, np.array([3, 1])).size == 0
    )
    assert read_symbols(reader, 4, 1).tolist() == [0] * 4 and read_symbols(reader, 0, 7).size == 0
    assert read_increasing(reader, 0).size == 0
    reader.check_end()


def test_bits_are_known_before_coding() -> None:
    writer = Writer()
    writer.uniform(np.arange(4), 8)
    assert writer.bits == 12
    writer.packed(np.array([1, 1 << 20]), np.array([3, 40]))
    assert writer.bits == 12 + 43
    other = Writer()
    other.table(np.array([0, 0, 1]), np.array([3, 1]))
    assert other.bits == pytest.approx(2 * np.log2(4 / 3) + 2, abs=1e-5)
    writer.extend(other)
    assert writer.bits == pytest.approx(55 + 2 * np.log2(4 / 3) + 2, abs=1e-5)
    assert estimated_bits(np.array([[0, 0], [4, 4]])).tolist() == [
        0.0,
        11.0,
    ]  # no table: 8 bits and 3
    counts = np.array([[1000, 0, 24, 0]])
    entropy = 1000 * np.log2(1024 / 1000) + 24 * np.log2(1024 / 24)
    assert estimated_bits(counts)[0] == pytest.approx(entropy + 3 * 2 + 2 * 2 + 8)

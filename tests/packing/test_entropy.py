"""The symbol coder: exact round trips, lengths close to the entropy and to their estimate, refusal of foreign bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioprune.packing.entropy import (
    BadStream,
    Reader,
    Writer,
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
    assert writer.bits == pytest.approx(float(estimated_bits(np.bincount(symbols, minlength=alphabet)[None])[0]), rel=0.02, abs=200)


def test_uniform_symbols_need_no_table() -> None:
    symbols = np.arange(64) % 64
    writer = Writer()
    write_symbols(writer, symbols, 64)
    assert writer.bits <= 64 * 6 + 3


def test_same_bytes_on_every_machine() -> None:
    """The coded form is part of the file format: these bytes may never change within format version 1."""
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

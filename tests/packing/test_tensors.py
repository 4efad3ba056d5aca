"""One tensor as a record: every dtype bit for bit, the shortest form, and the refusal of what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audioprune.compress.kmeans import Codebook, cluster
from audioprune.errors import ConfigError
from audioprune.packing.entropy import BadStream
from audioprune.packing.tensors import DTYPES, KINDS, Piece, Record, decode, encode, to_bytes


def round_trip(tensor: Tensor, keep: Tensor | None = None, book: Codebook | None = None) -> Record:
    record, body = encode("x", Piece(tensor, keep, book))
    assert record.coded + record.raw == len(body)
    piece = decode(record, body)
    assert piece.tensor.dtype == tensor.dtype and piece.tensor.shape == tensor.shape
    assert to_bytes(piece.tensor).tobytes() == to_bytes(tensor).tobytes()
    assert (piece.keep is None) == (keep is None) and (keep is None or torch.equal(piece.keep, keep))
    assert (piece.codebook is None) == (book is None)
    if book is not None:
        assert torch.equal(piece.codebook.centroids, book.centroids) and torch.equal(piece.codebook.codes, book.codes)
    return record


def random_bytes(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Any bit pattern of the dtype, NaN payloads and -0.0 included."""
    count = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(seed).integers(0, 2 if dtype == torch.bool else 256, max(1, count)).astype(np.uint8)
    return torch.from_numpy(data)[:count].view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 30), (3, 0, 2), (2, 3, 4, 5)], ids=str)
def test_every_dtype_round_trips(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    round_trip(random_bytes(shape, dtype, 0))
    round_trip(torch.zeros(shape, dtype=dtype))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=4), st.floats(0, 1), st.sampled_from(["float32", "float16", "int64"]), st.integers(0, 99))
def test_masked_tensors_round_trip(shape: list[int], density: float, dtype: str, seed: int) -> None:
    keep = torch.from_numpy(np.array(np.random.default_rng(seed).random(shape) < density))
    tensor = random_bytes(tuple(shape), DTYPES[dtype], seed)
    tensor[~keep] = 0
    round_trip(tensor, keep)
    round_trip(tensor)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=3), st.floats(0, 1), st.sampled_from([1, 2, 5, 64, 700]), st.integers(0, 99), st.booleans())
def test_quantised_tensors_round_trip(shape: list[int], density: float, levels: int, seed: int, masked: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=generator)
    keep = torch.rand(shape, generator=generator) < density
    book = cluster(tensor, levels, keep)
    round_trip(book.restore(keep), keep if masked else None, book)


def test_special_floats_keep_their_bits() -> None:
    bits = torch.tensor([0x7FC00001, -1, 0x7F800000, -(1 << 31), 1, 0x00800000], dtype=torch.int32)
    round_trip(bits.view(torch.float32))
    round_trip(bits.view(torch.float32), torch.ones(6, dtype=torch.bool))


def test_a_removed_negative_zero_becomes_zero() -> None:
    keep = torch.tensor([True, False])
    record, body = encode("x", Piece(torch.tensor([-0.0, -0.0]), keep, None))
    tensor = decode(record, body).tensor
    assert to_bytes(tensor).tobytes() == b"\0\0\0\x80\0\0\0\0"


def test_the_shortest_form_is_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(200, 100, generator=generator)
    noise = random_bytes((5000,), torch.uint8, 0)
    assert round_trip(noise).kind == "raw"
    dense = round_trip(weights)
    assert dense.kind == "bytes" and dense.coded + dense.raw < 0.93 * 4 * weights.numel()
    sparse = round_trip(weights * (torch.rand(200, 100, generator=generator) < 0.1))
    assert sparse.kind == "sparse-bytes" and not sparse.masked
    counters = round_trip(torch.full((300,), 1234))
    assert counters.coded + counters.raw < 40
    keep = torch.ones(200, 100, dtype=torch.bool)
    book = cluster(weights, 16, keep)
    assert round_trip(book.restore(keep), keep, book).kind == "codes"
    tiny = torch.randn(3, generator=generator)
    assert round_trip(tiny).raw == 12


def test_non_contiguous_tensors() -> None:
    tensor = torch.arange(24.0).reshape(4, 6).t()
    record, body = encode("x", Piece(tensor, None, None))
    assert torch.equal(decode(record, body).tensor, tensor)


def test_what_does_not_fit_is_refused() -> None:
    weights = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    keep = torch.ones(4, 5, dtype=torch.bool)
    keep[0] = False
    with pytest.raises(ConfigError, match="w: expected zeros where the mask removes"):
        encode("w", Piece(weights, keep, None))
    with pytest.raises(ConfigError, match=r"shape \(4, 5\), got \(5, 4\)"):
        encode("w", Piece(weights, keep.t(), None))
    book = cluster(weights, 4)
    for wrong in (weights, book.restore(torch.ones(4, 5, dtype=torch.bool)).double()):
        with pytest.raises(ConfigError, match="codebook"):
            encode("w", Piece(wrong, None, book))
    with pytest.raises(ConfigError, match="dense tensor"):
        encode("w", Piece(weights.to_sparse(), None, None))


def test_random_bodies_never_pass_unseen() -> None:
    """Whatever the bytes, decoding ends with a tensor of the promised shape or with a refusal."""
    refused = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        kind = KINDS[seed % len(KINDS)]
        coded = rng.integers(0, 256, 4 * rng.integers(0, 20)).astype(np.uint8).tobytes()
        raw = bytes(int(rng.integers(0, 50)))
        levels = int(rng.choice([0, 1, 16, 300])) if kind.endswith("codes") else 0
        record = Record("x", tuple(rng.integers(0, 20, rng.integers(0, 3)).tolist()), "float32", kind, True, levels, len(coded), len(raw))
        try:
            piece = decode(record, coded + raw)
            assert piece.tensor.shape == record.shape
            assert piece.codebook is None or piece.codebook.codes.numel() == 0 or int(piece.codebook.codes.long().max()) < levels
        except (BadStream, ValueError):
            refused += 1
    assert refused > 300

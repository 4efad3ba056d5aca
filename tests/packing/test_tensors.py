"""One tensor as a record: every dtype bit for bit, the shortest form, refusal of misfits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audioprune.compress.quantize.kmeans import Codebook, cluster
from audioprune.errors import ConfigError
from audioprune.packing.entropy import BadStream
from audioprune.packing.tensors import DTYPES, KINDS, Piece, Record, decode, encode, to_bytes


def round_trip(tensor: Tensor, keep: Tensor | None = None, book: Codebook | None = None) -> Record:
    record, body = encode("x", Piece(tensor, keep, book))
    assert record.coded + record.raw == len(body)
    piece = decode(record, body)
    assert piece.tensor.dtype == tensor.dtype and piece.tensor.shape == tensor.shape
    assert to_bytes(piece.tensor).tobytes() == to_bytes(tensor).tobytes()
    assert (piece.keep is None) == (keep is None) and (
        keep is None or torch.equal(piece.keep, keep)
    )
    assert (piece.codebook is None) == (book is None)
    if book is not None:
        assert torch.equal(piece.codebook.centroids, book.centroids) and torch.equal(
            piece.codebook.codes, book.codes
        )
    return record


def random_bytes(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Any bit pattern of the dtype, NaN payloads and -0.0 included."""
    count = int(np.prod(shape)) * dtype.itemsize
    data = (
        np.random.default_rng(seed)
        .integers(0, 2 if dtype == torch.bool else 256, max(1, count))
        .astype(np.uint8)
    )
    return (
        torch.from_numpy(data)[:count].view(dtype).reshape(shape)
        if count
        else torch.empty(shape, dtype=dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 30), (3, 0, 2), (2, 3, 4, 5)], ids=str)
def test_every_dtype_round_trips(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    round_trip(random_bytes(shape, dtype, 0))
    round_trip(torch.zeros(shape, dtype=dtype))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.floats(0, 1),
    st.sampled_from(["float32", "float16", "int64"]),
    st.integers(0, 99),
)
def test_masked_tensors_round_trip(
    shape: list[int], density: float, dtype: str, seed: int
) -> None:
    keep = torch.from_numpy(np.array(np.random.default_rng(seed).random(shape) < density))
    tensor = random_bytes(tuple(shape), DTYPES[dtype], seed)
    tensor[~keep] = 0
    round_trip(tensor, keep)
    round_trip(tensor)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), max_size=3),
    st.floats(0, 1),
    st.sampled_from([1, 2, 5, 64, 700]),
    st.integers(0, 99),
    st.booleans(),
)
def test_quantised_tensors_round_trip(
    shape: list[int], density: float, levels: int, seed: int, masked: bool
) -> None:
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
        record = Record(
            "x",
            tuple(rng.integers(0, 20, rng.integers(0, 3)).tolist()),
            "float32",
            kind,
            True,
            levels,
            len(coded),
            len(raw),
        )
        try:
            piece = decode(record, coded + raw)
            assert piece.tensor.shape == record.shape
            assert (
                piece.codebook is None
                or piece.codebook.codes.numel() == 0
                or int(piece.codebook.codes.long().max()) < levels
            )
        except (BadStream, ValueError):
            refused += 1
    assert refused > 300


def test_refusals_say_what_was_got() -> None:
    weights, keep = torch.ones(4, 5), torch.ones(4, 5, dtype=torch.bool)
    codebook = (
        "w: expected the weights to be the values of their codebook, got others; quantize the "
        "model again"
    )
    book = cluster(weights, 1)
    falling = Codebook(torch.tensor([2.0, 1.0]), torch.tensor([1] * 20, dtype=torch.uint8))
    beyond = Codebook(torch.tensor([1.0]), torch.tensor([1] * 20, dtype=torch.uint8))
    none = torch.zeros(4, 5, dtype=torch.bool)
    cases = (
        (
            Piece(weights, keep.t(), None),
            "w: expected a mask of shape (4, 5), got (5, 4); use this model's mask",
        ),
        (
            Piece(weights, none, None),
            "w: expected zeros where the mask removes, got other values; apply the mask first",
        ),
        (
            Piece(weights.to_sparse(), None, None),
            "w: expected a dense tensor of a known dtype, got torch.sparse_coo float32; convert "
            "it first",
        ),
        (
            Piece(torch.ones(2, dtype=torch.complex32), None, None),
            "w: expected a dense tensor of a known dtype, got torch.strided complex32; convert "
            "it first",
        ),
        (Piece(2 * weights, None, book), codebook),
        (Piece(weights.double(), None, book), codebook),
        (Piece(weights[:2], None, book), codebook),
        (Piece(weights, None, falling), codebook),
        (Piece(weights, None, beyond), codebook),
    )
    for piece, message in cases:
        with pytest.raises(ConfigError) as caught:
            encode("w", piece)
        assert str(caught.value) == message


def test_a_record_says_what_its_body_is() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    record, body = encode("w", Piece(weights, weights != 0, cluster(weights, 2, weights != 0)))
    assert (record.name, record.shape, record.dtype, record.kind) == (
        "w",
        (2, 2),
        "float32",
        "sparse-codes",
    )
    assert (record.masked, record.levels, record.coded, record.raw) == (True, 2, len(body), 0)
    assert (record.size, record.itemsize) == (4, 4)
    plain, bytes_ = encode("b", Piece(torch.tensor([1.5, -2.0]), None, None))
    assert (
        plain == Record("b", (2,), "float32", "raw", False, 0, 0, 8)
        and bytes_ == torch.tensor([1.5, -2.0]).numpy().tobytes()
    )


def test_bodies_of_a_wrong_length_are_refused() -> None:
    raw = Record("x", (2,), "float32", "raw", False, 0, 0, 8)
    for body in (bytes(7), bytes(9)):
        with pytest.raises(BadStream, match="^the plain part has the wrong length$"):
            decode(raw, body)
    codes = Record("x", (2,), "float32", "codes", False, 0, 0, 0)
    with pytest.raises(BadStream, match="^a codebook of 0 values for 2 weights$"):
        decode(codes, b"")
    with pytest.raises(BadStream, match="^a bool that is neither 0 nor 1$"):
        decode(Record("x", (2,), "bool", "raw", False, 0, 0, 2), b"\1\2")
    planes = Record("x", (9,), "int16", "bytes", False, 0, 0, 3)
    with pytest.raises(BadStream, match="^the plain part is too short$"):
        decode(planes, b"abc")

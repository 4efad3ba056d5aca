"""How one tensor, its mask and its codebook become the bytes of one record, and back, bit for bit.

``encode`` chooses the shortest of a few forms, ``decode`` reads any of them. How records make a
file, and how a damaged one is recognised, is decided in container.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.quantize.kmeans import MAX_LEVELS, Codebook
from audioprune.compress.quantize.uniform import Grid
from audioprune.errors import ConfigError
from audioprune.packing.codes import read_codes, write_codes
from audioprune.packing.entropy import (
    BadStream,
    Reader,
    Writer,
    read_increasing,
    read_symbols,
    write_increasing,
    write_symbols,
)
from audioprune.packing.grids import STEPS, read_grid, write_grid
from audioprune.packing.positions import read_positions, write_positions

Kind = Literal["raw", "bytes", "codes", "sparse-bytes", "sparse-codes", "grid", "sparse-grid"]
KINDS: tuple[Kind, ...] = ("raw", "bytes", "codes", "sparse-bytes", "sparse-codes")
GRIDS: tuple[Kind, ...] = ("grid", "sparse-grid")
"""Kinds that format version 2 added."""

MAX_NAME = 512
"""Most characters of the name of a tensor."""
_HALF = re.compile("[\ud800-\udfff]")
"""Half of a pair of UTF-16, which JSON can spell and no text can hold."""
_MAX_AXES = 16
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.bool, torch.complex64, torch.complex128),
)
DTYPES: dict[str, torch.dtype] = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES}


@dataclass(frozen=True)
class Record:
    """What the header says about one tensor.

    Attributes:
        name: Name in the state dict.
        shape: Shape of the tensor.
        dtype: Element type, a key of ``DTYPES``.
        kind: ``"raw"`` for plain bytes; ``"bytes"`` for byte planes, each plain or coded;
            ``"codes"`` for a codebook and codes; ``"grid"`` for scales, zero points and codes. The
            ``"sparse-"`` kinds hold the positions first and then the kept elements alone.
        masked: Whether the positions are a mask of the model, rather than the elements that are
            not zero.
        levels: Number of shared values K, or of codes of a grid, odd where it is symmetric; 0 if
            not quantised.
        coded: Length of the entropy-coded part in bytes.
        raw: Length of the plain part in bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    masked: bool
    levels: int
    coded: int
    raw: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory."""
        return DTYPES[self.dtype].itemsize


def record_of(row: Any) -> Record:
    """Return the record of a row of the header, after checking every field of it.

    Raises:
        BadStream: A field is none that ``encode`` writes.
    """
    if not isinstance(row, list) or len(row) != len(fields(Record)):
        raise BadStream("a record has the wrong fields")
    name, shape, dtype, kind, masked, levels, coded, raw = row
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or _HALF.search(name):
        raise BadStream("a tensor has a bad name")
    if (
        not isinstance(shape, list)
        or len(shape) > _MAX_AXES
        or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
    ):
        raise BadStream(f"tensor '{name}' has a bad shape")
    known = isinstance(dtype, str) and dtype in DTYPES
    if not known or not isinstance(kind, str) or kind not in (*KINDS, *GRIDS):
        raise BadStream(f"tensor '{name}' has an unknown dtype or kind")
    if (
        not all(type(n) is int and n >= 0 for n in (masked, levels, coded, raw))
        or masked > 1
        or coded % 4
    ):
        raise BadStream(f"tensor '{name}' has a bad length")
    grid, coded_values = kind in GRIDS, kind.endswith(("codes", "grid"))
    if levels > MAX_LEVELS or (levels and not coded_values) or (grid and levels not in STEPS):
        raise BadStream(f"tensor '{name}' has a bad codebook")
    if coded_values and dtype != "float32":
        raise BadStream(f"tensor '{name}' has a bad codebook")
    return Record(name, tuple(shape), dtype, kind, bool(masked), levels, coded, raw)


@dataclass(frozen=True, eq=False)
class Piece:
    """A tensor with what belongs to it."""

    tensor: Tensor
    keep: Tensor | None
    codebook: Quantized | None


def to_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Return the elements of a tensor as bytes, (elements, bytes per element)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().reshape(flat.numel(), tensor.dtype.itemsize)


def encode(name: str, piece: Piece) -> tuple[Record, bytes]:
    """Return the record and the body of a tensor, in the shortest of the possible forms.

    Raises:
        ConfigError: The dtype is unknown, a removed weight is not zero, or the values are not
            those of the codebook.
    """
    dtype = str(piece.tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES or piece.tensor.layout != torch.strided:
        raise ConfigError(
            f"{name}: expected a dense tensor of a known dtype, got {piece.tensor.layout} "
            f"{dtype}; convert it first"
        )
    elements = to_bytes(piece.tensor)
    keep = _kept(name, piece, elements)
    book = piece.codebook
    forms = _plain_forms(piece, elements, keep) if book is None else [_quantised(book, keep)]
    kind, writer, raw = min(forms, key=_estimated_bits)
    coded = writer.finish()
    record = Record(
        name=name,
        shape=tuple(piece.tensor.shape),
        dtype=dtype,
        kind=kind,
        masked=piece.keep is not None,
        levels=0 if book is None else book.levels,
        coded=len(coded),
        raw=len(raw),
    )
    return record, coded + raw


def decode(record: Record, body: bytes) -> Piece:
    """Return the tensor of a record; the checksum of the body and the size are verified before.

    Raises:
        BadStream: The body is not what ``encode`` writes for such a record.
    """
    reader, raw = Reader(body[: record.coded]), body[record.coded :]
    keep = read_positions(reader, record.shape) if record.kind.startswith("sparse") else None
    count = record.size if keep is None else int(np.count_nonzero(keep))
    book: Quantized | None = None
    if record.kind.endswith(("codes", "grid")):
        where = np.ones(record.shape, bool) if keep is None else keep
        if record.kind.endswith("grid"):
            book = read_grid(reader, record.levels, where)
        else:
            book = _read_codes(reader, record.levels, where, count)
        values = to_bytes(_values(book, where))
    elif record.kind == "raw":
        values, raw = np.frombuffer(raw, np.uint8), b""
    else:
        values, raw = _read_planes(reader, raw, count, record.itemsize)
    reader.check_end()
    if raw or values.size != count * record.itemsize:
        raise BadStream("the plain part has the wrong length")
    tensor = _assemble(record, values.reshape(count, record.itemsize), keep)
    if not record.masked:
        return Piece(tensor, None, book)
    whole = torch.ones(record.shape, dtype=torch.bool)
    return Piece(tensor, whole if keep is None else torch.from_numpy(keep), book)


def _kept(name: str, piece: Piece, elements: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the positions of a tensor that are stored; the others were checked to be zero."""
    tensor = piece.tensor.detach().cpu()
    if piece.keep is not None:
        keep = piece.keep.cpu()
        if keep.shape != tensor.shape:
            raise ConfigError(
                f"{name}: expected a mask of shape {tuple(tensor.shape)}, got "
                f"{tuple(keep.shape)}; use this model's mask"
            )
        if bool(((tensor != 0) > keep).any()):
            raise ConfigError(
                f"{name}: expected zeros where the mask removes, got other values; apply the "
                f"mask first"
            )
        found = keep.numpy()
    elif piece.codebook is not None:
        whole = torch.ones_like(tensor) if piece.codebook.has_zero else tensor
        found = (whole != 0).numpy()
    else:
        found = (_words(elements) != 0).reshape(tensor.shape)
    if piece.codebook is not None:
        _check_codebook(name, piece.tensor.detach().cpu(), piece.codebook, found)
    return np.ascontiguousarray(found)


def _check_codebook(name: str, tensor: Tensor, book: Quantized, keep: NDArray[np.bool_]) -> None:
    """Refuse a codebook or grid whose values are not, bit for bit, those of the kept weights."""
    same = tensor.dtype == torch.float32 and book.codes.numel() == np.count_nonzero(keep)
    same = same and _is_sound(book, tensor.shape)
    if same and book.codes.numel():
        held = tensor.contiguous().view(torch.int32).numpy()[keep]
        same = np.array_equal(held, _values(book, keep).numpy().view(np.int32))
    if not same:
        raise ConfigError(
            f"{name}: expected the weights to be the values of their codebook, got others; "
            f"quantize the model again"
        )


def _values(book: Quantized, keep: NDArray[np.bool_]) -> Tensor:
    """Return the quantised values of the kept weights, float32 (S,)."""
    if isinstance(book, Codebook) and book.codes.numel():
        # a byte a code indexes fastest
        return torch.from_numpy(book.centroids.cpu().numpy()[book.codes.cpu().numpy()])
    where = torch.from_numpy(np.asarray(keep))
    return book.restore(where)[where]


def _is_sound(book: Quantized, shape: torch.Size) -> bool:
    """Tell whether a file can hold a codebook or a grid as it is."""
    if isinstance(book, Codebook):
        increasing = bool((book.centroids[1:] > book.centroids[:-1]).all())
        few = not book.codes.numel() or int(book.codes.long().max()) < book.levels
        return increasing and few
    if not isinstance(book, Grid) or book.steps not in STEPS:
        return False
    if not 0 <= book.axis < max(1, len(shape)):
        return False
    length = shape[book.axis] if shape else 1
    scales, zeros = book.scales, book.zeros
    if not scales.numel() or length % scales.numel() or zeros.numel() != scales.numel():
        return False
    inside = zeros == book.steps // 2 if book.symmetric else zeros < book.steps
    positive = (scales > 0) & scales.isfinite()
    return bool(inside.all() and positive.all() and (book.codes < book.steps).all())


def _plain_forms(
    piece: Piece, elements: NDArray[np.uint8], keep: NDArray[np.bool_]
) -> list[tuple[Kind, Writer, bytes]]:
    """Return the forms of a tensor without a codebook, to choose the shortest from."""
    forms: list[tuple[Kind, Writer, bytes]] = []
    if piece.keep is None or keep.all():
        forms = [("raw", Writer(), elements.tobytes()), ("bytes", *_planes(Writer(), elements))]
    if not forms or np.count_nonzero(keep) < 0.97 * keep.size:
        positions = Writer()
        write_positions(positions, keep)
        kept = _bytes(_words(elements)[keep.reshape(-1)])
        forms.append(("sparse-bytes", *_planes(positions, kept)))
    return forms


def _estimated_bits(form: tuple[Kind, Writer, bytes]) -> float:
    return (form[1].bits + 32 if form[1].bits else 0) + 8 * len(form[2])


def _words(elements: NDArray[np.uint8]) -> NDArray[Any]:
    """View the bytes of each element as one number of that width, for whole-element moves only."""
    width = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}[elements.shape[1]]
    return np.ascontiguousarray(elements).reshape(-1).view(width)


def _bytes(words: NDArray[Any]) -> NDArray[np.uint8]:
    return words.view(np.uint8).reshape(words.size, words.dtype.itemsize)


def _planes(writer: Writer, elements: NDArray[np.uint8]) -> tuple[Writer, bytes]:
    """Append the first byte of all elements, then the second, and so on.

    Each plane is coded if that is shorter and plain otherwise.
    """
    raw = []
    for plane in np.ascontiguousarray(elements.T):
        trial = Writer()
        write_symbols(trial, plane, 256)
        coded = trial.bits < 7.99 * plane.size
        writer.uniform(np.array([int(coded)]), 2)
        if coded:
            writer.extend(trial)
        else:
            raw.append(plane.tobytes())
    return writer, b"".join(raw)


def _read_planes(
    reader: Reader, raw: bytes, count: int, planes: int
) -> tuple[NDArray[np.uint8], bytes]:
    elements = np.empty((count, planes), np.uint8)
    for plane in range(planes):
        if reader.uniform(1, 2)[0]:
            elements[:, plane] = read_symbols(reader, count, 256)
        elif len(raw) < count:
            raise BadStream("the plain part is too short")
        else:
            elements[:, plane] = np.frombuffer(raw[:count], np.uint8)
            raw = raw[count:]
    return elements, raw


def _quantised(book: Quantized, keep: NDArray[np.bool_]) -> tuple[Kind, Writer, bytes]:
    writer = Writer()
    sparse = not keep.all()
    if sparse:
        write_positions(writer, keep)
    if isinstance(book, Grid):
        write_grid(writer, book, keep)
        return "sparse-grid" if sparse else "grid", writer, b""
    centroids = cast(Codebook, book).centroids.cpu().numpy()  # what is neither was refused
    write_increasing(writer, centroids)
    write_codes(writer, book.codes.cpu().numpy(), keep, centroids)
    return "sparse-codes" if sparse else "codes", writer, b""


def _read_codes(reader: Reader, levels: int, keep: NDArray[np.bool_], count: int) -> Codebook:
    if (levels == 0) != (count == 0):
        raise BadStream(f"a codebook of {levels} values for {count} weights")
    centroids = torch.from_numpy(read_increasing(reader, levels))
    return Codebook(centroids, torch.from_numpy(read_codes(reader, keep, levels)))


def _assemble(record: Record, values: NDArray[np.uint8], keep: NDArray[np.bool_] | None) -> Tensor:
    if keep is not None:
        kept = _words(values)
        whole = np.zeros(record.size, kept.dtype)
        whole[keep.reshape(-1)] = kept
        values = _bytes(whole)
    dtype = DTYPES[record.dtype]
    if record.size == 0:
        return torch.empty(record.shape, dtype=dtype)
    if dtype == torch.bool and values.max() > 1:
        raise BadStream("a bool that is neither 0 nor 1")
    return torch.from_numpy(np.array(values).reshape(-1)).view(dtype).reshape(record.shape)

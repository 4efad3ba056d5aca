"""The model file ``model.apz``: ``pack`` writes it, ``unpack`` reads it, ``inspect`` its header.

It has a header, one record for each tensor and checksums over everything; no code is inside.
Layout, little-endian: magic ``\\x89APZ``; format version (u16); length of the header (u32); header
(JSON, deflated); for each tensor the CRC-32 of its body and 8 bytes of the SHA-256 of the decoded
tensor; the bodies in header order, without gaps; the SHA-256 of all bytes before it. The forms of
a body are those of tensors.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from audioprune.compress.masks import Mask
from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.ties import refuse_overlaps
from audioprune.errors import CheckpointError, ConfigError, unknown_name
from audioprune.files import write_atomic
from audioprune.model_header import COMMON_TEXT, MAX_HEADER_BYTES, PACKED_MAGIC, PACKED_PREFIX
from audioprune.packing.entropy import BadStream
from audioprune.packing.tensors import (
    GRIDS,
    MAX_NAME,
    Piece,
    Record,
    decode,
    encode,
    record_of,
    to_bytes,
)
from audioprune.plain.sealing import refuse_deep

MAGIC = PACKED_MAGIC
VERSION, GRID_VERSION = 1, 2
"""Format versions: the second one is written where a tensor is a grid, and only there."""
_SUMS = struct.Struct("<I8s")
_HASH_BYTES = 32
_FREE_BYTES, _MAX_EXPANSION = 64 << 20, 1024


@dataclass(frozen=True)
class TensorSize:
    """Where the bytes of a file went: one tensor.

    Attributes:
        name: Name in the state dict.
        kind: Form of the body, see ``Record``.
        weights: Number of elements.
        levels: Number of shared values, 0 if not quantised.
        disk_bytes: Body and checksums.
    """

    name: str
    kind: str
    weights: int
    levels: int
    disk_bytes: int


@dataclass(frozen=True)
class PackReport:
    """What was written.

    Attributes:
        path: The file.
        disk_bytes: Length of the file.
        overhead_bytes: Bytes that belong to no tensor: prefix, header (with the config) and hash.
        tensors: The others; they and the overhead add up to ``disk_bytes``.
    """

    path: Path
    disk_bytes: int
    overhead_bytes: int
    tensors: tuple[TensorSize, ...]


@dataclass(frozen=True)
class Inspection:
    """What the header of a packed file says; printing it gives a table."""

    path: Path
    disk_bytes: int
    config: dict[str, Any]
    meta: dict[str, Any]
    records: tuple[Record, ...]

    def __str__(self) -> str:
        told = f"{self.disk_bytes} bytes, {len(self.records)} tensors"
        lines = [f"{self.path}: {told}, format {_version(self.records)}"]
        lines += [f"config {json.dumps(self.config)}", f"meta {json.dumps(self.meta)}"]
        for record in self.records:
            levels = f" K={record.levels}" if record.levels else ""
            form = f"{record.dtype} {record.kind}{levels}"
            size, whole = record.coded + record.raw, record.size * record.itemsize
            lines.append(f"{record.name} {list(record.shape)} {form}: {size} of {whole} bytes")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Packed:
    """The content of a packed file.

    Attributes:
        config: What rebuilds the model, as given to ``pack``; it is data, nothing in it has been
            called.
        meta: Notes, as given to ``pack``.
        state: Tensors by name in the order of writing, equal bit for bit (a removed -0.0 is read
            as 0.0).
        mask: The mask of the masked parameters, or None if there was none.
        codebooks: Codebooks and grids of the quantised parameters by name.
    """

    config: dict[str, Any]
    meta: dict[str, Any]
    state: dict[str, Tensor]
    mask: Mask | None
    codebooks: dict[str, Quantized]


def pack(
    path: str | Path,
    model_state: Mapping[str, Tensor],
    *,
    mask: Mask | None = None,
    codebooks: Mapping[str, Quantized] | None = None,
    config: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
) -> PackReport:
    """Write a model as one small file, which is decoded and compared before it gets its name.

    Args:
        path: The file, usually ``model.apz``.
        model_state: Tensors by name, as from ``state_dict()``; removed weights are zero.
        mask: Kept positions of the masked parameters.
        codebooks: Codebooks and grids, as from ``quantize_with_``; the weights are their values.
        config: JSON values that rebuild the model: its ``_target_`` and arguments, the task, the
            sample rate.
        meta: JSON values for information only.

    Returns:
        The size of the file and of each tensor in it.

    Raises:
        ConfigError: A mask or codebook names no tensor, does not fit it or names one that shares
            memory with another, or ``config`` or ``meta`` are not JSON.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    refuse_overlaps(model_state, {*(mask or ()), *(codebooks or ())})
    pieces = _pieces(model_state, mask, codebooks or {})
    bodies = [encode(name, piece) for name, piece in pieces.items()]
    records = tuple(record for record, _ in bodies)
    header = _pack_header(config, meta or {}, records)
    sums = b"".join(
        _SUMS.pack(zlib.crc32(body), _digest(record, pieces[record.name]))
        for record, body in bodies
    )
    start = PACKED_PREFIX.pack(MAGIC, _version(records), len(header))
    content = start + header + sums + b"".join(body for _, body in bodies)
    data = content + hashlib.sha256(content).digest()
    _parse(path, data)
    write_atomic(path, data)
    sizes = tuple(
        TensorSize(r.name, r.kind, r.size, r.levels, r.coded + r.raw + _SUMS.size) for r in records
    )
    return PackReport(path, len(data), len(data) - sum(size.disk_bytes for size in sizes), sizes)


def unpack(path: str | Path) -> Packed:
    """Read a packed model: every byte is verified before it is used, nothing is executed.

    Raises:
        CheckpointError: The file is missing, damaged, not a packed model, of a newer format, or
            lies about its content.
    """
    path = Path(path)
    return _parse(path, _read(path))


def inspect(path: str | Path) -> Inspection:
    """Return what the header says, after verifying the whole file but without decoding a tensor.

    Raises:
        CheckpointError: As for ``unpack``.
    """
    path = Path(path)
    data = _read(path)
    _verify(path, data)
    config, meta, records, _ = _split(path, data)
    return Inspection(path, len(data), config, meta, records)


def _pieces(
    state: Mapping[str, Tensor], mask: Mask | None, codebooks: Mapping[str, Quantized]
) -> dict[str, Piece]:
    for what, names in (("mask", mask or ()), ("codebook", codebooks)):
        for name in names:
            if name not in state:
                raise ConfigError(unknown_name(f"tensor of a {what}", name, state))
    for name in state:
        if not name or len(name) > MAX_NAME:
            raise ConfigError(
                f"expected tensor names of 1..{MAX_NAME} characters, got {len(name)}; rename "
                f"the parameter"
            )
    keeps = {} if mask is None else {name: mask[name] for name in mask}
    return {
        name: Piece(tensor, keeps.get(name), codebooks.get(name)) for name, tensor in state.items()
    }


def _pack_header(
    config: Mapping[str, Any], meta: Mapping[str, Any], records: tuple[Record, ...]
) -> bytes:
    rows = [
        [int(value) if field == "masked" else value for field, value in asdict(record).items()]
        for record in records
    ]
    try:
        text = json.dumps(
            {"config": dict(config), "meta": dict(meta), "tensors": rows},
            separators=(",", ":"),
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"expected config and meta to be plain JSON values, got {error}; convert them first"
        ) from None
    if len(text.encode()) > MAX_HEADER_BYTES:
        raise ConfigError(
            f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(text.encode())}; "
            f"shorten config or meta"
        )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=COMMON_TEXT)
    return deflate.compress(text.encode()) + deflate.flush()


def _digest(record: Record, piece: Piece) -> bytes:
    """Return 8 bytes that depend on name, type, shape, values and mask.

    Removed weights count as 0.0.
    """
    digest = hashlib.sha256(f"{record.name}\0{record.dtype}\0{list(record.shape)}\0".encode())
    if piece.keep is None:
        digest.update(to_bytes(piece.tensor).data)
    else:
        keep = piece.keep.cpu()
        kept = piece.tensor.detach().cpu().masked_fill(~keep, 0)
        digest.update(to_bytes(kept).data)
        digest.update(np.packbits(keep.numpy()).data)
    return digest.digest()[:8]


def _read(path: Path) -> bytes:
    """Return the bytes of a file that at least begins like a packed model."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(PACKED_PREFIX.size)
            if not start:
                raise CheckpointError(
                    f"{path}: expected a packed model, got an empty file; write it again"
                )
            if not start.startswith(MAGIC[: len(start)]):
                raise CheckpointError(
                    f"{path}: expected a packed model, got another kind of file or a checksum "
                    f"mismatch in the first bytes"
                )
            return start + stream.read()
    except OSError as error:
        raise CheckpointError(
            f"cannot read packed model {path}: {error.strerror or error}; check the path"
        ) from error


def _verify(path: Path, data: bytes) -> None:
    """Fail unless the hash at the end fits and the format is known."""
    whole = len(data) >= PACKED_PREFIX.size + _HASH_BYTES
    if (
        not whole
        or hashlib.sha256(memoryview(data)[:-_HASH_BYTES]).digest() != data[-_HASH_BYTES:]
    ):
        raise CheckpointError(
            f"{path}: checksum mismatch in {_locate(path, data)}; the file is damaged or cut "
            f"short, copy it again"
        )
    _, version, _ = PACKED_PREFIX.unpack_from(data)
    if version not in (VERSION, GRID_VERSION):
        raise CheckpointError(
            f"{path}: expected format version {VERSION} or {GRID_VERSION}, got {version}; update "
            f"audioprune to read it"
        )


def _locate(path: Path, data: bytes) -> str:
    """Name the part of a damaged file that does not fit its checksum."""
    try:
        _, _, records, bodies = _split(path, data)
    except CheckpointError:
        return "the header or the length of the file"
    for record, (start, end, crc, _) in zip(records, bodies, strict=True):
        if zlib.crc32(memoryview(data)[start:end]) != crc:
            return f"tensor '{record.name}'"
    return "the header or the checksums"


def _parse(path: Path, data: bytes) -> Packed:
    _verify(path, data)
    config, meta, records, bodies = _split(path, data)
    pieces: dict[str, Piece] = {}
    for record, (start, end, crc, digest) in zip(records, bodies, strict=True):
        if zlib.crc32(memoryview(data)[start:end]) != crc:
            raise CheckpointError(
                f"{path}: checksum mismatch in tensor '{record.name}'; copy or write the file "
                f"again"
            )
        try:
            piece = decode(record, data[start:end])
        except (BadStream, ValueError, AssertionError, OverflowError) as error:
            raise CheckpointError(
                f"{path}: tensor '{record.name}' cannot be decoded ({error}); write the file again"
            ) from error
        if _digest(record, piece) != digest:
            raise CheckpointError(
                f"{path}: checksum mismatch in tensor '{record.name}' after decoding; write the "
                f"file again"
            )
        pieces[record.name] = piece
    keeps = {name: piece.keep for name, piece in pieces.items() if piece.keep is not None}
    books = {name: piece.codebook for name, piece in pieces.items() if piece.codebook is not None}
    return Packed(
        config,
        meta,
        {name: piece.tensor for name, piece in pieces.items()},
        Mask(keeps) if keeps else None,
        books,
    )


Body = tuple[int, int, int, bytes]


def _split(
    path: Path, data: bytes
) -> tuple[dict[str, Any], dict[str, Any], tuple[Record, ...], list[Body]]:
    """Return config, meta, records and for each record start, end, CRC and digest.

    Every claim of the header is checked.
    """
    try:
        _, version, length = PACKED_PREFIX.unpack_from(data)
        header = _load_header(data[PACKED_PREFIX.size : PACKED_PREFIX.size + length])
        records = tuple(record_of(row) for row in header["tensors"])
        if version != _version(records):
            raise BadStream(f"format version {version} with tensors of {_version(records)}")
        _check_sizes(records, len(data))
        sums = PACKED_PREFIX.size + length
        lengths = (record.coded + record.raw for record in records)
        ends = list(accumulate(lengths, initial=sums + _SUMS.size * len(records)))
        if ends[-1] + _HASH_BYTES != len(data):
            raise BadStream(
                f"the records end at byte {ends[-1] + _HASH_BYTES}, the file at {len(data)}"
            )
        places = range(sums, sums + _SUMS.size * len(records), _SUMS.size)
        pairs = [_SUMS.unpack_from(data, place) for place in places]
    except (BadStream, struct.error) as error:
        raise CheckpointError(
            f"{path}: bad header of a packed model ({error}); write the file again"
        ) from error
    bodies = [
        (start, end, *pair) for start, end, pair in zip(ends[:-1], ends[1:], pairs, strict=True)
    ]
    return header["config"], header["meta"], records, bodies


def _version(records: tuple[Record, ...]) -> int:
    """Return the format version of a file with such tensors."""
    return GRID_VERSION if any(record.kind in GRIDS for record in records) else VERSION


def _load_header(packed: bytes) -> dict[str, Any]:
    inflate = zlib.decompressobj(-15, zdict=COMMON_TEXT)
    try:
        text = inflate.decompress(packed, MAX_HEADER_BYTES + 1)
        if len(text) > MAX_HEADER_BYTES or not inflate.eof or inflate.unused_data:
            raise BadStream("its length is wrong")
        header = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        refuse_deep(header)
    except (zlib.error, ValueError, RecursionError) as error:
        raise BadStream(f"it cannot be parsed: {error}") from error
    if not isinstance(header, dict) or set(header) != {"config", "meta", "tensors"}:
        raise BadStream("expected config, meta and tensors")
    kinds = {"config": dict, "meta": dict, "tensors": list}
    if not all(isinstance(header[name], kind) for name, kind in kinds.items()):
        raise BadStream("config, meta or tensors are of the wrong type")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadStream("a key stands twice")
    return found


def _no_constant(name: str) -> None:
    raise BadStream(f"{name} is no JSON number")


def _check_sizes(records: tuple[Record, ...], file_bytes: int) -> None:
    """Refuse duplicates and files that would unfold to far more than any model of their length."""
    if len({record.name for record in records}) != len(records):
        raise BadStream("a tensor stands twice")
    limit, need = _FREE_BYTES + _MAX_EXPANSION * file_bytes, 0
    for record in records:
        # Empty axes count as one, and each element may need a byte of mask.
        need += math.prod(max(1, length) for length in record.shape) * (record.itemsize + 1)
    if need > limit:
        raise BadStream(
            f"{need} bytes of tensors in a file of {file_bytes}, more than the {limit} that are "
            f"believed"
        )

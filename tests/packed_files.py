"""Packed files as a hostile writer would make them: other headers under fitting hashes."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from audioprune import packing
from audioprune.errors import CheckpointError
from audioprune.packing import container

HASH = 32


def reseal(data: bytes) -> bytes:
    """Give changed content a fitting hash, as a hostile writer would."""
    return data + hashlib.sha256(data).digest()


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the parsed header and everything after it but the hash."""
    length = int.from_bytes(data[6:10], "little")
    inflate = zlib.decompressobj(-15, zdict=container.COMMON_TEXT)
    return json.loads(inflate.decompress(data[10 : 10 + length])), data[10 + length : -HASH]


def build(header: bytes | dict[str, Any], rest: bytes, version: int = 1) -> bytes:
    """Return a file with a fitting hash around any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=container.COMMON_TEXT)
    small = deflate.compress(text) + deflate.flush()
    return reseal(
        b"\x89APZ"
        + version.to_bytes(2, "little")
        + len(small).to_bytes(4, "little")
        + small
        + rest
    )


def refused(path: Path, data: bytes, match: str | None = None) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=match) as caught:
        packing.unpack(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)

"""How PNG files are put together: ``written`` from rows of pixels, ``packed`` from another file.

What the pixels show is decided elsewhere.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def written(width: int, height: int, palette: bytes, rows: bytes) -> bytes:
    """Return a PNG of at most 256 colours.

    Args:
        width: In pixels.
        height: In pixels.
        palette: Red, green and blue of each colour.
        rows: For each row a zero and the colour of each of its pixels, a byte each.
    """
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9))]
    return _joined(parts)


def packed(png: bytes) -> bytes:
    """Return the same picture in a smaller file: its pixels are compressed anew."""
    parts = list(_parts(png))
    pixels = zlib.decompress(b"".join(data for kind, data in parts if kind == b"IDAT"))
    before = [part for part in parts if part[0] not in (b"IDAT", b"IEND")]
    return _joined([*before, (b"IDAT", zlib.compress(pixels, 6))])


def _parts(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_SIGNATURE)
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def _joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return _SIGNATURE + b"".join(_part(*part) for part in [*parts, (b"IEND", b"")])


def _part(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check

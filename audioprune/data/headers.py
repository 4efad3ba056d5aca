"""What the first bytes of a file say that the decoder does not: WAV or AIFF data that is cut short, SPHERE data that is packed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""Sizes that programs write when they stream to a pipe and cannot come back; they promise nothing."""
_MOST_CHUNKS = 1000


def missing_bytes(path: Path) -> str:
    """Say how much of the sample data is missing; empty when nothing is, or when the file is neither WAV nor AIFF.

    Args:
        path: An existing file.
    """
    with open(path, "rb") as stream:
        head = stream.read(12)
        if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
            return _missing(stream, path.stat().st_size, b"data", "<" if head[:4] == b"RIFF" else ">")
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _missing(stream, path.stat().st_size, b"SSND", ">")
    return ""


def is_shortened_sphere(path: Path) -> bool:
    """Tell whether a file is NIST SPHERE with shorten compression, as the discs of WSJ0 hold it."""
    with open(path, "rb") as stream:
        head = stream.read(1024)
    return head.startswith(b"NIST_1A") and b"shorten" in head


def _missing(stream: BinaryIO, disk_bytes: int, wanted: bytes, order: str) -> str:
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return "a header without samples"
        size = struct.unpack(f"{order}I", head[4:])[0]
        if head[:4] == wanted:
            there = disk_bytes - stream.tell()
            if size in _UNKNOWN_SIZES or size <= there:
                return ""
            return f"cut short: {there} of {size} bytes of samples"
        stream.seek(size + size % 2, 1)
    return ""

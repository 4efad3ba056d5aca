"""Whether a FLAC file holds more samples than its header promises: ``unpromised``.

A decoder stops where the header says, so that the rest is lost without a word. The last frame says
where in the signal it is. Nothing is decoded; a file that is cut fails when it is decoded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_STREAM_INFO_BYTES = 34
_TAIL_BYTES = 1 << 17
_SAMPLES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {8 + n: 256 << n for n in range(8)}
"""Samples of a frame by the code in its head; 6 and 7 are followed by the number."""
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
"""Bytes of the sample rate that follow, by its code."""


class _Frame(NamedTuple):
    """Where in the signal a frame begins, counted in frames or in samples, and its length."""

    number: int
    samples: int
    counts_samples: bool


def unpromised(path: Path) -> str:
    """Say how many samples there are beyond the promised ones; empty when there are none.

    Args:
        path: An existing file of any kind.
    """
    with open(path, "rb") as stream:
        head = stream.read(8 + _STREAM_INFO_BYTES)
        if not head.startswith(b"fLaC") or len(head) < 8 + _STREAM_INFO_BYTES:
            return ""
        stream.seek(max(len(head), path.stat().st_size - _TAIL_BYTES))
        tail = stream.read()
    block = int.from_bytes(head[8:10], "big")
    promised = int.from_bytes(head[21:26], "big") & ((1 << 36) - 1)
    at = len(tail) if promised else 0
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        last = _frame(tail[at : at + 16])
        if last is None:
            continue
        begin = last.number if last.counts_samples else last.number * block
        there = begin + last.samples
        if there <= promised:
            return ""
        if _crc16(tail[at:-2]) == int.from_bytes(tail[-2:], "big"):  # else no frame begins here
            return f"{there} samples where its header promises {promised}"
    return ""


def _frame(head: bytes) -> _Frame | None:
    """Return the frame that a head describes; None where its checksum does not fit."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    number, at = _number(head, 4)
    if number is None or not size_code or rate_code == 15:
        return None
    samples = _SAMPLES.get(size_code, 0)
    if not samples:
        width = size_code - 5
        samples = int.from_bytes(head[at : at + width], "big") + 1
        at += width
    at += _RATE_BYTES.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return _Frame(number, samples, bool(head[1] & 1))


def _number(head: bytes, at: int) -> tuple[int | None, int]:
    """Read a number that is coded as UTF-8 codes signs, with up to seven bytes."""
    first = head[at]
    if first < 0x80:
        return first, at + 1
    more = next((count for count in range(1, 7) if not first >> (6 - count) & 1), 0)
    if first < 0xC0 or not more or at + more >= len(head):
        return None, at
    value = first & ((1 << (6 - more)) - 1)
    for byte in head[at + 1 : at + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, at
        value = value << 6 | byte & 0x3F
    return value, at + 1 + more


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x8005) & 0xFFFF if value & 0x8000 else value << 1
    return value


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value

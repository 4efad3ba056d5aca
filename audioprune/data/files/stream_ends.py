"""Whether a compressed stream without a length in its header, Ogg or MP3, ends where it should.

``missing_end`` looks at the last page of Ogg and at the frames of MP3. It decodes nothing.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_OGG_HEAD = 27
_LONGEST_PAGE = _OGG_HEAD + 255 + 255 * 255
_LAST_PAGE = 4
"""Bit of a page's flags: the stream ends with it."""

_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
"""Bit rates of layer III in MPEG 1 and in MPEG 2 and 2.5; 0 is not known."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER_III = 1
_SIDE_BYTES = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}
"""Bytes of side information behind the head of a frame, by MPEG 1 and mono."""


class _Frame(NamedTuple):
    """One frame of MP3: its first byte, its bytes, and where a table of the stream would be."""

    at: int
    length: int
    table_at: int


def missing_end(path: Path) -> str:
    """Say where a stream is cut; empty when it is whole, or when the file is neither Ogg nor MP3.

    Args:
        path: An existing file.
    """
    with open(path, "rb") as stream:
        head = stream.read(4)
        if head == b"OggS":
            stream.seek(max(0, path.stat().st_size - 2 * _LONGEST_PAGE))
            return _ogg_cut(stream.read())
    if head[:3] == b"ID3" or (len(head) == 4 and _frame(head, 0) is not None):
        return _mp3_cut(path.read_bytes())
    return ""


def _ogg_cut(tail: bytes) -> str:
    """Look at the last page.

    A whole page ends a whole file, even where a recorder did not mark it as the last.
    """
    at = tail.rfind(b"OggS\0")
    page = tail[at:]
    lengths = page[_OGG_HEAD : _OGG_HEAD + page[26]] if len(page) > 26 else b""
    if len(page) < _OGG_HEAD or len(lengths) < page[26]:
        return "cut short inside the head of a page"
    wanted = _OGG_HEAD + len(lengths) + sum(lengths)
    if len(page) < wanted:
        return f"cut short: {len(page)} of {wanted} bytes of its last page"
    more = len(page) > wanted and not page[5] & _LAST_PAGE
    return "cut short inside the head of a page" if more else ""


def _mp3_cut(data: bytes) -> str:
    """Count the frames against the number in the stream's table.

    Without a table, look whether the last frame is whole.
    """
    first = _frame(data, _after_tags(data))
    if first is None:
        return ""
    promised = _frames_promised(data, first)
    count, at = 0, first.at
    while (frame := _frame(data, at)) is not None and frame.at + frame.length <= len(data):
        count, at = count + 1, at + frame.length
    if promised is None:
        if frame is None:
            return ""
        return f"cut short: {len(data) - at} of {frame.length} bytes of its last frame"
    whole = count - 1  # the table has a frame of its own
    near_end = frame is not None or at >= len(data)
    return f"cut short: {whole} of {promised} frames" if whole < promised - 1 and near_end else ""


def _after_tags(data: bytes) -> int:
    """Return the first byte after a tag ID3v2 and the zeros behind it."""
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        size = 0
        for byte in data[6:10]:  # seven bits of each byte count
            size = size << 7 | byte & 0x7F
        at = 10 + size + (10 if data[5] & 0x10 else 0)
    while at < len(data) and data[at] == 0:
        at += 1
    return at


def _frame(data: bytes, at: int) -> _Frame | None:
    """Return the frame of layer III at a place; None for none, or one of unknown length."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if version not in _RATES or layer != _LAYER_III or head[2] >> 2 & 3 == 3:
        return None
    kbps = _KBPS[1 if version == 3 else 2][head[2] >> 4]
    if not kbps:
        return None
    rate = _RATES[version][head[2] >> 2 & 3]
    mono = head[3] >> 6 == 3
    side = _SIDE_BYTES[version == 3, mono]
    checksum = 0 if head[1] & 1 else 2
    length = (144 if version == 3 else 72) * kbps * 1000 // rate + (head[2] >> 1 & 1)
    return _Frame(at, length, at + 4 + checksum + side)


def _frames_promised(data: bytes, first: _Frame) -> int | None:
    """Return the number of frames that a table Xing or Info tells; None where none does."""
    table = data[first.table_at : first.table_at + 12]
    if table[:4] not in (b"Xing", b"Info") or len(table) < 12:
        return None
    flags, frames = struct.unpack(">II", table[4:])
    return frames if flags & 1 and frames else None

"""What the header of an audio file says about the length of its samples.

``missing_bytes`` says whether a file is cut, ``sample_data`` where its samples lie. Programs that
write to a pipe cannot come back to fill in a length; what they write instead promises nothing, and
the samples go on to the end of the file. Compressed streams without such a header are looked at in
stream_ends.py.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audioprune.data.files.flac_length import unpromised
from audioprune.data.files.stream_ends import missing_end

_UNKNOWN_SIZES = (0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFF7, 0xFFFFFFFF)
"""Sizes that recorders and converters write for an unknown one; for 0 see ``_is_unknown``."""
_HUGE = 1 << 62
"""A 64-bit size from here on is no size."""
_MOST_CHUNKS = 1000
_W64_HEAD = 24
"""Bytes of a W64 chunk's name and size, which its size counts too."""


@dataclass(frozen=True)
class SampleData:
    """The sample data of a file.

    Attributes:
        begin: Its first byte.
        there: Bytes from there to the end of the file.
        promised: Bytes that the header promises; None when the writer did not know.
        size_at: Place of the size in the header.
        size_form: How the size is stored, as in ``struct``; empty where it cannot be filled in.
        counted: Bytes of the header that the size counts too.
    """

    begin: int
    there: int
    promised: int | None
    size_at: int = 0
    size_form: str = ""
    counted: int = 0

    def filled(self) -> tuple[int, bytes] | None:
        """Return the place of an unknown size in the file and the bytes of the true one.

        None where the header is right.
        """
        if self.promised is not None or not self.size_form:
            return None
        largest = (1 << 8 * struct.calcsize(self.size_form)) - 1
        return self.size_at, struct.pack(self.size_form, min(self.there + self.counted, largest))


def missing_bytes(path: Path) -> str:
    """Say how much of the sample data is missing, or would be left out unread.

    Empty when nothing is missing, or when the format does not tell.

    Args:
        path: An existing file.
    """
    data = sample_data(path)
    if data is None:
        return missing_end(path) or unpromised(path)
    if data.begin < 0:
        return "a header without samples"
    if data.promised is None or data.promised <= data.there:
        return ""
    return f"cut short: {data.there} of {data.promised} bytes of samples"


def sample_data(path: Path) -> SampleData | None:
    """Return what the header of a file says; ``begin`` is -1 when it ends without sample data.

    Known are WAV, RF64, W64, AIFF, AU, CAF and NIST SPHERE; for every other file None is returned.
    """
    with open(path, "rb") as stream:
        head = stream.read(16)
        disk_bytes = path.stat().st_size
        for magic, read in _FORMATS.items():
            if re.match(magic, head, re.DOTALL):
                return read(stream, head, disk_bytes) or SampleData(-1, 0, 0)
    return None


def is_shortened_sphere(path: Path) -> bool:
    """Tell whether a file is NIST SPHERE packed with shorten, as on the discs of WSJ0."""
    with open(path, "rb") as stream:
        head = stream.read(1024)
    return head.startswith(b"NIST_1A") and b"shorten" in head


def _is_unknown(size: int, there: int, total: int, begin: int) -> bool:
    """Tell whether a size promises nothing.

    A size of 0 is meant where other chunks follow, so that the total, counted from the first byte,
    goes on beyond it.
    """
    if size == 0:
        return there > 0 and (total <= begin or _is_marker(total))
    return _is_marker(size) or (size > there and (total <= begin or _is_marker(total)))


def _is_marker(size: int) -> bool:
    return size in _UNKNOWN_SIZES or size - 8 in _UNKNOWN_SIZES or size >= _HUGE


def _promise(size: int, there: int, total: int, begin: int) -> int | None:
    return None if _is_unknown(size, there, total, begin) else size


def _chunks(
    stream: BinaryIO, at: int, form: str, padding: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, size and first byte of each chunk from a place on.

    Args:
        stream: The file.
        at: Place of the first chunk.
        form: How name and size are stored, as in ``struct``.
        padding: Chunks begin at multiples of it; 2 counts within the chunk alone.
    """
    head_bytes = struct.calcsize(form)
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        head = stream.read(head_bytes)
        if len(head) < head_bytes:
            return
        name, size = struct.unpack(form, head)
        yield name, size, at + head_bytes
        at += head_bytes + max(0, size)
        at += -at % padding if padding > 2 else size % padding


# Each reader below returns the sample data of one family of formats; None where it has none.
def _riff(stream: BinaryIO, head: bytes, disk_bytes: int) -> SampleData | None:
    order = ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    total = struct.unpack(f"{order}I", head[4:8])[0] + 8
    wide: tuple[int, int] | None = None
    for name, size, begin in _chunks(stream, 12, f"{order}4sI"):
        if name == b"ds64":
            total, data_bytes = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))
            wide, total = (begin + 8, data_bytes), total + 8
        elif name in (b"data", b"SSND"):
            there = disk_bytes - begin
            at, size_form = (begin - 4, f"{order}I") if name == b"data" else (0, "")
            if wide is not None and size == 0xFFFFFFFF:
                at, size, size_form = wide[0], wide[1], "<Q"
            return SampleData(begin, there, _promise(size, there, total, begin), at, size_form)
    return None


def _w64(stream: BinaryIO, head: bytes, disk_bytes: int) -> SampleData | None:
    stream.seek(16)
    total = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))[0]
    at = 40
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        name, size = stream.read(16), stream.read(8)
        if len(size) < 8:
            return None
        counted = struct.unpack("<Q", size)[0]
        if name[:4] == b"data":
            begin = at + _W64_HEAD
            there = disk_bytes - begin
            promised = _promise(max(0, counted - _W64_HEAD), there, total, begin)
            return SampleData(begin, there, promised, at + 16, "<Q", _W64_HEAD)
        at += max(_W64_HEAD, counted + -counted % 8)
        if at > disk_bytes:
            return None
    return None


def _au(stream: BinaryIO, head: bytes, disk_bytes: int) -> SampleData | None:
    if len(head) < 12:
        return None
    form = ">I" if head[:4] == b".snd" else "<I"
    begin, size = (struct.unpack(form, head[at : at + 4])[0] for at in (4, 8))
    there = max(0, disk_bytes - begin)
    unknown = _is_marker(size) or (size == 0 and there > 0)
    return SampleData(begin, there, None if unknown else size, 8, form)


def _caf(stream: BinaryIO, head: bytes, disk_bytes: int) -> SampleData | None:
    for name, size, begin in _chunks(stream, 8, ">4sq", padding=1):
        if name == b"data":
            there = disk_bytes - begin
            return SampleData(begin, there, None if size < 0 else size, begin - 8, ">q")
    return None


def _sphere(stream: BinaryIO, head: bytes, disk_bytes: int) -> SampleData | None:
    digits = head[8:16].strip()
    begin = int(digits) if digits.isdigit() else 1024
    stream.seek(0)
    text = stream.read(min(begin, 1 << 16))
    numbers = dict(re.findall(rb"^(\w+) -i (\d+)\s*$", text, re.MULTILINE))
    there = max(0, disk_bytes - begin)
    if not {b"sample_count", b"sample_n_bytes"} <= set(numbers):
        return SampleData(begin, there, None)
    frame_bytes = int(numbers[b"sample_n_bytes"]) * int(numbers.get(b"channel_count", 1))
    return SampleData(begin, there, int(numbers[b"sample_count"]) * frame_bytes)


_FORMATS = {
    rb"RIF[FX]....WAVE": _riff,
    rb"(RF64|BW64)....WAVE": _riff,
    rb"FORM....AIF[FC]": _riff,
    rb"riff\x2e\x91\xcf\x11": _w64,
    rb"(\.snd|dns\.)": _au,
    rb"caff": _caf,
    rb"NIST_1A\n": _sphere,
}

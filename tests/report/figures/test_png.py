"""PNG files: written from pixels, compressed anew, and pixels as a layer of a figure."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from audioprune.report.figures.pixels import data_uri, image, legend
from audioprune.report.figures.png import packed, written
from audioprune.report.figures.theme import ramp


def _parts(png: bytes) -> list[tuple[bytes, bytes]]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, found = 8, []
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(kind + data)
        found.append((kind, data))
        place += 12 + length
    return found


def test_what_is_packed_holds_the_same_pixels() -> None:
    rows = bytes([0, 1, 2, 0, 2, 1]) * 500
    png = written(2, 1000, b"\x00\x00\x00\x80\x80\x80\xff\xff\xff", rows)
    again = packed(png)
    assert [kind for kind, _ in _parts(again)] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert zlib.decompress(dict(_parts(again))[b"IDAT"]) == rows and len(again) < 300


def test_the_first_row_of_values_is_at_the_bottom() -> None:
    values = np.array([[0.0, 0.0, 1.0], [0.5, 2.0, -1.0]])
    kind, text = data_uri(values, 0.0, 1.0, "magma").split(",")
    parts = dict(_parts(base64.b64decode(text)))
    assert kind == "data:image/png;base64" and struct.unpack(">II", parts[b"IHDR"][:8]) == (3, 2)
    assert list(zlib.decompress(parts[b"IDAT"])) == [0, 128, 255, 0, 0, 0, 0, 255]
    assert parts[b"PLTE"][:3].hex() == ramp("magma", 2)[0][1:]


def test_a_picture_ends_at_the_lower_left_corner() -> None:
    mark = image(np.zeros((2, 2)), 0, 1, "magma", (50, 40), 90)["mark"]
    assert (mark["x"], mark["y"], mark["align"], mark["baseline"]) == (0, 90, "left", "bottom")
    assert (mark["width"], mark["height"]) == (50, 40)
    scale = legend("Level (dB)", -60, 0, "magma")["encoding"]["color"]["scale"]
    assert scale["domain"] == [-60, 0] and len(scale["range"]) == 16

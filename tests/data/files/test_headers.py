"""Headers promise lengths, and some promise nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import tone

from audioprune.data.files.audio import read_audio
from audioprune.data.files.headers import is_shortened_sphere, missing_bytes, sample_data


def _wav(path: Path, size: int, there: int, extra: bytes = b"") -> Path:
    head = (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    )
    path.write_bytes(head + extra + b"data" + struct.pack("<I", size) + b"\1" * there)
    return path


def test_wav_data_is_compared_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert missing_bytes(_wav(path, 100, 100)) == ""
    assert missing_bytes(_wav(path, 100, 160)) == ""  # tags may follow
    assert missing_bytes(_wav(path, 100, 99)) == "cut short: 99 of 100 bytes of samples"
    assert missing_bytes(_wav(path, 0xFFFFFFFF, 50)) == ""
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert missing_bytes(_wav(path, 100, 40, odd)).startswith("cut short: 40 of 100")


def _streamed(path: Path, total: int, size: int, samples: int = 400, order: str = "<") -> Path:
    """Write a WAV file with the sizes of a program that could not come back to fill them in."""
    magic = b"RIFF" if order == "<" else b"RIFX"
    head = (
        magic
        + struct.pack(f"{order}I", total)
        + b"WAVEfmt "
        + struct.pack(f"{order}IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    )
    body = struct.pack(f"{order}{samples}h", *(index - 200 for index in range(samples)))
    path.write_bytes(head + b"data" + struct.pack(f"{order}I", size) + body)
    return path


UNKNOWN = (0x80000000, 0x7FFFF000, 0xFFFFFFF7, 0xFFFFFFFF, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", UNKNOWN)
def test_a_size_that_the_writer_did_not_know_promises_nothing(
    tmp_path: Path, size: int, order: str
) -> None:
    for total in {(size + 36) & 0xFFFFFFFF, size, *UNKNOWN}:
        path = _streamed(tmp_path / "a.wav", total, size, order=order)
        assert missing_bytes(path) == ""
        assert sample_data(path).filled() == (40, struct.pack(f"{order}I", 800))
    for total in UNKNOWN:
        assert missing_bytes(_streamed(path, total, total - 36 & 0xFFFFFFFF)) == ""


def test_a_size_of_zero_is_meant_where_other_chunks_follow(tmp_path: Path) -> None:
    path = _streamed(tmp_path / "a.wav", 36 + 8 + 800, 0)  # the total covers what follows the data
    assert sample_data(path).promised == 0 and sample_data(path).filled() is None
    assert sample_data(_streamed(path, 36, 0, samples=0)).promised == 0


FORMATS = [
    *[(kind, "PCM_16") for kind in ("WAVEX", "RF64", "W64", "AU", "NIST", "CAF", "AIFF")],
    *[("WAV", "PCM_24"), ("WAV", "IMA_ADPCM"), ("W64", "FLOAT"), ("AU", "ULAW")],
    ("CAF", "ALAC_16"),
]


@pytest.mark.parametrize(("kind", "coding"), FORMATS)
def test_a_file_is_whole_until_a_byte_is_gone(tmp_path: Path, kind: str, coding: str) -> None:
    path = tmp_path / "a"
    soundfile.write(path, tone(0.5, 1), 16000, format=kind, subtype=coding)
    content = path.read_bytes()
    assert missing_bytes(path) == ""
    data = sample_data(path)
    for cut in (len(content) // 2, data.begin + data.promised - 1):
        path.write_bytes(content[:cut])
        there = max(0, cut - data.begin)
        assert missing_bytes(path) in (
            f"cut short: {there} of {data.promised} bytes of samples",
            "a header without samples",
        )


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("AU", b"\xff" * 4),
        ("AU", b"\0" * 4),
        ("W64", b"\xff" * 7 + b"\x7f"),
        ("W64", b"\0" * 8),
        ("RF64", b"\0" * 8),
        ("RF64", b"\xff" * 8),
        ("CAF", b"\xff" * 8),
    ],
)
def test_unknown_sizes_of_other_formats_are_filled_in(
    tmp_path: Path, kind: str, size: bytes
) -> None:
    path = tmp_path / "a"
    samples = tone(0.5, 1)
    soundfile.write(path, samples, 16000, format=kind, subtype="PCM_16")
    content, data = bytearray(path.read_bytes()), sample_data(path)
    content[data.size_at : data.size_at + len(size)] = size
    if kind in ("W64", "RF64"):  # the size of the whole file is as unknown
        at = 16 if kind == "W64" else data.size_at - 8
        content[at : at + len(size)] = size
    path.write_bytes(content)
    assert missing_bytes(path) == ""
    assert np.abs(read_audio(path)[0][: len(samples), 0] - samples).max() < 1e-4


def test_other_files_are_left_to_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content in (b"", b"fLaC" + b"\0" * 50, b"RIFF", b"text"):
        path.write_bytes(content)
        assert missing_bytes(path) == "" and not is_shortened_sphere(path)


def test_packed_sphere_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a.wv1"
    path.write_bytes(b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n")
    assert is_shortened_sphere(path)
    path.write_bytes(b"NIST_1A\n   1024\nsample_coding -s3 pcm\n")
    assert not is_shortened_sphere(path)

from __future__ import annotations

import struct
from pathlib import Path

from audioprune.data.headers import is_shortened_sphere, missing_bytes


def _wav(path: Path, size: int, there: int, extra: bytes = b"") -> Path:
    head = b"RIFF" + struct.pack("<I", min(36 + size, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
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

"""Audio files that are cut, broken, silent or odd, each with what a check says of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from speech_trees import RATE, tone, write


def _cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def _sphere(path: Path) -> Path:
    soundfile.write(path, tone(0.5, 1), RATE, format="NIST", subtype="PCM_16")
    return path


def _with(path: Path, value: float) -> Path:
    samples = tone(0.5, 1)
    samples[1000] = value
    return write(path, samples, subtype="FLOAT")


def two_channels(path: Path, right: float) -> Path:
    left = tone(0.5, 2)
    return write(path, np.stack([left, right * left], axis=1))


def as_int16(samples: np.ndarray) -> np.ndarray:
    return (samples * 32768).astype(np.int16)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


ERRORS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "half.wav": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7978 of 16000 bytes"),
    "header.wav": (
        lambda p: p.write_bytes(write(p, tone(0.5, 1)).read_bytes()[:44]),
        "truncated",
        "0 of 16000",
    ),
    "nodata.wav": (
        lambda p: p.write_bytes(write(p, tone(0.5, 1)).read_bytes()[:36]),
        "truncated",
        "without samples",
    ),
    "half.aiff": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "cut short"),
    "half.w64": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7948 of 16000 bytes"),
    "half.rf64": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7948 of 16000 bytes"),
    "half.au": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7988 of 16000 bytes"),
    "half.caf": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "cut short"),
    "half.sph": (lambda p: _cut(_sphere(p)), "truncated", "7488 of 16000 bytes"),
    "half.ogg": (lambda p: _cut(write(p, tone(2.0, 1))), "truncated", "of its last page"),
    "half.mp3": (lambda p: _cut(write(p, tone(2.0, 1))), "truncated", "frames"),
    "none.wav": (lambda p: write(p, np.zeros(0)), "no_samples", "without samples"),
    "half.flac": (lambda p: _cut(write(p, tone(0.5, 1))), "cut", "not decodable"),
    "zero.wav": (_bytes(b""), "unreadable", "0 bytes"),
    "garbage.wav": (_bytes(bytes(range(256)) * 9), "unreadable", "not decodable"),
    "text.flac": (_bytes(b"just text\n" * 20), "unreadable", "not decodable"),
    "directory.wav": (lambda p: p.mkdir(), "unreadable", "folder"),
    "dangling.wav": (lambda p: os.symlink("gone", p), "unreadable", "link to gone"),
    "nan.wav": (lambda p: _with(p, float("nan")), "not_finite", "1 samples are NaN"),
    "inf.wav": (lambda p: _with(p, float("inf")), "not_finite", "1 samples are NaN or infinite"),
    "big.wav": (lambda p: _with(p, 1e29), "absurd", "1e+29"),
    "packed.wv1": (
        _bytes(b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n" + b"\0" * 999),
        "unreadable",
        "sph2pipe",
    ),
}


WARNINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "loud.wav": (lambda p: _with(p, 1.7), "over_full_scale"),
    "silent.wav": (lambda p: write(p, np.zeros(8000)), "silent"),
    "antiphase.wav": (lambda p: two_channels(p, -1.0), "antiphase"),
    "clipped.wav": (lambda p: write(p, np.clip(40 * tone(0.5, 3), -1, 1)), "clipped"),
    "offset.wav": (lambda p: write(p, 0.3 + tone(0.5, 4)), "offset"),
}

"""How raw samples from a pipe are enhanced while they come: ``enhance_pipe``.

Samples are interleaved, without a header, in ``s16le`` or ``f32le``. What has come is processed at
once; the delay is measured before, and neither grows with the length of the stream.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np

from audioprune.errors import ConfigError, DataError, OutputError, unknown_name
from audioprune.inference.enhancer import PIPES, EnhancedStream, Enhancer, Samples
from audioprune.interrupts import check_stop

FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Codings of raw samples."""
_FULL = 32768.0
BLOCK_S = 0.01


class Pipe(Protocol):
    """A stream of bytes that answers with what it has."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


@dataclass(frozen=True)
class Raw:
    """How raw samples are laid out.

    Attributes:
        coding: ``s16le``, whole numbers of 16 bits, or ``f32le``, floats of full scale 1.
        sample_rate: In Hz.
        channels: Interleaved channels.

    Raises:
        ConfigError: A value is missing or unknown.
    """

    coding: str
    sample_rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        if self.coding not in FORMATS:
            raise ConfigError(f"pcm: {unknown_name('coding', self.coding, FORMATS)}")
        if self.sample_rate < 1000 or self.channels < 1:
            raise ConfigError(
                f"expected rate=HZ of at least 1000 and channels of at least 1 for raw samples, "
                f"got {self.sample_rate} and {self.channels}; a pipe does not say them"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return FORMATS[self.coding].itemsize * self.channels

    def decode(self, data: bytes) -> Samples:
        """Return samples (T, C) of full scale 1."""
        values = np.frombuffer(data, FORMATS[self.coding]).reshape(-1, self.channels)
        found = values.astype(np.float32)
        return found / np.float32(_FULL) if self.coding == "s16le" else found

    def encode(self, samples: Samples) -> tuple[bytes, int]:
        """Return samples (T, C) as bytes, and how many were beyond full scale and cut off."""
        if self.coding == "f32le":
            return samples.astype("<f4").tobytes(), 0
        scaled = np.rint(samples * np.float32(_FULL))
        over = int(((scaled < -_FULL) | (scaled > _FULL - 1)).sum())
        return scaled.clip(-_FULL, _FULL - 1).astype("<i2").tobytes(), over


@dataclass(frozen=True)
class PipeReport:
    """What went through a pipe.

    Attributes:
        duration_s: Seconds of audio.
        clipped: Samples beyond full scale, which whole numbers cut off.
        lost: Bytes at the end that were no whole sample.
    """

    duration_s: float
    clipped: int
    lost: int

    def line(self) -> str:
        """Say it in one line."""
        over = f", {self.clipped} samples clipped" if self.clipped else ""
        rest = f", {self.lost} bytes at the end are no sample" if self.lost else ""
        return f"{self.duration_s:.1f} s of audio{over}{rest}"


def pipe_stream(enhancer: Enhancer, raw: Raw, level: float | None) -> EnhancedStream:
    """Return the stream for a pipe.

    Args:
        enhancer: The model; it must run on parts of a signal.
        raw: Of the input.
        level: Root mean square that every channel is taken to have; None follows what is heard.
    """
    levels = None if level is None else np.full(raw.channels, level)
    return enhancer.stream(raw.channels, raw.sample_rate, levels, PIPES)


def enhance_pipe(
    stream: EnhancedStream, raw: Raw, source: Pipe, write: Callable[[Samples], int]
) -> PipeReport:
    """Enhance raw samples until the pipe ends.

    Args:
        stream: From ``pipe_stream``.
        raw: Layout of the input.
        source: Where bytes come from.
        write: Takes enhanced samples (T, C) and returns how many were clipped.

    Raises:
        DataError: No sample came, or one is not finite.
        OutputError: The reader of the output has gone.
    """
    most = max(1, round(BLOCK_S * raw.sample_rate)) * raw.frame_bytes
    rest, count, clipped = b"", 0, 0
    while data := os.read(source.fileno(), most):
        check_stop()
        data = rest + data
        whole = len(data) // raw.frame_bytes * raw.frame_bytes
        rest = data[whole:]
        samples = raw.decode(data[:whole])
        count += len(samples)
        clipped += write(stream.push(samples))
    if not count:
        raise DataError("expected raw samples on the pipe, got none; check what writes to it")
    clipped += write(stream.push(np.zeros((0, raw.channels), np.float32), last=True))
    return PipeReport(count / raw.sample_rate, clipped, len(rest))


def raw_writer(raw: Raw, sink: BinaryIO) -> Callable[[Samples], int]:
    """Return what writes samples to a pipe at once."""

    def write(samples: Samples) -> int:
        data, clipped = raw.encode(samples)
        try:
            sink.write(data)
            sink.flush()
        except BrokenPipeError as error:
            raise OutputError("the program that reads the output has ended") from error
        return clipped

    return write

"""How one audio file is enhanced into another, in bounded memory: ``enhance_file``.

The file is decoded, enhanced and encoded block by block into a temporary file, which takes its
final name when all of it is there. Nothing is ever written over the input. Folders are walked in
folders.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audioprune.data.files.audio import (
    DECODE_ERRORS,
    SEEKABLE_FORMATS,
    AudioInfo,
    decode_error,
    open_sound,
    read_info,
)
from audioprune.data.files.headers import missing_bytes
from audioprune.dsp.encoding import Written
from audioprune.errors import DataError, OutputError
from audioprune.files import FULL
from audioprune.inference.enhancer import Enhancer, Samples
from audioprune.interrupts import check_stop

CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".aif": "AIFF", ".aiff": "AIFF", ".w64": "W64"}
CONTAINERS |= {".au": "AU", ".caf": "CAF", ".rf64": "RF64", ".ogg": "OGG"}
"""Endings that can be written, and the container of each."""
_PLAIN = "PCM_16"
_INTEGERS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")


@dataclass(frozen=True)
class FileReport:
    """What was written.

    Attributes:
        file: The input.
        out: The output.
        duration_s: Length of the recording.
        channels: Number of channels.
        sample_rate: In Hz.
        clipped: Samples beyond full scale, which an output of whole numbers cuts off.
        seconds: What it took.
    """

    file: str
    out: str
    duration_s: float
    channels: int
    sample_rate: int
    clipped: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def line(self) -> str:
        """Say it in one line."""
        speed = self.duration_s / max(self.seconds, 1e-9)
        over = f", {self.clipped} samples clipped" if self.clipped else ""
        return f"{self.out}: {self.duration_s:.1f} s, {speed:.1f} times real time{over}"


def enhance_file(
    enhancer: Enhancer,
    source: Path,
    target: Path,
    *,
    block_s: float = 10.0,
    level: float | None = None,
    resample: bool = True,
    overwrite: bool = False,
) -> FileReport:
    """Enhance an audio file.

    Container and coding are those of the input where the ending of the output allows it, else
    16 bits.

    Args:
        enhancer: The model.
        source: The input, of any rate and number of channels.
        target: The output, whose ending says its container.
        block_s: Seconds of audio in memory at once.
        level: Root mean square that every channel is taken to have; None measures it, by a first
            pass over the file.
        resample: Whether a rate other than the model's is allowed.
        overwrite: Whether an output that exists is replaced.

    Raises:
        DataError: The input is missing, empty, cut, damaged or has samples that are not finite.
        OutputError: The output is the input, exists, has an unknown ending or cannot be written.
        DivergedError: The model makes samples that are not finite.
    """
    started = time.perf_counter()
    check_target(source, target, overwrite)
    info = checked_info(source, enhancer.sample_rate, resample)
    frames = max(1, round(block_s * info.sample_rate))
    levels = np.full(info.channels, level) if level is not None else None
    try:
        if levels is None:
            levels = enhancer.level_of(read_blocks(source, info, frames), info.sample_rate)
        stream = enhancer.stream(info.channels, info.sample_rate, levels)
        with _Output(target, info) as written:
            count = 0
            for block in read_blocks(source, info, frames):
                check_stop()
                written.write(stream.push(block))
                count += len(block)
            written.write(stream.push(np.zeros((0, info.channels), np.float32), last=True))
    except DataError as error:
        named = str(error) if str(source) in str(error) else f"{source}: {error}"
        raise DataError(named) from error
    seconds = time.perf_counter() - started
    duration = count / info.sample_rate
    return FileReport(
        str(source),
        str(target),
        duration,
        info.channels,
        info.sample_rate,
        written.clipped,
        round(seconds, 3),
    )


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse an output that cannot or must not be written.

    Raises:
        OutputError: It is the input, exists, is a folder or has an unknown ending.
    """
    if target.suffix.lower() not in CONTAINERS:
        raise OutputError(
            f"{target}: expected an output that ends in {', '.join(CONTAINERS)}, got "
            f"'{target.suffix}'; rename it"
        )
    if target.is_dir():
        raise OutputError(f"{target}: expected a file, got a folder; choose another name")
    if not target.exists():
        return
    if source.exists() and os.path.samefile(source, target):
        raise OutputError(f"{target}: expected another file than the input; choose another name")
    if not overwrite:
        raise OutputError(f"{target}: exists already; choose another name or give overwrite=true")


def checked_info(source: Path, sample_rate: int, resample: bool = True) -> AudioInfo:
    """Return what the header of an input says.

    Raises:
        DataError: It is missing, damaged, cut or empty, or has another rate where that is refused.
    """
    info = read_info(source)
    cut = missing_bytes(source)
    if cut or info.frames == 0:
        raise DataError(f"{source}: expected samples, got {cut or 'none'}; replace the file")
    if not resample and info.sample_rate != sample_rate:
        raise DataError(
            f"{source}: expected {sample_rate} Hz, got {info.sample_rate} Hz; leave out "
            f"resample=false"
        )
    return info


def read_blocks(source: Path, info: AudioInfo, frames: int) -> Iterator[Samples]:
    """Yield the samples of a file (T, C), full scale 1, so many at a time.

    Raises:
        DataError: The file cannot be decoded to its end.
    """
    count = 0
    try:
        with open_sound(source) as sound:
            while True:
                block = sound.read(frames, dtype="float32", always_2d=True)
                if not len(block):
                    break
                count += len(block)
                yield block
    except DECODE_ERRORS as error:
        raise DataError(
            f"{source}: expected a readable audio file, got {decode_error(error)}; replace it"
        ) from error
    if count < info.frames and info.format in SEEKABLE_FORMATS:
        raise DataError(
            f"{source}: expected {info.frames} samples, got {count}; the file is damaged, "
            f"replace it"
        )


class _Output:
    """An audio file under a temporary name, which becomes final when all went well."""

    def __init__(self, target: Path, info: AudioInfo) -> None:
        self.target = target
        self.temporary = target.with_name(f"{target.name}.tmp.{os.getpid()}")
        self.container = CONTAINERS[target.suffix.lower()]
        same = info.subtype if soundfile.check_format(self.container, info.subtype) else _PLAIN
        lossless = same.startswith(("PCM", "FLOAT", "DOUBLE"))
        self.subtype = same if lossless else _PLAIN
        if self.container == "OGG":
            self.subtype = "VORBIS"
        self.info, self.clipped = info, 0
        self._stream: FileIO | None = None

    def __enter__(self) -> _Output:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(self.temporary, "wb+", buffering=0)  # closed where it ends
            self._written = Written(self._stream)
            self._sound = soundfile.SoundFile(
                self._written,
                "w",
                self.info.sample_rate,
                self.info.channels,
                self.subtype,
                format=self.container,
            )
        except (soundfile.SoundFileError, OSError) as error:
            self._drop()
            raise self._refused(error) from error
        return self

    def write(self, samples: Samples) -> None:
        """Append samples (T, C)."""
        if self.subtype in _INTEGERS:
            self.clipped += int((np.abs(samples) > 1).sum())
        try:
            self._sound.write(samples)
            self._written.check()
        except (soundfile.SoundFileError, OSError) as error:
            raise self._refused(error) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._sound.close()
            if error is None and self._stream is not None:
                self._written.check()
                os.fsync(self._stream.fileno())
                os.replace(self.temporary, self.target)
        except (soundfile.SoundFileError, OSError) as failure:
            if error is None:
                raise self._refused(failure) from failure
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    def _refused(self, error: Exception) -> OutputError:
        if isinstance(error, OSError) and error.errno in FULL:
            return OutputError(f"disk full writing {self.target}; free some space, then run again")
        reason = getattr(error, "strerror", "") or decode_error(error)
        return OutputError(f"cannot write {self.target}: {reason}; choose another place")

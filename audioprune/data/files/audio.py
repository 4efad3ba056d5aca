"""How an audio file becomes samples: found, decoded, averaged to mono, resampled, kept in memory.

``find_audio`` lists files, ``read_audio`` decodes one to (T, C), ``AudioStore`` returns mono (T,)
at one rate. Whether a file is good is checked in checks.py.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioprune.data.files.headers import sample_data
from audioprune.data.files.parallel import loader_processes
from audioprune.dsp import mixdown, resample
from audioprune.errors import DataError

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".w64", ".rf64", ".caf", ".sph", ".wv1"),
)
"""Endings that count as audio, compared without case; the content decides how to decode."""

SEEKABLE_FORMATS = ("WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64", "NIST")
"""Formats in which a part of a file is decoded to the same samples as the whole file."""

Samples = NDArray[np.float32]
DECODE_ERRORS = (soundfile.SoundFileError, OSError, RuntimeError, ValueError, MemoryError)
"""What opening and decoding a file may raise; ``decode_error`` puts it into words."""
_SAMPLE_BYTES = 4
_FREE_BYTES, _MOST_UNFOLDED = 64 << 20, 8192
"""Samples that any file may unfold to, and how often its own size beyond that: silence in
FLAC is 1400 times as long as its file, and speech with pauses in Opus up to 4000 times."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes:
        sample_rate: Samples per second and channel.
        channels: Number of channels.
        frames: Number of samples per channel.
        format: Container name of libsndfile, such as ``"WAV"``.
        subtype: Sample coding of libsndfile, such as ``"PCM_16"``.
    """

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def find_audio(root: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> list[Path]:
    """List everything below a folder whose name ends like audio, ordered by relative path.

    Linked folders are followed once. Hidden names are left out. Folders and dangling links with an
    audio name are listed too, so that a check can name them.

    Args:
        root: Folder to search.
        suffixes: Accepted endings in lower case, with the dot.
    """
    return [path for _, path in sorted(_named_audio(root, suffixes))]


def has_audio(root: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> bool:
    """Tell whether ``find_audio`` finds anything; it stops at the first."""
    return next(_named_audio(root, suffixes), None) is not None


def _named_audio(root: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield the place below a folder, and the path, of what is named like audio."""
    seen: set[str] = set()
    above = len(os.fspath(root))
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        named = [name for name in folders if name.lower().endswith(suffixes)]
        # os.walk goes on into the folders that are left in the list.
        folders[:] = [name for name in folders if not name.startswith(".") and name not in named]
        place, below = Path(folder), folder[above:].strip("/")
        inside = f"{below}/" if below else ""
        for name in files + named:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield inside + name, place / name


def read_info(path: Path) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        DataError: The file is missing, a folder, empty or not audio; the message says which.
    """
    reason = why_not_a_file(path)
    if reason:
        raise DataError(_unreadable(path, reason))
    try:
        with open_sound(path) as sound:
            return AudioInfo(
                sound.samplerate, sound.channels, sound.frames, sound.format, sound.subtype
            )
    except DECODE_ERRORS as error:
        raise DataError(_unreadable(path, decode_error(error))) from error


def read_audio(path: Path, start: int = 0, frames: int = -1) -> tuple[Samples, int]:
    """Decode an audio file, whole or in part.

    Args:
        path: The file; its content, not its name, decides the format.
        start: First sample, at the file's own rate.
        frames: Number of samples, -1 for all up to the end.

    Returns:
        Samples of shape (T, C), full scale 1.0, and the sample rate in Hz.

    Raises:
        DataError: The file cannot be decoded to the end; the message names the file and the
            reason.
    """
    reason = why_not_a_file(path)
    if reason:
        raise DataError(_unreadable(path, reason))
    try:
        with open_sound(path) as sound:
            if start:
                sound.seek(start)
            return sound.read(frames, dtype="float32", always_2d=True), sound.samplerate
    except DECODE_ERRORS as error:
        raise DataError(_unreadable(path, decode_error(error))) from error


@contextmanager
def open_sound(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a file for decoding, whatever bytes its name has.

    A file whose writer did not know its length is read to its end.

    Raises:
        soundfile.SoundFileError: The file cannot be decoded; see ``DECODE_ERRORS`` for what else
            a decoder raises, and ``decode_error``.
        ValueError: It claims far more samples than a file of its size can hold.
    """
    data = sample_data(path)
    filled = data.filled() if data else None
    with ExitStack() as opened:
        source = opened.enter_context(_Patched(path, *filled)) if filled else os.fsencode(path)
        sound = opened.enter_context(soundfile.SoundFile(source))
        unfolded = sound.frames * sound.channels * _SAMPLE_BYTES
        most = _FREE_BYTES + _MOST_UNFOLDED * path.stat().st_size
        if not 0 <= unfolded <= most:
            raise ValueError(f"it claims {sound.frames} samples, more than its size can hold")
        yield sound


class _Patched(io.FileIO):
    """A file, some bytes of which read otherwise than they are on disk."""

    def __init__(self, path: Path, at: int, patch: bytes) -> None:
        super().__init__(path, "rb")
        self.at, self.patch = at, patch

    def readinto(self, buffer: Any) -> int | None:
        """Fill a buffer from the current place on."""
        begin = self.tell()
        count = super().readinto(buffer) or 0
        first, last = max(begin, self.at), min(begin + count, self.at + len(self.patch))
        if first < last:
            view = memoryview(buffer).cast("B")
            view[first - begin : last - begin] = self.patch[first - self.at : last - self.at]
        return count


def why_not_a_file(path: Path) -> str:
    """Say why a path cannot be opened as a file; empty when it can."""
    if path.is_symlink() and not path.exists():
        return f"a link to {os.readlink(path)}, which does not exist"
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "a folder with the name of an audio file"
    return "an empty file (0 bytes)" if path.stat().st_size == 0 else ""


@dataclass
class AudioStore:
    """Decoded mono audio at one sample rate, kept in memory up to a budget.

    Files beyond the budget are decoded again each time; the samples are the same either way.

    Attributes:
        sample_rate: Rate of everything that is returned, in Hz.
        budget_bytes: Most bytes that stay in memory, of all processes that load data together.
    """

    sample_rate: int
    budget_bytes: int
    _held: dict[Path, Samples] = field(default_factory=dict, repr=False)
    _headers: dict[Path, AudioInfo] = field(default_factory=dict, repr=False)
    _held_bytes: int = 0

    def whole(self, path: Path) -> Samples:
        """Return all samples of a file, mono, shape (T,), at ``sample_rate``.

        The array must not be changed.
        """
        held = self._held.get(path)
        if held is not None:
            return held
        samples, sample_rate = read_audio(path)
        mono = self._convert(samples, sample_rate)
        if self._fits(mono.nbytes):
            self._held[path] = mono
            self._held_bytes += mono.nbytes
        return mono

    def preload(self, durations_s: Mapping[Path, float]) -> None:
        """Decode files ahead of use, unless they do not all fit into the budget.

        Args:
            durations_s: Length of each file in seconds.
        """
        wanted = {path: each for path, each in durations_s.items() if path not in self._held}
        samples = sum(round(each * self.sample_rate) for each in wanted.values())
        if self._fits(_SAMPLE_BYTES * samples):
            for path in wanted:
                self.whole(path)

    def excerpt(self, path: Path, start: int, length: int) -> Samples:
        """Return ``length`` samples of a file from ``start`` on, both at ``sample_rate``."""
        if path not in self._held and self._can_seek(path):
            header = self._header(path)
            if not self._fits(_SAMPLE_BYTES * header.frames):
                samples, sample_rate = read_audio(path, start, length)
                return self._convert(samples, sample_rate)
        return self.whole(path)[start : start + length]

    def length(self, path: Path) -> int:
        """Return the number of samples that a file has at ``sample_rate``."""
        held = self._held.get(path)
        if held is None and self._can_seek(path):
            return self._header(path).frames
        return len(self.whole(path))

    def _fits(self, more_bytes: int) -> bool:
        """Tell whether more stays in memory; processes that load data share the budget."""
        return self._held_bytes + more_bytes <= self.budget_bytes // loader_processes()

    def _header(self, path: Path) -> AudioInfo:
        if path not in self._headers:
            self._headers[path] = read_info(path)
        return self._headers[path]

    def _can_seek(self, path: Path) -> bool:
        header = self._header(path)
        return header.sample_rate == self.sample_rate and header.format in SEEKABLE_FORMATS

    def _convert(self, samples: Samples, sample_rate: int) -> Samples:
        mono = resample(mixdown(samples.T), sample_rate, self.sample_rate)
        return np.ascontiguousarray(mono, dtype=np.float32)


def decode_error(error: BaseException) -> str:
    """Return in a few words what the decoder said.

    Args:
        error: Its exception, or the DataError that was raised from it.
    """
    cause = error.__cause__ or error
    text = getattr(cause, "error_string", "") or str(cause)
    return f"not decodable ({text.strip().rstrip('.').removeprefix('Error : ')})"


def _unreadable(path: Path, reason: str) -> str:
    return f"{path}: expected a readable audio file, got {reason}; replace or remove it"

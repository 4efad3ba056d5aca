"""A folder of decoded or resampled signals, so that each is made only once: ``SignalCache``.

Each signal is one float file under its key, verified whenever it is found. What the signals are is
decided in pairs.py. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audioprune.data.files.audio import DECODE_ERRORS, Samples
from audioprune.files import write_atomic
from audioprune.plain.sealing import opened, parse, sealed

_VERSION = 1
"""Raised whenever the same key would give other samples."""
_WRITING = threading.Lock()
"""Threads of one process share the name of a temporary file."""


@dataclass(frozen=True)
class CachedSignal:
    """A signal on disk.

    Attributes:
        path: Mono WAV of 32-bit floats, so that levels above full scale stay.
        frames: Number of samples.
        sha256: Hash of the samples.
        peak: Largest absolute sample.
        level: Root mean square of the samples.
        payload_bytes: Size that the signal had when it was coded; 0 when it was not.
    """

    path: Path
    frames: int
    sha256: str
    peak: float
    level: float
    payload_bytes: int = 0


@dataclass(frozen=True)
class SignalCache:
    """A folder of made signals of one kind and rate.

    Several processes may use it at once: files appear whole under their names, and whoever comes
    second writes the same samples.

    Attributes:
        folder: The folder; its name says how the signals were made.
        sample_rate: Rate of all signals in Hz.
    """

    folder: Path
    sample_rate: int

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def get(self, key: str, make: Callable[[], tuple[Samples, int]]) -> CachedSignal:
        """Return the signal of a key, made when it is missing or damaged.

        Args:
            key: Hash of whatever it is made from.
            make: Returns the samples, shape (T,), and their coded size in bytes, or 0.

        Raises:
            OutputError: The folder cannot be written.
        """
        found = self._find(key)
        if found:
            return found
        samples, payload_bytes = make()
        samples = np.ascontiguousarray(samples, dtype="<f4")
        remark = json.dumps(
            sealed({"version": _VERSION, "sha256": _hash(samples), "payload_bytes": payload_bytes})
        )
        stream = io.BytesIO()
        with soundfile.SoundFile(stream, "w", self.sample_rate, 1, "FLOAT", format="WAV") as file:
            file.comment = remark
            file.write(samples)
        with _WRITING:
            write_atomic(self._path(key), stream.getvalue())
        return _signal(self._path(key), samples, payload_bytes)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.wav"

    def _find(self, key: str) -> CachedSignal | None:
        """Return an intact signal, or nothing."""
        try:
            with soundfile.SoundFile(os.fsencode(self._path(key))) as file:
                remark, sample_rate = parse(file.comment), file.samplerate
                samples = file.read(dtype="float32")
            remark = opened(remark) or {}
            found = (sample_rate, remark["version"], remark["sha256"])
            if found != (self.sample_rate, _VERSION, _hash(samples)):
                return None
            return _signal(self._path(key), samples, remark["payload_bytes"])
        except (*DECODE_ERRORS, TypeError, KeyError):
            return None


def _signal(path: Path, samples: Samples, payload_bytes: int) -> CachedSignal:
    level = float(np.sqrt(np.square(samples, dtype=np.float64).mean())) if len(samples) else 0.0
    peak = float(np.abs(samples).max(initial=0.0))
    return CachedSignal(path, len(samples), _hash(samples), peak, level, payload_bytes)


def _hash(samples: Samples) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()

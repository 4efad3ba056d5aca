"""How samples become the bytes of an audio file without losing any: ``encoded``, ``Written``.

libsndfile writes a FLAC file that the disk cut short without an error. So small files are encoded
in memory and written by audioprune.files, and long ones go through ``Written``, which remembers
the first write that failed. Which file is written when is decided elsewhere.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile


def encoded(samples: np.ndarray, sample_rate: int, kind: str = "FLAC") -> bytes:
    """Return the bytes of an audio file of 16 bits.

    Args:
        samples: Shape (T,) or (T, C), within -1..1.
        sample_rate: In Hz.
        kind: Container, such as ``FLAC`` or ``WAV``.
    """
    stream = io.BytesIO()
    soundfile.write(stream, samples, sample_rate, format=kind, subtype="PCM_16")
    return stream.getvalue()


class Written:
    """A file that an encoder writes through, and which knows whether all of it was taken.

    Args:
        file: Opened for reading and writing, without a buffer.
    """

    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all bytes; after a failure nothing more, which ``check`` alone tells.

        An encoder that is told so stops with an error of its own, or passes over it.
        """
        left = memoryview(data)
        try:
            while len(left) and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read bytes from where the file stands."""
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place where the file stands."""
        return self.file.tell()

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def check(self) -> None:
        """Raise the first failure.

        Raises:
            OSError: A write failed.
        """
        if self.error is not None:
            raise self.error

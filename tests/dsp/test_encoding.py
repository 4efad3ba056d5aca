"""Samples become the bytes of a file, and a write that fails is never lost."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.dsp.encoding import Written, encoded

SAMPLES = 0.1 * np.random.default_rng(0).standard_normal((4000, 2))


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_bytes_are_those_of_a_file(tmp_path: Path, kind: str) -> None:
    soundfile.write(tmp_path / "a", SAMPLES, 8000, format=kind, subtype="PCM_16")
    assert encoded(SAMPLES, 8000, kind) == (tmp_path / "a").read_bytes()


class Full(io.FileIO):
    """A file on a disk that takes a few bytes more, in small pieces."""

    left = 3000

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = super().write(bytes(data)[: min(self.left, 700)])
        self.left -= count
        return count


def test_a_disk_that_is_full_is_noticed_though_the_encoder_says_nothing(tmp_path: Path) -> None:
    for size, fits in ((500, True), (4000, False)):
        with Full(str(tmp_path / "a"), "wb+") as file:
            written = Written(file)
            sound = soundfile.SoundFile(written, "w", 8000, 2, "PCM_16", format="FLAC")
            sound.write(SAMPLES[:size])
            sound.close()
            if fits:
                written.check()
            else:
                with pytest.raises(OSError, match="No space left"):
                    written.check()
        if fits:
            assert (tmp_path / "a").read_bytes() == encoded(SAMPLES[:size], 8000)

"""FLAC files that hold more than their header says; a decoder would drop the rest unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.data.files.checks import check_header
from audioprune.data.files.flac_length import unpromised


@pytest.mark.parametrize("count", [100, 4096, 9001, 600_000])
@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 11025), (6, 48000)])
def test_more_samples_than_promised_are_found(
    tmp_path: Path, count: int, channels: int, rate: int
) -> None:
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).normal(size=(count, channels)) / 10
    soundfile.write(path, noise, rate)
    assert unpromised(path) == ""
    data = bytearray(path.read_bytes())
    data[22:26] = (count - 7).to_bytes(4, "big")
    path.write_bytes(data)
    assert unpromised(path) == f"{count} samples where its header promises {count - 7}"
    assert check_header(path)[0].reason.startswith(f"{count} samples where")


def test_other_files_promise_nothing(tmp_path: Path) -> None:
    for content in (b"", b"fLaC", b"RIFF" * 99, b"fLaC" + bytes(99), b"fLaC" + b"\xff\xf8" * 99):
        (tmp_path / "a.flac").write_bytes(content)
        assert unpromised(tmp_path / "a.flac") == ""

"""Clips in a page: stored once, small, and back as they were."""

from __future__ import annotations

import base64
import builtins
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.listening.loudness import loudness_lufs
from audioprune.report.page.sound import NO_OPUS, NO_PYAV, Sounds, opus

TIME = np.arange(48000) / 48000
TONE = 0.3 * np.sin(2 * np.pi * 440 * TIME)


def test_opus_comes_back_as_it_was_and_is_small() -> None:
    av = pytest.importorskip("av")
    data = opus(TONE, 32000)
    assert data == opus(TONE, 32000) and len(data) < 6000
    with av.open(io.BytesIO(data)) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    back = np.concatenate(parts)
    # The container says how much of the start to skip; a reader may leave that to its user.
    lag = max(0, len(back) - len(TONE))
    assert lag <= 960
    same = np.corrcoef(back[lag : lag + 40000], TONE[:40000])[0, 1]
    assert max(same, np.corrcoef(back[:40000], TONE[:40000])[0, 1]) > 0.98


def test_the_same_samples_are_stored_once_and_measured(tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.flac", TONE[::3], 16000)
    soundfile.write(tmp_path / "c.flac", 0.5 * TONE[::3], 16000)
    sounds = Sounds()
    one, other, third = (sounds.sound(tmp_path / f"{name}.flac") for name in "abc")
    assert one is other and third.name == "clip-2"
    assert sounds.size == len(one.address) + len(third.address)
    assert one.sample_rate == 16000 and one.seconds == 1.0
    assert one.pitch_hz == pytest.approx(440, rel=1e-3)
    assert one.loudness == pytest.approx(loudness_lufs(TONE), abs=0.1)
    assert one.loudness - third.loudness == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize("missing", ["library", "encoder"])
def test_without_an_encoder_the_file_itself_is_stored(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, TONE[::3], 16000)
    if missing == "library":
        real = builtins.__import__

        def without(name: str, *rest: object) -> object:
            if name == "av":
                raise ModuleNotFoundError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
    else:

        def refuse(signal: np.ndarray, bits: int) -> bytes:
            raise ValueError("Unknown codec: libopus")

        monkeypatch.setattr("audioprune.report.page.sound.opus", refuse)
    sounds = Sounds()
    kind, data = sounds.sound(path).address.split(",")
    assert kind == "data:audio/flac;base64" and base64.b64decode(data) == path.read_bytes()
    assert sounds.note == (NO_PYAV if missing == "library" else NO_OPUS)

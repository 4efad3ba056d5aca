"""Whether the second kind of voices gives the same bytes in any order, and says what it lacks."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from audioprune.data.speech.espeak import draw_espeak_voice, require_espeak, say
from audioprune.errors import ConfigError


def _speech(speaker: int) -> np.ndarray:
    voice = draw_espeak_voice(np.random.default_rng([0, speaker]))
    return say(voice, 1.5, np.random.default_rng([1, speaker]))


def test_speech_is_the_same_whatever_was_said_before() -> None:
    pytest.importorskip("espeakng_loader")
    first, second = _speech(1), _speech(2)
    assert np.array_equal(_speech(2), second) and np.array_equal(_speech(1), first)
    for speech in (first, second):
        assert speech.shape == (24000,) and speech.dtype == np.float32
        assert 0.02 < np.sqrt(np.mean(speech**2)) < 0.06 and np.abs(speech).max() < 1
        loud = np.abs(speech.reshape(-1, 400)).max(1) > 0.001
        assert loud.mean() > 0.4
    assert not np.array_equal(first, second)


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"pip install 'audioprune\[voice\]'"):
        require_espeak()

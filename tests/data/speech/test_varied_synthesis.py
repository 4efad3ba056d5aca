"""Whether varied voices and noises are sound, and what a room and a microphone leave of one."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.data.speech.noise_synthesis import NOISES
from audioprune.data.speech.speech_synthesis import draw_voice, speak
from audioprune.data.speech.varied_synthesis import (
    NOISE_KINDS,
    draw_varied_voice,
    long_noise,
    recorded,
    scene,
)


def test_voices_are_of_more_kinds() -> None:
    def spread(draw) -> list[float]:
        voices = [draw(np.random.default_rng(seed)) for seed in range(60)]
        scales = [voice.formant_scale for voice in voices]
        return [max(scales) - min(scales), np.std([np.log(voice.f0_hz) for voice in voices])]

    assert all(np.array(spread(draw_varied_voice)) > spread(draw_voice))


def test_a_recorded_voice_keeps_its_length_and_level() -> None:
    rng = np.random.default_rng(0)
    speech = speak(draw_varied_voice(rng), 1.2, rng)
    for seed in range(4):
        heard = recorded(speech, np.random.default_rng(seed))
        assert heard.shape == speech.shape and heard.dtype == np.float32
        assert 0.02 < np.sqrt(np.mean(heard**2)) < 0.06 and np.abs(heard).max() <= 0.9
        assert np.array_equal(heard, recorded(speech, np.random.default_rng(seed)))


@pytest.mark.parametrize("kind", sorted(set(NOISE_KINDS) - set(NOISES)))
def test_other_noises_are_finite_and_sound(kind: str) -> None:
    noise = NOISE_KINDS[kind](1.0, np.random.default_rng(0))
    assert noise.shape == (16000,) and np.isfinite(noise).all() and noise.std() > 0


def test_a_long_noise_changes_over_its_time() -> None:
    made = long_noise(NOISES["white"], 21.0, np.random.default_rng(3))
    assert made.shape == (21 * 16000,) and np.isfinite(made).all()
    levels = made.reshape(21, -1).std(1)
    assert levels.max() > 1.3 * levels.min() > 0
    mixed = scene(2.0, np.random.default_rng(1))
    assert mixed.shape == (32000,) and np.isfinite(mixed).all() and mixed.std() > 0

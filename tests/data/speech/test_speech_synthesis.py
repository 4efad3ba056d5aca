"""Artificial speech has the pitch, level and spectrum of speech."""

from __future__ import annotations

import numpy as np
import pytest
from pystoi import stoi
from scipy import signal

from audioprune.data.speech.noise_synthesis import babble
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE, Voice, draw_voice, speak


def _said(number: int, seconds: float = 3.0) -> tuple[Voice, np.ndarray]:
    rng = np.random.default_rng([5, number])
    voice = draw_voice(rng)
    return voice, speak(voice, seconds, rng)


def test_shape_level_and_determinism() -> None:
    for number, seconds in enumerate((1.0, 1.37, 3.0, 6.0)):
        _, speech = _said(number, seconds)
        assert (
            speech.shape == (round(seconds * SAMPLE_RATE),)
            and speech.dtype == np.float32
            and np.isfinite(speech).all()
        )
        assert np.abs(speech).max() < 1 and 0.035 < speech.std() < 0.07
        assert np.array_equal(speech, _said(number, seconds)[1])
    assert not np.array_equal(_said(1)[1][:1000], _said(2)[1][:1000])


def test_voices_differ_in_plausible_ranges() -> None:
    voices = [draw_voice(np.random.default_rng(number)) for number in range(60)]
    pitches = np.array([voice.f0_hz for voice in voices])
    assert (
        pitches.min() >= 75
        and pitches.max() <= 290
        and (pitches < 150).sum() > 15
        and (pitches > 170).sum() > 15
    )
    assert len({voice.formant_scale for voice in voices}) == 60


def test_pitch_is_the_voices_pitch() -> None:
    for number in range(6):
        voice, speech = _said(number)
        found = []
        for start in range(0, len(speech) - 1024, 512):
            frame = speech[start : start + 1024] * np.hanning(1024)
            if frame.std() < 0.5 * speech.std():
                continue
            correlation = signal.correlate(frame, frame, "full")[1023:]
            lags = np.arange(SAMPLE_RATE // 400, SAMPLE_RATE // 60)
            found.append(SAMPLE_RATE / lags[np.argmax(correlation[lags] / (1024 - lags))])
        assert 2 ** (-7 / 12) < np.median(found) / voice.f0_hz < 2 ** (7 / 12)


def test_energy_lies_where_speech_has_it_and_pauses_occur() -> None:
    speech = np.concatenate([_said(number)[1] for number in range(6)])
    hz, power = signal.welch(speech, SAMPLE_RATE, nperseg=512)
    share = [
        power[(hz >= low) & (hz < high)].sum() / power.sum()
        for low, high in ((0, 1000), (1000, 4000), (4000, 8000))
    ]
    assert share[0] > 0.6 and 0.05 < share[1] < 0.35 and 0.005 < share[2] < 0.2
    levels = speech[: len(speech) // 320 * 320].reshape(-1, 320).std(axis=1)
    assert 0.1 < np.mean(levels < 0.05 * speech.std()) < 0.5


def test_metrics_take_it_for_speech() -> None:
    pesq = pytest.importorskip("pesq").pesq
    scores = []
    for number in range(4):
        _, speech = _said(number)
        rng = np.random.default_rng(number)
        crowd = babble([_said(100 + voice, 2.0)[1] for voice in range(7)], 3.0, rng)
        noisy = speech + crowd * speech.std() / crowd.std() * 10 ** (5 / 20)
        assert stoi(speech, speech, SAMPLE_RATE) == pytest.approx(1)
        scores.append(stoi(speech, noisy, SAMPLE_RATE))
        assert (
            pesq(SAMPLE_RATE, speech, speech, "nb") > 4.5
            and 1 < pesq(SAMPLE_RATE, speech, noisy, "nb") < 2.5
        )
    assert 0.4 < np.mean(scores) < 0.7

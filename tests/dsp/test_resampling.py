"""Resampling and mixdown against tones and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from audioprune import dsp
from audioprune.errors import ConfigError, DataError


@pytest.mark.parametrize(("source", "target"), [(48000, 16000), (8000, 16000), (44100, 16000)])
def test_resample_keeps_a_tone(source, target):
    n = np.arange(source)
    tone = np.sin(2 * np.pi * 1000 * n / source)
    changed = dsp.resample(tone, source, target)
    expected = np.sin(2 * np.pi * 1000 * np.arange(target) / target)
    assert changed.shape == (target,)
    middle = slice(target // 10, -target // 10)
    assert np.abs(changed - expected)[middle].max() < 1e-4
    assert np.abs(changed - resample_poly(tone, target, source)[:target])[middle].max() < 2e-2


def test_resample_channels_and_errors():
    stereo = np.random.default_rng(0).standard_normal((2, 4800)).astype(np.float32)
    changed = dsp.resample(stereo, 48000, 16000)
    assert changed.shape == (2, 1600) and changed.dtype == np.float32
    np.testing.assert_array_equal(changed[1], dsp.resample(stereo[1], 48000, 16000))
    assert dsp.resample(stereo, 48000, 48000) is stereo
    with pytest.raises(ConfigError, match="positive"):
        dsp.resample(stereo, 0, 16000)
    with pytest.raises(DataError, match="one recording"):
        dsp.resample(stereo[None], 48000, 16000)


def test_mixdown():
    assert dsp.mixdown(np.array([[1.0, 2.0], [3.0, 6.0]])).tolist() == [2, 4]
    mono = np.zeros(5)
    assert dsp.mixdown(mono) is mono
    with pytest.raises(DataError, match="channels come first"):
        dsp.mixdown(np.zeros((1, 2, 3)))

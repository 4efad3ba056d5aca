"""Levels and mixing against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audioprune import dsp
from audioprune.errors import ConfigError, DataError


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_levels(make):
    x = make([[3.0, 4.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert dsp.rms(x).tolist() == [2.5, 1.0]
    np.testing.assert_allclose(dsp.rms(x * dsp.rms_gain(x, 0.1)[..., None]), [0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(dsp.rms_gain(x), [0.4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        dsp.loudness_db(make([[0.1, -0.1], [0.0, 0.0]])), [-20.0, -100.0], rtol=1e-6
    )
    with pytest.raises(DataError, match="not silent"):
        dsp.rms_gain(x * 0)
    with pytest.raises(DataError, match="not silent"):
        dsp.rms_gain(x * math.nan)
    with pytest.raises(ConfigError, match="positive target"):
        dsp.rms_gain(x, math.nan)
    with pytest.raises(DataError, match="floating-point"):
        dsp.rms(make([300, 300]))


def test_loudness_curve():
    x = torch.cat([torch.ones(320), torch.full((320,), 0.01)])
    assert dsp.loudness_db(dsp.frame_signal(x, 320, 320)).tolist() == pytest.approx(
        [0.0, -40.0], abs=1e-4
    )


@pytest.mark.parametrize("snr_db", [-5, -2.5, 0, 5, 40, -60])
def test_mix_at_snr_is_exact(snr_db):
    rng = np.random.default_rng(3)
    speech, noise = (
        (rng.standard_normal(16000) * 0.05).astype(np.float32),
        rng.standard_normal(16000).astype(np.float32) * 7,
    )
    mixture, scaled = dsp.mix_at_snr(speech, noise, snr_db)
    assert mixture.dtype == scaled.dtype == np.float64
    measured = 10 * np.log10(np.sum(speech.astype(np.float64) ** 2) / np.sum(scaled**2))
    assert abs(measured - snr_db) < 1e-9
    np.testing.assert_array_equal(mixture, speech + scaled)


def test_mix_at_snr_refuses():
    speech, noise = np.ones(8), np.ones(8)
    with pytest.raises(DataError, match="one length"):
        dsp.mix_at_snr(speech, noise[:4], 0)
    for bad in (noise * 0, noise * math.nan, noise * math.inf):
        with pytest.raises(DataError, match="not silent"):
            dsp.mix_at_snr(speech, bad, 0)
        with pytest.raises(DataError, match="not silent"):
            dsp.mix_at_snr(bad, noise, 0)
    with pytest.raises(DataError, match="T >= 1"):
        dsp.mix_at_snr(speech[:0], noise[:0], 0)
    with pytest.raises(ConfigError, match="finite snr_db"):
        dsp.mix_at_snr(speech, noise, math.nan)

"""Mel filters against those of librosa."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from audioprune.dsp import mel_filters


@pytest.mark.parametrize(("mels", "n_fft", "rate"), [(40, 400, 16000), (64, 1024, 22050)])
def test_filters_are_those_of_librosa(mels: int, n_fft: int, rate: int) -> None:
    wanted = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels)
    assert np.allclose(mel_filters(mels, n_fft, rate).numpy(), wanted, atol=1e-7)
    assert mel_filters(4, 64, 1000).shape == (4, 33)  # all below the bend at 1 kHz

"""Spectra and masks against closed forms and torch."""

from __future__ import annotations

import math

import pytest
import torch

from audioprune import dsp
from audioprune.errors import ConfigError, DataError


def _noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _torch_stft(x, n_fft=320, hop=160, window=None):
    window = (
        torch.hamming_window(n_fft, periodic=False, dtype=x.dtype) if window is None else window
    )
    return torch.stft(
        x, n_fft, hop, n_fft, window, center=True, pad_mode="constant", return_complex=True
    ).transpose(-1, -2)


@pytest.mark.parametrize("length", [1, 159, 160, 320, 16000, 16037])
def test_analysis_equals_torch_stft(length):
    x = _noise(2, length)
    spectrum = dsp.STFT().analysis(x)
    assert spectrum.shape == (2, length // 160 + 1, 161)
    torch.testing.assert_close(spectrum, _torch_stft(x), rtol=0, atol=1e-12)


def test_analysis_equals_torch_stft_for_another_transform():
    x = _noise(3, 1000)
    stft = dsp.STFT(n_fft=256, hop_length=64, window="hann")
    torch.testing.assert_close(
        stft.analysis(x),
        _torch_stft(x, 256, 64, torch.hann_window(256, dtype=x.dtype)),
        rtol=0,
        atol=1e-12,
    )


def test_frame_and_bin_counts():
    stft = dsp.STFT()
    assert (stft.bins, stft.frames(16037), stft.analysis(_noise(16037)).shape) == (
        161,
        101,
        (101, 161),
    )


@pytest.mark.parametrize(
    "stft", [dsp.STFT(), dsp.STFT(512, 128, "hann"), dsp.STFT(100, 33), dsp.STFT(320, 160, "hann")]
)
@pytest.mark.parametrize("ola_norm", dsp.OLA_NORMS)
@pytest.mark.parametrize("length", [1, 131, 4037])
def test_round_trip_is_exact(stft, ola_norm, length):
    x = _noise(2, 3, length)
    back = stft.synthesis(stft.analysis(x), length, ola_norm)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10 if stft.window == "hann" else 1e-12)


def test_two_hamming_windows_at_half_their_length_add_up_to_almost_a_constant():
    window = torch.hamming_window(320, periodic=False, dtype=torch.float64)
    total = window[:160] + window[160:]
    assert float(total.min()) == pytest.approx(1.0755, abs=5e-5) and float(
        total.max()
    ) == pytest.approx(1.08, abs=5e-5)


def test_round_trip_default_length():
    x = _noise(4037)
    back = dsp.STFT().synthesis(dsp.STFT().analysis(x))
    torch.testing.assert_close(back, x[:4000], rtol=0, atol=1e-12)


def test_window_squared_is_torch_istft_and_window_is_not():
    x = _noise(2, 16037)
    spectrum = dsp.STFT().analysis(x) * torch.rand(
        2, 101, 161, generator=torch.Generator().manual_seed(1), dtype=x.dtype
    )
    window = torch.hamming_window(320, periodic=False, dtype=x.dtype)
    oracle = torch.istft(
        spectrum.transpose(-1, -2), 320, 160, 320, window, center=True, length=16037
    )
    squared = dsp.STFT().synthesis(spectrum, 16037, "window_squared")
    plain = dsp.STFT().synthesis(spectrum, 16037, "window")
    torch.testing.assert_close(squared, oracle, rtol=0, atol=1e-12)
    assert 0.1 < float((plain - squared).norm() / squared.norm()) < 0.4


def test_window_convention_divides_by_the_sum_of_windows():
    spectrum = torch.fft.rfft(torch.ones(5, 320, dtype=torch.float64))
    window = torch.hamming_window(320, periodic=False, dtype=torch.float64)
    expected = 2 / (window[:160] + window[160:])
    signal = dsp.STFT().synthesis(spectrum)
    torch.testing.assert_close(signal[160:320], expected, rtol=1e-12, atol=0)
    assert float((window[:160] + window[160:]).min()) == pytest.approx(1.0755, abs=1e-4)


@pytest.mark.parametrize("ola_norm", dsp.OLA_NORMS)
def test_gradients(ola_norm):
    stft = dsp.STFT(n_fft=8, hop_length=4)
    x = _noise(2, 19).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: stft.synthesis(stft.analysis(s) * 0.5j, 19, ola_norm), (x,)
    )
    assert torch.autograd.gradcheck(
        lambda s: dsp.overlap_add_mean(dsp.frame_signal(s, 8, 3) ** 2, 3, 19), (x,)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_fft": 321}, "even n_fft"),
        ({"hop_length": 161}, "from 1 to n_fft / 2 = 160, got 161"),
        ({"hop_length": 0}, "got 0"),
        ({"window": "haming"}, "closest: hamming"),
    ],
)
def test_transform_refuses(arguments, message):
    with pytest.raises(ConfigError, match=message):
        dsp.STFT(**arguments)


def test_transform_refuses_signals_and_spectra():
    stft = dsp.STFT()
    with pytest.raises(DataError, match="T >= 1"):
        stft.analysis(torch.zeros(0))
    with pytest.raises(DataError, match="int16"):
        stft.analysis(torch.zeros(9, dtype=torch.int16))
    with pytest.raises(DataError, match="complex spectrum"):
        stft.synthesis(torch.zeros(4, 161))
    with pytest.raises(DataError, match="161"):
        stft.synthesis(torch.zeros(4, 160, dtype=torch.complex64))
    with pytest.raises(ConfigError, match="from 0 to 640 samples for 4 frames, got 641"):
        stft.synthesis(torch.zeros(4, 161, dtype=torch.complex64), 641)
    with pytest.raises(ConfigError, match="unknown ola_norm"):
        stft.synthesis(torch.zeros(4, 161, dtype=torch.complex64), ola_norm="windows")


def test_ideal_ratio_mask():
    speech, noise = (
        torch.tensor([3.0, 1.0, 0.0, 0.0, 2.0]),
        torch.tensor([4.0, 1.0, 2.0, 0.0, 0.0]),
    )
    torch.testing.assert_close(
        dsp.ideal_ratio_mask(speech, noise), torch.tensor([0.6, math.sqrt(0.5), 0.0, 0.0, 1.0])
    )
    with pytest.raises(DataError, match="one shape"):
        dsp.ideal_ratio_mask(speech, noise[:2])

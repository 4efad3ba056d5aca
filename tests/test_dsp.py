"""Spectra, framing, masks, companding, resampling and mixing against closed forms, torch and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

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


@pytest.mark.parametrize("chunk", [1, 160, 233])
@pytest.mark.parametrize("stft", [dsp.STFT(), dsp.STFT(256, 60, "hann")])
@pytest.mark.parametrize("ola_norm", dsp.OLA_NORMS)
def test_streaming_equals_batch(stft, ola_norm, chunk):
    x = _noise(2, 1037)
    analysis, synthesis = dsp.StreamAnalysis(stft), dsp.StreamSynthesis(stft, ola_norm)
    for _ in range(2):  # flush starts anew
        frames = [analysis.push(piece) for piece in x.split(chunk, dim=-1)] + [analysis.flush()]
        spectrum = torch.cat(frames, dim=-2)
        torch.testing.assert_close(spectrum, stft.analysis(x), rtol=0, atol=1e-12)
        changed = spectrum * 0.7j
        pieces, start = [], 0
        for part in frames:
            pieces.append(synthesis.push(changed[:, start : start + part.shape[-2]]))
            start += part.shape[-2]
        signal = torch.cat([*pieces, synthesis.flush(1037)], dim=-1)
        torch.testing.assert_close(
            signal, stft.synthesis(changed, 1037, ola_norm), rtol=0, atol=1e-9
        )


def test_streaming_one_hop_gives_one_frame():
    analysis, synthesis = dsp.StreamAnalysis(dsp.STFT()), dsp.StreamSynthesis(dsp.STFT())
    counts = [synthesis.push(analysis.push(_noise(1, 160))).shape[-1] for _ in range(4)]
    assert counts == [0, 160, 160, 160]


def test_streaming_errors():
    with pytest.raises(DataError, match="push some first"):
        dsp.StreamAnalysis(dsp.STFT()).flush()
    with pytest.raises(DataError, match="push some first"):
        dsp.StreamSynthesis(dsp.STFT()).flush()
    synthesis = dsp.StreamSynthesis(dsp.STFT())
    synthesis.push(dsp.STFT().analysis(_noise(1000)))
    with pytest.raises(ConfigError, match="from 960 to 1120 samples for 7 frames, got 10"):
        synthesis.flush(10)


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


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (320, 1), (321, 2), (480, 2), (481, 3), (16000, 99)]
)
def test_framing_covers_and_joins(length, count):
    x = _noise(2, length)
    frames = dsp.frame_signal(x, 320, 160)
    assert frames.shape == (2, count, 320)
    torch.testing.assert_close(dsp.overlap_add_mean(frames, 160, length), x, rtol=0, atol=1e-14)


def test_overlap_add_by_hand():
    frames = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert dsp.overlap_add(frames, 2).tolist() == [1, 2, 13, 20, 30]
    assert dsp.overlap_add_mean(frames, 2).tolist() == [1, 2, 6.5, 20, 30]
    assert dsp.overlap_add(frames, 1).tolist() == [1, 12, 23, 30]
    with pytest.raises(ConfigError, match="hop_length from 1"):
        dsp.overlap_add(frames, 4)
    with pytest.raises(ConfigError, match="from 0 to 5 samples for 2 frames, got 6"):
        dsp.overlap_add_mean(frames, 2, 6)


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


def test_mu_law():
    values = torch.tensor([-1.0, 0.0, 1.0, 0.5])
    y = math.log(1 + 255 * 0.5) / math.log(256)
    assert dsp.mu_law_encode(values).tolist() == [0, 128, 255, round((y + 1) / 2 * 255)]
    indices = torch.arange(256)
    assert torch.equal(dsp.mu_law_encode(dsp.mu_law_decode(indices)), indices)
    assert dsp.mu_law_encode(torch.linspace(-1, 1, 999), 16).unique().tolist() == list(range(16))
    with pytest.raises(DataError, match="peak of 1.5"):
        dsp.mu_law_encode(torch.tensor([1.5]))
    with pytest.raises(DataError, match="nan"):
        dsp.mu_law_encode(torch.tensor([0.0, math.nan]))
    with pytest.raises(ConfigError, match="at least 2"):
        dsp.mu_law_encode(values, 1)


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


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_levels(make):
    x = make([[3.0, 4.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert dsp.rms(x).tolist() == [2.5, 1.0]
    np.testing.assert_allclose(dsp.rms(dsp.set_rms(x, 0.1)), [0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(dsp.rms_gain(x), [0.4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        dsp.loudness_db(make([[0.1, -0.1], [0.0, 0.0]])), [-20.0, -100.0], rtol=1e-6
    )
    with pytest.raises(DataError, match="not silent"):
        dsp.set_rms(x * 0)
    with pytest.raises(DataError, match="not silent"):
        dsp.set_rms(x * math.nan)
    with pytest.raises(ConfigError, match="positive target"):
        dsp.set_rms(x, math.nan)
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

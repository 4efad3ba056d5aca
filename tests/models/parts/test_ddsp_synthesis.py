"""Whether oscillators, noise filters and reverberation give the signals of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve, welch

from audioprune.errors import DataError
from audioprune.models.parts import ddsp_synthesis as synthesis

RATE = 16_000


def _rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_mod_sigmoid():
    values = torch.tensor([-100.0, 0.0, 100.0])
    expected = torch.tensor([1e-7, 2 * 0.5 ** math.log(10) + 1e-7, 2 + 1e-7])
    torch.testing.assert_close(synthesis.mod_sigmoid(values), expected)


def test_scaled_pitch():
    found = synthesis.scaled_pitch(torch.tensor([440.0, 261.6256, 0.0])) * 127
    torch.testing.assert_close(found, torch.tensor([69.0, 60.0, 0.0]), rtol=0, atol=1e-4)


def test_a_steady_partial_is_a_sine():
    frames, block = 40, 160
    amplitudes = torch.zeros(1, frames, 5)
    amplitudes[..., 2] = 0.7
    found = synthesis.harmonic_signal(torch.full((1, frames), 300.0), amplitudes, block, RATE)[
        0
    ].double()
    expected = 0.7 * torch.sin(
        2 * math.pi * 900 * torch.arange(1, frames * block + 1, dtype=torch.float64) / RATE
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_long_notes_stay_in_tune():
    frames = 2000  # 20 s
    amplitudes = torch.zeros(1, frames, 20)
    amplitudes[..., -1] = 1
    found = synthesis.harmonic_signal(torch.full((1, frames), 391.99), amplitudes, 160, RATE)[
        0
    ].double()
    time = torch.arange(1, frames * 160 + 1, dtype=torch.float64) / RATE
    torch.testing.assert_close(
        found, torch.sin(2 * math.pi * 20 * float(np.float32(391.99)) * time), rtol=0, atol=2e-4
    )


def test_frequency_and_amplitude_move_linearly():
    f0, amplitudes = torch.tensor([[200.0, 300.0, 250.0]]), _rand(1, 3, 4)
    found = synthesis.harmonic_signal(f0, amplitudes, 10, RATE)[0]
    at = np.arange(30) / 10
    cycles = np.cumsum(np.interp(at, [0, 1, 2], f0[0])) / RATE
    levels = [np.interp(at, [0, 1, 2], amplitudes[0, :, k]) for k in range(4)]
    expected = sum(levels[k] * np.sin(2 * np.pi * (k + 1) * cycles) for k in range(4))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_reach_the_amplitudes():
    amplitudes = _rand(1, 3, 2).double().requires_grad_()
    f0 = torch.tensor([[200.0, 300.0, 250.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: synthesis.harmonic_signal(f0, values, 4, RATE), amplitudes
    )


def test_no_partial_above_half_the_sample_rate():
    shares = synthesis.harmonic_distribution(
        _rand(1, 3, 10) + 0.1, torch.tensor([[1000.0, 3000.0, 9000.0]]), RATE
    )[0]
    assert (shares[0, :7] > 0).all() and (shares[0, 7:] == 0).all()  # 8 kHz itself is silent
    assert (shares[1, :2] > 0).all() and (shares[1, 2:] == 0).all()
    assert (shares[2] == 0).all()
    torch.testing.assert_close(shares[:2].sum(-1), torch.ones(2))


def test_filtered_noise_equals_direct_convolution():
    magnitudes, noise = _rand(1, 3, 9), _rand(1, 3, 20, seed=1) - 0.5
    found = synthesis.filtered_noise(magnitudes, noise)[0].numpy()
    whole = np.zeros(3 * 20 + 16)
    for frame in range(3):
        response = np.roll(np.fft.irfft(magnitudes[0, frame].numpy(), 16), 8) * np.hanning(17)[:-1]
        whole[frame * 20 : frame * 20 + 35] += np.convolve(noise[0, frame].numpy(), response)
    np.testing.assert_allclose(found, whole[8 : 8 + 60], atol=1e-6)


def test_flat_magnitudes_keep_the_noise():
    noise = _rand(2, 5, 160) - 0.5
    torch.testing.assert_close(
        synthesis.filtered_noise(torch.ones(2, 5, 81), noise), noise.flatten(1), rtol=0, atol=1e-5
    )


def test_noise_has_the_spectrum_of_its_filter():
    magnitudes = torch.zeros(1, 400, 81)
    magnitudes[..., 20:40] = 1  # 2 to 4 kHz
    noise = 2 * _rand(1, 400, 160) - 1
    frequencies, power = welch(
        synthesis.filtered_noise(magnitudes, noise)[0].numpy(), RATE, nperseg=512
    )
    inside = power[(frequencies > 2300) & (frequencies < 3700)].mean()
    outside = power[(frequencies > 5000) | (frequencies < 1000)].mean()
    assert outside < 1e-3 * inside


def test_reverb_response():
    noise = 2 * _rand(100) - 1
    found = synthesis.reverb_response(noise, torch.tensor(5.0), torch.tensor(0.0), RATE)
    decay = 500 * math.log1p(math.exp(-5.0))
    expected = noise.numpy() * 0.5 * np.exp(-decay * np.arange(100) / RATE)
    expected[0] = 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(7, 4), (100, 33), (1, 1)])
def test_fft_convolve(a, b):
    signal, response = _rand(2, a), _rand(b, seed=1)
    expected = fftconvolve(signal.numpy(), response.numpy()[None], axes=1)
    np.testing.assert_allclose(synthesis.fft_convolve(signal, response), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "size"), [(1, 2), (7, 8), (319, 320), (321, 324), (47_999, 48_000)]
)
def test_fft_size(length, size):
    assert synthesis.fft_size(length) == size


def test_convolution_flops():
    assert synthesis.convolution_flops(319) == 3 * 5 * 320 * math.log2(320) + 6 * 161


def test_wrong_shapes_are_refused():
    with pytest.raises(DataError, match="expected a frequency"):
        synthesis.harmonic_signal(torch.ones(1, 3), torch.ones(1, 4, 2), 10, RATE)
    with pytest.raises(DataError, match="expected magnitudes"):
        synthesis.filtered_noise(torch.ones(1, 3, 9), torch.ones(1, 4, 20))

"""Spectral and sample distances against closed forms; numpy against torch."""

import math

import numpy as np
import pytest
import torch

from audioprune.dsp import STFT
from audioprune.errors import ConfigError
from audioprune.metrics import measure
from audioprune.metrics import spectral as S

RATE = 16000
DISTANCES = [S.log_spectral_distance, S.multi_resolution_stft_distance, S.l1_distance]


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("distance", DISTANCES)
def test_numpy_equals_torch_and_batches(distance):
    reference, estimate = _noise(2, 3000), _noise(2, 3000, seed=1)
    from_numpy = distance(reference, estimate)
    from_torch = distance(torch.tensor(reference), torch.tensor(estimate))
    np.testing.assert_allclose(from_torch.numpy(), from_numpy, rtol=1e-12)
    assert from_numpy[1] == pytest.approx(distance(reference[1], estimate[1]))
    assert distance(reference[0], reference[0]) == 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_finite_even_at_silence_and_equality(distance):
    reference = torch.tensor(_noise(2, 3000))
    for start in (torch.zeros_like(reference), reference, torch.tensor(_noise(2, 3000, seed=1))):
        estimate = start.clone().requires_grad_()
        distance(reference, estimate).sum().backward()
        assert estimate.grad.isfinite().all()
    assert estimate.grad.abs().max() > 0


def test_log_spectral_distance_of_a_gain_is_the_gain():
    x = _noise(8000)
    assert S.log_spectral_distance(x, 10 * x) == pytest.approx(20, abs=1e-9)
    assert S.log_spectral_distance(x, 0.5 * x, 1024) == pytest.approx(20 * math.log10(2), abs=1e-9)


def test_log_spectral_distance_by_its_formula():
    x, y = _noise(4000), _noise(4000, seed=1)
    power = [STFT(512, 128, "hann").analysis(torch.tensor(s)).abs().square() for s in (x, y)]
    expected = (10 * torch.log10(power[0] / power[1])).square().mean(-1).sqrt().mean()
    assert S.log_spectral_distance(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_log_spectral_distance_in_a_band():
    n = np.arange(RATE)
    low, high = np.sin(2 * np.pi * 1000 * n / RATE), np.sin(2 * np.pi * 6000 * n / RATE)
    louder = low + 10 * high + 1e-3 * _noise(RATE)
    reference = low + high + 1e-3 * _noise(RATE)
    below = S.log_spectral_distance(reference, louder, 512, RATE, (0, 4000))
    above = S.log_spectral_distance(reference, louder, 512, RATE, (4000, math.inf))
    assert above > 2 > below
    assert measure("lsd_above_4khz", reference, louder, RATE).value == pytest.approx(above)
    assert measure("lsd_below_4khz", reference, louder, RATE).value == pytest.approx(below)
    assert "with a bin below 3000 Hz" in measure("lsd_above_4khz", reference, louder, 6000).reason
    with pytest.raises(ConfigError, match="sample rate with band_hz"):
        S.log_spectral_distance(reference, louder, band_hz=(0, 4000))


def test_multi_resolution_distance_of_a_gain():
    x = _noise(8000)
    assert S.multi_resolution_stft_distance(x, 3 * x) == pytest.approx(2 + math.log(3), abs=1e-9)
    with pytest.raises(ConfigError, match="at least one window size"):
        S.multi_resolution_stft_distance(x, x, sizes=())


def test_segmental_snr():
    x = _noise(8000)
    assert S.segmental_snr(x, 1.1 * x, RATE) == pytest.approx(20, abs=1e-9)
    assert S.segmental_snr(x, x, RATE) == 35
    assert S.segmental_snr(x, 0 * x, RATE) == pytest.approx(0, abs=1e-9)
    assert S.segmental_snr(x, -99 * x, RATE) == -10
    half = np.concatenate([x, x])
    changed = np.concatenate([x, 1.1 * x])
    assert S.segmental_snr(half, changed, RATE) == pytest.approx(27.5, abs=0.5)
    gap = np.concatenate([x, np.zeros(8000)])
    assert S.segmental_snr(gap, gap, RATE) == pytest.approx(12.5, abs=1)


def test_l1():
    assert S.l1_distance(np.array([1.0, 2.0]), np.array([0.0, 4.0])) == 1.5


@pytest.mark.parametrize("name", S.SPECTRAL_METRICS)
def test_checks(name):
    x = _noise(8000)
    assert "NaN" in measure(name, x, x * np.nan, RATE).reason
    assert "equal lengths" in measure(name, x, x[1:], RATE).reason
    assert "reference is silent" in measure(name, 0 * x, x, RATE).reason
    assert "at least" in measure(name, x[:0], x[:0], RATE).reason
    assert measure(name, x, 0 * x, RATE).value is not None
    assert measure(name, x[:500], 2 * x[:500], RATE).value is not None


def test_formulas_refuse_unlike_signals():
    x = _noise(100)
    for other in (x[1:], torch.tensor(x)):
        with pytest.raises(ConfigError, match="one kind and shape"):
            S.l1_distance(x, other)
    with pytest.raises(ConfigError, match="even n_fft"):
        S.log_spectral_distance(x, x, 511)


def test_magnitudes_and_powers_have_a_floor():
    x = _noise(4000)
    told, expected = [], 0.0
    for size in S.MR_STFT_SIZES:
        magnitude = STFT(size, size // 4, "hann").analysis(torch.tensor(x)).abs()
        floor = (1e-10 * size) ** 0.5
        expected += (
            float((magnitude - floor).norm() / magnitude.norm() + (magnitude / floor).log().mean())
            / 3
        )
        told.append(float(magnitude.min()) > floor)
    assert all(told)
    assert S.multi_resolution_stft_distance(x, 0 * x) == pytest.approx(expected, rel=1e-9)
    power = STFT(512, 128, "hann").analysis(torch.tensor(x)).abs().square()
    decibels = 10 * torch.log10(power / (1e-10 * 512))
    assert S.log_spectral_distance(x, 0 * x) == pytest.approx(
        float(decibels.square().mean(-1).sqrt().mean()), rel=1e-9
    )
    assert (
        S.log_spectral_distance(0 * x, 0 * x)
        == S.multi_resolution_stft_distance(0 * x, 0 * x)
        == 0
    )


def test_bands_begin_with_their_first_edge_and_end_before_the_last():
    x, y = _noise(4000), _noise(4000, seed=1)
    power = [STFT(512, 128, "hann").analysis(torch.tensor(s)).abs().square() for s in (x, y)]
    squared = (10 * torch.log10(power[0] / power[1])).square()
    for band_hz, bins in (
        ((0, 4000), slice(0, 128)),
        ((4000, math.inf), slice(128, 257)),
        ((31.25, 62.5), slice(1, 2)),
        ((30, 63), slice(1, 3)),
    ):
        expected = float(squared[..., bins].mean(-1).sqrt().mean())
        assert S.log_spectral_distance(x, y, 512, RATE, band_hz) == pytest.approx(
            expected, rel=1e-9
        )
    for band_hz, told in (
        ((8001, 9000), "8001 to 9000"),
        ((-40, 100), "-40 to 100"),
        ((100, 100), "100 to 100"),
    ):
        with pytest.raises(ConfigError) as caught:
            S.log_spectral_distance(x, y, 512, RATE, band_hz)
        assert (
            str(caught.value)
            == f"expected a band with a bin below 8000 Hz, got {told} Hz; widen it"
        )
    for rate in (None, 0, -1):
        with pytest.raises(ConfigError) as caught:
            S.log_spectral_distance(x, y, 512, rate, (0, 4000))
        assert (
            str(caught.value) == f"expected a sample rate with band_hz, got {rate}; give it in Hz"
        )


def test_refusals_say_what_was_got():
    x = _noise(100)
    cases = (
        (
            lambda: S.l1_distance(x, x[1:]),
            "expected two signals (..., T) of one kind and shape, got ndarray (100,) and "
            "ndarray (99,); cut or pad one of them",
        ),
        (
            lambda: S.l1_distance(x[:0], x[:0]),
            "expected two signals (..., T) of one kind and shape, got ndarray (0,) and ndarray "
            "(0,); cut or pad one of them",
        ),
        (
            lambda: S.log_spectral_distance(x, x, 511),
            "expected an even n_fft of at least 2, got 511; use for instance 512",
        ),
        (
            lambda: S.log_spectral_distance(x, x, 0),
            "expected an even n_fft of at least 2, got 0; use for instance 512",
        ),
        (
            lambda: S.multi_resolution_stft_distance(x, x, ()),
            "expected at least one window size, got none; use for instance 512, 1024, 2048",
        ),
    )
    for call, message in cases:
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == message

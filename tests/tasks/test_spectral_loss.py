"""Distances of spectra: equation 2 by hand, properties, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audioprune.errors import ConfigError, DataError
from audioprune.tasks.spectral_loss import WINDOWS, SpectralLoss


def _signals(length: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, length, generator=generator) * 0.1, torch.randn(
        2, length, generator=generator
    ) * 0.1


def _power(signal: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(signal, size // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = [
        padded[start : start + size] * window
        for start in range(0, len(padded) - size + 1, size // 4)
    ]
    return np.abs(np.fft.rfft(frames)) ** 2


def test_the_distance_is_that_of_equation_two_with_means() -> None:
    reference, estimate = _signals()
    expected = [
        sum(
            np.abs(np.log(_power(a, size) + 5e-3) - np.log(_power(b, size) + 5e-3)).mean()
            for size in WINDOWS
        )
        for a, b in zip(reference.double().numpy(), estimate.double().numpy(), strict=True)
    ]
    loss = SpectralLoss()
    assert loss.each(reference, estimate).tolist() == pytest.approx(expected, rel=1e-4)
    assert float(loss(reference, estimate)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_one_window_with_eps_one_is_the_loss_of_sing() -> None:
    reference, estimate = _signals()
    for base, power in (("l1", 1), ("mse", 2)):
        logs = [np.log1p(_power(x[0].double().numpy(), 1024)) for x in (reference, estimate)]
        found = SpectralLoss(windows=[1024], eps=1.0, base=base).each(reference, estimate)[0]
        assert float(found) == pytest.approx((np.abs(logs[0] - logs[1]) ** power).mean(), rel=1e-4)


def test_linear_log_adds_both_distances() -> None:
    reference, estimate = _signals()
    a, b = (np.sqrt(_power(x[0].double().numpy(), 64)) for x in (reference, estimate))
    found = SpectralLoss("linear_log", [64], 1e-4).each(reference, estimate)[0]
    assert float(found) == pytest.approx(
        np.abs(a - b).mean() + np.abs(np.log(a + 1e-4) - np.log(b + 1e-4)).mean(), rel=1e-3
    )


@pytest.mark.parametrize("form", ["log_power", "linear_log"])
def test_equal_signals_have_no_distance_and_silence_a_finite_gradient(form: str) -> None:
    reference, estimate = _signals()
    loss = SpectralLoss(form)
    assert float(loss(reference, reference)) == 0
    silent = torch.zeros_like(estimate, requires_grad=True)
    loss(reference, silent).backward()
    assert torch.isfinite(silent.grad).all()
    parameter = torch.nn.Parameter(estimate)
    loss(reference, parameter).backward()
    assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0


def test_the_value_does_not_depend_on_the_length() -> None:
    reference, estimate = _signals(32000)
    loss = SpectralLoss()
    assert float(loss(reference, estimate)) == pytest.approx(
        float(loss(reference[:, :16000], estimate[:, :16000])), rel=0.03
    )


def test_wrong_numbers_and_shapes_are_refused() -> None:
    for options, message in (
        ({"form": "log"}, "unknown spectral form 'log'; closest: log_power"),
        ({"base": "l2"}, "unknown base"),
        ({"windows": []}, "expected stft_windows"),
        ({"windows": [30]}, "expected stft_windows as multiples of 4"),
        ({"eps": 0.0}, "expected eps above 0"),
        ({"form": "linear_log", "base": "mse"}, "expected base l1 with linear_log"),
    ):
        with pytest.raises(ConfigError, match=message):
            SpectralLoss(**options)
    with pytest.raises(DataError, match="cut both alike"):
        SpectralLoss()(torch.zeros(1, 100), torch.zeros(1, 99))

"""Training targets: shapes, frames, and audio that comes back when the output is perfect."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audioprune.dsp import STFT
from audioprune.errors import ConfigError
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.targets import (
    ComplexMapping,
    MagnitudeMapping,
    RatioMask,
    WaveformMapping,
    compress_magnitude,
)

FRAME, HOP = 320, 160
STFT_320 = STFT(FRAME, HOP)
TARGETS = {
    "irm": RatioMask(STFT_320, "window"),
    "magnitude": MagnitudeMapping(STFT_320, "window"),
    "complex": ComplexMapping(STFT_320, "window"),
    "waveform": WaveformMapping(FRAME, HOP),
}


def _signals(length: int = 4001) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (
        torch.randn(2, length, generator=generator),
        torch.randn(2, length, generator=generator),
    )
    return clean + 0.5 * noise, clean


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("length", [1, 159, 320, 321, 4000, 4001])
def test_frames_agree_between_counting_inputs_and_wanted(name: str, length: int) -> None:
    target, (noisy, clean) = TARGETS[name], _signals(length)
    inputs, wanted = target.inputs(noisy), target.wanted(noisy, clean)
    assert (
        inputs.shape[target.frame_dim]
        == wanted.shape[target.frame_dim]
        == int(target.frames(torch.tensor(length)))
    )
    assert target.audio(wanted, noisy).shape == noisy.shape and torch.isfinite(wanted).all()


@pytest.mark.parametrize("name", ["complex", "waveform"])
def test_a_perfect_output_is_the_clean_signal(name: str) -> None:
    target, (noisy, clean) = TARGETS[name], _signals()
    assert torch.allclose(target.audio(target.wanted(noisy, clean), noisy), clean, atol=1e-5)


@pytest.mark.parametrize("name", ["irm", "magnitude"])
def test_an_output_that_changes_nothing_returns_the_noisy_signal(name: str) -> None:
    target, (noisy, _) = TARGETS[name], _signals()
    spectrum = STFT_320.analysis(noisy)
    output = torch.ones_like(spectrum.abs()) if name == "irm" else spectrum.abs()
    assert torch.allclose(target.audio(output, noisy), noisy, atol=1e-4)


def test_the_ideal_ratio_mask_follows_its_definition() -> None:
    noisy, clean = _signals()
    mask = TARGETS["irm"].wanted(noisy, clean)
    speech, noise = (
        STFT_320.analysis(clean).abs().square(),
        STFT_320.analysis(noisy - clean).abs().square(),
    )
    assert torch.allclose(mask, (speech / (speech + noise).clamp_min(1e-12)).sqrt(), atol=1e-4)
    assert mask.min() >= 0 and mask.max() <= 1 + 1e-6
    assert torch.allclose(TARGETS["irm"].wanted(clean, clean), torch.ones(()), atol=1e-3)


def test_masked_audio_is_nearer_to_the_clean_signal() -> None:
    noisy, clean = _signals(8000)
    enhanced = TARGETS["irm"].audio(TARGETS["irm"].wanted(noisy, clean), noisy)
    assert (enhanced - clean).square().mean() < 0.8 * (noisy - clean).square().mean()


def test_features_compress_the_magnitude() -> None:
    magnitude = torch.tensor([0.0, 1.0, 8.0])
    assert torch.allclose(compress_magnitude(magnitude, "magnitude"), magnitude)
    assert torch.allclose(
        compress_magnitude(magnitude, "cube_root"), torch.tensor([0.0, 1.0, 2.0]), atol=2e-3
    )
    assert torch.allclose(compress_magnitude(magnitude, "log"), (magnitude + 0.01).log())


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("target", "irn", "target 'irn'; closest: irm"),
        ("ola_norm", "windo", "closest: window"),
        ("feature", "x", "unknown feature of the target irm"),
        ("output", "mask", "unknown output of the target irm"),
    ],
)
def test_unknown_names_are_answered(key: str, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Enhancement(**{key: given})


@pytest.mark.parametrize(
    ("target", "key", "given"),
    [
        ("waveform", "output", "mask"),
        ("waveform", "feature", "log"),
        ("complex", "feature", "log"),
    ],
)
def test_what_a_target_cannot_do_is_refused(target: str, key: str, given: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown {key} of the target {target} '{given}'"):
        Enhancement(**{"target": target, key: given})


def test_frames_alone_know_no_noisy_frames_to_mask() -> None:
    with pytest.raises(
        ConfigError, match="task.frame_batch: expected null where the output is a mask, got 64"
    ):
        Enhancement(target="magnitude", output="mask", frame_batch=64)


@pytest.mark.parametrize("mapping", [MagnitudeMapping, ComplexMapping])
def test_a_mask_multiplies_the_noisy_spectrum(mapping: type) -> None:
    target, (noisy, clean) = mapping(STFT_320, "window", output="mask"), _signals()
    wanted, spectrum = target.wanted(noisy, clean), STFT_320.analysis(noisy)
    ideal = STFT_320.analysis(clean) / spectrum
    mask = ideal.abs() if mapping is MagnitudeMapping else torch.stack([ideal.real, ideal.imag], 1)
    assert torch.allclose(target.estimate(mask, noisy), wanted, atol=1e-3)
    enhanced = target.audio(mask, noisy)
    assert torch.allclose(enhanced, mapping(STFT_320, "window").audio(wanted, noisy), atol=1e-3)
    if mapping is ComplexMapping:
        assert torch.allclose(enhanced, clean, atol=1e-3)


def test_complex_features_keep_the_phase() -> None:
    noisy, _ = _signals()
    spectrum, parts = (
        STFT_320.analysis(noisy),
        ComplexMapping(STFT_320, "window", "cube_root").inputs(noisy),
    )
    compressed = torch.complex(parts[:, 0], parts[:, 1])
    assert torch.allclose(compressed.abs(), spectrum.abs().pow(1 / 3), atol=1e-3)
    assert torch.allclose(
        compressed * spectrum.conj(), (compressed.abs() * spectrum.abs()).to(spectrum), atol=1e-2
    )

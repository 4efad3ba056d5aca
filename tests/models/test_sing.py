"""Whether SING has the published sizes, lengths, windows and cost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from audioprune.errors import ConfigError, DataError
from audioprune.experiment.cost import cost
from audioprune.models.sing import SING

TINY = {"channels": 32, "dimension": 8, "kernel_size": 64, "stride": 16, "context": 5}


def _meta(**arguments) -> SING:
    with torch.device("meta"):
        return SING(**arguments)


def _count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_size():
    model = _meta()
    assert _count(model) == 80_765_057
    assert (_count(model.encoder), _count(model.decoder)) == (38_285_440, 42_479_617)
    assert _count(_meta(channels=2048, dimension=16, context=6)) == 21_213_201
    assert _count(_meta(rewrite_layers=7)) == 248_578_177
    assert _count(_meta(**TINY)) == 9_929


def test_published_lengths():
    model = _meta()
    assert (model.strip, model.pad) == (1792, 2304)
    audio = torch.empty(2, 68_608, device="meta")
    latent = model.encode(audio)
    assert latent.shape == (2, 128, 265)
    assert model.decode(latent).shape == model.target(audio).shape == (2, 65_024)
    code = _meta(channels=2048, dimension=16, context=6)
    assert (code.strip, code.pad) == (1408, 1920)


@pytest.mark.parametrize("length", [176, 177, 200, 239, 240, 401])
def test_the_output_has_the_length_of_its_target(length):
    model = SING(**TINY)
    audio = torch.zeros(1, length)
    assert model(audio).shape == model.target(audio).shape == (1, model.output_length(length))


def test_output_sample_is_aligned_with_its_target():
    """A change of one input sample moves outputs around the same place of the target."""
    model = SING(**TINY).double()
    audio = torch.zeros(1, 640, dtype=torch.float64, requires_grad=True)
    position = 200
    model(audio)[0, position].backward()
    touched = audio.grad[0].nonzero().flatten().double() - model.strip
    assert touched.min() <= position <= touched.max()
    assert abs(float((touched.min() + touched.max()) / 2) - position) <= model.stride


def test_values_equal_plain_convolutions_with_windowed_weights():
    model = SING(**TINY)
    audio = torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    window = (torch.sin(torch.pi * torch.arange(64) / 64) ** 2).square()
    torch.testing.assert_close(model.encoder[0].window, window)
    first, last = model.encoder[0], model.decoder[-1]
    values = F.relu(F.conv1d(audio[:, None], first.weight * window, first.bias, 16))
    latent = model.encoder[1:](values)
    torch.testing.assert_close(model.encode(audio), latent)
    frames = model.decoder[:-1](latent)
    expected = F.conv_transpose1d(frames, last.weight * window, last.bias, 16)[:, 0, 48:-48]
    torch.testing.assert_close(model(audio), expected)


def test_one_second_of_notes_costs_as_published():
    model = SING(channels=64, dimension=8)
    found = cost(model, model.example_input(), model.example_seconds())
    macs = 265 * (64 * 1024 + 2 * 64 * 64 + 64 * 8) + 257 * (9 * 8 * 64 + 2 * 64 * 64 + 64 * 1024)
    assert found.macs_per_second == macs / 4 and not found.uncounted
    full = 265 * (4096 * 1024 + 2 * 4096**2 + 4096 * 128) + 257 * (
        9 * 128 * 4096 + 2 * 4096**2 + 4096 * 1024
    )
    assert round(2 * full / 4 / 1e10, 2) == 1.05  # the same formula at the published widths


def test_windows_are_not_stored():
    assert not [name for name in SING(**TINY).state_dict() if "window" in name]


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 0},
        {"stride": 0},
        {"kernel_size": 8},
        {"dimension": 0},
        {"context": 0},
        {"rewrite_layers": -1},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        SING(**{**TINY, **wrong})


def test_unknown_initialisations_are_refused():
    with pytest.raises(ConfigError, match="init"):
        SING(**TINY, init="he")


def test_an_odd_stride_needs_an_odd_context():
    with pytest.raises(ConfigError, match="odd context"):
        SING(channels=2, stride=15, kernel_size=60, context=4, dimension=2)


def test_short_audio_is_refused():
    with pytest.raises(DataError, match="at least 176 samples, got 175; pad each note by 112"):
        SING(**TINY)(torch.zeros(1, 175))

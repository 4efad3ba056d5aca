"""Whether DDSP has the published sizes and cost, and is deterministic in evaluation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from audioprune.errors import ConfigError, DataError
from audioprune.experiment.cost import cost
from audioprune.models.ddsp import DDSP

TINY = {
    "hidden": 12,
    "latent": 4,
    "encoder_width": 6,
    "partials": 10,
    "filter_size": 16,
    "reverb_length": 500,
}


def _count(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("latent", "kind", "decoder", "encoder"),
    [
        (16, "gaussian", 4_330_166, 260_128),
        (128, "gaussian", 4_502_198, 461_056),
        (128, "deterministic", 4_502_198, 346_240),
        (0, "gaussian", 4_305_590, 0),
    ],
)
def test_published_sizes(latent, kind, decoder, encoder):
    with torch.device("meta"):
        model = DDSP(latent=latent, latent_kind=kind)
    assert _count(model.decoder) == decoder
    assert (_count(model.encoder) if latent else 0) == encoder
    assert _count(model) == decoder + encoder + 2


def test_published_parts():
    with torch.device("meta"):
        decoder = DDSP(latent=128).decoder
    assert _count(decoder.f0_mlp) == _count(decoder.loudness_mlp) == 529_408
    assert _count(decoder.gru) == 2_558_976 and _count(decoder.out_mlp) == 791_040
    assert [_count(head) for head in (decoder.amplitude, decoder.partials, decoder.noise)] == [
        513,
        51_300,
        41_553,
    ]


def test_one_second_of_the_decoder_costs_as_published():
    model = DDSP(latent=128, encoder_width=2)
    step = cost(model, model.step_input(), 0.01, forward=model.step)
    assert round(step.flops_per_second / 1e8, 2) == 8.97
    weights = sum(p.numel() for p in model.decoder.parameters() if p.dim() > 1)
    assert math.isclose(step.macs_per_second, 100 * weights)
    assert round(step.read_bytes / 1e7, 2) == 1.81
    assert (
        round((step.written_bytes - 4 * 512) / 1e4, 1) == 5.8
    )  # the published count leaves out the state of the GRU


def test_macs_equal_the_operator_counter():
    model = DDSP(**TINY).eval()
    controls, audio = model.example_input(20)
    counter = FlopCounterMode(display=False)
    with torch.backends.mkldnn.flags(enabled=False), torch.no_grad(), counter:
        model.decoder(controls, model.encode(audio)[0])
    found = cost(model, (controls, audio), model.example_seconds(20))
    assert math.isclose(found.macs_per_second * 0.2, counter.get_total_flops() / 2)
    assert found.uncounted == ("reverb.decay", "reverb.wet")


def test_synthesis_is_counted_apart():
    with torch.device("meta"):
        whole, half = DDSP(), DDSP(partials=50)
    assert (
        whole.synthesis_flops_per_second() - half.synthesis_flops_per_second() == 16_000 * 50 * 6
    )
    assert 2e7 < whole.synthesis_flops_per_second() < 4e7


def test_shapes():
    model = DDSP(**TINY)
    controls, audio = model.example_input(7)
    assert controls.shape == (1, 7, 2) and audio.shape == (1, 1120)
    mean, log_variance = model.encode(audio)
    assert mean.shape == log_variance.shape == (1, 7, 4)
    assert model(controls, audio).shape == audio.shape
    plain = DDSP(**{**TINY, "latent": 0})
    assert plain(plain.example_input(7)).shape == (1, 1120) and plain.encoder is None


def test_evaluation_draws_nothing_and_treats_items_alone():
    model = DDSP(**TINY).eval()
    controls, audio = model.example_input(9)
    other = torch.cat((controls, 1.5 * controls)), torch.cat((audio, 0.5 * audio))
    before = torch.random.get_rng_state()
    alone, again, together = model(controls, audio), model(controls, audio), model(*other)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(alone, again, rtol=0, atol=0)
    torch.testing.assert_close(alone, together[:1], rtol=0, atol=1e-6)
    assert not torch.equal(
        DDSP(**TINY, seed=1)._noise(controls[..., 0]), model._noise(controls[..., 0])
    )


def test_training_draws_from_the_common_generator():
    model, (controls, audio) = DDSP(**TINY).train(), DDSP(**TINY).example_input(5)
    torch.manual_seed(3)
    first, second = model(controls, audio), model(controls, audio)
    torch.manual_seed(3)
    assert torch.equal(model(controls, audio), first) and not torch.equal(first, second)


def test_steps_equal_the_whole_note():
    model = DDSP(**TINY).eval()
    controls = model.example_input(6)[0]
    latent = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    whole, _ = model.decoder(controls, latent)
    state, frames = model.initial_state(), []
    for n in range(6):
        frame, state = model.step(controls[:, n : n + 1], latent[:, n : n + 1], state)
        frames.append(frame)
    for name in ("amplitude", "partials", "noise"):
        torch.testing.assert_close(
            torch.cat([getattr(frame, name) for frame in frames], 1), getattr(whole, name)
        )


def test_the_controls_set_pitch_and_level():
    model = DDSP(**{**TINY, "latent": 0}).eval()
    with torch.no_grad():
        model.reverb.wet.fill_(-30)
        model.decoder.noise.bias.fill_(-20)
        model.decoder.partials.bias.copy_(torch.tensor([20.0] + 9 * [-20.0]))
    f0 = 500.0
    signal = model(torch.tensor([[f0, 0.1]]).expand(1, 100, 2))[0]
    spectrum = torch.fft.rfft(signal[:16_000] * torch.hann_window(16_000)).abs()
    assert int(spectrum.argmax()) == 500


def test_every_parameter_learns():
    model = DDSP(**TINY)
    model(*model.example_input(8)).square().mean().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0
        for p in model.parameters()
    )


def test_silence_without_pitch_is_finite():
    model = DDSP(**TINY)
    found = model(torch.zeros(1, 4, 2), torch.zeros(1, 640))
    found.sum().backward()
    assert found.isfinite().all() and all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": 0},
        {"depth": 0},
        {"latent": -1},
        {"encoder_width": 0},
        {"partials": 0},
        {"filter_size": 1},
        {"seed": -1},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        DDSP(**{**TINY, **wrong})


def test_wrong_names_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="gaussian"):
        DDSP(latent_kind="gausian")
    with pytest.raises(ConfigError, match="even filter_size, got 15"):
        DDSP(filter_size=15)


def test_wrong_inputs_are_refused():
    model = DDSP(**TINY)
    controls, audio = model.example_input(5)
    with pytest.raises(DataError, match="expected audio for the 4 latent dimensions"):
        model(controls)
    with pytest.raises(DataError, match="multiple of 160"):
        model(controls, audio[:, :-1])
    with pytest.raises(DataError, match="expected controls"):
        model(controls[:, :3], audio)
    with pytest.raises(ConfigError, match="encoder"):
        DDSP(**{**TINY, "latent": 0}).encode(audio)

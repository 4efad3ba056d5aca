"""Whether a streaming form equals the whole pass, and what cannot be streamed is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError
from audioprune.export.streaming import positions_per_second, streaming
from audioprune.models.ddsp import DDSP
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.models.wavenet import WaveNet
from audioprune.models.zoo.silero_vad import SileroVAD

TINY_WAVENET = {"layers": 4, "cycles": 2, "residual": 4, "gate": 4, "skip": 4, "end": 4}


def lively(model: nn.Module) -> nn.Module:
    """Give biases, slopes and running statistics values that no shift of frames leaves alone."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and "norm" not in name:
            nn.init.uniform_(parameter, -0.5, 0.5)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def gap(model: nn.Module, stream: nn.Module, *signals: torch.Tensor) -> float:
    with torch.no_grad():
        whole = model(*signals)
    whole = whole if isinstance(whole, tuple) else (whole,)
    made = stream.run(*signals)
    return max(float((a - b).abs().max()) for a, b in zip(made, whole, strict=False))


@pytest.mark.parametrize(
    ("model", "states"),
    [
        (FDNN(bins=9, width=8, context=3, normalise=True), 1),
        (LSTM(bins=9, width=8, depth=2), 4),
        pytest.param(GCRN(width=1 / 16, groups=2), 8, marks=pytest.mark.slow),
        pytest.param(
            WaveNet(**TINY_WAVENET, classes=8, conditioning=3), 5, marks=pytest.mark.slow
        ),
    ],
    ids=["fdnn", "lstm", "gcrn", "wavenet"],
)
def test_a_model_and_its_half_run_frame_by_frame(model, states):
    lively(model)
    stream = streaming(model)
    assert len(stream.state_names) == states
    assert stream.frame == 1 and stream.open_batch
    inputs = model.example_input(17)
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
    assert gap(model, stream, *inputs) < 1e-5
    sets = model.unit_sets()
    keep = {each.name: torch.arange(each.size) % 2 == 0 for each in sets}
    trim_(model, sets, keep)
    assert gap(model, streaming(model), *inputs) < 1e-5


@pytest.mark.slow
def test_the_dilated_network_keeps_what_its_layers_read():
    model = lively(TCNN(width=1 / 16))
    model.blocks = model.blocks[:6]
    stream = streaming(model)
    shapes = {name: value.shape for name, value in stream.initial_state(2)._asdict().items()}
    assert shapes["blocks_5_depthwise_past"] == (2, 32, 64)  # two taps of dilation 32
    assert shapes["encoder_0_conv_past"] == (2, 1, 1, 320)
    assert shapes["decoder_0_conv_overlap"][2] == 1
    assert gap(model, stream, model.example_input(20)) < 1e-5


def test_the_controller_of_a_synthesizer_gives_named_controls():
    model = lively(DDSP(hidden=8, latent=2, partials=4, encoder_width=4))
    stream = streaming(model)
    assert stream.input_names == ("controls", "latent")
    assert stream.output_names == ("amplitude", "partials", "noise")
    assert stream.state_names == ("gru_h",)
    frames, state = stream.example_frames(), stream.initial_state()
    amplitude, partials, noise, after = stream(*frames, *state)
    assert partials.shape == (1, 1, 4) and after.shape == (1, 1, 8)


class Padded(nn.Module):
    """A layer that sees past and present of (B, 3, T), padded as ``padding`` says."""

    def __init__(self, padding: int = 0, mode: str = "zeros") -> None:
        super().__init__()
        self.first = nn.Conv1d(3, 4, 3, padding=padding, padding_mode=mode)
        self.width = 2 - padding

    def forward(self, values):
        if self.width > 0:
            values = nn.functional.pad(values, (self.width, 0))
        cut = self.first(values)
        return cut[..., : values.shape[-1] - self.width]


class Strided(nn.Module):
    """Samples (B, 1, T) through a strided encoder, a recurrent layer and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 4, 8, stride=4)
        self.rnn = nn.GRU(4, 4, 2, batch_first=True)
        self.decoder = nn.ConvTranspose1d(4, 1, 8, stride=4)

    def forward(self, samples):
        values = self.encoder(nn.functional.pad(samples, (4, 0))).transpose(1, 2)
        values = self.rnn(values)[0].transpose(1, 2)
        return self.decoder(values)[..., : samples.shape[-1]]


class DualPath(nn.Module):
    """One layer along frequency in both directions, one along time for each bin."""

    def __init__(self) -> None:
        super().__init__()
        self.across = nn.GRU(4, 3, bidirectional=True, batch_first=True)
        self.join = nn.Linear(6, 4)
        self.along = nn.LSTM(4, 4, batch_first=True)

    def forward(self, values):
        batch, channels, frames, bins = values.shape
        rows = values.permute(0, 2, 3, 1).reshape(batch * frames, bins, channels)
        rows = self.join(self.across(rows)[0]).view(batch, frames, bins, channels)
        columns = rows.permute(0, 2, 1, 3).reshape(batch * bins, frames, channels)
        columns = self.along(columns)[0].view(batch, bins, frames, channels)
        return values + columns.permute(0, 3, 2, 1)


@pytest.mark.parametrize(
    ("model", "shape", "frame"),
    [(Strided(), (1, 1, 64), 4), (DualPath(), (1, 4, 20, 5), 1), (Padded(), (1, 3, 20), 1)],
    ids=["strided", "dual path", "padded"],
)
def test_foreign_modules_run_frame_by_frame(model, shape, frame):
    lively(model)
    example = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    stream = streaming(model, example, 2)
    assert stream.frame == frame
    assert gap(model, stream, torch.cat((example, example.flip(2)))) < 1e-5


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(3, 3)

    def forward(self, values):
        return torch.softmax(self.query(values) @ values.transpose(1, 2), -1) @ values


@pytest.mark.parametrize(
    ("model", "axis", "words"),
    [
        (nn.Sequential(nn.Conv1d(3, 4, 3, padding=1)), 2, "layer 0: .* 1 position ahead"),
        (Padded(2, "circular"), 2, "circular padding"),
        (nn.Sequential(nn.GRU(20, 4, bidirectional=True)), 0, "layer 0: .* backwards"),
        (nn.Sequential(nn.ReLU(), nn.GroupNorm(1, 3)), 2, "layer 1: .* over all frames"),
        (nn.Sequential(nn.AdaptiveAvgPool1d(1)), 2, "layer 0"),
        (Attention(), 1, "attention over time"),
    ],
    ids=["ahead", "circular", "backwards", "norm", "pooled", "attention"],
)
def test_a_model_that_looks_ahead_is_refused_by_its_layer(model, axis, words):
    shape = (1, 20, 3) if isinstance(model, Attention) else (1, 3, 20)
    example = torch.randn(20, 1, 20) if axis == 0 else torch.randn(shape)
    with pytest.raises(ConfigError, match=words):
        streaming(model.eval(), example, axis)


def test_a_loop_over_frames_is_refused():
    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(3, 3)

        def forward(self, values):
            state, found = values.new_zeros(values.shape[0], 3), []
            for frame in values.unbind(1):
                state = self.cell(frame, state)
                found.append(state)
            return torch.stack(found, 1)

    with pytest.raises(ConfigError, match="loops over frames"):
        streaming(Looped(), torch.randn(1, 6, 3), 1)


def test_an_example_is_asked_for():
    with pytest.raises(ConfigError, match="example input"):
        streaming(nn.Linear(3, 3))


class Steps(nn.Module):
    """Frames of three samples (B, 3 * N) that only its own steps can follow."""

    time_dim, frames_per_second = 1, 10.0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.LSTM(5, 4, batch_first=True)

    def forward(self, samples):
        padded = nn.functional.pad(samples, (2, -samples.shape[1] % 3))
        return self.layer(padded.unfold(1, 5, 3))[0].sum(2)

    def initial_state(self, batch=1):
        return torch.zeros(batch, 2), torch.zeros(1, batch, 4), torch.zeros(1, batch, 4)

    def step(self, frame, state):
        past, *inner = state
        values = torch.cat((past, frame), 1)
        made, inner = self.layer(values[:, None], tuple(inner))
        return made.sum(2), (values[:, -2:], *inner)

    def step_input(self):
        return torch.zeros(1, 3), self.initial_state()

    def example_input(self):
        return torch.randn(1, 30, generator=torch.Generator().manual_seed(1))


def test_a_model_with_steps_of_its_own_is_streamed_by_them():
    stream = streaming(Steps())
    assert stream.frame == 3 and stream.output_frames == (1,) and len(stream.state_names) == 3
    assert "layer.weight_ih_l0" in stream.body.state_dict()
    wrong = Steps()
    wrong.step = lambda frame, state: (frame[:, :1], state)
    with pytest.raises(ConfigError, match="depends on the length"):  # what its layers say
        streaming(wrong)


def test_positions_in_a_second_are_those_of_the_input():
    assert positions_per_second(SileroVAD()) == 16000.0 and positions_per_second(Steps()) == 10.0
    assert positions_per_second(nn.Linear(3, 3)) is None


def test_items_of_the_batch_may_be_frames():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    stream = streaming(model, torch.randn(7, 6), 0)
    assert stream.frame == 1 and stream.example_frames()[0].shape == (1, 6)

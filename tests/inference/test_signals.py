"""Signals that are enhanced block by block are those that are enhanced whole."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audioprune.inference.blocks import BlockPlan
from audioprune.inference.signals import Levels, signal_plan, stream_of
from audioprune.models.dcae import DCAE
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.gtcrn import GTCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.foreign.waveform_model import WaveformModel


class Both(nn.Module):
    """A recurrent network in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(161, 8, batch_first=True, bidirectional=True)
        self.output = nn.Linear(16, 161)

    def forward(self, frames: Tensor) -> Tensor:
        return torch.sigmoid(self.output(self.recurrent(frames)[0]))


class Ahead(nn.Module):
    """A convolution that looks two frames back and two ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(161, 161, 5, padding=2)

    def forward(self, frames: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(frames.transpose(1, 2))).transpose(1, 2)


class Strided(nn.Module):
    """Samples in steps of 8 and back, from the past alone but for the step."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv1d(1, 4, 16, 8), nn.ConvTranspose1d(4, 1, 8, 8)

    def forward(self, samples: Tensor) -> Tensor:
        behind = -samples.shape[-1] % 8
        padded = nn.functional.pad(samples, (8, behind))
        return self.up(torch.tanh(self.down(padded)))[..., : samples.shape[-1]]


def _irm(**options: Any) -> Enhancement:
    return Enhancement(target="irm", **options)


CUT: dict[str, Any] = {"frame_length": 512, "discriminator": {"channels": [16, 32]}}
CASES: dict[str, tuple[Callable[[], Any], Callable[[], nn.Module], str]] = {
    "frames": (lambda: _irm(dry=0.2), lambda: FDNN(width=8, depth=2), "overlap"),
    "past": (_irm, lambda: FDNN(width=8, depth=2, context=3), "overlap"),
    "states": (
        lambda: Enhancement(target="magnitude"),
        lambda: LSTM(width=8, depth=2),
        "states",
    ),
    "hop": (
        lambda: _irm(hop_length=100, ola_norm="window_squared"),
        lambda: LSTM(width=8, depth=1, activation="sigmoid"),
        "states",
    ),
    "waveform": (lambda: Enhancement(target="waveform"), lambda: TCNN(width=0.0625), "overlap"),
    "bands": (
        lambda: Enhancement(target="complex", output="mask", frame_length=512, hop_length=256),
        GTCRN,
        "steps",
    ),
    "samples": (
        lambda: WaveformModel(input="channel", level=0.1),
        lambda: nn.Conv1d(1, 1, 9, padding=4),
        "overlap",
    ),
    "strides": (lambda: WaveformModel(input="channel"), Strided, "overlap"),
    "ahead": (_irm, Ahead, "overlap"),
    "both": (_irm, Both, "whole"),
    "cut": (
        lambda: Adversarial(**CUT, overlap=100, frames_per_call=3, level=0.1),
        lambda: DCAE(width=0.0625, channels=(16, 32, 64)),
        "overlap",
    ),
    "apart": (
        lambda: Adversarial(**CUT),
        lambda: DCAE(width=0.0625, channels=(16, 32, 64)),
        "overlap",
    ),
}


KNOWN = {"waveform": BlockPlan("overlap", 392)}  # whose trial takes seconds


def _made(task: Any, model: nn.Module, plan: BlockPlan, signal: Tensor, ends: list[int]) -> Tensor:
    level = signal.square().mean(1).sqrt()
    stream = stream_of(task, model, plan, len(signal), level)
    places = [0, *ends, signal.shape[1]]
    blocks = [signal[:, begin:end] for begin, end in pairwise(places)]
    with torch.inference_mode():
        made = [stream.push(block) for block in blocks]
        return torch.cat([*made, stream.push(signal[:, :0], last=True)], 1)


SLOW = ("bands",)
NAMES = [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_blocks_make_what_the_whole_makes(name: str) -> None:
    make, build, kind = CASES[name]
    torch.manual_seed(0)
    model, task = build().eval(), make()
    plan = KNOWN.get(name) or signal_plan(task, model)
    assert plan.kind == kind
    for samples in (1, 300, 5003):
        signal = 0.1 * torch.randn(2, samples) * torch.tensor([[1.0], [0.01]])
        whole = task.enhance(model, signal)
        for ends in ([], [min(samples, each) for each in (7, 500, 501, 2600)]):
            made = _made(task, model, plan, signal, ends)
            assert made.shape == whole.shape
            assert float((made - whole).abs().max()) <= 1e-5 * float(whole.abs().max())


@pytest.mark.slow
def test_a_long_look_back_is_found() -> None:
    task, model = Enhancement(target="waveform"), TCNN(width=0.25).eval()
    assert 380 <= signal_plan(task, model).before <= 392


@pytest.mark.slow
def test_a_complex_network_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    task, model = Enhancement(target="complex"), GCRN(width=0.25).eval()
    signal = 0.1 * torch.randn(1, 9000)
    plan = signal_plan(task, model)
    assert plan.kind == "states"
    whole = task.enhance(model, signal)
    made = _made(task, model, plan, signal, [3000, 4001])
    assert float((made - whole).abs().max()) <= 1e-5 * float(whole.abs().max())


def test_what_is_kept_does_not_grow() -> None:
    model, task = Ahead().eval(), _irm()
    stream: Any = stream_of(task, model, signal_plan(task, model), 1, torch.ones(1))
    sizes = []
    with torch.inference_mode():
        for _ in range(12):
            stream.push(torch.randn(1, 1600))
            sizes.append((stream._samples.shape[1], stream._outputs.shape[1]))
    assert max(sizes[6:]) == max(sizes[2:6]) and max(sizes)[0] < 1600 + 10 * 160


def test_a_level_that_is_followed_is_that_of_all_that_was_heard() -> None:
    levels = Levels(1)
    levels.heard(torch.full((1, 30), 2.0))
    assert levels.heard(torch.zeros(1, 90)).item() == 1.0
    assert levels.heard(torch.zeros(1, 0)).item() == 1.0


def test_plans_say_what_they_do() -> None:
    assert signal_plan(_irm(), Ahead().eval()) == BlockPlan("overlap", 2, 2)
    both = signal_plan(_irm(), Both().eval())
    assert both.text() == "as a whole, its recurrent layers run in both directions"

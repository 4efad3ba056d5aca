"""Whether a model with its transform inside is its task, later by the delay."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.export.samples import with_transform
from audioprune.export.streaming import streaming
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.tasks.enhancement import Enhancement

IRM = {"target": "irm", "feature": "log", "dry": 0.1}
MAGNITUDE = {"target": "magnitude", "output": "mask", "ola_norm": "window_squared"}
COMPLEX = {"target": "complex", "output": "mask", "feature": "cube_root"}


def signal(hops: int) -> torch.Tensor:
    values = torch.randn(1, 160 * hops, generator=torch.Generator().manual_seed(0))
    return values / values.square().mean().sqrt()


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (FDNN(width=8, context=2), IRM),
        (LSTM(width=8, depth=1), MAGNITUDE),
        (LSTM(width=8, depth=1), {"target": "magnitude"}),
        (GCRN(width=1 / 16), COMPLEX),
        (GCRN(width=1 / 16), {"target": "complex"}),
    ],
    ids=["mask", "magnitude mask", "magnitude", "complex mask", "complex"],
)
def test_samples_are_those_of_the_task_later_by_the_delay(model, options):
    task, noisy = Enhancement(**options), signal(8)
    made = with_transform(model.eval(), task)
    with torch.no_grad():
        wanted = task.enhance(model, noisy)
        found = made(noisy.reshape(1, -1, 160)).reshape(1, -1)
    assert made.delay == 160
    torch.testing.assert_close(found[:, 160:], wanted[:, :-160], atol=3e-5, rtol=1e-4)


def test_frames_of_samples_are_averaged():
    model, task = TCNN(width=1 / 16).eval(), Enhancement(target="waveform")
    made = with_transform(model, task)
    made.model = torch.nn.Identity()
    noisy = signal(6)
    found = made(noisy.reshape(1, -1, 160)).reshape(1, -1)
    torch.testing.assert_close(found[:, 160:], noisy[:, :-160])


def test_samples_run_hop_by_hop():
    made = with_transform(FDNN(width=8).eval(), Enhancement(**IRM))
    stream = streaming(made)
    assert stream.frame == 1 and stream.initial_state()[0].shape == (1, 1, 160)


def test_another_task_is_refused():
    with pytest.raises(ConfigError, match="transform=outside"):
        with_transform(FDNN(width=8), object())

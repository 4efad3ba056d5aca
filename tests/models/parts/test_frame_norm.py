"""Whether inputs are normalised by the statistics given, and whether these are kept."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.models.fdnn import FDNN
from audioprune.models.lstm import LSTM
from audioprune.models.parts.frame_norm import FrameNorm


def test_values_lose_mean_and_deviation():
    norm = FrameNorm(3)
    values = torch.randn(50, 3) * torch.tensor([1.0, 2.0, 5.0]) + 4
    assert torch.equal(norm(values), values) and not norm.is_measured()
    norm.set(values.mean(0), values.std(0))
    assert norm.is_measured()
    torch.testing.assert_close(norm(values).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(values).std(0), torch.ones(3))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(2), torch.ones(3), r"expected \(3,\) values, one a bin, got \(2,\)"),
        (torch.zeros(3), torch.zeros(3), "deviations above 0"),
        (torch.full((3,), torch.nan), torch.ones(3), "finite means"),
    ],
)
def test_wrong_statistics_are_refused(mean, std, message):
    with pytest.raises(ConfigError, match=message):
        FrameNorm(3).set(mean, std)


@pytest.mark.parametrize("build", [FDNN, LSTM])
def test_models_normalise_in_every_way_they_run(build):
    model = build(bins=5, width=6, depth=2, normalise=True)
    plain = build(bins=5, width=6, depth=2)
    model.input_norm().set(torch.arange(5.0), torch.arange(1.0, 6.0))
    plain.load_state_dict(model.state_dict(), strict=False)
    x = model.example_input(4) * 3
    wanted = plain((x - torch.arange(5.0)) / torch.arange(1.0, 6.0))
    torch.testing.assert_close(model(x), wanted)
    state, frames = model.initial_state(), []
    for frame in x.unbind(1):
        out, state = model.step(frame, state)
        frames.append(out)
    torch.testing.assert_close(torch.stack(frames, 1), wanted)
    assert plain.input_norm() is None
    assert sum(each.numel() for each in model.parameters()) == sum(
        each.numel() for each in plain.parameters()
    )

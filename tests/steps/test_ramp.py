"""Whether a regulariser joins a training when it is meant to, also after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import ToyData, ToyModel, ToyTask

from audioprune.errors import ConfigError
from audioprune.steps.ramp import RampedPenalty
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings


def _one(model: torch.nn.Module) -> torch.Tensor:
    return torch.tensor(2.0)


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        (0.0, 0.0, [1, 1, 1, 1]),
        (0.5, 0.5, [0, 0, 1, 1]),
        (0.25, 0.75, [0, 0, 0.5, 1]),
        (0.0, 1.0, [0, 0.25, 0.5, 0.75]),
        (1.0, 1.0, [0, 0, 0, 0]),
    ],
)
def test_strength_over_the_epochs(begin: float, end: float, wanted: list[float]) -> None:
    ramp = RampedPenalty(_one, begin, end, 4)
    found = []
    for epoch in range(4):
        ramp.on_epoch_begin(epoch, ToyModel())
        found.append(ramp.strength())
        added = ramp.penalty(ToyModel())
        assert (added is None and not found[-1]) or float(added) == 2 * found[-1]
    assert found == wanted


def test_the_epoch_survives_an_interruption() -> None:
    ramp, other = RampedPenalty(_one, 0.5, 0.5, 4), RampedPenalty(_one, 0.5, 0.5, 4)
    ramp.on_epoch_begin(3, ToyModel())
    other.load_state_dict(ramp.state_dict())
    assert other.strength() == 1


@pytest.mark.parametrize(("begin", "end"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_wrong_shares_are_refused(begin: float, end: float) -> None:
    with pytest.raises(ConfigError, match="expected shares of the epochs in order"):
        RampedPenalty(_one, begin, end, 4)


def test_a_late_regulariser_leaves_larger_weights(tmp_path: Path) -> None:
    def l1(model: torch.nn.Module) -> torch.Tensor:
        return 0.5 * model.first.weight.abs().mean()

    sizes = []
    for end in (0.0, 1.0):
        torch.manual_seed(3)
        model = ToyModel()
        settings = Settings(epochs=4, batch_size=8, learning_rate=0.02, keep="last")
        hooks = [RampedPenalty(l1, 0.0, end, 4)]
        folder = tmp_path / str(end)
        Fit(model, ToyTask(), ToyData(), settings, folder=folder, device="cpu", hooks=hooks).run()
        sizes.append(float(model.first.weight.detach().abs().mean()))
    assert sizes[0] < sizes[1]

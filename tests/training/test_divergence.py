"""A diverged training names the tensor that stopped being finite, and keeps finite weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from toys import ToyData, ToyModel, ToyTask

from audioprune.errors import DivergedError
from audioprune.training.divergence import bad_gradient, bad_input, bad_output, bad_weight
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

SETTINGS = Settings(epochs=4, batch_size=8, learning_rate=0.02)


class Divides(nn.Module):
    """Gives 0/0 once its countdown of calls in training is over."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= self.training
        return x / (x - x) if self.left < 0 else x


class Spoils:
    """A hook that writes NaN into a tensor of the model before the step of a number."""

    def __init__(self, step: int, tensor: str) -> None:
        self.step, self.tensor, self.seen = step, tensor, 0

    def on_step_begin(self, model: nn.Module) -> None:
        self.seen += 1
        if self.seen == self.step:
            with torch.no_grad():
                model.state_dict()[self.tensor].view(-1)[1] = torch.inf


class NoisyData(ToyData):
    """One training item is NaN."""

    def train(self):
        found = super().train()
        found.x[3, 2] = torch.nan
        return found


def _message(
    folder: Path, model: nn.Module, task=None, data=None, settings=SETTINGS, hooks=()
) -> str:
    fit = Fit(
        model, task or ToyTask(), data or ToyData(), settings, folder, device="cpu", hooks=hooks
    )
    with pytest.raises(DivergedError) as caught:
        fit.run()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    return str(caught.value)


def test_a_weight_is_named_with_its_step(tmp_path: Path) -> None:
    for epoch, step in ((1, 3), (2, 8)):  # before the first validation, and behind it
        told = _message(tmp_path / str(step), ToyModel(), hooks=[Spoils(step, "last.weight")])
        assert (
            f"at step {step} (epoch {epoch}); the first that is not finite is parameter "
            f"'last.weight' (1 of 16 values)" in told
        )


def test_a_buffer_is_named(tmp_path: Path) -> None:
    model = ToyModel()
    model.drop = nn.BatchNorm1d(8)
    assert "buffer 'drop.running_mean' (1 of 8 values)" in _message(
        tmp_path, model, hooks=[Spoils(4, "drop.running_mean")]
    )


def test_the_batch_is_named(tmp_path: Path) -> None:
    assert "the first that is not finite is 'x' of the batch (1 of 32 values)" in _message(
        tmp_path, ToyModel(), data=NoisyData()
    )


def test_a_module_is_named(tmp_path: Path) -> None:
    model = ToyModel()
    model.drop = Divides(6)
    told = _message(tmp_path, model)
    assert (
        "the loss became nan at step 7" in told
        and "the output of 'drop', a Divides (64 of 64 values)" in told
    )


def test_a_gradient_is_named(tmp_path: Path) -> None:
    class Root(ToyTask):
        def step(self, model, batch, update):
            return {
                "loss": update(
                    (model.last.weight * 0).sqrt().sum() + model(batch["x"]).square().mean()
                )
            }

    told = _message(tmp_path, ToyModel(), Root())
    assert (
        "the gradient's norm became nan at step 1" in told
        and "the gradient of 'last.weight' (16 of 16 values)" in told
    )


def test_what_is_left_is_the_loss(tmp_path: Path) -> None:
    told = _message(tmp_path, ToyModel(), ToyTask(poison_at=2))
    assert (
        "the loss became nan at step 2 (epoch 1); weights and outputs of all modules are finite"
        in told
    )


def test_a_validation_is_looked_at_too(tmp_path: Path) -> None:
    class Late(Divides):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if self.training else x * torch.nan

    model = ToyModel()
    model.drop = Late(0)
    told = _message(tmp_path, model)
    assert "the validated loss became nan" in told and "the output of 'drop', a Late" in told


def test_other_networks_are_named_by_their_part() -> None:
    judge = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    parts = {"model": ToyModel(), "discriminator": judge}
    assert (
        bad_weight(parts) is None
        and bad_gradient(judge) is None
        and bad_input({"id": ["a"], "n": torch.tensor([3])}) is None
    )
    assert bad_output(parts, lambda: judge(torch.ones(1, 2))) is None
    assert bad_output(parts, lambda: judge(torch.full((1, 2), torch.nan))).startswith(
        "the output of 'discriminator.0', a Linear"
    )
    assert not judge[0]._forward_hooks and not judge._forward_hooks
    with torch.no_grad():
        judge[0].bias[0] = torch.nan
    assert bad_weight(parts) == "parameter 'discriminator.0.bias' (1 of 2 values)"

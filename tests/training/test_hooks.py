"""Hooks of a training: their order, two networks, resuming, and the mask of kept weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import ToyData, ToyModel, ToyTask

from audioprune import interrupts
from audioprune.compress.masks import Mask
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.training.hooks import Hooks
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(epochs=4, batch_size=8, learning_rate=0.02, schedule="constant")
NAME = "first.weight"


class Recorder:
    """Writes down every moment, and what it could see of the gradients and the learning rate."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_training_begin(self, model: nn.Module, optimizers: dict[str, Any]) -> None:
        self.seen.append(f"begin {'+'.join(optimizers)}")

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        self.seen.append(f"epoch {epoch}")

    def on_step_begin(self, model: nn.Module) -> None:
        self.seen.append("step")

    def before_update(self, model: nn.Module) -> None:
        assert model.first.weight.grad is not None
        self.seen.append("update")

    def on_step_end(self, model: nn.Module) -> None:
        self.seen.append("end")

    def after_steps(self, epoch: int, model: nn.Module) -> None:
        self.seen.append("steps done")

    def on_epoch_end(
        self, epoch: int, model: nn.Module, optimizers: dict[str, Any], metrics: dict[str, float]
    ) -> None:
        self.seen.append(f"metrics {sorted(metrics)}")


class Prunes:
    """Removes one more column of a weight in every epoch, and may halve the learning rate."""

    def __init__(self, rate: bool = False) -> None:
        self.count, self.rate = 0, rate

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        self.count = epoch + 1

    def on_step_begin(self, model: nn.Module) -> None:
        self.mask().apply_(model)

    def on_step_end(self, model: nn.Module) -> None:
        self.mask().apply_(model)

    def on_epoch_end(
        self, epoch: int, model: nn.Module, optimizers: dict[str, Any], metrics: dict[str, float]
    ) -> None:
        if self.rate:
            optimizers["model"].param_groups[0]["lr"] /= 2

    def sets_learning_rate(self) -> bool:
        return self.rate

    def mask(self) -> Mask:
        return Mask({NAME: (torch.arange(4) >= self.count).expand(8, 4).clone()})

    def state_dict(self) -> dict[str, Any]:
        return {"facts": {"count": self.count}, "tensors": {"x": torch.tensor(self.count)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert int(state["tensors"]["x"]) == state["facts"]["count"]
        self.count = state["facts"]["count"]


class Worsens(ToyTask):
    """Every validation is worse than the one before."""

    def validate(self, model: nn.Module, batches: Any, monitor: str) -> dict[str, float]:
        self.validations = getattr(self, "validations", 0) + 1
        return {"loss": float(self.validations)}


class TwoNetworks(ToyTask):
    """A second network is updated before the model in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.other, self.seen = nn.Linear(2, 1), []

    def modules(self) -> dict[str, nn.Module]:
        return {"discriminator": self.other}

    def optimizers(self, settings: Settings) -> dict[str, Any]:
        return {"discriminator": torch.optim.SGD(self.other.parameters(), 0.1)}

    def to(self, device: torch.device) -> None:
        self.other.to(device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.other.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.other.load_state_dict(state)

    def step(self, model: nn.Module, batch: dict[str, Any], update: Any) -> dict[str, float]:
        self.seen.append(int((model.first.weight == 0).sum()))
        update(self.other(model(batch["x"]).detach()).square().mean(), "discriminator")
        return super().step(model, batch, update)


def _fit(
    folder: Path, *hooks: Any, task: Any = None, settings: Settings = SETTINGS, **options: Any
) -> Fit:
    torch.manual_seed(3)
    return Fit(
        ToyModel(),
        task or ToyTask(),
        ToyData(),
        settings,
        folder=folder,
        device="cpu",
        hooks=hooks,
        **options,
    )


def test_the_moments_come_in_their_order_and_once_per_step(tmp_path: Path) -> None:
    recorder = Recorder()
    _fit(
        tmp_path, recorder, task=TwoNetworks(), settings=replace(SETTINGS, epochs=1, steps=2)
    ).run()
    assert recorder.seen[:2] == ["begin model+discriminator", "epoch 0"]
    assert recorder.seen[2:-1] == ["step", "update", "end"] * 2 + ["steps done"]
    assert recorder.seen[-1] == "metrics ['epoch', 'learning_rate', 'loss', 'steps', 'valid_loss']"


def test_the_other_network_meets_the_masked_model(tmp_path: Path) -> None:
    task = TwoNetworks()
    _fit(tmp_path, Prunes(), task=task).run()
    assert task.seen == [8] * 5 + [16] * 5 + [24] * 5 + [32] * 5


def test_before_update_can_change_gradients_and_penalties_join_the_loss(tmp_path: Path) -> None:
    class Freezes:
        def before_update(self, model: nn.Module) -> None:
            model.first.weight.grad.zero_()

    class Pulls:
        def penalty(self, model: nn.Module) -> Tensor:
            return model.last.weight.abs().sum()

    class Idle:
        def penalty(self, model: nn.Module) -> None:
            return None

    frozen, free = _fit(tmp_path / "a", Freezes(), Idle()), _fit(tmp_path / "b", Idle())
    start = frozen.model.first.weight.clone()
    frozen.run(), free.run()
    assert torch.equal(frozen.model.first.weight, start) and not torch.equal(
        free.model.first.weight, start
    )
    pulled = _fit(tmp_path / "c", Pulls(), Pulls())
    pulled.run()
    assert pulled.model.last.weight.abs().sum() < free.model.last.weight.abs().sum()


def test_a_hook_can_move_the_learning_rate_in_place_of_the_settings(tmp_path: Path) -> None:
    settings = replace(SETTINGS, schedule="exponential", decay=0.1)
    outcome = _fit(tmp_path, Prunes(rate=True), settings=settings).run()
    assert [row["learning_rate"] for row in outcome.history] == [0.02, 0.01, 0.005, 0.0025]


@pytest.mark.parametrize("stop_at", [3, 5, 9])
def test_interrupted_hooks_end_in_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    settings = replace(SETTINGS, keep="last", optimizer="rmsprop")
    straight = _fit(tmp_path / "a", Prunes(rate=True), settings=settings)
    expected = straight.run()
    with pytest.raises(InterruptedRun):
        _fit(
            tmp_path / "b", Prunes(rate=True), task=ToyTask(stop_at=stop_at), settings=settings
        ).run()
    interrupts._requested.clear()
    resumed = _fit(tmp_path / "b", Prunes(rate=True), settings=settings)
    outcome = resumed.run()
    assert outcome.mask == expected.mask and outcome.history == expected.history
    assert all(
        torch.equal(a, b)
        for a, b in zip(straight.model.parameters(), resumed.model.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [({}, 1), ({"keep": "last"}, 4), ({"keep_from_epoch": 2}, 3), ({"keep_from_epoch": 9}, 4)],
)
@pytest.mark.parametrize("stop_at", [None, 13])
def test_the_kept_weights_carry_the_mask_of_their_own_epoch(
    tmp_path: Path, numbers: dict, kept: int, stop_at: int | None
) -> None:
    settings, task = replace(SETTINGS, **numbers), Worsens(stop_at=stop_at)
    if stop_at:
        with pytest.raises(InterruptedRun):
            _fit(tmp_path, Prunes(), task=task, settings=settings).run()
        interrupts._requested.clear()
        task.stop_at = None
    fit = _fit(tmp_path, Prunes(), task=task, settings=settings)
    outcome = fit.run()
    assert outcome.kept_epoch == kept
    assert int((~outcome.mask[NAME]).sum()) == 8 * kept == int((fit.model.first.weight == 0).sum())


def test_early_stopping_waits_for_the_first_epoch_that_counts(tmp_path: Path) -> None:
    for start, epochs in ((0, 2), (3, 5)):
        settings = replace(SETTINGS, epochs=9, early_stop=1, keep_from_epoch=start)
        assert (
            _fit(tmp_path / str(start), task=Worsens(), settings=settings).run().epochs == epochs
        )


def test_the_outcome_joins_the_masks_of_training_and_hooks(tmp_path: Path) -> None:
    own = Mask({NAME: torch.ones(8, 4, dtype=torch.bool), "last.weight": torch.eye(2, 8).bool()})
    outcome = _fit(tmp_path, Prunes(), mask=own, settings=replace(SETTINGS, keep="last")).run()
    assert outcome.mask.kept() == 2 and _fit(tmp_path / "b").run().mask is None


def test_hooks_without_state_or_moments_are_left_alone() -> None:
    hooks = Hooks([object(), Prunes()])
    facts, tensors = hooks.state()
    assert facts == [{}, {"count": 0}] and list(tensors) == ["hook.1/x"]
    hooks.restore([{}, {"count": 0}], tensors)
    hooks.on_training_begin(nn.Linear(1, 1), {})  # neither of them acts then
    assert Hooks([object()]).mask() is None and Hooks([]).penalty(nn.Linear(1, 1)) == 0


def test_unknown_weights_to_keep_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown training.keep 'lst'.*last"):
        Settings(keep="lst")

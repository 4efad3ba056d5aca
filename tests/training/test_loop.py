"""The training loop: exact resume, masks, divergence, early stopping."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import ToyData, ToyModel, ToyTask

from audioprune import interrupts
from audioprune.compress.masks import Mask
from audioprune.errors import CheckpointError, ConfigError, DivergedError, InterruptedRun
from audioprune.files import read_lines
from audioprune.training.loaders import epoch_order
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings, build_optimizer, build_schedule, step_schedules

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(epochs=4, batch_size=8, learning_rate=0.02, schedule="exponential", decay=0.9)


def _model() -> ToyModel:
    torch.manual_seed(3)
    return ToyModel()


def _fit(
    folder: Path, task: ToyTask | None = None, settings: Settings = SETTINGS, **options
) -> Fit:
    return Fit(
        _model(), task or ToyTask(), ToyData(), settings, folder=folder, device="cpu", **options
    )


def _same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_loss_falls_and_best_weights_are_kept(tmp_path: Path) -> None:
    fit = _fit(tmp_path)
    outcome = fit.run()
    losses = [row["valid_loss"] for row in outcome.history]
    assert losses[-1] < losses[0] and outcome.best == min(losses)
    assert outcome.steps == 20 and outcome.epochs == 4
    assert [row["epoch"] for row in read_lines(tmp_path / "log.jsonl")] == [1, 2, 3, 4]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adamw", "fused adam"])
@pytest.mark.parametrize("stop_at", [1, 7, 10, 19])
def test_interrupted_training_ends_in_the_same_bits(
    tmp_path: Path, optimizer: str, stop_at: int
) -> None:
    fused, _, name = optimizer.rpartition(" ")
    settings = replace(SETTINGS, optimizer=name, fused=bool(fused), momentum=0.5, amsgrad=True)
    mask = Mask.ones(_model(), ["first.weight"]).updated(
        {"first.weight": torch.arange(32).reshape(8, 4) % 3 > 0}
    )
    straight = _fit(tmp_path / "a", settings=settings, mask=mask)
    expected = straight.run()
    broken = _fit(tmp_path / "b", ToyTask(stop_at=stop_at), settings, mask=mask)
    with pytest.raises(InterruptedRun):
        broken.run()
    interrupts._requested.clear()
    resumed = _fit(tmp_path / "b", settings=settings, mask=mask)
    outcome = resumed.run()
    assert _same(straight.model, resumed.model)
    assert outcome.history == expected.history
    logs = [read_lines(tmp_path / name / "log.jsonl") for name in "ab"]
    assert all(0 <= row.pop("waiting") <= 1 for log in logs for row in log)
    assert logs[0] == logs[1] == outcome.history
    assert resumed.task.steps == 20 - stop_at


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
def test_one_pass_over_all_weights_differs_by_rounding(tmp_path: Path, optimizer: str) -> None:
    plain = replace(SETTINGS, optimizer=optimizer, amsgrad=True)
    fits = [_fit(tmp_path / str(f), settings=replace(plain, fused=f)) for f in (False, True)]
    for fit in fits:
        fit.run()
        made = build_optimizer(fit.model, fit.settings)
        assert bool(made.defaults["fused"]) == fit.settings.fused
    for one, other in zip(*(fit.model.parameters() for fit in fits), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_an_optimiser_without_such_a_form_is_refused(tmp_path: Path) -> None:
    fit = _fit(tmp_path, settings=replace(SETTINGS, optimizer="rmsprop", fused=True))
    with pytest.raises(ConfigError, match="adam, adamw or sgd, got rmsprop"):
        fit.run()


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = _fit(tmp_path)
    first.run()
    second = _fit(tmp_path)
    second.run()
    assert second.task.steps == 0 and _same(first.model, second.model)


def test_other_numbers_are_refused(tmp_path: Path) -> None:
    _fit(tmp_path).run()
    with pytest.raises(CheckpointError, match="other training numbers"):
        _fit(tmp_path, settings=replace(SETTINGS, learning_rate=0.5)).run()


def test_masked_weights_stay_zero(tmp_path: Path) -> None:
    keep = torch.arange(32).reshape(8, 4) % 2 == 0
    mask = Mask.ones(_model(), ["first.weight"]).updated({"first.weight": keep})
    fit = _fit(tmp_path, settings=replace(SETTINGS, weight_decay=0.1, amsgrad=True), mask=mask)
    fit.run()
    assert (fit.model.first.weight[~keep] == 0).all() and (fit.model.first.weight[keep] != 0).all()


def test_penalty_shrinks_weights(tmp_path: Path) -> None:
    def penalty(model: torch.nn.Module) -> torch.Tensor:
        return sum(parameter.abs().sum() for parameter in model.parameters())

    plain, penalised = _fit(tmp_path / "a"), _fit(tmp_path / "b", penalty=penalty)
    plain.run(), penalised.run()
    assert penalty(penalised.model) < penalty(plain.model)


def test_non_finite_loss_stops_and_keeps_finite_weights(tmp_path: Path) -> None:
    fit = _fit(tmp_path, ToyTask(poison_at=8))
    with pytest.raises(DivergedError, match="step 8 .*learning_rate") as caught:
        fit.run()
    assert caught.value.exit_code == 6
    assert all(torch.isfinite(value).all() for value in fit.model.state_dict().values())
    assert fit.state.position.best is not None and math.isfinite(fit.state.position.best)


def test_early_stop_and_step_limit(tmp_path: Path) -> None:
    still = _fit(
        tmp_path / "a",
        settings=replace(
            SETTINGS, epochs=30, learning_rate=1e-12, early_stop=2, schedule="constant"
        ),
    )
    assert still.run().epochs <= 6
    assert _fit(tmp_path / "b", settings=replace(SETTINGS, steps=7)).run().steps == 7


@pytest.mark.parametrize(
    "schedule",
    [
        "constant",
        "step",
        "exponential",
        "plateau",
        "cosine",
        "linear",
        "warm_linear",
        "milestones",
    ],
)
def test_every_schedule_resumes(tmp_path: Path, schedule: str) -> None:
    settings = replace(
        SETTINGS, schedule=schedule, decay=0.5, decay_every=1, hold_epochs=1, decay_until=3
    )
    expected = _fit(tmp_path / "a", settings=settings).run()
    with pytest.raises(InterruptedRun):
        _fit(tmp_path / "b", ToyTask(stop_at=12), settings).run()
    interrupts._requested.clear()
    assert _fit(tmp_path / "b", settings=settings).run().history == expected.history


def test_unknown_names_are_answered_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown optimizer 'adm'.*adam"):
        _fit(tmp_path / "a", settings=replace(SETTINGS, optimizer="adm")).run()
    with pytest.raises(ConfigError, match="unknown schedule 'stp'.*step"):
        _fit(tmp_path / "b", settings=replace(SETTINGS, schedule="stp")).run()


def test_bf16_trains(tmp_path: Path) -> None:
    outcome = _fit(tmp_path, settings=replace(SETTINGS, precision="bf16")).run()
    assert outcome.history[-1]["valid_loss"] < outcome.history[0]["valid_loss"]


def test_bf16_updates_within_one_step_see_fresh_weights(tmp_path: Path) -> None:
    class Twice(ToyTask):
        def step(self, model, batch, update):
            seen = []
            for _ in range(2):
                seen.append(model.first(batch["x"]).float().detach().clone())
                update((model(batch["x"]) - batch["y"]).square().mean())
            assert not torch.equal(*seen)
            return {"loss": 0.0}

    _fit(
        tmp_path,
        Twice(),
        replace(SETTINGS, precision="bf16", learning_rate=0.5, steps=1, clip_norm=None),
    ).run()


def test_epoch_order_depends_on_seed_and_epoch_only() -> None:
    assert epoch_order(10, 1, 2) == epoch_order(10, 1, 2)
    assert sorted(epoch_order(10, 1, 2)) == list(range(10))
    assert epoch_order(10, 1, 2) != epoch_order(10, 1, 3) != epoch_order(10, 2, 3)


class _AfterSteps:
    """A hook that looks at the model after every optimiser step."""

    def __init__(self, look) -> None:
        self.look, self.steps = look, 0

    def on_step_end(self, model: torch.nn.Module) -> None:
        self.steps += 1
        self.look(model)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adamw"])
def test_masked_weights_are_zero_after_every_step(tmp_path: Path, optimizer: str) -> None:
    keep = torch.arange(32).reshape(8, 4) % 2 == 0
    mask = Mask.ones(_model(), ["first.weight"]).updated({"first.weight": keep})

    def look(model: torch.nn.Module) -> None:
        assert (model.first.weight[~keep] == 0).all() and (
            model.first.weight.grad[~keep] != 0
        ).any()

    hook = _AfterSteps(look)
    _fit(
        tmp_path,
        settings=replace(SETTINGS, optimizer=optimizer, weight_decay=0.1),
        mask=mask,
        hooks=[hook],
    ).run()
    assert hook.steps == 20


def test_the_plateau_rule_counts_validations_only(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    rule = build_schedule(
        optimizer, replace(SETTINGS, schedule="plateau", decay=0.5, decay_every=1)
    )
    for loss in (1.0, None, None, None, 1.0, None):  # one validation without improvement is borne
        step_schedules({"model": rule, "none": None}, loss)
        assert optimizer.param_groups[0]["lr"] == 1.0
    step_schedules({"model": rule}, 1.0)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_plateau_rule_sees_the_validation_loss(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, schedule="plateau", decay=0.5, decay_every=1, epochs=8, validate_every=2
    )
    task = ToyTask()
    losses = iter([4.0, 3.0, 3.0, 3.0])
    task.validate = lambda model, batches, monitor: {"loss": next(losses)}
    rates = [row["learning_rate"] for row in _fit(tmp_path, task, settings).run().history]
    assert (
        rates == [0.02] * 8
    )  # the rule acts behind the epoch of the second validation without improvement
    losses = iter([4.0, 4.0, 4.0, 3.0])
    task.validate = lambda model, batches, monitor: {"loss": next(losses)}
    rates = [row["learning_rate"] for row in _fit(tmp_path / "b", task, settings).run().history]
    assert rates == [0.02] * 6 + [0.01] * 2

"""Values of several steps are read at once: same sums, the exact step, the last finite weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import ToyData, ToyModel, ToyTask

from audioprune import interrupts
from audioprune.errors import DivergedError, InterruptedRun
from audioprune.training.loop import Fit
from audioprune.training.readings import NotFiniteError, Readings, widened
from audioprune.training.settings import Settings

CPU = torch.device("cpu")
SETTINGS = Settings(epochs=3, batch_size=8)


def _fit(folder: Path, every: int | None, task: ToyTask | None = None, **changes: float) -> Fit:
    torch.manual_seed(0)
    settings = replace(SETTINGS, **changes)
    return Fit(
        ToyModel(), task or ToyTask(), ToyData(), settings, folder, device="cpu", sync_every=every
    )


def test_the_default_is_every_step_on_the_cpu_and_fifty_elsewhere() -> None:
    assert Readings(None, CPU).every == 1 and Readings(None, torch.device("cuda")).every == 50
    assert Readings(7, CPU).every == 7


def test_values_come_back_in_the_order_of_their_steps() -> None:
    readings = Readings(2, CPU)
    for step in (1, 2):
        assert not readings.due
        readings.watch("the loss", torch.tensor(1.0))
        readings.add(step, {"loss": torch.tensor(0.1 * step), "plain": step})
    assert readings.due
    assert readings.read() == [
        {"loss": float(torch.tensor(0.1)), "plain": 1.0},
        {"loss": float(torch.tensor(0.2)), "plain": 2.0},
    ]
    assert readings.read() == [] and not readings.due


def test_a_watched_value_names_its_step() -> None:
    readings = Readings(3, CPU)
    for step, value in ((4, 1.0), (5, float("inf")), (6, float("nan"))):
        readings.watch("the loss", torch.tensor(value))
        readings.add(step, {})
    with pytest.raises(NotFiniteError, match="the loss became inf") as caught:
        readings.read()
    assert caught.value.step == 5
    with pytest.raises(NotFiniteError, match="the loss became nan"):
        Readings(1, CPU).watch("the loss", torch.tensor(float("nan")))


def test_scalars_are_as_wide_as_those_of_python() -> None:
    value = widened(torch.tensor(0.1, requires_grad=True) * 1)
    assert value.dtype == torch.float64 and not value.requires_grad
    assert float(value) == float(torch.tensor(0.1))


@pytest.mark.parametrize("every", [2, 7, 1000])
def test_a_training_does_not_depend_on_when_it_is_read(tmp_path: Path, every: int) -> None:
    known, found = _fit(tmp_path / "a", 1), _fit(tmp_path / "b", every)
    assert known.run().history == found.run().history
    for one, other in zip(known.model.parameters(), found.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("clip", [None, 5.0])
def test_the_exact_step_is_named_later_and_the_last_finite_weights_come_back(
    tmp_path: Path, clip: float | None
) -> None:
    known = _fit(tmp_path / "known", 1, epochs=1, clip_norm=clip)
    known.run()
    fit = _fit(tmp_path / "fit", 50, ToyTask(poison_at=8), clip_norm=clip)
    with pytest.raises(DivergedError) as caught:
        fit.run()
    told = str(caught.value)
    assert "the loss became nan at step 8 (epoch 2); the first that is not finite is" in told
    assert "at step 10, where runtime.sync_every let it be read" in told
    for one, other in zip(known.model.parameters(), fit.model.parameters(), strict=True):
        assert torch.equal(one, other)
    stored = [json.loads(line) for line in (tmp_path / "fit" / "log.jsonl").open()]
    assert [row["epoch"] for row in stored] == [1]


def test_what_is_unread_is_read_before_a_checkpoint(tmp_path: Path) -> None:
    known = _fit(tmp_path / "known", 1).run()
    with pytest.raises(InterruptedRun):
        _fit(tmp_path / "fit", 50, ToyTask(stop_at=7)).run()
    interrupts._requested.clear()
    assert _fit(tmp_path / "fit", 50).run().history == known.history

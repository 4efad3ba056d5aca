"""A device with too little memory: the batch is halved, the optimiser sees the same gradients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import ToyData, ToyModel, ToyTask

from audioprune.errors import ConfigError
from audioprune.training import memory
from audioprune.training.loop import Fit
from audioprune.training.memory import size_of, split
from audioprune.training.settings import Settings

SETTINGS = Settings(epochs=2, batch_size=10, optimizer="sgd", learning_rate=0.05)


class Narrow(ToyModel):
    """Has no memory for more than ``most`` items; without chance, so that parts can be added."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen, self.drop = most, [], nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        if self.training and len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")
        return super().forward(x)


class Weighed(ToyTask):
    """Parts of a batch count by their items."""

    def batch_weight(self, batch: Mapping[str, Any]) -> float:
        return float(len(batch["x"]))


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_said", set())


def _fit(folder: Path, most: int, task: ToyTask, **parts: Any) -> Fit:
    torch.manual_seed(0)
    return Fit(Narrow(most), task, ToyData(), SETTINGS, folder, device="cpu", **parts)


@pytest.mark.parametrize("most", [5, 3, 1])
def test_a_batch_in_parts_gives_the_same_training(
    tmp_path: Path, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def penalty(model: nn.Module) -> Tensor:
        return 0.01 * sum(each.square().sum() for each in model.parameters())

    known = _fit(tmp_path / "a", 99, Weighed(), penalty=penalty)
    fit = _fit(tmp_path / "b", most, Weighed(), penalty=penalty)
    wanted, found = known.run(), fit.run()
    assert found.steps == wanted.steps
    for one, other in zip(wanted.history, found.history, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for one, other in zip(known.model.parameters(), fit.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    parts, tries = {5: (2, 1), 3: (4, 2), 1: (10, 4)}[most]
    told = capsys.readouterr().err
    assert told.count(f"batches are taken in {parts} parts") == 1
    assert "train: too little memory on the device (CUDA out of memory. Tried to allocate" in told
    # only the first batch of the training was too large
    # the two validations see whole batches
    assert sum(size > most for size in fit.model.seen) - 2 == tries + sum(
        size > most for size in (2, 2)
    )


def test_what_cannot_be_split_is_one_line(tmp_path: Path) -> None:
    for most, task, why in (
        (5, ToyTask(), "ToyTask has no batch_weight"),
        (0, Weighed(), "it is of one item"),
    ):
        with pytest.raises(ConfigError, match=f"memory holds.*{why}.*lower training.batch_size"):
            _fit(tmp_path / str(most), most, task).run()


class Twice(Weighed):
    """Two updates of a step; memory ends in the second."""

    def step(self, model: nn.Module, batch: Any, update: Any) -> dict[str, Any]:
        for place in range(2):
            if place:
                model.most = 2
            value = update((model(batch["x"]) - batch["y"]).square().mean())
        return {"loss": value}


def test_a_step_of_several_updates_is_not_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an optimiser has stepped within this batch"):
        _fit(tmp_path / "a", 10, Twice()).run()
    with pytest.raises(ConfigError, match="expected one update in a step of which"):
        _fit(tmp_path / "b", 5, Twice()).run()


def test_batches_are_split_in_order_without_an_empty_part() -> None:
    batch = {"x": torch.arange(5), "id": list("abcde")}
    parts = list(split(batch, 3))
    assert [len(part["id"]) for part in parts] == [1, 2, 2]
    assert torch.cat([part["x"] for part in parts]).tolist() == [0, 1, 2, 3, 4]
    assert [each for part in parts for each in part["id"]] == batch["id"]
    assert size_of(batch) == 5 and size_of({"x": torch.zeros(3), "y": [1]}) == 1

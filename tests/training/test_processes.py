"""Several processes: equal to one with the whole batch, and one clear line where they are not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import ToyData, ToyModel, ToyTask
from two_processes import in_two

from audioprune.compress.masks import Mask
from audioprune.errors import ConfigError, DivergedError, ProcessError
from audioprune.models.dcae import DCAE
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.scenes import SceneClassification
from audioprune.training.loop import Fit
from audioprune.training.processes import Processes
from audioprune.training.settings import Settings

ITEMS = 5  # so that the parts are unequal


class Normal(nn.Module):
    """Convolutions with batch normalisation, every kind of dropout, and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(torch.relu(self.norm(self.first(x))), 0.3, self.training)
        hidden = F.dropout2d(hidden.transpose(2, 3), 0.2, self.training).mean((2, 3))
        if self.training:
            hidden = hidden + 0.1 * torch.randn(hidden.shape) + 0.1 * torch.rand_like(hidden)
            hidden = hidden * torch.empty_like(hidden).bernoulli_(0.9)
        return self.last(hidden)


def descend(
    group: Processes,
    step: Callable[[Callable[..., Tensor], slice], Any],
    networks: dict[str, nn.Module],
    items: int = ITEMS,
    steps: int = 3,
) -> dict[str, Any]:
    """Take steps of plain descent and return their losses, the weights and the generator."""
    losses = []

    def update(loss: Tensor, which: str = "model", weight: Any = None) -> Tensor:
        network = networks[which]
        network.zero_grad()
        total, whole = group.divided(loss, 0.0, weight)
        total.backward()
        group.sum_gradients_(network.parameters())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.01 * parameter.grad
        losses.append(float(whole))
        return whole

    middle = (items + 1) // 2
    part = slice(0, items)
    if group.count > 1:
        part = slice(0, middle) if group.is_main else slice(middle, items)
    for _ in range(steps):
        with group.step(items):
            step(update, part)
    state = {f"{name}.{key}": value for name in networks for key, value in named(networks, name)}
    return {"losses": losses, "state": state, "generator": torch.get_rng_state()}


def named(networks: dict[str, nn.Module], name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a network."""
    yield from networks[name].state_dict().items()


def scenes(mixup: float) -> Callable[[Processes], dict[str, Any]]:
    def work(group: Processes) -> dict[str, Any]:
        torch.manual_seed(0)
        model, task = Normal().train(), SceneClassification(classes=3, mixup=mixup, roll_frames=2)
        features, labels = torch.randn(ITEMS, 2, 8, 7), torch.tensor([0, 1, 2, 1, 0])

        def step(update: Callable[..., Tensor], part: slice) -> None:
            task.step(model, {"features": features[part], "label": labels[part]}, update)

        return descend(group, step, {"model": model})

    return work


def generators(norm: str) -> Callable[[Processes], dict[str, Any]]:
    def work(group: Processes) -> dict[str, Any]:
        torch.manual_seed(0)
        model = DCAE(channels=[16, 32, 32], width=0.0625).train()
        judge = {"channels": [16, 32, 32], "width": 0.0625, "norm": norm}
        task = Adversarial(frame_length=512, level=0.1, discriminator=judge)
        noisy, clean = torch.randn(2, ITEMS, 1400)
        lengths = torch.tensor([1400, 700, 1300, 900, 512])
        inside = torch.arange(1400) < lengths[:, None]
        whole = {"noisy": noisy * inside, "clean": clean * inside, "lengths": lengths}

        def step(update: Callable[..., Tensor], part: slice) -> None:
            task.step(model, {key: value[part] for key, value in whole.items()}, update)

        return descend(group, step, {"model": model, "discriminator": task.discriminator})

    return work


def lonely(group: Processes) -> dict[str, Any]:
    """Take steps on one item, of which the second process has none."""
    torch.manual_seed(0)
    model, task = Normal().train(), SceneClassification(classes=3, mixup=0.3, roll_frames=2)
    features, labels = torch.randn(1, 2, 8, 7), torch.tensor([1])

    def step(update: Callable[..., Tensor], part: slice) -> None:
        task.step(model, {"features": features, "label": labels}, update)  # a stand-in there

    return descend(group, step, {"model": model}, items=1)


WORK = {
    "scenes": scenes(0.0),
    "mixup": scenes(0.3),
    "batch": generators("batch"),
    "virtual": generators("virtual"),
    "lonely": lonely,
}


def fitted(folder: Path, **options: Any) -> Callable[[Processes], Any]:
    """Train 20 steps with a mask, of which three have an odd number of items."""

    def work(group: Processes) -> Any:
        torch.manual_seed(3)
        model = ToyModel()
        keep = torch.rand(8, 4, generator=torch.Generator().manual_seed(1)) < 0.5
        task = options.get("task", ToyTask)()
        outcome = Fit(
            model,
            task,
            ToyData(),
            Settings(epochs=2, steps=20, batch_size=3, learning_rate=0.01, weight_decay=0.01),
            folder / str(group.index),
            mask=Mask({"first.weight": keep}),
            penalty=lambda network: 0.01 * network.first.weight.abs().sum(),
            device="cpu",
        ).run()
        return outcome.history, model.state_dict(), torch.get_rng_state()

    return work


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """What one process and two processes make of the same work."""
    folder = tmp_path_factory.mktemp("fits")

    def all_of_it(group: Processes) -> dict[str, Any]:
        parts: dict[str, Any] = {name: work(group) for name, work in WORK.items()}
        parts["fit"] = fitted(folder / str(group.count))(group)
        parts["plain"] = plain_values(group)
        return parts

    torch.set_num_threads(1)
    return all_of_it(Processes()), in_two(all_of_it)


def plain_values(group: Processes) -> list[Any]:
    """Say and hear plain values."""

    def refused(call: Callable[[], None]) -> str:
        try:
            call()
        except (ConfigError, ProcessError) as error:
            return str(error)
        return ""

    same, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        same.weight.fill_(0.1)
        other.weight.fill_(0.1)
        other.weight[1, 1] += 1e-7 * group.index
    with group.main_first():
        pass
    return [
        group.broadcast({"from": group.index}),
        group.gather(group.index),
        group.any(group.index == 1),
        group.by_main(lambda: group.index),
        refused(lambda: group.require_equal(same, "step 1")),
        refused(lambda: group.require_equal(other, "step 2")),
        refused(lambda: group.require_same({"a": 1, "seed": group.index}, "command")),
    ]


@pytest.mark.parametrize("name", WORK)
def test_two_processes_train_as_one(found: tuple[Any, list[Any]], name: str) -> None:
    one, two = found
    for each in two:
        assert not isinstance(each, Exception), each
        assert each[name]["losses"] == pytest.approx(one[name]["losses"], rel=1e-5)
        for key, value in one[name]["state"].items():
            torch.testing.assert_close(each[name]["state"][key], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(each[name]["generator"], one[name]["generator"])
    for key, value in two[0][name]["state"].items():
        assert torch.equal(value, two[1][name]["state"][key]), key


def test_losses_and_masks_after_20_steps(found: tuple[Any, list[Any]]) -> None:
    (history, weights, generator), two = found[0]["fit"], [each["fit"] for each in found[1]]
    assert history[-1]["steps"] == 20
    for theirs, state, theirs_generator in two:
        for row, same in zip(history, theirs, strict=True):
            assert same == pytest.approx(row, rel=1e-5)
        for key, value in weights.items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=1e-5)
            assert torch.equal(state[key] == 0, value == 0)
            assert torch.equal(state[key], two[0][1][key])
        assert torch.equal(theirs_generator, generator)


def test_plain_values(found: tuple[Any, list[Any]]) -> None:
    alone, (main, other) = found[0]["plain"], [each["plain"] for each in found[1]]
    assert alone == [{"from": 0}, [0], False, 0, "", "", ""]
    assert main == other and main[:5] == [{"from": 0}, [0, 1], True, 0, ""]
    assert "step 2: expected the same weights" in main[5] and "rank 1" in main[5]
    assert "rank 1 than in rank 0 (differs in seed)" in main[6]


@pytest.mark.slow
def test_failures_are_told_by_one_process(tmp_path: Path) -> None:
    def diverging(group: Processes) -> None:
        poison = 3 if group.index else None
        fitted(tmp_path / "a", task=lambda: ToyTask(poison_at=poison))(group)

    def dying(group: Processes) -> None:
        if group.index:
            os.kill(os.getpid(), signal.SIGKILL)
        group.barrier()

    both = in_two(diverging)
    assert all(isinstance(each, DivergedError) for each in both)
    assert all("the loss became nan at step 3" in str(each) for each in both)
    survivor, dead = in_two(dying)
    assert dead is None and isinstance(survivor, ProcessError)
    assert "ended without a word" in str(survivor) and "\n" not in str(survivor)


def test_a_failure_of_one_process_reaches_the_other() -> None:
    def failing(group: Processes) -> None:
        if group.index:
            raise ConfigError("expected a thing, got none")
        group.barrier()

    main, other = in_two(failing)
    assert isinstance(main, ProcessError) and main.exit_code == ConfigError.exit_code
    assert str(main) == "another process failed: expected a thing, got none"
    assert str(other) == "expected a thing, got none (rank 1)"

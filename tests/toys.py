"""A model, a task and data small enough that whole trainings take milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune.compress.units.declare import Slice, UnitSet, rows


class ToyModel(nn.Module):
    """Two linear layers with dropout, so that the state of torch's generator matters."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(torch.relu(self.first(x))))


class ToySet(Dataset):
    """Points of a fixed linear map; item i of epoch e is a function of both."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 4, generator=generator)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x = self.x[index] + 0.01 * self.epoch
        return {"x": x, "y": torch.stack([x.sum(), x[0] - x[1]])}


class ToyData:
    """Training and validation sets of toy points."""

    def train(self) -> ToySet:
        return ToySet(40, 0)

    def valid(self) -> ToySet:
        return ToySet(12, 1)

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.stack([item[key] for item in items]) for key in items[0]}


class ToyTask:
    """Least squares; ``poison_at`` makes the loss of that step NaN."""

    def __init__(self, poison_at: int | None = None, stop_at: int | None = None) -> None:
        self.poison_at, self.stop_at, self.steps = poison_at, stop_at, 0

    def step(
        self, model: nn.Module, batch: dict[str, Any], update: Callable[[Tensor], float]
    ) -> dict[str, float]:
        from audioprune import interrupts

        self.steps += 1
        loss = (model(batch["x"]) - batch["y"]).square().mean()
        value = update(loss * float("nan") if self.steps == self.poison_at else loss)
        if self.steps == self.stop_at:
            interrupts._requested.set()
        return {"loss": value}

    def validate(
        self, model: nn.Module, batches: Iterator[dict[str, Any]], monitor: str
    ) -> dict[str, float]:
        losses = [float((model(batch["x"]) - batch["y"]).square().mean()) for batch in batches]
        return {"loss": sum(losses) / len(losses)}

    def better(self, monitor: str, new: float, best: float) -> bool:
        return new < best


class LoopMlp(nn.Module):
    """3 -> 6 -> 5 -> 2 with a recurrent-like square weight on the first hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.loop, self.b, self.c = (
            nn.Linear(3, 6),
            nn.Linear(6, 6, bias=False),
            nn.Linear(6, 5),
            nn.Linear(5, 2),
        )
        self.norm = nn.BatchNorm1d(5)

    def unit_sets(self) -> list[UnitSet]:
        first = [
            ("a.weight", 0, "out"),
            ("a.bias", 0, "out"),
            ("loop.weight", 0, "out"),
            ("loop.weight", 1, "in"),
            ("b.weight", 1, "in"),
        ]
        second = [("b.weight", 0, "out"), ("b.bias", 0, "out"), ("c.weight", 1, "in")]
        second += [("norm.weight", 0, "norm"), ("norm.running_mean", 0, "norm")]
        return [
            UnitSet(
                name, tuple(Slice(tensor, dim, rows(0, size), role) for tensor, dim, role in parts)
            )
            for name, parts, size in (("first", first, 6), ("second", second, 5))
        ]


def some_units(sets: list[UnitSet], seed: int = 1, share: float = 0.4) -> dict[str, Tensor]:
    """Draw which units stay, at least the last one of each set."""
    generator = torch.Generator().manual_seed(seed)
    keep = {each.name: torch.rand(each.size, generator=generator) > share for each in sets}
    for part in keep.values():
        part[-1] = True
    return keep

"""A recurrent network, a task and data on which whole lotteries take a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.compress.units.builders import gru_in, gru_units, layer_norm, linear_in, linear_out
from audioprune.compress.units.declare import UnitSet
from audioprune.training.loaders import moved


class Undeclared(nn.Module):
    """A normalised linear layer, a GRU and a linear head."""

    frames_per_second, time_dim = 10.0, 1

    def __init__(self, width: int = 12, hidden: int = 9, norm: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(3, width)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.gru = nn.GRU(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(torch.relu(self.norm(self.inner(x))))[0])

    def example_input(self) -> Tensor:
        return torch.zeros(1, 5, 3)


class Net(Undeclared):
    """The same, which declares its units."""

    def unit_sets(self) -> list[UnitSet]:
        inner = linear_out("inner", self.inner) + gru_in("gru", self.gru)
        if isinstance(self.norm, nn.LayerNorm):
            inner += layer_norm("norm", self.norm)
        return [
            UnitSet("inner", inner, exact=isinstance(self.norm, nn.Identity)),
            UnitSet("gru", gru_units("gru", self.gru) + linear_in("head", self.head)),
        ]


class Sequences(Dataset):
    """Running sums of noise; item i is a function of the seed and i."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1000 * self.seed + index))
        return {
            "x": x,
            "y": torch.stack([x.sum(1).cumsum(0), x[:, 0] - x[:, 1]], 1),
            "id": f"{self.seed}_{index}",
        }


class Data:
    """The corpus."""

    def __init__(self, *, items: int = 16) -> None:
        self.items = items

    def prepare(self) -> None:
        """Nothing is needed."""

    def train(self) -> Sequences:
        return Sequences(self.items, 0)

    def valid(self) -> Sequences:
        return Sequences(8, 1)

    def tests(self) -> dict[str, Sequences]:
        return {"test": Sequences(8, 2)}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            key: torch.stack([item[key] for item in items])
            if key != "id"
            else [item[key] for item in items]
            for key in items[0]
        }

    def fingerprint(self) -> str:
        return "sums"

    def describe(self) -> dict[str, Any]:
        return {"items": self.items}

    def scale(self) -> str:
        return "toy sums"


class Task:
    """Least squares, with an error of its own where ``scores`` is set."""

    scores_audio = False
    sample_rate = 10

    def __init__(self, *, scores: bool = True) -> None:
        self.scores = scores

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        return (model(batch["x"]) - batch["y"]).square().mean()

    def information_target(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        return batch["y"]

    def step(
        self, model: nn.Module, batch: dict[str, Any], update: Callable[[Tensor], float]
    ) -> dict[str, float]:
        return {"loss": update(self.loss(model, batch))}

    def validate(
        self, model: nn.Module, batches: Iterator[dict[str, Any]], monitor: str
    ) -> dict[str, float]:
        losses = [float(self.loss(model, batch)) for batch in batches]
        return {"loss": sum(losses) / len(losses)}

    def better(self, monitor: str, new: float, best: float) -> bool:
        return new < best

    def validation_loss(
        self, model: nn.Module, dataset: Dataset, collate: Callable[..., Any], items: int | None
    ) -> BatchLoss:
        batch = collate([dataset[index] for index in range(items or len(dataset))])
        batch = moved(batch, device_of(model))
        return BatchLoss(
            model, [(batch["x"], lambda output: (output - batch["y"]).square().mean(), 1.0)]
        )

    def score(
        self,
        model: nn.Module,
        dataset: Dataset,
        scorer: None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, dict[str, Any]]:
        if audio is not None:
            audio.mkdir(parents=True, exist_ok=True)
            (audio / f"item_{variant}.txt").write_text(str(keep))
        loss = self.validation_loss(model, dataset, Data().collate, None).base()
        return {variant: {"metrics": {"error": loss**0.5} if self.scores else {}}}

"""A run whose toy model can be scored by its loss and by metrics of signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toys import ToyData, ToyModel, ToySet, ToyTask

from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.experiment.run import Run
from audioprune.steps import Train
from audioprune.training.settings import Settings


class SignalSet(ToySet):
    """Each item is also a signal: 200 frames of four noisy samples for two clean ones each."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(index)
        frames = torch.randn(200, 4, generator=draw)
        clean = torch.stack([frames.sum(1), frames[:, 0] - frames[:, 1]], 1)
        return {**super().__getitem__(index), "noisy": frames.flatten(), "clean": clean.flatten()}


class SignalData(ToyData):
    def valid(self) -> ToySet:
        return SignalSet(12, 1)

    def scale(self) -> str:
        return "toy points"


class SignalTask(ToyTask):
    sample_rate = 16000

    def validation_loss(
        self, model: nn.Module, dataset: ToySet, collate: Any, items: int | None
    ) -> BatchLoss:
        batch = collate([dataset[index] for index in range(items or len(dataset))])
        return BatchLoss(
            model, [(batch["x"], lambda output: (output - batch["y"]).square().mean(), 1.0)]
        )

    def enhance(self, model: nn.Module, noisy: Tensor) -> Tensor:
        return model(noisy.view(1, -1, 4)).flatten(1)


def signal_run(folder: Path, trained: bool = True) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    runtime = {
        "device": "cpu",
        "workers": 0,
        "save_every_s": 1000.0,
        "tensorboard": False,
        "metric_workers": 0,
    }
    runtime["cache"] = str(folder / "cache")
    config = {
        "seed": 0,
        "scale": "toy",
        "runtime": runtime,
        "task": {},
        "pipeline": {"name": "budget"},
        "scoring": {},
    }
    settings = Settings(epochs=30, batch_size=8, learning_rate=0.02, schedule="constant")
    parts = {
        "model": ToyModel(),
        "model_config": {"name": "toy", "_target_": "toys.ToyModel"},
        "data": SignalData(),
        "task": SignalTask(),
    }
    run = Run(config=config, folder=folder, settings=settings, task_config={}, **parts)
    if trained:
        Train().run(run, "train")
    return run


def bits(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())

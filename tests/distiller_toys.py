"""Models of every kind of weight, small schedules, and a training by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.distiller import ScheduleHook, load_schedule


class Zoo(nn.Module):
    """One weight of every kind: 1-D, 2-D, transposed, a matrix, recurrent, slopes and biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.prelu = nn.PReLU(8)
        self.up = nn.ConvTranspose1d(8, 6, 2, stride=2)
        self.image = nn.Conv2d(1, 4, 3, padding=1)
        self.rnn = nn.GRU(24, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.prelu(self.conv(x)))
        x = self.image(x[:, None]).flatten(1, 2).transpose(1, 2)
        return self.out(self.rnn(x)[0])


def step(
    name: str,
    start: int = 0,
    end: int = 3,
    frequency: int = 1,
    kind: str = "pruner",
    **options: Any,
) -> dict[str, Any]:
    """Return a policy."""
    args = {"args": options} if options else {}
    return {
        kind: {"instance_name": name, **args},
        "starting_epoch": start,
        "ending_epoch": end,
        "frequency": frequency,
    }


def one(
    kind: str, arguments: dict[str, Any], section: str = "pruners", **policy: Any
) -> dict[str, Any]:
    """Return the values of a schedule with one instance ``x`` and one policy."""
    return {
        "version": 1,
        section: {"x": {"class": kind, **arguments}},
        "policies": [step("x", kind=section[:-1], **policy)],
    }


def hook_of(values: Any, model: nn.Module, strict: bool = True) -> ScheduleHook:
    """Return the hook of a schedule for a model."""
    return ScheduleHook(load_schedule(values, strict).bound(model, strict))


def train(
    hook: ScheduleHook,
    model: nn.Module,
    epochs: int,
    steps: int = 2,
    optimizer: torch.optim.Optimizer | None = None,
    each: Callable[[int, int], None] | None = None,
    example: Tensor | None = None,
) -> list[float]:
    """Train on one fixed batch as the loop does; return the learning rate of every epoch."""
    optimizer = optimizer or torch.optim.RMSprop(model.parameters(), 1e-3, momentum=0.9)
    x = (
        torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
        if example is None
        else example
    )
    hook.on_training_begin(model, {"model": optimizer})
    rates = []
    for epoch in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        hook.on_epoch_begin(epoch, model)
        for count in range(steps):
            hook.on_step_begin(model)
            loss = model(x).square().mean()
            penalty = hook.penalty(model)
            optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
            hook.before_update(model)
            optimizer.step()
            hook.on_step_end(model)
            if each:
                each(epoch, count)
        hook.after_steps(epoch, model)
        hook.on_epoch_end(
            epoch, model, {"model": optimizer}, {"valid_loss": 1.0, "valid_stoi": 0.5}
        )
    return rates


def share(keep: Tensor) -> float:
    """Return the kept share."""
    return float(keep.float().mean())

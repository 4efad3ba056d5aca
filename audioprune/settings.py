"""Which numbers define one training, and which optimiser, learning-rate rule and batch order they stand for.

The loop that uses them is in training.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from audioprune.errors import ConfigError, unknown_name

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
SCHEDULES = ("constant", "step", "exponential", "plateau", "cosine", "linear")


@dataclass(frozen=True)
class Settings:
    """The numbers of one training.

    Attributes:
        epochs: Passes over the training set.
        steps: Optimiser steps after which training ends whatever the epoch, or None.
        batch_size: Items per step and process.
        optimizer: One of adam, adamw, sgd, rmsprop.
        learning_rate: Initial learning rate.
        weight_decay: L2 penalty of the optimiser (decoupled for adamw).
        momentum: Momentum of sgd and rmsprop.
        betas: Moment decay rates of adam and adamw.
        amsgrad: Keep the largest second moment (adam, adamw).
        clip_norm: Largest total gradient norm, or None.
        schedule: One of constant, step, exponential, plateau, cosine, linear.
        decay: Factor of step, exponential and plateau; final fraction of the learning rate for cosine and linear.
        decay_every: Epochs between two decays of step; epochs without improvement for plateau.
        validate_every: Epochs between two validations.
        monitor: Validated value that decides which weights are best: ``loss`` or a metric of the task.
        early_stop: Validations without improvement after which training ends, or None.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    epochs: int = 30
    steps: int | None = None
    batch_size: int = 8
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    amsgrad: bool = False
    clip_norm: float | None = 5.0
    schedule: str = "step"
    decay: float = 0.98
    decay_every: int = 2
    validate_every: int = 1
    monitor: str = "loss"
    early_stop: int | None = None
    precision: str = "fp32"


def build_optimizer(model: nn.Module, settings: Settings) -> Optimizer:
    """Build one of the named optimisers over all parameters of a model.

    Raises:
        ConfigError: The name is unknown.
    """
    if settings.optimizer not in OPTIMIZERS:
        raise ConfigError(unknown_name("optimizer", settings.optimizer, OPTIMIZERS))
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer in ("adam", "adamw"):
        options |= {"betas": tuple(settings.betas), "amsgrad": settings.amsgrad}
    else:
        options |= {"momentum": settings.momentum}
    return OPTIMIZERS[settings.optimizer](model.parameters(), **options)


def build_schedule(optimizer: Optimizer, settings: Settings) -> Any:
    """Build the learning-rate rule, stepped once an epoch.

    Raises:
        ConfigError: The name is unknown.
    """
    rules = torch.optim.lr_scheduler
    if settings.schedule not in SCHEDULES:
        raise ConfigError(unknown_name("schedule", settings.schedule, SCHEDULES))
    if settings.schedule == "step":
        return rules.StepLR(optimizer, settings.decay_every, settings.decay)
    if settings.schedule == "exponential":
        return rules.ExponentialLR(optimizer, settings.decay)
    if settings.schedule == "plateau":
        return rules.ReduceLROnPlateau(optimizer, factor=settings.decay, patience=settings.decay_every)
    if settings.schedule == "cosine":
        return rules.CosineAnnealingLR(optimizer, settings.epochs, eta_min=settings.learning_rate * settings.decay)
    if settings.schedule == "linear":
        return rules.LinearLR(optimizer, 1.0, max(settings.decay, 1e-8), settings.epochs)
    return None


def step_schedules(schedules: dict[str, Any], valid_loss: float | None) -> None:
    """Advance every learning-rate rule by one epoch; the plateau rule waits for a validation."""
    for schedule in schedules.values():
        if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if valid_loss is not None:
                schedule.step(valid_loss)
        elif schedule is not None:
            schedule.step()


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the training items in an epoch: a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()

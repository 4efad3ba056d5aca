"""The numbers of one training (``Settings``), and the optimiser and learning-rate rule they name.

The loop that uses them is in training/loop.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import OneOf, Range

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
KEEPS = ("best", "last")
SCHEDULES = (
    "constant",
    "step",
    "exponential",
    "plateau",
    "cosine",
    "linear",
    "warm_linear",
    "milestones",
)


@dataclass(frozen=True)
class Settings:
    """The numbers of one training.

    Attributes:
        epochs: Passes over the training set.
        steps: Optimiser steps after which training ends whatever the epoch, or None.
        batch_size: Items per step, of all processes together.
        optimizer: One of adam, adamw, sgd, rmsprop.
        learning_rate: Initial learning rate.
        weight_decay: L2 penalty of the optimiser (decoupled for adamw).
        momentum: Momentum of sgd and rmsprop.
        betas: Moment decay rates of adam and adamw.
        amsgrad: Keep the largest second moment (adam, adamw).
        fused: Whether adam, adamw and sgd change all weights in one pass, about four times as fast
            on a CPU; results differ by rounding.
        clip_norm: Largest total gradient norm, or None.
        schedule: One of constant, step, exponential, plateau, cosine, linear, warm_linear,
            milestones.
        decay: Factor of step, exponential, plateau and milestones; final fraction of the learning
            rate for cosine and linear.
        decay_every: Epochs between two decays of step; epochs without improvement for plateau.
        validate_every: Epochs between two validations.
        monitor: Validated value that decides which weights are best: ``loss`` or a metric of the
            task.
        early_stop: Validations without improvement after which training ends, or None.
        keep: Weights that a training ends with: ``best`` validation or ``last`` epoch.
        keep_from_epoch: First epoch, counted from 0, whose validation may be the best one or count
            towards ``early_stop``, such as the epoch of the last pruning; the last epoch always
            may.
        precision: ``fp32``, or what training alone may do on an accelerator: ``tf32`` multiplies
            matrices with 10 bits of mantissa, ``bf16`` also keeps activations in 16 bits
            (autocast; on the CPU too). Weights, optimiser and scores stay fp32.
        channels_last: Whether convolutions in two dimensions are trained with channels innermost
            in memory, which may be faster on an accelerator.
        compile: Whether training steps run through ``torch.compile``, which costs minutes at the
            start of each training and needs a C++ compiler.
        hold_epochs: Epochs in which warm_linear leaves the learning rate as it is.
        decay_until: Epoch at which warm_linear arrives at its final learning rate, on a straight
            line.
        final_learning_rate: Learning rate of warm_linear from there on.
        milestones: Fractions of the epochs, 0..1, at which milestones multiplies the learning rate
            by ``decay``.
    """

    epochs: Annotated[int, Range(1)] = 30
    steps: Annotated[int | None, Range(1)] = None
    batch_size: Annotated[int, Range(1)] = 8
    optimizer: Annotated[str, OneOf(*OPTIMIZERS)] = "adam"
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    weight_decay: Annotated[float, Range(0)] = 0.0
    momentum: Annotated[float, Range(0, below=1)] = 0.0
    betas: Annotated[tuple[float, float], Range(0, below=1)] = (0.9, 0.999)
    amsgrad: bool = False
    fused: bool = False
    clip_norm: Annotated[float | None, Range(above=0)] = 5.0
    schedule: Annotated[str, OneOf(*SCHEDULES)] = "step"
    decay: Annotated[float, Range(above=0, most=1)] = 0.98
    decay_every: Annotated[int, Range(1)] = 2
    validate_every: Annotated[int, Range(1)] = 1
    monitor: str = "loss"
    early_stop: Annotated[int | None, Range(1)] = None
    keep: Annotated[str, OneOf(*KEEPS)] = "best"
    keep_from_epoch: Annotated[int, Range(0)] = 0
    precision: Annotated[str, OneOf("fp32", "tf32", "bf16")] = "fp32"
    channels_last: bool = False
    compile: bool = False
    hold_epochs: Annotated[int, Range(0)] = 50
    decay_until: Annotated[int, Range(1)] = 250
    final_learning_rate: Annotated[float, Range(0)] = 5e-6
    milestones: Annotated[Sequence[float], Range(0, 1)] = (0.5, 0.8)

    def __post_init__(self) -> None:
        if self.keep not in KEEPS:
            raise ConfigError(unknown_name("training.keep", self.keep, KEEPS))


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
    if settings.fused:
        if settings.optimizer == "rmsprop":
            raise ConfigError(
                "training.fused: expected adam, adamw or sgd, got rmsprop, which has no form of "
                "one pass; set it to false"
            )
        options |= {"fused": True}
    return OPTIMIZERS[settings.optimizer](model.parameters(), **options)


def build_schedule(optimizer: Optimizer, settings: Settings) -> LRScheduler | None:
    """Build the learning-rate rule, stepped once an epoch; None for a constant rate.

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
        return rules.ReduceLROnPlateau(
            optimizer, factor=settings.decay, patience=settings.decay_every
        )
    if settings.schedule == "cosine":
        return rules.CosineAnnealingLR(
            optimizer, settings.epochs, eta_min=settings.learning_rate * settings.decay
        )
    if settings.schedule == "linear":
        return rules.LinearLR(optimizer, 1.0, max(settings.decay, 1e-8), settings.epochs)
    if settings.schedule == "warm_linear":
        return rules.LambdaLR(optimizer, lambda epoch: _warm_linear(settings, epoch))
    if settings.schedule == "milestones":
        return rules.MultiStepLR(
            optimizer,
            [round(share * settings.epochs) for share in settings.milestones],
            settings.decay,
        )
    return None


def _warm_linear(settings: Settings, epoch: int) -> float:
    """Return the factor of an epoch: 1, then a straight line down to the final learning rate.

    Source: Chen, "Experiment Setting". The slide does not say where the line ends; epoch 250 is
    that of Koutini et al., whose setting he compares with.
    """
    length = max(1, settings.decay_until - settings.hold_epochs)
    done = min(1.0, max(0.0, (epoch - settings.hold_epochs) / length))
    return 1.0 - done * (1.0 - settings.final_learning_rate / settings.learning_rate)


def step_schedules(schedules: Mapping[str, LRScheduler | None], valid_loss: float | None) -> None:
    """Advance every learning-rate rule by one epoch; the plateau rule waits for a validation."""
    for schedule in schedules.values():
        if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if valid_loss is not None:
                schedule.step(valid_loss)
        elif schedule is not None:
            schedule.step()

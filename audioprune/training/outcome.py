"""What a finished training reports: ``Outcome``."""

from __future__ import annotations

from dataclasses import dataclass

from audioprune.compress.masks import Mask


@dataclass(frozen=True)
class Outcome:
    """What a finished training reports.

    Attributes:
        epochs: Epochs that were run.
        steps: Optimiser steps that were taken.
        best_epoch: Epoch of the best validation, counted from 1.
        best: The monitored value of that validation.
        seconds: Duration.
        history: Logged values of every epoch.
        kept_epoch: Epoch whose weights the model ends with, counted from 1.
        mask: Mask that those weights obey, of the training and its hooks together; None when there
            is none.
    """

    epochs: int
    steps: int
    best_epoch: int
    best: float
    seconds: float
    history: list[dict[str, float]]
    kept_epoch: int
    mask: Mask | None

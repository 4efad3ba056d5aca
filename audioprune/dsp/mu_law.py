"""How samples become classes on a logarithmic scale, and classes samples: mu-law companding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audioprune.errors import ConfigError, DataError


def mu_law_encode(signal: Tensor, classes: int = 256) -> Tensor:
    """Quantize samples in -1..1 to class indices on a logarithmic scale.

    Args:
        signal: Samples, any shape, within -1..1.
        classes: Number of classes, mu + 1.

    Returns:
        int64 indices 0..classes-1, same shape; rounded to the nearest class.

    Raises:
        DataError: A sample is outside -1..1 or not a number; signals on another device than the
            CPU are not looked at, see ``check_samples``.
        ConfigError: ``classes`` is less than 2.

    Source: ITU-T G.711 companding curve; van den Oord et al. (2016), WaveNet.
    """
    if classes < 2:
        raise ConfigError(f"expected at least 2 classes, got {classes}; use for instance 256")
    if signal.device.type == "cpu":  # elsewhere the check would wait for the device
        check_samples(signal)
    mu = classes - 1
    companded = signal.sign() * torch.log1p(mu * signal.abs()) / math.log1p(mu)
    return ((companded + 1) / 2 * mu).round().long()


def check_samples(signal: Tensor) -> None:
    """Refuse samples outside -1..1.

    Raises:
        DataError: A sample is outside -1..1 or not a number.
    """
    if signal.numel() and not bool(signal.abs().max() <= 1):
        raise DataError(
            f"expected samples within -1..1, got a peak of {float(signal.abs().max()):.4g}; "
            f"scale the signal first"
        )


def mu_law_decode(indices: Tensor, classes: int = 256) -> Tensor:
    """Return the sample at the middle of each class, float32, -1..1; see ``mu_law_encode``."""
    mu = classes - 1
    companded = 2 * indices.to(torch.float32) / mu - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu

"""On which device a model computes: ``device_of(model)``, the one answer for every room.

What works on a model (criteria, sensitivity, scoring) moves its inputs there; it never moves the
model, and copies results to the host only where a number is needed.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU where it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device

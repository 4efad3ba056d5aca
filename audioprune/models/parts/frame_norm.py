"""How a model sees its input frames: less the mean of each bin, over its standard deviation.

``FrameNorm`` maps values (..., F) to values (..., F) by two buffers (F,), which are measured on
training items before the first step of a training, see training/input_statistics.py. It never
measures anything itself and learns nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError


class FrameNorm(nn.Module):
    """Subtract a fixed mean from each bin and divide by a fixed deviation.

    Args:
        bins: Number of frequency bins F.

    Attributes:
        mean: Mean of each bin, shape (F,); 0 before it is measured.
        std: Standard deviation of each bin, shape (F,); 1 before it is measured.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("std", torch.ones(bins))

    def forward(self, values: Tensor) -> Tensor:
        """Return values (..., F) with about mean 0 and deviation 1 in each bin."""
        return (values - self.mean) / self.std

    def is_measured(self) -> bool:
        """Tell whether mean and deviation were set."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    @torch.no_grad()
    def set(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and the standard deviation of each bin.

        Args:
            mean: Shape (F,).
            std: Shape (F,), above 0.

        Raises:
            ConfigError: A shape is another, or a value is not finite or not above 0.
        """
        for name, given, kept in (("mean", mean, self.mean), ("std", std, self.std)):
            if given.shape != kept.shape:
                raise ConfigError(
                    f"input {name}: expected {tuple(kept.shape)} values, one a bin, got "
                    f"{tuple(given.shape)}; measure it on inputs of this model"
                )
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise ConfigError(
                "input statistics: expected finite means and deviations above 0, got others; "
                "check the training items"
            )
        self.mean.copy_(mean)
        self.std.copy_(std)

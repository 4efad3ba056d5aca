"""How a training sees rounded weights: the hooks ``StraightThrough`` and ``SharedValues``.

Between two updates the model holds allowed values of its quantised forms alone, so that losses,
validations and kept weights are those of the quantised model. Which values are allowed is decided
in audioprune.compress.quantize; the training loop is in training/loop.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.quantize.contract import Quantized


class StraightThrough:
    """Update weights in full precision that every pass sees rounded.

    The gradient of a rounded weight is taken for that of the weight behind it; where the weight
    lies beyond the ends of its grid, it is zero. Grids and codebooks stay as they are.

    Args:
        forms: Quantised form by parameter name.
        keeps: Which weights of each are coded; the others are zero and stay so.

    Source: Bengio, Léonard & Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", 2013; clipping as in Jacob et al., "Quantization and
    training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018.
    """

    def __init__(self, forms: Mapping[str, Quantized], keeps: Mapping[str, Tensor]) -> None:
        self._forms, self._keeps = dict(forms), dict(keeps)
        self._weights: dict[str, nn.Parameter] = {}
        self._behind: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Take the weights for those behind, and round the model."""
        self._weights = {name: model.get_parameter(name) for name in self._forms}
        for name, weight in self._weights.items():
            self._keeps[name] = self._keeps[name].to(weight.device)
            self._behind[name] = weight.detach().clone()
        self._round()

    @torch.no_grad()
    def before_update(self, model: nn.Module) -> None:
        """Give the optimiser the weights behind, and the gradients that count."""
        for name, weight in self._weights.items():
            behind = self._behind[name]
            if weight.grad is not None:
                weight.grad.mul_(self._forms[name].passes(behind) & self._keeps[name])
            weight.copy_(behind)

    @torch.no_grad()
    def on_step_end(self, model: nn.Module) -> None:
        """Remember the updated weights, and round the model."""
        for name, weight in self._weights.items():
            self._behind[name].copy_(weight)
        self._round()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights behind."""
        return {"facts": {}, "tensors": dict(self._behind)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the weights behind."""
        for name, behind in self._behind.items():
            behind.copy_(state["tensors"][name])

    def _round(self) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._forms[name].project(self._behind[name], self._keeps[name]))


class SharedValues:
    """Move the shared values of codebooks; which weight has which one stays.

    The gradient of a shared value is the sum of those of its weights, see ``shared_gradients``.
    Each of its weights is given the mean, the same direction at the length that the clipping of
    gradients expects, so that any optimiser that treats weights alike moves them together.

    Args:
        codes: Code of each coded weight by parameter name, in row-major order.
        keeps: Which weights are coded; the others are zero and stay so.

    Source: Han, Mao & Dally, "Deep compression", ICLR 2016, Sec. 3.2, which takes the sum; with
    Adam both are the same step but for its epsilon.
    """

    def __init__(self, codes: Mapping[str, Tensor], keeps: Mapping[str, Tensor]) -> None:
        self._codes = {name: each.long() for name, each in codes.items()}
        self._keeps = dict(keeps)
        self._weights: dict[str, nn.Parameter] = {}
        self._values: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Share the values: each is the mean of its weights."""
        self._weights = {name: model.get_parameter(name) for name in self._codes}
        for name, weight in self._weights.items():
            self._codes[name] = self._codes[name].to(weight.device)
            self._keeps[name] = self._keeps[name].to(weight.device)
            self._share(name, weight)

    @torch.no_grad()
    def before_update(self, model: nn.Module) -> None:
        """Give all weights of a value the same gradient."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                codes, keep = self._codes[name], self._keeps[name]
                mean = shared_gradients(weight.grad[keep], codes) / counts(codes)
                weight.grad.zero_()
                weight.grad[keep] = mean[codes].to(weight.dtype)

    @torch.no_grad()
    def on_step_end(self, model: nn.Module) -> None:
        """Make the weights of a value equal again to the last bit."""
        for name, weight in self._weights.items():
            self._share(name, weight)

    def _share(self, name: str, weight: nn.Parameter) -> None:
        codes, keep = self._codes[name], self._keeps[name]
        mean = (shared_gradients(weight[keep], codes) / counts(codes)).to(weight.dtype)
        weight.zero_()
        weight[keep] = mean[codes] + 0.0  # no -0, which files do not hold


def shared_gradients(gradients: Tensor, codes: Tensor) -> Tensor:
    """Return the gradient of every shared value: the sum over the weights that have it.

    Args:
        gradients: Gradient of each coded weight, (S,).
        codes: Code of each, int64 (S,).

    Returns:
        float64 (K,), K being the largest code and one more.
    """
    size = int(codes.max()) + 1 if codes.numel() else 0
    return gradients.new_zeros(size, dtype=torch.float64).index_add_(0, codes, gradients.double())


def counts(codes: Tensor) -> Tensor:
    """Return how many weights have each shared value, at least 1."""
    return torch.bincount(codes).clamp_min(1)

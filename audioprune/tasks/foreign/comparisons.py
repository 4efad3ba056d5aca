"""How far the outputs of a network are from those of its original: losses, and agreement in words.

``distance`` is a loss of two tensors of one shape; ``Agreement`` adds up outputs of a test set and
says how alike they are. Which outputs there are is found by ``named_outputs``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.errors import ConfigError, unknown_name
from audioprune.tasks.spectral_loss import SpectralLoss

_TINY = 1e-8
_PROBABLE = 1e-6  # probabilities nearer to 0 or 1 count as this far away
_STFT_WINDOWS = (256, 512, 1024)


def _mse(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared error over the mean square of the original's output."""
    return (found - wanted).square().mean() / wanted.square().mean().clamp_min(_TINY)


def _l1(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the absolute error over the mean absolute value of the original's output."""
    return (found - wanted).abs().mean() / wanted.abs().mean().clamp_min(_TINY)


def _kl(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the divergence of class probabilities; logits of the classes on the last axis."""
    logs, shares = found.log_softmax(-1), wanted.log_softmax(-1)
    return (shares.exp() * (shares - logs)).sum(-1).mean()


def _binary_kl(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean divergence of probabilities 0..1, each of a yes or no of its own."""
    share = wanted.clamp(_PROBABLE, 1 - _PROBABLE)
    own = found.clamp(_PROBABLE, 1 - _PROBABLE)
    yes = share * (share.log() - own.log())
    no = (1 - share) * ((1 - share).log() - (1 - own).log())
    return (yes + no).mean()


def _cosine(found: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - the mean cosine of vectors on the last axis."""
    return 1 - F.cosine_similarity(found, wanted, dim=-1).mean()


def _stft(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the distance of waveforms (..., T) in the spectra of several windows."""
    distance = SpectralLoss("linear_log", _STFT_WINDOWS)
    return distance(wanted.flatten(0, -2), found.flatten(0, -2))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": _mse,
    "l1": _l1,
    "kl": _kl,
    "binary_kl": _binary_kl,
    "cosine": _cosine,
    "stft": _stft,
}


def distance(loss: str, found: Tensor, wanted: Tensor, name: str = "output") -> Tensor:
    """Return how far an output is from the original's, a scalar of at least 0, but for rounding.

    Args:
        loss: One of `LOSSES`.
        found: Output of the network.
        wanted: Output of its original, of the same shape.
        name: What the output is called in a refusal.

    Raises:
        ConfigError: The shapes differ.
    """
    if found.shape != wanted.shape:
        raise ConfigError(
            f"{name}: expected the shape of the original's, {tuple(wanted.shape)}, got "
            f"{tuple(found.shape)}; choose a model with the same outputs, or the original with "
            f"task.teacher=..."
        )
    return LOSSES[loss](found.float(), wanted.float())


def similarity_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return how otherwise items resemble one another in two layers of any widths, a scalar.

    Args:
        found: Activations of the network (B, ...).
        wanted: Those of the original (B, ...).

    Source: Tung & Mori (ICCV 2019), similarity-preserving distillation.
    """
    own, theirs = (F.normalize(_gram(each), dim=1) for each in (found, wanted))
    return (own - theirs).square().mean()


def _gram(values: Tensor) -> Tensor:
    flat = values.float().flatten(1)
    return flat @ flat.T


def named_outputs(value: Any, name: str = "output") -> dict[str, Tensor]:
    """Return the floating-point tensors that a network gave, by name.

    A single one is ``output``, those of a mapping have its keys, those of a sequence their
    numbers; deeper ones are joined by dots, such as ``1.0``.
    """
    if isinstance(value, Tensor):
        return {name: value} if value.is_floating_point() else {}
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, tuple | list):
        items = enumerate(value)
    found: dict[str, Tensor] = {}
    for key, item in items:
        found |= named_outputs(item, str(key) if name == "output" else f"{name}.{key}")
    return found


def chosen_losses(loss: str, losses: Mapping[str, str]) -> None:
    """Refuse names of losses that are unknown.

    Raises:
        ConfigError: A loss is unknown.
    """
    for where, given in (("task.loss", loss), *((f"task.losses.{k}", losses[k]) for k in losses)):
        if given not in LOSSES:
            raise ConfigError(unknown_name(where, given, LOSSES))


@dataclass
class Agreement:
    """Adds up how alike one output and the original's are, over the items of a test set.

    Attributes:
        loss: The loss of this output, which decides what is reported beside error and correlation.
    """

    loss: str
    _sums: Tensor = field(default_factory=lambda: torch.zeros(6, dtype=torch.float64))
    _own: list[float] = field(default_factory=list)

    def add(self, found: Tensor, wanted: Tensor) -> None:
        """Add the outputs for one item or batch, of one shape."""
        own, theirs = found.detach().double().flatten(), wanted.detach().double().flatten()
        parts = (own, theirs, own * own, theirs * theirs, own * theirs)
        sums = torch.stack([each.sum() for each in parts]).cpu()
        self._sums += torch.cat((sums, torch.tensor([float(own.numel())], dtype=torch.float64)))
        own_measure = _MEASURES.get(self.loss)
        if own_measure is not None:
            self._own += own_measure[1](found.float(), wanted.float()).flatten().tolist()

    def result(self) -> dict[str, float | None]:
        """Return ``relative_error``, ``correlation``, and what the loss stands for.

        ``relative_error`` is the root of the squared error over the original's square. With ``kl``
        and ``binary_kl`` there are ``decisions_changed``, the share of other classes or other
        sides of one half; with ``cosine`` ``cosine``, the mean; with ``stft``
        ``spectral_distance``. None where a number is not finite.
        """
        own, theirs, own_2, theirs_2, both, count = self._sums.tolist()
        error = math.sqrt(max(0.0, own_2 - 2 * both + theirs_2) / theirs_2) if theirs_2 else None
        spread = (count * own_2 - own * own) * (count * theirs_2 - theirs * theirs)
        correlation = (count * both - own * theirs) / math.sqrt(spread) if spread > 0 else None
        found: dict[str, float | None] = {"relative_error": error, "correlation": correlation}
        if self.loss in _MEASURES:
            name = _MEASURES[self.loss][0]
            found[name] = sum(self._own) / len(self._own) if self._own else None
        return {name: _finite(value) for name, value in found.items()}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _other_class(found: Tensor, wanted: Tensor) -> Tensor:
    return (found.argmax(-1) != wanted.argmax(-1)).float()


def _other_side(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found > 0.5) != (wanted > 0.5)).float()


_MEASURES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "kl": ("decisions_changed", _other_class),
    "binary_kl": ("decisions_changed", _other_side),
    "cosine": ("cosine", lambda found, wanted: F.cosine_similarity(found, wanted, dim=-1)),
    "stft": ("spectral_distance", _stft),
}

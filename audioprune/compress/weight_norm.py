"""Weight normalisation, w = g v / ||v||, becomes a plain weight before anything is pruned.

``fold_weight_norm_`` does it in place. A mask on v alone would be wrong twice: the norm shrinks
with every zero, so that the kept weights of a row grow, and a row without a kept weight is 0/0.
What is pruned is therefore w itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from audioprune.errors import ConfigError


def fold_weight_norm_(model: nn.Module) -> list[str]:
    """Turn weight-normalised weights into plain parameters, in place; the outputs stay the same.

    Both the hook of ``torch.nn.utils.weight_norm`` and the parametrization of
    ``torch.nn.utils.parametrizations`` are folded. A weight of which all is frozen stays frozen.

    Returns:
        Names of the folded weights.
    """
    folded = []
    for prefix, module, name, parts in list(_normed(model)):
        trained = any(model.get_parameter(part).requires_grad for part in parts)
        if parametrize.is_parametrized(module, name):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        else:
            remove_weight_norm(module, name)
        # torch leaves a plain tensor where all parts were frozen
        if not isinstance(getattr(module, name), nn.Parameter):
            setattr(module, name, nn.Parameter(getattr(module, name).detach()))
        getattr(module, name).requires_grad_(trained)
        folded.append(prefix + name)
    return folded


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model, also of one whose weights hooks compute.

    Such a weight is no parameter and has a gradient's history, which cannot be copied.
    """
    computed = []
    for module in model.modules():
        for name, value in module.__dict__.items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                computed.append((module, name, value))
    try:
        for module, name, value in computed:
            module.__dict__[name] = value.detach()
        twin = copy.deepcopy(model)
    finally:
        for module, name, value in computed:
            module.__dict__[name] = value
    for module in twin.modules():
        if parametrize.is_parametrized(module):
            # torch keeps the weight in the class, where to fold it would fold the original too
            kind = type(module)
            own = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
            module.__class__ = type(kind.__name__, kind.__bases__, own)
    return twin


def fold_norms_(model: nn.Module) -> list[str]:
    """Fold weight normalisations and all other parametrizations, such as a spectral one, in place.

    The outputs in evaluation mode stay the same.

    Returns:
        Names of the folded weights.
    """
    folded = fold_weight_norm_(model)
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        hooks = list(module._forward_pre_hooks.values())
        for name in [hook.name for hook in hooks if isinstance(hook, SpectralNorm)]:
            remove_spectral_norm(module, name)
            folded.append(prefix + name)
        names = list(module.parametrizations) if parametrize.is_parametrized(module) else []
        for name in names:
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
            folded.append(prefix + name)
    return folded


def fold_like_(model: nn.Module, names: Iterable[str]) -> None:
    """Fold a freshly built model, in place, if a folded one has tensors of these names."""
    wanted = set(names)
    folded = []
    for prefix, _, name, parts in _normed(model):
        folded.append(prefix + name in wanted and not wanted & set(parts))
    if folded and all(folded):
        fold_weight_norm_(model)


def is_normed(model: nn.Module) -> bool:
    """Tell whether any weight of a model is weight-normalised."""
    return any(True for _ in _normed(model))


def refuse_normed(model: nn.Module, names: Iterable[str]) -> None:
    """Refuse masks of the parts of a weight-normalised weight.

    Raises:
        ConfigError: One of the parameter names is g or v of a weight-normalised weight.
    """
    wanted = set(names)
    for prefix, _, name, parts in _normed(model):
        masked = sorted(wanted & set(parts))
        if masked:
            raise ConfigError(
                f"mask of '{masked[0]}': expected a plain weight, got a part of the "
                f"weight-normalised '{prefix}{name}', "
                "whose rows without a kept weight would be 0/0; fold first: "
                "fold_weight_norm_(model)"
            )


def _normed(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, tuple[str, str]]]:
    """Yield the weight-normalised weights of a model.

    Yields:
        For each weight the prefix of its module's names, the module, the weight's name, and the
        full names of its parameters g and v.
    """
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                full = prefix + hook.name
                yield prefix, module, hook.name, (f"{full}_g", f"{full}_v")
        chains = module.parametrizations.items() if parametrize.is_parametrized(module) else ()
        for name, chain in chains:
            if all(isinstance(step, _WeightNorm) for step in chain):
                parts = f"{prefix}parametrizations.{name}.original"
                yield prefix, module, name, (f"{parts}0", f"{parts}1")

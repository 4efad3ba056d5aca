"""How a program makes a network smaller: ``prune``, ``trim``, ``quantize``, and its ``mask``.

All change the network in place and return it. What is removed is exactly zero and what is shared
is exactly equal, so that copies, further training with `mask` and `save` need no other record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audioprune.compress import select
from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import criterion, scaled
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.contract import Quantizer, quantize_with_
from audioprune.compress.quantize.kmeans import KMeans
from audioprune.compress.quantize.uniform import Uniform
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import dead_units, zero_units_
from audioprune.compress.weight_norm import fold_weight_norm_
from audioprune.errors import ConfigError, unknown_name
from audioprune.library.cards import Example, found_units

BY_WEIGHT = ("magnitude", "magnitude_over_sigma")
BY_UNIT = ("magnitude", "normalization", "activation")
_SCOPES = ("each", "all")
_QUANTIZERS = ("kmeans", "uniform")


def prune(
    model: nn.Module,
    example: Example | None = None,
    *,
    sparsity: float,
    by: str = "magnitude",
    units: Literal["auto"] | Sequence[UnitSet] | None = "auto",
    scope: Literal["each", "all"] = "each",
) -> nn.Module:
    """Set the least important units, or single weights, of a network to zero.

    Zero units stay where they are; `trim` takes them out. What was zero before counts as removed.

    Args:
        model: Any module; changed in place.
        example: Argument or arguments of its forward pass, with a batch axis. It is needed to find
            units that the model does not declare, unless it has ``example_input()``.
        sparsity: Share of the units, or of the weights, that is zero afterwards, 0..1.
        by: Importance of units: ``magnitude``, ``normalization`` or, on the example,
            ``activation``; of weights: ``magnitude`` or ``magnitude_over_sigma``.
        units: ``auto`` for those that the model declares or that are derived and proved; sets of
            your own; None for single weights.
        scope: ``each`` set or tensor loses the share, or ``all`` of them together.

    Returns:
        The model.

    Raises:
        ConfigError: The sparsity, the importance or the scope is none of these, or no units can be
            found.
    """
    if scope not in _SCOPES:
        raise ConfigError(unknown_name("scope", scope, _SCOPES))
    fold_weight_norm_(model)
    if units is None:
        _prune_weights(model, sparsity, by, scope)
    else:
        sets = found_units(model, example).sets if isinstance(units, str) else tuple(units)
        _prune_units(model, example, sets, sparsity, by, scope)
    return model


def _prune_weights(model: nn.Module, sparsity: float, by: str, scope: str) -> None:
    if by not in BY_WEIGHT:
        raise ConfigError(f"by: {unknown_name('importance of weights', by, BY_WEIGHT)}")
    parameters = dict(model.named_parameters())
    weights = {name: parameters[name] for name in prunable(model)}
    if not weights:
        raise ConfigError(
            f"{type(model).__name__}: expected weights of two axes or more that are trained, got "
            f"none; set requires_grad=True on what may be pruned"
        )
    scores = criterion("weight", by)(weights)
    choose = select.local if scope == "each" else select.globally
    Mask(choose(scores, sparsity)).apply_(model)


def _prune_units(
    model: nn.Module,
    example: Example | None,
    sets: Sequence[UnitSet],
    sparsity: float,
    by: str,
    scope: str,
) -> None:
    if by not in BY_UNIT:
        raise ConfigError(f"by: {unknown_name('importance of units', by, BY_UNIT)}")
    data = None
    if by == "activation":
        if example is None:
            raise ConfigError(
                "by=activation: expected an example input to measure on, got none; give one"
            )
        data = CalibrationData([_arguments(example)], _any_output)
    scores = criterion("unit", by)(model, sets, data)
    floors = {each.name: each.min_units for each in sets}
    if scope == "each":
        keep = select.local(scores, sparsity, floors=floors)
    else:
        keep = select.globally(scaled(scores, "max", model, sets), sparsity, floors=floors)
    zero_units_(model, sets, {name: kept.cpu() for name, kept in keep.items()})


def _arguments(example: Example) -> tuple[Any, ...]:
    return (example,) if isinstance(example, Tensor) else tuple(example)


def _any_output(model: nn.Module, batch: tuple[Any, ...]) -> Tensor:
    """Run the forward pass; the value is not used."""
    model(*batch)
    return torch.zeros(())


def trim(
    model: nn.Module,
    example: Example | None = None,
    *,
    units: Literal["auto"] | Sequence[UnitSet] = "auto",
    exact: bool = True,
) -> nn.Module:
    """Take units that are zero, or that nothing reads, out of a network for real.

    Args:
        model: Any module; changed in place. Its layers are smaller afterwards.
        example: As for `prune`.
        units: As for `prune`.
        exact: Whether only those leave whose removal changes no output. A normalisation across
            units, or a recurrent layer whose state is seen elsewhere, makes the others; with False
            they leave too.

    Returns:
        The model.

    Raises:
        ConfigError: No units can be found.
    """
    sets = found_units(model, example).sets if isinstance(units, str) else tuple(units)
    trim_(model, sets, dead_units(model, sets, inexact=not exact))
    return model


def quantize(
    model: nn.Module,
    *,
    levels: int | Mapping[str, int] | None = None,
    bits: int | Mapping[str, int] | None = None,
    quantizer: Literal["kmeans", "uniform"] | None = None,
    per: Literal["tensor", "gate", "channel"] | None = None,
    symmetric: bool = True,
    scale: Literal["least_squares", "max"] = "least_squares",
) -> nn.Module:
    """Give the weights of every tensor few values: centroids of k-means, or a uniform grid.

    Zeros stay zeros. They are none of the values of k-means and always one of a grid, to which
    small weights may round.

    Args:
        model: Any module; changed in place.
        levels: Number of values of each tensor by k-means, 1..65536, or of the named ones alone;
            16 by default.
        bits: In place of ``levels``: so many bits a weight, 1..16 by k-means and 2..8 on a grid,
            of every tensor or of the named ones alone; 4 by default on a grid.
        quantizer: ``kmeans``, or ``uniform`` for equal steps; by default ``uniform`` where ``per``
            is given.
        per: What shares the scale of a grid: a ``tensor``, a ``gate`` of a recurrent layer, or an
            output ``channel``, which is the default.
        symmetric: Whether a grid reaches equally far to both sides of zero.
        scale: ``least_squares`` for the scale of least squared error, or ``max``, which clips
            nothing.

    Returns:
        The model.

    Raises:
        ConfigError: A number is out of its range, settings do not belong together, or a name is no
            weight of the model.
        DivergedError: A weight is not finite.
    """
    quantizer = quantizer or ("kmeans" if per is None else "uniform")
    if quantizer not in _QUANTIZERS:
        raise ConfigError(unknown_name("quantizer", quantizer, _QUANTIZERS))
    fold_weight_norm_(model)
    names = prunable(model)
    wanted = levels if bits is None else bits
    if quantizer == "uniform" and levels is not None:
        raise ConfigError(f"levels: expected none for a uniform grid, got {levels}; give bits")
    if quantizer == "kmeans" and (per not in (None, "tensor") or not symmetric or scale == "max"):
        raise ConfigError(
            "expected one codebook a tensor by k-means, got settings of a grid; set "
            "quantizer='uniform' or leave per, symmetric and scale out"
        )
    default = 4 if quantizer == "uniform" else 16
    chosen = (
        dict(wanted)
        if isinstance(wanted, Mapping)
        else dict.fromkeys(names, default if wanted is None else wanted)
    )
    for name in chosen:
        if name not in names:
            raise ConfigError(unknown_name("weight", name, names))
    ways: dict[str, Quantizer] = {}
    for name, number in chosen.items():
        if quantizer == "uniform":
            ways[name] = Uniform(number, symmetric, per or "channel", scale)
        else:
            ways[name] = KMeans(number if bits is None else 2 ** _code_bits(number))
    quantize_with_(model, None, ways)
    return model


def _code_bits(bits: int) -> int:
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 16:
        raise ConfigError(f"expected bits as a whole number from 1 to 16, got {bits}")
    return bits


def mask(model: nn.Module) -> Mask:
    """Return which weights of a network are not zero.

    In a training loop of your own, ``mask.apply_(model)`` after every step of the optimiser keeps
    removed weights at zero.

    Args:
        model: A network that was pruned.
    """
    parameters = dict(model.named_parameters())
    zeros = {name: parameters[name].detach() != 0 for name in prunable(model)}
    return Mask({name: kept for name, kept in zeros.items() if not bool(kept.all())})

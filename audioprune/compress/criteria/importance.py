"""How important each weight or unit is: one score each, where low means unimportant.

``criterion(of, name)`` looks a criterion up. It takes a model, unit sets and, where it needs
data, ``CalibrationData``; it returns one score tensor (U,) per set. Nothing is removed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from audioprune.compress.criteria.activations import Tap, output_of, taps_of, writers_of
from audioprune.compress.criteria.data import CalibrationData, Scores, needed
from audioprune.compress.criteria.information import unit_information
from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.weight_groups import group_norms, group_sizes
from audioprune.errors import ConfigError, unknown_name


def weight_magnitude(
    weights: Mapping[str, Tensor], sigmas: dict[str, float] | None = None
) -> Scores:
    """Score every weight by |w|.

    Args:
        weights: Parameter name -> weights.
        sigmas: Not used; every weight criterion takes it.

    Returns:
        Parameter name -> scores, shape of the weights.
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def magnitude_over_sigma(
    weights: Mapping[str, Tensor], sigmas: dict[str, float] | None = None
) -> Scores:
    """Score every weight by |w| / sigma of its tensor.

    Sigma is what the tensor had when it was scored first.

    Args:
        weights: Parameter name -> weights.
        sigmas: Parameter name -> standard deviation (unbiased); entries that are missing are
            added. Store this dict with the training state: a resumed run that measured sigma anew
            on pruned weights would have other thresholds.

    Returns:
        Parameter name -> scores, shape of the weights; exact zeros score 0 even in a constant
        tensor.

    Source: Plain & Biswas, sensitivity pruning, threshold = sensitivity * std(w).
    """
    sigmas = {} if sigmas is None else sigmas
    scores = {}
    for name, weight in weights.items():
        if name not in sigmas:
            sigmas[name] = float(weight.detach().std()) if weight.numel() > 1 else 0.0
        magnitude = weight.detach().abs()
        scores[name] = torch.where(magnitude == 0, magnitude, magnitude / sigmas[name])
    return scores


def weight_gradient(
    model: nn.Module, names: Sequence[str], data: CalibrationData | None
) -> Scores:
    """Score every weight by |dL/dw|; gradients are signed until all batches are in.

    Args:
        model: Its gradients and its training mode stay as they are.
        names: Parameters to score.
        data: Validation data with the training loss.

    Returns:
        Parameter name -> scores, shape of the weights.

    Raises:
        ConfigError: A weight is frozen, or the data are missing or empty.
    """
    return {name: gradient.abs() for name, gradient in _gradients(model, names, data).items()}


def unit_magnitude(
    model: nn.Module, sets: Sequence[UnitSet], data: CalibrationData | None = None
) -> Scores:
    """Score every unit by the sum of |w| over all weights that write it.

    A recurrent unit is written by all its gate rows.

    Args:
        model: The model that the sets describe.
        sets: Unit sets with "out" slices.
        data: Not used; every unit criterion takes it.

    Returns:
        Set name -> scores, shape (U,).

    Raises:
        ConfigError: No weight of the model writes the units of a set.

    Source: Esling et al., equation 3.
    """
    parameters = dict(model.named_parameters())
    values = {name: parameter.detach() for name, parameter in parameters.items()}
    return _written(values, writers_of(model, sets))


def unit_gradient(
    model: nn.Module, sets: Sequence[UnitSet], data: CalibrationData | None = None
) -> Scores:
    """Score every unit by the sum of |dL/dw| over all weights that write it.

    Gradients are signed until all batches are in.

    Args:
        model: The model that the sets describe; its gradients and its training mode stay as they
            are.
        sets: Unit sets with "out" slices.
        data: Validation data with the training loss.

    Returns:
        Set name -> scores, shape (U,).

    Raises:
        ConfigError: No weight writes the units of a set, a weight is frozen, or the data are
            missing or empty.

    Source: Esling et al., equation 4.
    """
    writers = writers_of(model, sets)
    names = {part.tensor for parts in writers.values() for part in parts}
    return _written(_gradients(model, sorted(names), data), writers)


def unit_activation(
    model: nn.Module, sets: Sequence[UnitSet], data: CalibrationData | None = None
) -> Scores:
    """Score every unit by the sum over examples and time of |output| of the layer that writes it.

    A unit that several layers write, such as one of a residual stream, gets the mean over them.

    Args:
        model: The model that the sets describe; its training mode stays as it is.
        sets: Unit sets with "out" slices.
        data: Validation data; its loss runs the forward pass.

    Returns:
        Set name -> scores, shape (U,), float64.

    Raises:
        ConfigError: A layer's output does not show the units, a layer was not called, or the
            data are missing or empty.

    Source: Esling et al., equation 5.
    """
    data = needed(data, "activation")
    taps = {each.name: taps_of(model, each) for each in sets}
    layers = {tap.module for parts in taps.values() for tap in parts}
    sums = _summed_outputs(model, layers, data)
    scores = {}
    for each in sets:
        seen = [_seen(tap, sums, each) for tap in taps[each.name]]
        scores[each.name] = torch.stack(seen).mean(0)
    return scores


def unit_normalization(
    model: nn.Module, sets: Sequence[UnitSet], data: CalibrationData | None = None
) -> Scores:
    """Score every unit by |gamma| of the normalisation that follows it.

    A unit with several normalisations gets the mean over them.

    Args:
        model: The model that the sets describe.
        sets: Unit sets; those without "norm" slices, such as recurrent units, get no scores.
        data: Not used; every unit criterion takes it.

    Returns:
        Set name -> scores, shape (U,), of the sets with a normalisation.

    Raises:
        ConfigError: No set has a normalisation, as in WaveNet and SING.

    Source: Esling et al., Sec. 3.2, normalization criterion.
    """
    parameters = dict(model.named_parameters())
    scores = {}
    for each in sets:
        norms = [part for part in each.slices if part.role == "norm" and part.tensor in parameters]
        scales = [part for part in norms if part.tensor.rpartition(".")[2] == "weight"]
        sizes = [group_norms(parameters[part.tensor].detach(), part, 1) for part in scales]
        if sizes:
            scores[each.name] = torch.stack(sizes).mean(0)
    if not scores:
        raise ConfigError(
            f"normalization criterion: expected a model with normalisation layers on its units, "
            f"got {type(model).__name__} without; "
            "use magnitude, gradient, activation or information"
        )
    return scores


def scaled(
    scores: Mapping[str, Tensor], scaling: str, model: nn.Module, sets: Sequence[UnitSet]
) -> Scores:
    """Make the scores of several unit sets comparable, for a global selection.

    Args:
        scores: Set name -> scores, shape (U,); sets that a criterion left out stay out.
        scaling: ``"max"`` divides by the largest score of the set, ``"dimension"`` by the square
            root of the number of weights that write one unit, ``"none"`` by 1.
        model: The model that the sets describe.
        sets: The unit sets.

    Raises:
        ConfigError: The scaling is unknown, or no weight writes the units of a set.

    Source: Esling et al., Sec. 3.4. "Based on the layer dimensionality" leaves the divisor open;
    the root of the fan-in is our choice, after the spread that common initialisations give to a
    sum of weights.
    """
    if scaling not in SCALINGS:
        raise ConfigError(unknown_name("scaling", scaling, SCALINGS))
    return {
        each.name: SCALINGS[scaling](scores[each.name], model, each)
        for each in sets
        if each.name in scores
    }


def criterion(of: str, name: str) -> Callable[..., Scores]:
    """Look a criterion up.

    Args:
        of: ``"weight"`` or ``"unit"``.
        name: Name of the criterion.

    Raises:
        ConfigError: A name is unknown; the message lists the closest ones.
    """
    if of not in CRITERIA:
        raise ConfigError(unknown_name("object of a criterion", of, CRITERIA))
    if name not in CRITERIA[of]:
        raise ConfigError(unknown_name(f"{of} criterion", name, CRITERIA[of]))
    return CRITERIA[of][name]


def _scale_max(scores: Tensor, model: nn.Module, unit_set: UnitSet) -> Tensor:
    largest = scores.max()
    return scores / largest if largest > 0 else scores


def _scale_dimension(scores: Tensor, model: nn.Module, unit_set: UnitSet) -> Tensor:
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    writers = writers_of(model, [unit_set])[unit_set.name]
    fan_in = sum(group_sizes(part, shapes[part.tensor]) for part in writers)
    return scores / float(fan_in**0.5)


def _scale_none(scores: Tensor, model: nn.Module, unit_set: UnitSet) -> Tensor:
    return scores


def _written(
    values: Mapping[str, Tensor], writers: Mapping[str, Sequence[Slice]]
) -> dict[str, Tensor]:
    """Sum the magnitudes of all weights that write each unit: set name -> shape (U,)."""
    scores = {}
    for name, parts in writers.items():
        first, *others = [group_norms(values[part.tensor], part, 1) for part in parts]
        scores[name] = sum(others, first)
    return scores


def _gradients(
    model: nn.Module, names: Sequence[str], data: CalibrationData | None
) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    for name in names:
        if not parameters[name].requires_grad:
            raise ConfigError(
                f"gradient criterion: expected '{name}' to require a gradient, got a frozen "
                f"weight; unfreeze it"
            )
    found = _accumulated(model, [parameters[name] for name in names], needed(data, "gradient"))
    return dict(zip(names, found, strict=True))


def _accumulated(
    model: nn.Module, parameters: Sequence[Tensor], data: CalibrationData
) -> list[Tensor]:
    """Sum weighted gradients over all batches without touching ``.grad``."""
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    weight = 0.0
    # cuDNN refuses the backward pass of a recurrent layer in eval mode
    with evaluating(model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for batch in data.batches:
            share = data.weight(batch)
            loss = data.loss(model, batch)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            weight += share
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient, alpha=share)
    if weight <= 0:
        raise ConfigError(
            "gradient criterion: expected at least one validation batch, got none; check the data"
        )
    return [total / weight for total in sums]


def _summed_outputs(
    model: nn.Module, layers: set[nn.Module], data: CalibrationData
) -> dict[nn.Module, Tensor]:
    """Sum |output| of layers over examples and time, one number per unit."""
    sums: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, inputs: object, output: object) -> None:
        values = output_of(module, output).detach().abs()
        total = values.double().sum(list(range(values.dim() - 1)))  # all axes but the units'
        sums[module] = sums[module] + total if module in sums else total

    handles = [layer.register_forward_hook(remember) for layer in layers]
    try:
        with torch.no_grad(), evaluating(model):
            for batch in data.batches:
                data.loss(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def _seen(tap: Tap, sums: Mapping[nn.Module, Tensor], unit_set: UnitSet) -> Tensor:
    if tap.module not in sums:
        raise ConfigError(
            f"activation criterion: expected the forward pass to call the "
            f"{type(tap.module).__name__} that writes unit set "
            f"'{unit_set.name}', got no call; use the magnitude or gradient criterion"
        )
    total = sums[tap.module]
    return total[tap.index.to(total.device)].sum(1)


CRITERIA: dict[str, dict[str, Callable[..., Scores]]] = {
    "weight": {"magnitude": weight_magnitude, "magnitude_over_sigma": magnitude_over_sigma},
    "unit": {
        "magnitude": unit_magnitude,
        "gradient": unit_gradient,
        "activation": unit_activation,
        "normalization": unit_normalization,
        "information": unit_information,
    },
}
SCALINGS: dict[str, Callable[[Tensor, nn.Module, UnitSet], Tensor]] = {
    "max": _scale_max,
    "dimension": _scale_dimension,
    "none": _scale_none,
}

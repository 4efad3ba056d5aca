"""How much each unit tells about what the model is to produce: the information criterion.

``unit_information`` samples outputs of units and targets, and scores each unit by their mutual
information in bits. The estimator itself is in mutual_information.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.compress.criteria.activations import output_of, taps_of
from audioprune.compress.criteria.data import CalibrationData, Scores, needed
from audioprune.compress.criteria.mutual_information import (
    MAX_DIMENSIONS,
    Array,
    Cells,
    edge_mutual_information,
    prepare,
)
from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError

TARGET_DIMENSIONS = 4
_ENSEMBLE = 4


def unit_information(
    model: nn.Module, sets: Sequence[UnitSet], data: CalibrationData | None = None
) -> Scores:
    """Score every unit by the information, in bits, that its output has about the target.

    A sample is a pair of example and frame, drawn from all pairs of the validation set. The unit
    gives one number for it: its output at one random time within the frame, with noise added.
    Position t of a layer with T positions lies at the fraction (t + 0.5) / T of the example's
    duration, whatever its rate; layers that crop both ends are thus aligned in their middle. Of a
    target with more than six numbers the first one and three principal components of the others
    are taken. A unit with several positions, such as a gated one, gets the mean over them. A unit
    that several layers write gets the mean over these.

    Args:
        model: The model that the sets describe; its training mode stays as it is.
        sets: Unit sets with "out" slices.
        data: Validation data with ``target``.

    Returns:
        Set name -> bits, shape (U,), float64.

    Raises:
        ConfigError: The data have no target or too few pairs, a layer's output does not show the
            units over time, or a layer was not called once per batch.

    Source: Esling et al., equation 7, with noise and EDGE (Sec. 3.3). The paper states neither
    the noise nor which numbers are taken of a unit and of the target; the samples above are our
    choice.
    """
    data = needed(data, "information")
    if data.target is None:
        raise ConfigError(
            "information criterion: expected a target of the validation data, got none; give a "
            "task with information_target()"
        )
    taps = {each.name: taps_of(model, each) for each in sets}
    layers = {tap.module for parts in taps.values() for tap in parts}
    outputs, targets = _sample(model, layers, data, data.target)
    data.facts["mi_samples"] = len(targets)
    bits = _bits(outputs, targets, data)
    scores = {}
    for each in sets:
        seen = [bits[tap.module][tap.index.cpu()].mean(1) for tap in taps[each.name]]
        scores[each.name] = torch.stack(seen).mean(0)
    return scores


def _bits(
    outputs: Mapping[nn.Module, Array], targets: Array, data: CalibrationData
) -> dict[nn.Module, Tensor]:
    """Estimate the information of every position of every layer about the targets, in bits."""
    target = prepare(_reduced(targets), data.seed)
    random = np.random.default_rng([data.seed, 1])
    bits = {}
    for module, values in outputs.items():
        # without noise, a unit that repeats the target exactly would tell infinitely much
        deviation = data.noise_rel * values.std(axis=0)
        noisy = values + deviation * random.standard_normal(values.shape)
        found = [
            edge_mutual_information(column, target, data.seed, ensemble=_ENSEMBLE)
            for column in noisy.T
        ]
        bits[module] = torch.tensor(found)
    return bits


def _sample(
    model: nn.Module,
    modules: set[nn.Module],
    data: CalibrationData,
    target_of: Callable[[Any], Tensor],
) -> tuple[dict[nn.Module, Array], Array]:
    """Draw pairs of example and frame.

    Every pair gets a random rank and the lowest ranks stay, so that one pass over batches of any
    number draws evenly from all.

    Returns:
        The outputs of every layer, shape (pairs, positions), and the targets (pairs, d).
    """
    ordered = [module for module in model.modules() if module in modules]
    random = np.random.default_rng([data.seed, 0])
    ranks = np.zeros(0)
    targets: Array | None = None
    kept: dict[nn.Module, Array] = {}
    with torch.no_grad(), evaluating(model):
        for batch in data.batches:
            wanted = target_of(batch)
            examples, frames = wanted.shape[:2]
            # pair number p is frame p % frames of example p // frames
            fresh = random.random(examples * frames)
            chosen = np.sort(np.argsort(fresh, kind="stable")[: data.samples])
            places = (chosen % frames + random.random(len(chosen))) / frames
            with _watched(ordered, chosen // frames, places, examples) as seen:
                data.loss(model, batch)
            found = {module: _called_once(module, seen) for module in ordered}
            rows = wanted.detach().cpu().double().numpy().reshape(examples * frames, -1)[chosen]
            ranks = np.concatenate([ranks, fresh[chosen]])
            stay = np.sort(np.argsort(ranks, kind="stable")[: data.samples])
            ranks = ranks[stay]
            targets = _joined(targets, rows)[stay]
            kept = {module: _joined(kept.get(module), found[module])[stay] for module in ordered}
    if targets is None:
        raise ConfigError(
            "information criterion: expected at least one validation batch, got none; check the "
            "data"
        )
    return kept, targets


def _joined(before: Array | None, new: Array) -> Array:
    return new if before is None else np.concatenate([before, new])


@contextmanager
def _watched(
    modules: Sequence[nn.Module], examples: Cells, places: Array, count: int
) -> Iterator[dict[nn.Module, list[Array]]]:
    """Collect the outputs of layers at some places 0..1 of some examples, one array per call."""
    seen: dict[nn.Module, list[Array]] = {}

    def remember(module: nn.Module, inputs: object, output: Any) -> None:
        values = _over_time(module, output_of(module, output), count)
        times = np.minimum((places * values.shape[1]).astype(np.int64), values.shape[1] - 1)
        device = values.device
        picked = values[torch.from_numpy(examples).to(device), torch.from_numpy(times).to(device)]
        # picked: (pairs, units)
        seen.setdefault(module, []).append(picked.detach().cpu().double().numpy())

    handles = [module.register_forward_hook(remember) for module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _over_time(module: nn.Module, values: Tensor, examples: int) -> Tensor:
    """Return outputs as (examples, time, units)."""
    if isinstance(module, nn.RNNBase) and not module.batch_first and values.dim() == 3:
        values = values.transpose(0, 1)
    if values.dim() == 2:
        values = values[:, None]  # one output for the whole example
    if values.dim() != 3 or values.shape[0] != examples:
        raise ConfigError(
            f"information criterion: expected an output of {examples} examples over time from "
            f"{type(module).__name__}, got shape "
            f"{tuple(values.shape)} with the units last; use the magnitude, gradient or "
            f"activation criterion"
        )
    return values


def _called_once(module: nn.Module, seen: Mapping[nn.Module, list[Array]]) -> Array:
    calls = seen.get(module, [])
    if len(calls) != 1:
        raise ConfigError(
            f"information criterion: expected one call per batch of every "
            f"{type(module).__name__} that writes units, got {len(calls)}; "
            "use the magnitude or gradient criterion"
        )
    return calls[0]


def _reduced(targets: Array) -> Array:
    """Return targets (pairs, d) of at most six numbers each.

    Wider ones become the first number and the principal components of the others.
    """
    if targets.shape[1] <= MAX_DIMENSIONS:
        return targets
    others = targets[:, 1:] - targets[:, 1:].mean(axis=0)
    components = np.linalg.svd(others, full_matrices=False)[2][: TARGET_DIMENSIONS - 1]
    return np.concatenate([targets[:, :1], others @ components.T], axis=1)

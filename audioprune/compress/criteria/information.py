"""How much each unit tells about what the model is to produce: mutual information as a criterion of importance.

The estimator stands in mutual_information.py, where units are seen in evidence.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.compress.criteria.activations import (
    Evidence,
    Scores,
    Tap,
    evaluating,
    needed,
    output_of,
    taps_of,
)
from audioprune.compress.criteria.mutual_information import (
    MAX_DIMENSIONS,
    Array,
    edge_mutual_information,
    prepare,
)
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError

TARGET_DIMENSIONS = 4
_ENSEMBLE = 4


def unit_information(
    model: nn.Module, sets: Sequence[UnitSet], evidence: Evidence | None = None
) -> Scores:
    """Score every unit by the information, in bits, that its output has about the target.

    A sample is a pair of example and frame, drawn from all pairs of the validation set. The unit
    gives one number for it: its output at one random time within the frame, with noise added.
    Position t of a layer with T positions stands for the share (t + 0.5) / T of the example's
    duration, whatever its rate; layers that crop both ends are thus aligned in their middle. Of a
    target with more than six numbers the first one and three principal components of the others
    are taken. A unit with several positions, such as a gated one, gets the mean over them, one
    that several layers write the mean over these.

    Args:
        model: The model that the sets describe; its training mode stays as it is.
        sets: Unit sets with "out" slices.
        evidence: Validation data with ``target``.

    Returns:
        Set name -> bits, shape (U,), float64.

    Raises:
        ConfigError: The evidence has no target or too few pairs, a layer's output does not show
            the units over time, or a layer was not called once per batch.

    Source: Esling et al., equation 7, with noise and EDGE (Sec. 3.3). The paper states neither
    which numbers are taken of a unit and
        of the target nor the noise; the samples above are our choice.
    """
    evidence = needed(evidence, "information")
    if evidence.target is None:
        raise ConfigError(
            "information criterion: expected a target of the validation data, got none; give a "
            "task with evidence_target()"
        )
    taps = {each.name: taps_of(model, each) for each in sets}
    sampled, wanted = _sample(
        model, {tap.module for parts in taps.values() for tap in parts}, evidence
    )
    evidence.facts["mi_samples"] = len(wanted)
    target = prepare(_reduced(wanted), evidence.seed)
    random = np.random.default_rng([evidence.seed, 1])
    bits: dict[nn.Module, Tensor] = {}
    for module, values in sampled.items():
        noisy = values + evidence.noise_rel * values.std(axis=0) * random.standard_normal(
            values.shape
        )
        bits[module] = torch.tensor(
            [
                edge_mutual_information(z, target, evidence.seed, ensemble=_ENSEMBLE)
                for z in noisy.T
            ]
        )
    return {
        each.name: torch.stack([_mean_bits(tap, bits) for tap in taps[each.name]]).mean(0)
        for each in sets
    }


def _mean_bits(tap: Tap, bits: Mapping[nn.Module, Tensor]) -> Tensor:
    return bits[tap.module][tap.index.cpu()].mean(1)


def _sample(
    model: nn.Module, modules: set[nn.Module], evidence: Evidence
) -> tuple[dict[nn.Module, Array], Array]:
    """Draw pairs of example and frame; return per layer its outputs, shape (pairs, positions), and the targets (pairs, d).

    Every pair gets a random rank and the lowest ranks stay, so that one pass over batches of any
    number draws evenly from all.
    """
    ordered = [module for module in model.modules() if module in modules]
    random = np.random.default_rng([evidence.seed, 0])
    ranks, targets = np.zeros(0), None
    kept: dict[nn.Module, Array] = {}
    with torch.no_grad(), evaluating(model):
        for batch in evidence.batches:
            wanted = evidence.target(batch)
            examples, frames = wanted.shape[:2]
            fresh = random.random(examples * frames)
            chosen = np.sort(np.argsort(fresh, kind="stable")[: evidence.samples])
            places = (chosen % frames + random.random(len(chosen))) / frames
            with _watched(ordered, chosen // frames, places, examples) as seen:
                evidence.loss(model, batch)
            found = {module: _called_once(module, seen) for module in ordered}
            rows = wanted.detach().cpu().double().numpy().reshape(examples * frames, -1)[chosen]
            ranks = np.concatenate([ranks, fresh[chosen]])
            stay = np.sort(np.argsort(ranks, kind="stable")[: evidence.samples])
            ranks, targets = (
                ranks[stay],
                (rows if targets is None else np.concatenate([targets, rows]))[stay],
            )
            kept = {
                module: (np.concatenate([kept[module], new]) if kept else new)[stay]
                for module, new in found.items()
            }
    if targets is None:
        raise ConfigError(
            "information criterion: expected at least one validation batch, got none; check the "
            "data"
        )
    return kept, targets


@contextmanager
def _watched(
    modules: Sequence[nn.Module], examples: np.ndarray, places: Array, count: int
) -> Iterator[dict[nn.Module, list[Array]]]:
    """Collect the outputs of layers at some places 0..1 of some examples, one array per call."""
    seen: dict[nn.Module, list[Array]] = {}

    def remember(module: nn.Module, inputs: object, output: Any) -> None:
        values = _over_time(module, output_of(module, output), count)
        times = np.minimum((places * values.shape[1]).astype(np.int64), values.shape[1] - 1)
        device = values.device
        picked = values[torch.from_numpy(examples).to(device), torch.from_numpy(times).to(device)]
        seen.setdefault(module, []).append(picked.detach().cpu().double().numpy())

    handles = [module.register_forward_hook(remember) for module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _over_time(module: nn.Module, values: Tensor, examples: int) -> Tensor:
    """Return outputs as (examples, time, units)."""
    values = (
        values.transpose(0, 1)
        if isinstance(module, nn.RNNBase) and not module.batch_first and values.dim() == 3
        else values
    )
    values = values[:, None] if values.dim() == 2 else values
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
    """Return targets of at most six numbers: as they are, or the first number and the principal components of the others."""
    if targets.shape[1] <= MAX_DIMENSIONS:
        return targets
    others = targets[:, 1:] - targets[:, 1:].mean(axis=0)
    components = np.linalg.svd(others, full_matrices=False)[2][: TARGET_DIMENSIONS - 1]
    return np.concatenate([targets[:, :1], others @ components.T], axis=1)

"""What is known of a model layer by layer: ``explained`` answers as plain values.

For each layer: its units, which layers they are tied to, whether they can be removed or why not,
what it costs and how many bytes it has. The model is only looked at. How this is printed and drawn
is in audioprune.report.network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.explain import LayerUnits, explain_units
from audioprune.compress.units.find import traced_reasons, unit_sets_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.experiment import cost
from audioprune.experiment.foreign.flow import layer_flow

_BYTES = 4  # of a float32
_UNDECLARED = "the model declares no units of it"


def explained(model: nn.Module, name: str) -> dict[str, Any]:
    """Return all that is known of the layers of a model.

    Args:
        model: A model with an example.
        name: What it is called.

    Returns:
        ``model``, ``params``, ``macs_per_second``, ``source`` of the units (``declared`` or
        ``derived``), ``least_params``: how many are left where every group keeps as few units as
        it must, ``groups`` and ``layers``; a layer's ``after`` are the layers that it reads, an
        empty name stands for the input.

    Raises:
        ConfigError: The model does not run on its example.
    """
    twin = copy.deepcopy(model).cpu().eval()
    if is_normed(twin):
        fold_weight_norm_(twin)  # as every step does that prunes
    found = unit_sets_of(twin)
    sets = [each for each in found.sets if each.removable]
    entries = explain_units(twin, sets, found.left_out)
    flow = layer_flow(twin, [each.name for each in entries])
    place = {layer: number for number, layer in enumerate(flow.order)}
    entries.sort(key=lambda each: place.get(each.name, len(place)))
    groups = _groups(sets, entries, found.crossed)
    numbers = {group["name"]: group["number"] for group in groups}
    costed = cost.require_example(twin)
    card = cost.cost(twin, costed.example_input(), cost.example_seconds(costed))
    macs = {layer.name: layer.macs_per_second for layer in card.layers}
    declared, layers = found.source == "declared", []
    told = traced_reasons(twin, costed.example_input()) if declared else {}
    for each in entries:
        layers.append(
            {
                "name": each.name,
                "type": each.kind,
                "groups": [numbers[name] for name in each.writes],
                "reads": [numbers[name] for name in each.reads],
                "units": each.units,
                "tied_to": list(each.tied_to),
                "removable": each.removable,
                "exact": each.exact,
                "reason": told.get(each.name, _UNDECLARED)
                if each.reason and declared
                else each.reason,
                "params": each.parameters,
                "bytes": _BYTES * each.parameters,
                "macs_per_second": macs.get(each.name, 0.0),
                "after": flow.before.get(each.name, []),
            }
        )
    return {
        "model": name,
        "params": card.params,
        "least_params": _least(twin, sets),
        "macs_per_second": card.macs_per_second,
        "source": found.source,
        "groups": groups,
        "layers": layers,
        "last": flow.last,
    }


def _groups(
    sets: Sequence[UnitSet], entries: Sequence[LayerUnits], crossed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Number the sets of units in the order of the layers that write them."""
    order = list(dict.fromkeys(name for each in entries for name in each.writes))
    order += [each.name for each in sets if each.name not in order]
    by_name = {each.name: each for each in sets}
    return [
        {
            "number": number,
            "name": name,
            "units": by_name[name].size,
            "exact": by_name[name].exact,
            "why_inexact": "" if by_name[name].exact else crossed.get(name, ""),
            "written_by": [each.name for each in entries if name in each.writes],
            "read_by": [each.name for each in entries if name in each.reads],
        }
        for number, name in enumerate(order, 1)
    ]


def _least(model: nn.Module, sets: Sequence[UnitSet]) -> int:
    """Count the parameters that are left where every set keeps as few units as it may."""
    smallest = copy.deepcopy(model)
    keep = {each.name: torch.arange(each.size) < max(1, each.min_units) for each in sets}
    trim_(smallest, sets, keep)
    return sum(parameter.numel() for parameter in smallest.parameters())

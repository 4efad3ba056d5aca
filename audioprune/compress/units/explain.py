"""What each layer of a model has to do with units: ``explain_units``, one entry per layer.

It reads unit sets and reasons as ``find.unit_sets_of`` gives them; it runs and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from audioprune.compress.units.declare import UnitSet


@dataclass(frozen=True)
class LayerUnits:
    """One layer, and the units that it writes and reads.

    Attributes:
        name: Name of the layer in the model.
        kind: Name of its class, such as ``Conv1d``.
        parameters: Number of its own parameters.
        writes: Names of the sets whose units it writes.
        reads: Names of the sets whose units it reads.
        units: Number of units in the sets that it writes.
        tied_to: Names of the other layers that write the same units, so that they leave together.
        removable: Whether it writes units that can be removed.
        exact: Whether removing them gives the output of setting them to zero.
        reason: Why it writes no units that can be removed; empty where it does.
    """

    name: str
    kind: str
    parameters: int
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    units: int
    tied_to: tuple[str, ...]
    removable: bool
    exact: bool
    reason: str


def explain_units(
    model: nn.Module, sets: Sequence[UnitSet], reasons: Iterable[str] = ()
) -> list[LayerUnits]:
    """Explain layer by layer which units a model has.

    Args:
        model: The model that the sets describe.
        sets: Its unit sets; weight groups are left out.
        reasons: One reason for every layer that is left out, each begins with the layer's name in
            quotes, as ``derive_units`` gives them.

    Returns:
        One entry for every module with a weight of two axes or more, in the model's order.
    """
    chosen = [each for each in sets if each.removable]
    writers: dict[str, dict[str, None]] = {}
    readers: dict[str, dict[str, None]] = {}
    for each in chosen:
        for part in each.slices:
            roles = {"out": writers, "in": readers}
            if part.role in roles:
                roles[part.role].setdefault(_owner(part.tensor), {})[each.name] = None
    told = dict(_named(reason) for reason in reasons)
    by_name = {each.name: each for each in chosen}
    layers = [(name, module) for name, module in model.named_modules() if _is_layer(module)]
    names = {name for name, _ in layers}
    entries = []
    for name, module in layers:
        writes = tuple(writers.get(name, ()))
        tied = {
            other: None
            for other, theirs in writers.items()
            if other != name and other in names and not theirs.keys().isdisjoint(writes)
        }
        why = "" if writes else told.get(name or type(model).__name__, "no unit set names it")
        entries.append(
            LayerUnits(
                name,
                type(module).__name__,
                sum(each.numel() for each in module.parameters(recurse=False)),
                writes,
                tuple(readers.get(name, ())),
                sum(by_name[each].size for each in writes),
                tuple(tied),
                bool(writes),
                bool(writes) and all(by_name[each].exact for each in writes),
                why,
            )
        )
    return entries


def _is_layer(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))


def _owner(tensor: str) -> str:
    path, parametrized, _ = tensor.partition(".parametrizations.")
    return path if parametrized else tensor.rpartition(".")[0]


def _named(reason: str) -> tuple[str, str]:
    """Split a reason into the layer's name and the rest."""
    name, _, rest = reason.removeprefix("'").partition("': ")
    return name, rest

"""How many parameters a model loses when so many units of each set leave it: ``freed_parameters``.

It only counts; units are taken out in trim.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from torch import nn

from audioprune.compress.units.declare import UnitSet, tensors_of
from audioprune.errors import ConfigError, unknown_name


def freed_parameters(
    model: nn.Module, sets: Sequence[UnitSet]
) -> Callable[[Mapping[str, int]], int]:
    """Build a function that counts exactly the parameters that removed units free.

    It takes the number of removed units per set. A weight that two removed units share, on two
    axes of one tensor, is counted once.

    Args:
        model: The model that the sets describe.
        sets: Removable unit sets.

    Raises:
        ConfigError: A set is a weight group, which cannot be trimmed, or names an unknown tensor.
    """
    tensors = tensors_of(model)
    parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    owned: dict[str, list[tuple[str, int, int]]] = {}
    for each in sets:
        for part in each.slices:
            if part.tensor not in tensors:
                raise ConfigError(
                    unknown_name(f"tensor of unit set '{each.name}'", part.tensor, tensors)
                )
            if part.leading != 1 or not each.removable:
                raise ConfigError(
                    f"unit set '{each.name}': expected removable units, got weight groups; use "
                    f"a selection by sparsity"
                )
            if part.tensor in parameters:
                owned.setdefault(part.tensor, []).append(
                    (each.name, part.dim, part.index.shape[1])
                )

    def freed(removed: Mapping[str, int]) -> int:
        total = 0
        for name, parts in owned.items():
            lengths = list(parameters[name])
            for set_name, dim, width in parts:
                lengths[dim] -= removed.get(set_name, 0) * width
            total += prod(parameters[name]) - prod(lengths)
        return total

    return freed

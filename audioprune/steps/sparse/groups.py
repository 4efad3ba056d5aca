"""The groups of a model: which weights belong together, their norms, and which filters are zero.

How groups become zero is in train.py, how they leave the model in trim.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.errors import ConfigError
from audioprune.optim.group_steps import group_norms
from audioprune.optim.groups import Layout
from audioprune.steps.needs import units_of


def groups_of(model: nn.Module, kind: str) -> list[UnitSet]:
    """Return the groups of a model.

    Args:
        model: The model.
        kind: ``units``, or ``filters`` for every filter alone.

    Raises:
        ConfigError: The model has no units that can be found, or no group of the kind.
    """
    sets = [each for each in units_of(model, "groups", "") if each.size]
    found = filter_sets(sets) if kind == "filters" else sets
    if not found:
        raise ConfigError(
            f"{type(model).__name__}: expected groups of weights ({kind}), got none; list them "
            f"in unit_sets()"
        )
    return found


def unit_norms(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, Tensor]:
    """Return the l2 norm of all that writes each unit, normalisation included.

    Returns:
        Set name -> norms of shape (U,), on the CPU.
    """
    names, params = zip(*model.named_parameters(), strict=True)
    layout = Layout(list(sets), names, params)
    plan = layout.plan(params)
    norms = group_norms(plan, [params[place].detach() for place in plan.covered]).cpu()
    sizes = layout.set_sizes()
    return dict(zip(sizes, norms.split(list(sizes.values())), strict=True))


def entries_of(model: nn.Module, sets: Sequence[UnitSet]) -> list[Tensor]:
    """Return the entries of all trained parameters that write units, each once."""
    weights = _trained(model)
    return [
        _lines(weights[part.tensor], part)
        for each in sets
        for part in each.slices
        if part.role != "in" and part.tensor in weights
    ]


def filter_sets(sets: Sequence[UnitSet]) -> list[UnitSet]:
    """Return every filter as a group of its own, without normalisation: one set per weight."""
    found: dict[str, UnitSet] = {}
    for each in sets:
        for part in each.slices:
            if part.role == "out" and part.tensor.endswith("weight"):
                own = UnitSet(part.tensor, (part,), min_units=0, removable=False)
                found.setdefault(part.tensor, own)
    return list(found.values())


def zero_filters(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, tuple[int, int]]:
    """Count filters of every trained weight that writes units.

    Returns:
        Name of the weight -> number of its filters that are zero, and number of all.
    """
    weights = _trained(model)
    found = {}
    for each in filter_sets(sets):
        if each.name not in weights:
            continue
        lines = _lines(weights[each.name], each.slices[0])
        found[each.name] = (int((lines == 0).flatten(1).all(dim=1).sum()), len(lines))
    return found


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def _lines(tensor: Tensor, part: Slice) -> Tensor:
    """View the filters that a slice lists as rows."""
    return tensor.detach().movedim(part.dim, 0)[part.index.reshape(-1).to(tensor.device)]


def rounded(norms: Tensor) -> list[float]:
    """Return norms with six significant digits, as they are written."""
    return [float(f"{norm:.6g}") for norm in norms.tolist()]

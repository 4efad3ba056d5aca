"""How the state of an optimiser follows a trim: ``sliced_state``.

The moments lose the entries that the parameters lose. Nothing is trimmed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError
from audioprune.optim.group_optimizer import GroupOptimizer
from audioprune.optim.groups import Layout


def sliced_state(
    optimizer: GroupOptimizer, unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the state of an optimiser of this package as the trimmed model needs it.

    Call it before the trim; load the result into a new optimiser over the trimmed model, built
    with the same options and the trimmed model's own units. Learning rate, stage and step counters
    stay; moments keep the entries that the model keeps.

    Args:
        optimizer: ProxSG, OBProxSG, HSPG or ADMM over named parameters.
        unit_sets: The unit sets that the trim uses.
        keep: For each trimmed unit set its name and which units stay, bool of shape (U,).

    Raises:
        ConfigError: The parameters have no names, or ``keep`` does not fit the unit sets.
    """
    gone = _removed(unit_sets, keep)
    saved = optimizer.state_dict()
    state = dict(saved["state"])
    groups = []
    live_groups = optimizer.param_groups
    parts = zip(saved["param_groups"], live_groups, optimizer.layouts, strict=True)
    for group, live, layout in parts:
        if layout.names is None:
            raise ConfigError(
                "expected an optimiser over named parameters, got one without names; pass "
                "model.named_parameters()"
            )
        for key, name in zip(group["params"], layout.names, strict=True):
            if key in state:
                lost = gone.get(name, {})
                state[key] = {what: _cut(value, lost) for what, value in state[key].items()}
        groups.append({**group, "groups": _groups_left(layout, live["params"], gone, keep)})
    return {**saved, "state": state, "param_groups": groups}


def _removed(
    unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]
) -> dict[str, dict[int, Tensor]]:
    """Return for each tensor and axis the positions that the trim removes."""
    known = {unit_set.name: unit_set for unit_set in unit_sets}
    found: dict[str, dict[int, Tensor]] = {}
    for name, kept in keep.items():
        if name not in known or kept.dtype != torch.bool or kept.shape != (known[name].size,):
            raise ConfigError(
                f"expected a bool tensor per unit for a known unit set, got {name!r}; give keep "
                f"as the trim takes it"
            )
        for part in known[name].slices:
            if part.leading != 1:
                raise ConfigError(
                    f"expected units that can be trimmed, got weight groups in {name}; mask "
                    f"them instead"
                )
            lost = part.index.cpu()[~kept.cpu()].reshape(-1)
            axes = found.setdefault(part.tensor, {})
            axes[part.dim] = torch.cat([axes[part.dim], lost]) if part.dim in axes else lost
    return found


def _cut(value: Any, lost: Mapping[int, Tensor]) -> Any:
    """Return a copy of a state tensor without the lost positions of each axis."""
    if not isinstance(value, Tensor):
        return value
    for axis, positions in lost.items():
        stays = torch.ones(value.shape[axis], dtype=torch.bool)
        stays[positions] = False
        value = value.index_select(axis, stays.nonzero().flatten().to(value.device))
    # torch takes loaded tensors over as they are, and the moments of two optimisers must not be
    # one memory.
    return value.clone()


def _groups_left(
    layout: Layout,
    params: Sequence[Tensor],
    gone: Mapping[str, Mapping[int, Tensor]],
    keep: Mapping[str, Tensor],
) -> int:
    """Return the number of groups of a param group after the trim."""
    if layout.units == "rows":
        rows = sum(param.shape[0] if param.dim() else 1 for param in params)
        cut = [gone[name][0] for name in layout.names or () if 0 in gone.get(name, {})]
        return rows - sum(len(torch.unique(positions)) for positions in cut)
    left = 0
    for name, size in layout.set_sizes().items():
        left += int(keep[name].sum()) if name in keep else size
    return left

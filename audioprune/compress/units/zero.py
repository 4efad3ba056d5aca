"""Units that are zero: how they are made so, and which can leave without a change of the output.

``zero_units_`` masks units, ``removable`` and ``dead_units`` find those that are silent or unread.
No tensor changes its shape here; trim.py takes units out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet, check_unit_sets, sets_to_cut, tensors_of
from audioprune.compress.units.weight_groups import any_kept, expand
from audioprune.errors import ConfigError, unknown_name


def zero_units_(
    model: nn.Module, unit_sets: Sequence[UnitSet], keep: Mapping[str, Tensor]
) -> None:
    """Make the masked twin of a trimmed model, in place.

    Units that are not kept output exactly 0 and stay where they are: what writes them and the
    scale and shift of their normalisation become zero; running statistics stay. Masked and trimmed
    model agree where a set is exact.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets; weight groups too.
        keep: Set name -> kept units, bool, shape (U,).

    Raises:
        ConfigError: A set is unknown, a shape is wrong or the sets do not fit the model.
    """
    check_unit_sets(model, unit_sets)
    parameters, tensors = dict(model.named_parameters()), tensors_of(model)
    with torch.no_grad():
        for each in sets_to_cut(unit_sets, keep):
            for part in each.slices:
                # a constant that writes a unit, such as a code of positions, becomes zero too
                if part.role == "out" or (part.role == "norm" and part.tensor in parameters):
                    tensor = tensors[part.tensor]
                    kept = expand(part, keep[each.name].to(tensor.device), tensor.shape)
                    tensor.masked_fill_(~kept, 0.0)


def removable(
    model: nn.Module, unit_sets: Sequence[UnitSet], mask: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Tell which units output exactly 0.

    All that writes them is zero, and the scale and shift of their normalisation too. A zero filter
    whose normalisation has a live scale or shift outputs a constant and is not removable.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets. Weight groups may be among them; of these, the zero ones are
            marked.
        mask: Parameter name -> kept positions, bool; the others count as zero.

    Returns:
        Set name -> bool tensor, shape (U,).

    Raises:
        ConfigError: The sets do not fit the model or a mask has another shape than its parameter.
    """
    check_unit_sets(model, unit_sets)
    live = _live(model, unit_sets, mask)
    return {each.name: _silent(each, live) for each in unit_sets}


def dead_units(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    mask: Mapping[str, Tensor] | None = None,
    *,
    inexact: bool = False,
) -> dict[str, Tensor]:
    """Choose the units that can be trimmed without a change of the output.

    A unit is dead if it outputs exactly 0, see ``removable``, or if every weight that reads it is
    zero and nothing else sums it. Weights of dead units count as zero for all others, until no
    more units die. Where fewer than ``min_units`` live, the first dead ones stay.

    Args:
        model: The model that the sets describe.
        unit_sets: Its unit sets; weight groups are left out.
        mask: Parameter name -> kept positions, bool; the others count as zero.
        inexact: Choose also from sets that are not exact, where the trim changes the output.

    Returns:
        Set name -> kept units, bool, shape (U,), as ``trim_`` takes it.

    Raises:
        ConfigError: The sets do not fit the model or a mask has another shape than its parameter.
    """
    check_unit_sets(model, unit_sets)
    live = _live(model, unit_sets, mask)
    chosen = [each for each in unit_sets if each.removable]
    keep = {each.name: torch.ones(each.size, dtype=torch.bool) for each in chosen}
    changed = True
    while changed:  # a unit that dies may be the last one that writes or reads another
        changed = False
        for each in chosen:
            if not each.exact and not inexact:
                continue
            dead = _silent(each, live)
            if not each.summed:
                dead = dead | _unread(each, live)
            alive = _at_least(each.min_units, keep[each.name], dead)
            if not torch.equal(alive, keep[each.name]):
                keep[each.name], changed = alive, True
                _clear_(live, each, alive)
    return keep


def _clear_(live: dict[str, Tensor], each: UnitSet, alive: Tensor) -> None:
    """Count the weights of dead units as zero."""
    for part in each.slices:
        if part.tensor in live:
            kept = expand(part, alive, live[part.tensor].shape)
            live[part.tensor] = live[part.tensor] & kept


def _writing(model: nn.Module, unit_sets: Sequence[UnitSet]) -> list[tuple[str, Tensor]]:
    """Return the buffers that write units."""
    names = {part.tensor for each in unit_sets for part in each.slices if part.role == "out"}
    return [(name, buffer) for name, buffer in model.named_buffers() if name in names]


def _live(
    model: nn.Module, unit_sets: Sequence[UnitSet], mask: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Tell which positions of every parameter are not zero and not masked."""
    live = {name: (parameter.detach() != 0).cpu() for name, parameter in model.named_parameters()}
    live |= {name: (buffer != 0).cpu() for name, buffer in _writing(model, unit_sets)}
    given = {} if mask is None else {name: mask[name] for name in mask}
    for name, keep in given.items():
        if name not in live:
            raise ConfigError(unknown_name("masked parameter", name, live))
        if keep.shape != live[name].shape:
            got = f"expected shape {tuple(live[name].shape)}, got {tuple(keep.shape)}"
            raise ConfigError(f"mask of '{name}': {got}; build the mask from this model")
        live[name] &= keep.cpu()
    return live


def _silent(each: UnitSet, live: Mapping[str, Tensor]) -> Tensor:
    """Tell which units nothing writes.

    A normalisation without scale and shift makes a constant of a zero unit, which is not silent.
    """
    silent = torch.full((each.size,), any(part.role == "out" for part in each.slices))
    for part in each.slices:
        if part.role != "in" and part.tensor in live:
            silent &= ~any_kept(part, live[part.tensor])
        elif (
            part.tensor.endswith("running_mean")
            and part.tensor.removesuffix("running_mean") + "weight" not in live
        ):
            silent &= False
    return silent


def _unread(each: UnitSet, live: Mapping[str, Tensor]) -> Tensor:
    """Tell which units no weight reads.

    A tensor of one axis scales a unit on its way and reads nothing.
    """
    read = [part for part in each.slices if part.role == "in" and part.tensor in live]
    readers = [part for part in read if live[part.tensor].dim() > 1]
    if not readers:
        return torch.zeros(each.size, dtype=torch.bool)
    return ~torch.stack([any_kept(part, live[part.tensor]) for part in readers]).any(0)


def _at_least(floor: int, keep: Tensor, dead: Tensor) -> Tensor:
    """Return the kept units without the dead ones.

    The first dead ones stay where fewer than ``floor`` units live.
    """
    alive = keep & ~dead
    missing = max(0, min(floor, len(keep)) - int(alive.sum()))
    alive[(keep & dead).nonzero().flatten()[:missing]] = True
    return alive

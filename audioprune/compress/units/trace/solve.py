"""From one traced pass to unit sets: ``solve``.

Atoms that belong together become one unit, units that own equally many positions of the same
tensors one set. It decides nothing about what is removed and proves nothing, see verify.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from audioprune.compress.units.declare import Role, Slice, UnitSet
from audioprune.compress.units.trace.atoms import (
    FIXED,
    Atoms,
    Ids,
    Mark,
    Product,
    classes,
    reasons_of,
)
from audioprune.compress.units.trace.layers import KERNEL
from audioprune.compress.units.trace.tape import Tape

Signature = tuple[tuple[int, int], ...]  # (number of a tensor's axis, positions of one unit)


@dataclass(frozen=True)
class Solution:
    """The unit sets of a traced pass.

    Attributes:
        sets: The sets, in the order in which the pass meets their writers.
        reasons: Name of a layer -> why it writes no units that can be removed.
        crossed: Set name -> why zero units and removed units differ.
        choices: Set name -> numbers of the products on whose choice it depends.
    """

    sets: list[UnitSet]
    reasons: dict[str, str]
    crossed: dict[str, str]
    choices: dict[str, set[int]]


@dataclass
class _Unit:
    """One class of atoms: for each tensor axis, by number, the positions that it owns."""

    root: int
    positions: dict[int, list[int]]


def solve(tape: Tape, model: nn.Module, turned: Collection[int] = ()) -> Solution:
    """Make unit sets of a traced pass.

    Args:
        tape: The pass.
        model: The model that was traced.
        turned: Numbers of the products of which columns are tried before rows.
    """
    atoms = tape.atoms
    pins = list(atoms.pins)
    found = classes(atoms.count, atoms.edges)
    for number, product in enumerate(atoms.products):
        found = _choose(found, pins, product, number in turned)
    pinned, summed = _marked(found, pins), _marked(found, atoms.summed)
    told = dict(reasons_of(found, pins))
    why_crossed = reasons_of(found, atoms.crossed)
    sets: list[UnitSet] = []
    choices: dict[str, set[int]] = {}
    crossed: dict[str, str] = {}
    for signature, units in _alike(atoms, found, pinned):
        if len(units) < 2:
            told.setdefault(units[0].root, _together(atoms, signature, found, units[0].root))
            continue
        roots = [unit.root for unit in units]
        why = next((why_crossed[root] for root in roots if root in why_crossed), "")
        each = _set(atoms, signature, units, {each.name for each in sets})
        each = replace(each, exact=not why, summed=bool(summed[roots].any()))
        sets.append(each)
        if why:
            crossed[each.name] = why
        choices[each.name] = {
            number
            for number, product in enumerate(atoms.products)
            if np.isin(found[product.whole], roots).any()
        }
    return Solution(sets, _reasons(tape, model, found, told, sets), crossed, choices)


def _marked(found: Ids, marks: Collection[Mark]) -> npt.NDArray[np.bool_]:
    """Tell for each class, by its smallest atom, whether it is marked."""
    marked = np.zeros(len(found), dtype=np.bool_)
    for mark in marks:
        marked[found[mark.ids]] = True
    marked[FIXED] = True
    return marked


def _choose(found: Ids, pins: list[Mark], product: Product, turned: bool) -> Ids:
    """Make the rows or the columns of a long axis its units, whichever can leave.

    Returns:
        The classes after that.
    """
    pinned = _marked(found, pins)[found]
    free_rows = ~pinned[product.rows] & ~pinned[product.whole].any(1)
    free_columns = ~pinned[product.columns] & ~pinned[product.whole].any(0)
    by_rows = bool(free_rows.any())
    if turned and free_columns.any() or not by_rows:
        by_rows = not free_columns.any()
    chosen, other = product.rows, product.columns
    whole = product.whole
    if not by_rows:
        chosen, other, whole = other, chosen, whole.T
    pins.append(Mark(other, f"{product.where} lays its units out in rows and columns"))
    wide = np.repeat(chosen, whole.shape[1])
    flat = whole.flatten()
    fixed = flat == FIXED
    if fixed.any():
        pins.append(Mark(wide[fixed], f"{product.where} joins it with what has no units"))
    return classes(len(found), [(wide[~fixed], flat[~fixed])], found)


def _alike(
    atoms: Atoms, found: Ids, pinned: npt.NDArray[np.bool_]
) -> list[tuple[Signature, list[_Unit]]]:
    """Group the units that own equally many positions of the same axes and are written."""
    units: dict[int, _Unit] = {}
    for number, key in enumerate(atoms.axes):
        roots = found[atoms.own[key]]
        for position in np.flatnonzero(~pinned[roots]).tolist():
            unit = units.setdefault(int(roots[position]), _Unit(int(roots[position]), {}))
            unit.positions.setdefault(number, []).append(position)
    groups: dict[Signature, list[_Unit]] = {}
    for unit in units.values():
        signature = tuple((number, len(places)) for number, places in unit.positions.items())
        if any(_role(atoms, number) == "out" for number, _ in signature):
            groups.setdefault(signature, []).append(unit)
    return sorted(groups.items(), key=lambda item: _writer(atoms, item[0]))


def _together(atoms: Atoms, signature: Signature, found: Ids, root: int) -> str:
    """Say what ties all positions of a layer to one unit, of which none can leave alone."""
    ids = atoms.own[atoms.axes[_writer(atoms, signature)]]
    ids = ids[found[ids] == root]
    where = atoms.tied_by(ids)
    by = f", by {where}" if where else ""
    return f"its {len(ids)} positions are tied to one another{by}, so that none can leave alone"


def _role(atoms: Atoms, number: int) -> Role:
    said = atoms.roles.get(atoms.axes[number], set())
    if "norm" in said:
        return "norm"
    return "out" if "write" in said else "in"


def _writer(atoms: Atoms, signature: Signature) -> int:
    """Return the first axis that writes the units, in the order of the pass."""
    return next(number for number, _ in signature if _role(atoms, number) == "out")


def _set(
    atoms: Atoms, signature: Signature, units: list[_Unit], taken: Collection[str]
) -> UnitSet:
    writer = _writer(atoms, signature)
    units = sorted(units, key=lambda unit: unit.positions[writer])
    slices = []
    for number in [writer, *(number for number, _ in signature if number != writer)]:
        name, dim = atoms.axes[number]
        index = torch.tensor([unit.positions[number] for unit in units], dtype=torch.long)
        slices.append(Slice(name, dim, index, _role(atoms, number)))
    tensor = atoms.axes[writer][0]
    name = base = tensor.rpartition(".")[0] or tensor
    count = 1
    while name in taken:
        count += 1
        name = f"{base}#{count}"
    return UnitSet(name, tuple(slices))


def _reasons(
    tape: Tape, model: nn.Module, found: Ids, told: Mapping[int, str], sets: list[UnitSet]
) -> dict[str, str]:
    """Say of every layer that writes no set why."""
    atoms = tape.atoms
    written = {
        part.tensor.rpartition(".")[0]
        for each in sets
        for part in each.slices
        if part.role == "out"
    }
    reasons = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if name in written or not any(tensor.dim() > 1 for tensor in own.values()):
            continue
        prefix = f"{name}." if name else ""
        names = [tape.names.get(id(tensor), prefix + key) for key, tensor in own.items()]
        if not any(each in tape.used for each in names):
            reasons[name] = "the forward pass does not call it"
            continue
        reasons[name] = _reason(atoms, found, told, names)
    return reasons


def _reason(atoms: Atoms, found: Ids, told: Mapping[int, str], names: list[str]) -> str:
    """Return the first reason of the units that some tensors write."""
    for (name, dim), ids in atoms.own.items():
        if name in names and "write" in atoms.roles.get((name, dim), ()):
            for root in found[ids].tolist():
                if root in told:
                    return told[root]
    own = [ids for (name, _), ids in atoms.own.items() if name in names]
    for root in found[np.concatenate(own)].tolist() if own else ():
        if told.get(root, KERNEL) != KERNEL:  # that one is true of every convolution
            return told[root]
    return (
        "it has a single output, which stays" if own else "it has no weights of several positions"
    )

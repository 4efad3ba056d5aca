"""Which entries of which parameters form one group of the regulariser: ``Layout``.

A group is a row of a parameter or one unit of a UnitSet: its ``out`` and ``norm`` slices in all
tensors together. How groups are laid out in memory is planned in plans.py; what a unit is, is said
in audioprune.compress.units.declare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.errors import ConfigError
from audioprune.optim.plans import Piece, Plan, alive_groups, make_plan

Units = Sequence[UnitSet] | Literal["rows"] | None
_STATISTICS = (".running_mean", ".running_var")
# Patterns of missing gradients that are remembered; conditional computation may produce many.
_MOST_PLANS = 16


class Layout:
    """The groups that one param group declares.

    Plans are built on demand and follow a change of device or memory format.

    Args:
        units: Unit sets, ``"rows"`` or None.
        names: Names of the parameters, or None when they were given without.
        params: The parameters of the param group.

    Raises:
        ConfigError: The units cannot be resolved among the parameters, overlap, or own nothing.
    """

    def __init__(
        self, units: Units, names: Sequence[str] | None, params: Sequence[Tensor]
    ) -> None:
        _check_units(units)
        self.units = units
        self.names = None if names is None else tuple(names)
        self._signature: list[Any] | None = None
        self._pieces: list[Piece | None] = []
        self._plans: dict[tuple[bool, ...] | None, Plan] = {}
        self._find_pieces(params)
        self.size = self.plan(params).size

    def plan(self, params: Sequence[Tensor], present: Sequence[bool] | None = None) -> Plan:
        """Return the plan for these parameters.

        Args:
            params: The parameters of the param group.
            present: Which of them have a gradient; None plans all of them. A tensor without a
                gradient takes part only when a unit joins it to one that has a gradient.
        """
        self._find_pieces(params)
        key = None if present is None or all(present) else tuple(present)
        if key not in self._plans:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = make_plan(self._pieces, params, key)
        return self._plans[key]

    def set_sizes(self) -> dict[str, int]:
        """Return the number of units of each unit set, in group order; empty for rows."""
        if self.units is None or self.units == "rows":
            return {}
        return {unit_set.name: unit_set.size for unit_set in _sets(self.units)}

    def _find_pieces(self, params: Sequence[Tensor]) -> None:
        signature = [(p.shape, p.stride(), p.device, p.dtype) for p in params]
        if self._signature != signature:
            self._pieces = self._pieces_of(params)
            self._signature = signature
            self._plans.clear()

    def _pieces_of(self, params: Sequence[Tensor]) -> list[Piece | None]:
        if self.units is None:
            return [None] * len(params)
        if self.units == "rows":
            return _row_pieces(params)
        if self.names is None:
            raise ConfigError(
                "expected named parameters with unit sets, got unnamed ones; pass "
                "model.named_parameters()"
            )
        return _unit_pieces(_sets(self.units), dict(zip(self.names, params, strict=True)))


def kept_units(
    named_parameters: Iterable[tuple[str, Tensor]], unit_sets: Sequence[UnitSet]
) -> dict[str, Tensor]:
    """Return which units of a model are not entirely zero: what a trim of the zero groups keeps.

    Args:
        named_parameters: Names and parameters, as from ``model.named_parameters()``.
        unit_sets: The unit sets that the optimiser was given.

    Returns:
        For each unit set its name and a bool tensor of shape (U,), True where any ``out`` or
        ``norm`` entry differs from zero.

    Raises:
        ConfigError: As for a param group with these units.
    """
    names, params = zip(*named_parameters, strict=True)
    layout = Layout(unit_sets, names, params)
    plan = layout.plan(params)
    alive = alive_groups(plan, [params[i].detach() for i in plan.covered]).cpu()
    sizes = layout.set_sizes()
    return dict(zip(sizes, torch.split(alive, list(sizes.values())), strict=True))


def _sets(units: Units) -> Sequence[UnitSet]:
    """Return units that are neither None nor "rows"."""
    return [] if units is None or isinstance(units, str) else units


def _check_units(units: Any) -> None:
    if units is None or (isinstance(units, str) and units == "rows"):
        return
    if isinstance(units, list | tuple) and all(
        isinstance(unit_set, UnitSet) for unit_set in units
    ):
        names = [unit_set.name for unit_set in units]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"expected unit sets with different names, got {names[:8]}; rename the repeated "
                f"ones"
            )
        return
    raise ConfigError(
        f"expected units as a list of UnitSet, 'rows' or None, got {units!r:.80}; pass "
        f"model.unit_sets() or 'rows'"
    )


def _memory_order(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Sort the axes from slowest to fastest.

    Axes of length 1 keep their place, as their strides mean nothing.
    """
    plain = tuple(range(tensor.dim()))
    if tensor.is_contiguous():
        return plain
    strides = tensor.stride()
    order = tuple(sorted(plain, key=lambda axis: -strides[axis]))
    if not tensor.permute(order).is_contiguous():
        raise ConfigError(
            f"expected parameter {name} dense in memory, got strides {tensor.stride()}; call "
            f".contiguous() on it first"
        )
    return order


def _row_pieces(params: Sequence[Tensor]) -> list[Piece | None]:
    """Return the pieces in which each row of each parameter is a group."""
    pieces: list[Piece | None] = []
    base = 0
    for position, param in enumerate(params):
        if param.numel() == 0:
            raise ConfigError(
                f"expected parameters with entries, got an empty one at position {position}; "
                f"leave it out"
            )
        order = _memory_order(str(position), param)
        count = param.shape[0] if param.dim() else 1
        owner = base + torch.arange(count)
        base += count
        if order[:1] in ((), (0,)):
            pieces.append(Piece(order, param.numel() // count, owner))
        else:
            spread = owner.reshape(-1, *[1] * (param.dim() - 1)).expand(param.shape)
            pieces.append(_piece(order, spread))
    return pieces


def _unit_pieces(unit_sets: Sequence[UnitSet], named: dict[str, Tensor]) -> list[Piece | None]:
    """Paint every entry with the number of its unit, then find the widest rows of one colour."""
    painted: dict[str, Tensor] = {}
    base = 0
    for unit_set in unit_sets:
        own = [part for part in unit_set.slices if part.role != "in"]
        owned = [part for part in own if not _is_constant(part, named)]
        if not owned:
            raise ConfigError(
                f"expected an 'out' or 'norm' slice of a trained parameter in unit set "
                f"{unit_set.name}, got none; see its slices"
            )
        for part in owned:
            if part.tensor not in named:
                raise ConfigError(
                    f"expected parameter {part.tensor} of unit set {unit_set.name} in the param "
                    f"group, got none of that name; pass all tensors of a unit in one param group"
                )
            blank = torch.full(named[part.tensor].shape, -1, dtype=torch.int32)
            owner = painted.setdefault(part.tensor, blank)
            _paint(owner, part, unit_set, base)
        base += unit_set.size
    return [
        _piece(_memory_order(name, param), painted[name]) if name in painted else None
        for name, param in named.items()
    ]


def _is_constant(part: Slice, named: Mapping[str, Tensor]) -> bool:
    """Tell whether a slice is of a running statistic or of a frozen parameter."""
    param = named.get(part.tensor)
    frozen = isinstance(param, torch.nn.Parameter) and not param.requires_grad
    return frozen or (part.role == "norm" and part.tensor.endswith(_STATISTICS))


def _paint(owner: Tensor, part: Slice, unit_set: UnitSet, base: int) -> None:
    """Write the numbers of a unit set's units to the entries of one slice, in place.

    Args:
        owner: Number of the unit of every entry, -1 where there is none.
        part: The slice.
        unit_set: Its unit set.
        base: Number of the first unit.

    Raises:
        ConfigError: The slice does not fit the tensor, or an entry has a unit already.
    """
    leading = part.leading
    view = owner.view(-1, *owner.shape[leading:]) if leading > 1 else owner
    index = part.index.cpu()
    where = f"slice of {part.tensor} in unit set {unit_set.name}"
    fits = index.dim() == 2 and index.shape[0] == unit_set.size
    if not fits or not -view.dim() <= part.dim < view.dim():
        raise ConfigError(
            f"expected an index of shape ({unit_set.size}, width) on an axis of "
            f"{tuple(view.shape)}, got {where}; mend it"
        )
    lines = view.movedim(part.dim, 0)
    flat = index.reshape(-1)
    if flat.numel() == 0 or int(flat.min()) < 0 or int(flat.max()) >= len(lines):
        raise ConfigError(
            f"expected positions from 0 to {len(lines) - 1}, got others in the {where}; rebuild "
            f"the unit sets"
        )
    if len(torch.unique(flat)) < len(flat) or bool((lines[flat] != -1).any()):
        raise ConfigError(
            f"expected every entry in at most one unit, got an entry owned twice by the "
            f"{where}; groups must not overlap"
        )
    numbers = torch.arange(base, base + unit_set.size, dtype=torch.int32)
    units = numbers.repeat_interleave(index.shape[1]).reshape(-1, *[1] * (lines.dim() - 1))
    lines[flat] = units.expand(len(flat), *lines.shape[1:])


def _piece(order: tuple[int, ...], owner: Tensor) -> Piece:
    """Return the piece of one parameter, given the group of each of its entries."""
    in_memory = owner.permute(order)
    flat = in_memory.reshape(-1)
    widths = [1]
    for axis in reversed(in_memory.shape):
        widths.append(widths[-1] * axis)
    # The widest rows of one group; one entry always is one.
    width = next(width for width in reversed(widths) if _agree(flat.view(-1, width)))
    return Piece(order, width, flat[::width].to(torch.int64))


def _agree(lines: Tensor) -> bool:
    return bool((lines == lines[:, :1]).all())

"""Which entries of which parameters form one group of the regulariser, laid out so that one pass handles all groups.

A group is a row of a parameter or one unit of a UnitSet: its ``out`` and ``norm`` slices in all
tensors together. What a step does to the groups stands in steps.py; what a unit is, in
audioprune.compress.units.declare.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.errors import ConfigError

Units = Sequence[UnitSet] | Literal["rows"] | None
_STATISTICS = (".running_mean", ".running_var")
# Patterns of missing gradients that are remembered; conditional computation may produce many.
_MOST_PLANS = 16
# Entries; parameters, directions and one temporary of this size fit into the second-level cache
# together.
_CPU_BLOCK = 1 << 17


@dataclass(frozen=True)
class Piece:
    """One parameter, seen in the order of its memory as rows of equal width that each belong to one group.

    Attributes:
        order: Axes of the parameter from the slowest to the fastest in memory (channels_last
            differs from the plain order).
        width: Entries per row.
        owner: Group of each row, shape (R,), -1 for rows of no group.
    """

    order: tuple[int, ...]
    width: int
    owner: Tensor


@dataclass(frozen=True)
class Plan:
    """The groups of one param group, restricted to the tensors that take part in a step.

    Attributes:
        size: Number of groups.
        covered: Positions in the param group of the tensors that hold groups.
        plain: Positions of the other tensors.
        orders: Memory order of each covered tensor.
        widths: Row width of each covered tensor.
        row_counts: Rows of each covered tensor.
        owners: Group of every row of all covered tensors, shape (sum of R,); ``size`` for rows of
            no group.
        dtype: Type in which sums over groups are formed.
        compiled: True where the one-pass CPU kernels apply.
    """

    size: int
    covered: tuple[int, ...]
    plain: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    row_counts: tuple[int, ...]
    owners: Tensor
    dtype: torch.dtype
    compiled: bool

    @cached_property
    def one_row_each(self) -> bool:
        """True when row i is group i, so that sums over groups need no scatter."""
        return len(self.owners) == self.size and bool(
            (self.owners == torch.arange(self.size, device=self.owners.device)).all()
        )

    @cached_property
    def covers_all(self) -> bool:
        """True when every row of every covered tensor belongs to a group."""
        return not bool((self.owners == self.size).any())

    @cached_property
    def entries(self) -> int:
        """Number of entries of the covered tensors."""
        return sum(rows * width for rows, width in zip(self.row_counts, self.widths, strict=True))

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Neighbouring rows of a group as runs of memory: first run of each group (size + 2), tensor, start and length."""
        tensor = np.repeat(np.arange(len(self.row_counts)), self.row_counts)
        width = np.asarray(self.widths, np.int64)[tensor]
        start = np.concatenate([np.arange(n, dtype=np.int64) for n in self.row_counts]) * width
        owner = self.owners.cpu().numpy()
        order = np.argsort(owner, kind="stable")
        owner, tensor, width, start = owner[order], tensor[order], width[order], start[order]
        joined = (
            (owner[1:] == owner[:-1])
            & (tensor[1:] == tensor[:-1])
            & (start[1:] == start[:-1] + width[:-1])
        )
        first = np.flatnonzero(np.concatenate([[True], ~joined]))
        length = np.add.reduceat(width, first)
        offsets = np.searchsorted(owner[first], np.arange(self.size + 2))
        return (
            offsets.astype(np.int64),
            tensor[first].astype(np.int64),
            start[first],
            length.astype(np.int64),
        )

    @cached_property
    def all_allowed(self) -> np.ndarray:
        """Mark every group as free to become zero, shape (size,)."""
        return np.ones(self.size, np.bool_)

    @cached_property
    def block_sizes(self) -> list[int]:
        """Rows of each view that ``rows`` returns."""
        parts = (
            (count, self._block(width))
            for count, width in zip(self.row_counts, self.widths, strict=True)
        )
        return [
            min(block, count - start) for count, block in parts for start in range(0, count, block)
        ]

    def _block(self, width: int) -> int:
        return max(1, _CPU_BLOCK // width) if self.owners.device.type == "cpu" else sys.maxsize

    def rows(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """View the covered tensors as rows, shapes (R, width); on a CPU in blocks whose temporaries stay in the cache."""
        views: list[Tensor] = []
        for tensor, order, width in zip(tensors, self.orders, self.widths, strict=True):
            in_order = tensor if order == tuple(range(tensor.dim())) else tensor.permute(order)
            views += in_order.view(-1, width).split(self._block(width))
        return views

    def where_true(self, marked: Tensor) -> list[Tensor]:
        """Return for each view of ``rows`` the positions of the rows whose group is marked."""
        rows = (
            marked if self.one_row_each else torch.cat([marked, marked.new_zeros(1)])[self.owners]
        )
        positions = rows.nonzero().flatten()
        ends = torch.tensor(self.block_sizes, device=rows.device).cumsum(0)
        cuts = torch.searchsorted(positions, ends).tolist()
        parts = positions.tensor_split(cuts[:-1])
        return [
            part - start if len(part) else part
            for part, start in zip(parts, [0, *ends[:-1].tolist()], strict=True)
        ]

    def per_row(self, values: Tensor, outside: float | bool) -> list[Tensor]:
        """Spread one value per group over the rows of ``rows``, shapes (R, 1); rows of no group get ``outside``."""
        if not self.one_row_each:
            values = torch.cat([values, values.new_full((1,), outside)])[self.owners]
        return list(values[:, None].split(self.block_sizes))

    def per_group(self, values: Tensor) -> Tensor:
        """Sum one value per row over the rows of each group, shape (size,).

        On CUDA the order of these sums is fixed only under
        ``torch.use_deterministic_algorithms(True)``.
        """
        if self.one_row_each:
            return values
        return values.new_zeros(self.size + 1).index_add_(0, self.owners, values)[: self.size]


class Layout:
    """The groups that one param group declares; plans are built on demand and follow a change of device or memory format.

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
        self._pieces: tuple[Any, list[Piece | None]] | None = None
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
            self._plans[key] = _make_plan(self._pieces[1], params, key)
        return self._plans[key]

    def set_sizes(self) -> dict[str, int]:
        """Return the number of units of each unit set, in group order."""
        return (
            {unit_set.name: unit_set.size for unit_set in self.units}
            if _are_sets(self.units)
            else {}
        )

    def _find_pieces(self, params: Sequence[Tensor]) -> None:
        signature = [(p.shape, p.stride(), p.device, p.dtype) for p in params]
        if self._pieces is None or self._pieces[0] != signature:
            self._pieces = (signature, self._pieces_of(params))
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
        return _unit_pieces(self.units, dict(zip(self.names, params, strict=True)))


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
    return dict(
        zip(layout.set_sizes(), alive.split(list(layout.set_sizes().values())), strict=True)
    )


def alive_groups(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return which groups hold any entry that is not exactly zero, bool of shape (size,)."""
    if plan.size == 0:
        return torch.zeros(0, dtype=torch.bool)
    filled = torch.cat([(rows != 0).any(dim=1) for rows in plan.rows(tensors)])
    return plan.per_group(filled.to(torch.int64)) > 0


def _are_sets(units: Units) -> bool:
    return units is not None and not isinstance(units, str)


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
    """Sort the axes from slowest to fastest; axes of length 1 keep their place, as their strides mean nothing."""
    plain = tuple(range(tensor.dim()))
    if tensor.is_contiguous():
        return plain
    order = tuple(sorted(plain, key=lambda axis: -tensor.stride(axis)))
    if not tensor.permute(order).is_contiguous():
        raise ConfigError(
            f"expected parameter {name} dense in memory, got strides {tensor.stride()}; call "
            f".contiguous() on it first"
        )
    return order


def _row_pieces(params: Sequence[Tensor]) -> list[Piece | None]:
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
    """Paint every entry with the number of the unit that owns it, then find the widest rows of one colour."""
    painted: dict[str, Tensor] = {}
    base = 0
    for unit_set in unit_sets:
        owned = [
            part for part in unit_set.slices if part.role != "in" and not _is_constant(part, named)
        ]
        if not owned:
            raise ConfigError(
                f"expected an 'out' or 'norm' slice of a trained parameter in unit set "
                f"{unit_set.name}, got none; see its slices"
            )
        for part in owned:
            if part.tensor not in named:
                raise ConfigError(
                    f"expected parameter {part.tensor} of unit set {unit_set.name} in the param "
                    f"group, got none of that name; "
                    "pass all tensors of a unit in one param group"
                )
            owner = painted.setdefault(
                part.tensor, torch.full(named[part.tensor].shape, -1, dtype=torch.int32)
            )
            _paint(owner, part, unit_set, base)
        base += unit_set.size
    return [
        _piece(_memory_order(name, param), painted[name]) if name in painted else None
        for name, param in named.items()
    ]


def _is_constant(part: Slice, named: Mapping[str, Tensor]) -> bool:
    """Tell whether no optimiser may change a slice: it is of a running statistic or a frozen parameter."""
    frozen = (
        isinstance(named.get(part.tensor), torch.nn.Parameter)
        and not named[part.tensor].requires_grad
    )
    return frozen or (part.role == "norm" and part.tensor.endswith(_STATISTICS))


def _paint(owner: Tensor, part: Slice, unit_set: UnitSet, base: int) -> None:
    leading = part.leading
    view = owner.view(-1, *owner.shape[leading:]) if leading > 1 else owner
    index = part.index.cpu()
    where = f"slice of {part.tensor} in unit set {unit_set.name}"
    if (
        index.dim() != 2
        or index.shape[0] != unit_set.size
        or not -view.dim() <= part.dim < view.dim()
    ):
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
    if len(flat.unique()) < len(flat) or bool((lines[flat] != -1).any()):
        raise ConfigError(
            f"expected every entry in at most one unit, got an entry owned twice by the "
            f"{where}; groups must not overlap"
        )
    units = torch.arange(base, base + unit_set.size, dtype=torch.int32).repeat_interleave(
        index.shape[1]
    )
    lines[flat] = units.reshape(-1, *[1] * (lines.dim() - 1)).expand(len(flat), *lines.shape[1:])


def _piece(order: tuple[int, ...], owner: Tensor) -> Piece:
    in_memory = owner.permute(order)
    flat = in_memory.reshape(-1)
    widths = [1]
    for axis in reversed(in_memory.shape):
        widths.append(widths[-1] * axis)
    width = next(width for width in reversed(widths) if _agree(flat.view(-1, width)))
    return Piece(order, width, flat[::width].to(torch.int64))


def _agree(lines: Tensor) -> bool:
    return bool((lines == lines[:, :1]).all())


def _make_plan(
    pieces: Sequence[Piece | None], params: Sequence[Tensor], present: tuple[bool, ...] | None
) -> Plan:
    held = [i for i, piece in enumerate(pieces) if piece is not None]
    if present is not None:
        held = _taking_part(pieces, held, present)
    plain = tuple(
        i for i in range(len(pieces)) if pieces[i] is None and (present is None or present[i])
    )
    chosen = [pieces[i] for i in held]
    owners = (
        torch.cat([piece.owner for piece in chosen])
        if chosen
        else torch.zeros(0, dtype=torch.int64)
    )
    numbers = owners[owners >= 0].unique()
    size = len(numbers)
    owners = (
        torch.where(owners >= 0, torch.searchsorted(numbers, owners), size) if size else owners
    )
    kinds = {params[i].dtype for i in held}
    devices = {params[i].device for i in held}
    if len(devices) > 1:
        raise ConfigError(
            f"expected the groups of one param group on one device, got "
            f"{sorted(map(str, devices))}; make one per device"
        )
    device = devices.pop() if devices else torch.device("cpu")
    return Plan(
        size=size,
        covered=tuple(held),
        plain=plain,
        orders=tuple(piece.order for piece in chosen),
        widths=tuple(piece.width for piece in chosen),
        row_counts=tuple(len(piece.owner) for piece in chosen),
        owners=owners.to(device),
        dtype=torch.float64 if torch.float64 in kinds else torch.float32,
        compiled=device.type == "cpu"
        and kinds in ({torch.float32}, {torch.float64})
        and all(_is_plain(params[i]) for i in held),
    )


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, torch.nn.Parameter)


def _taking_part(
    pieces: Sequence[Piece | None], held: Sequence[int], present: Sequence[bool]
) -> list[int]:
    stepped = [pieces[i].owner for i in held if present[i]]
    groups = torch.cat(stepped).unique() if stepped else torch.zeros(0, dtype=torch.int64)
    groups = groups[groups >= 0]
    return [i for i in held if present[i] or bool(torch.isin(pieces[i].owner, groups).any())]

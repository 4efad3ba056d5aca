"""How the groups of one param group are laid out, so that one pass handles all of them: ``Plan``.

A plan holds where groups are in memory and never an entry of a parameter. Which entries belong to
one group is decided in groups.py; what a step does to the groups, in group_steps.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioprune.errors import ConfigError

Integers = NDArray[np.int64]
# Entries; parameters, directions and one temporary of this size fit into the second-level cache
# together.
_CPU_BLOCK = 1 << 17
RUN = 1 << 14  # entries of a run; a scratch for its direction stays near the processor


@dataclass(frozen=True)
class Piece:
    """One parameter as rows of equal width in memory order, each of which belongs to one group.

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
    def runs(self) -> tuple[Integers, Integers]:
        """Neighbouring rows of a group as runs of memory, for the compiled kernels.

        The number of the first run of each group, shape (size + 2,), where the last group is that
        of all rows outside; then tensor, start and length of each run, shape (R, 3).
        """
        tensor = np.repeat(np.arange(len(self.row_counts)), self.row_counts)
        width = np.asarray(self.widths, np.int64)[tensor]
        start = np.concatenate([np.arange(n, dtype=np.int64) for n in self.row_counts]) * width
        owner = self.owners.cpu().numpy()
        order = np.argsort(owner, kind="stable")
        owner, tensor, width, start = owner[order], tensor[order], width[order], start[order]
        # A row continues the run before it where group and tensor are the same and no gap is left.
        joined = (owner[1:] == owner[:-1]) & (tensor[1:] == tensor[:-1])
        joined &= start[1:] == start[:-1] + width[:-1]
        first = np.flatnonzero(np.concatenate([[True], ~joined]))
        owner, tensor, start = owner[first], tensor[first], start[first]
        length = np.add.reduceat(width, first)
        # Long runs are cut.
        parts = -(-length // RUN)
        nth = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        owner, tensor, start = (np.repeat(each, parts) for each in (owner, tensor, start))
        length = np.minimum(np.repeat(length, parts) - nth * RUN, RUN)
        offsets = np.searchsorted(owner, np.arange(self.size + 2))
        runs = np.stack([tensor, start + nth * RUN, length], 1)
        return offsets.astype(np.int64), runs.astype(np.int64)

    @cached_property
    def longest(self) -> int:
        """Entries of the largest group, at least those of the longest run."""
        offsets, length = self.runs[0], self.runs[1][:, 2]
        ends = np.concatenate([[0], np.cumsum(length)])
        groups = np.diff(ends[offsets[: self.size + 1]])
        return int(max(groups.max(initial=0), RUN))

    @cached_property
    def block_sizes(self) -> list[int]:
        """Rows of each view that ``rows`` returns."""
        sizes = []
        for count, width in zip(self.row_counts, self.widths, strict=True):
            block = self._block(width)
            sizes += [min(block, count - start) for start in range(0, count, block)]
        return sizes

    def _block(self, width: int) -> int:
        return max(1, _CPU_BLOCK // width) if self.owners.device.type == "cpu" else sys.maxsize

    def rows(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """View the covered tensors as rows, shapes (R, width).

        On a CPU they come in blocks, so that temporaries of a block stay in the cache.
        """
        views: list[Tensor] = []
        for tensor, order, width in zip(tensors, self.orders, self.widths, strict=True):
            in_order = tensor if order == tuple(range(tensor.dim())) else tensor.permute(order)
            views += torch.split(in_order.view(-1, width), self._block(width))
        return views

    def where_true(self, marked: Tensor) -> list[Tensor]:
        """Return for each view of ``rows`` the positions of the rows whose group is marked."""
        rows = marked
        if not self.one_row_each:
            rows = torch.cat([marked, marked.new_zeros(1)])[self.owners]
        positions = rows.nonzero().flatten()
        ends = torch.tensor(self.block_sizes, device=rows.device).cumsum(0)
        cuts = torch.searchsorted(positions, ends).tolist()
        parts = positions.tensor_split(cuts[:-1])
        starts = [0, *ends[:-1].tolist()]
        return [part - start for part, start in zip(parts, starts, strict=True)]

    def per_row(self, values: Tensor, outside: float | bool) -> list[Tensor]:
        """Spread one value per group over the rows of ``rows``, shapes (R, 1).

        Rows of no group get ``outside``.
        """
        if not self.one_row_each:
            values = torch.cat([values, values.new_full((1,), outside)])[self.owners]
        return list(torch.split(values[:, None], self.block_sizes))

    def per_group(self, values: Tensor) -> Tensor:
        """Sum one value per row over the rows of each group, shape (size,).

        On CUDA the order of these sums is fixed only under
        ``torch.use_deterministic_algorithms(True)``.
        """
        if self.one_row_each:
            return values
        return values.new_zeros(self.size + 1).index_add_(0, self.owners, values)[: self.size]


def make_plan(
    pieces: Sequence[Piece | None], params: Sequence[Tensor], present: Sequence[bool] | None
) -> Plan:
    """Plan the step of one param group.

    Args:
        pieces: How each parameter falls into rows of groups; None where it holds no group.
        params: The parameters.
        present: Which of them have a gradient; None plans all of them.

    Raises:
        ConfigError: Parameters that hold groups are on several devices.
    """
    held = {i: piece for i, piece in enumerate(pieces) if piece is not None}
    plain = [i for i in range(len(pieces)) if i not in held]
    if present is not None:
        held = _taking_part(held, present)
        plain = [i for i in plain if present[i]]
    size, owners = _numbered([piece.owner for piece in held.values()])
    kinds = {params[i].dtype for i in held}
    device = _one_device({params[i].device for i in held})
    able = device.type == "cpu" and kinds in ({torch.float32}, {torch.float64})
    return Plan(
        size=size,
        covered=tuple(held),
        plain=tuple(plain),
        orders=tuple(piece.order for piece in held.values()),
        widths=tuple(piece.width for piece in held.values()),
        row_counts=tuple(len(piece.owner) for piece in held.values()),
        owners=owners.to(device),
        dtype=torch.float64 if torch.float64 in kinds else torch.float32,
        compiled=able and all(_is_plain(params[i]) for i in held),
    )


def _numbered(owners: Sequence[Tensor]) -> tuple[int, Tensor]:
    """Return the number of groups, and of each row its group, numbered from 0 without gaps.

    Rows of no group get the number of groups.
    """
    if not owners:
        return 0, torch.zeros(0, dtype=torch.int64)
    joined = torch.cat(list(owners))
    numbers = torch.unique(joined[joined >= 0])
    size = len(numbers)
    if size == 0:
        return 0, joined
    return size, torch.where(joined >= 0, torch.searchsorted(numbers, joined), size)


def _one_device(devices: set[torch.device]) -> torch.device:
    if len(devices) > 1:
        raise ConfigError(
            f"expected the groups of one param group on one device, got "
            f"{sorted(map(str, devices))}; make one per device"
        )
    return next(iter(devices), torch.device("cpu"))


def alive_groups(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return which groups hold any entry that is not exactly zero, bool of shape (size,)."""
    if plan.size == 0:
        return torch.zeros(0, dtype=torch.bool)
    filled = torch.cat([(rows != 0).any(dim=1) for rows in plan.rows(tensors)])
    return plan.per_group(filled.to(torch.int64)) > 0


def _taking_part(held: Mapping[int, Piece], present: Sequence[bool]) -> dict[int, Piece]:
    """Return the pieces with a gradient, and those that share a group with one of these."""
    stepped = [piece.owner for i, piece in held.items() if present[i]]
    groups = torch.unique(torch.cat(stepped)) if stepped else torch.zeros(0, dtype=torch.int64)
    groups = groups[groups >= 0]

    def takes_part(position: int, piece: Piece) -> bool:
        return present[position] or bool(torch.isin(piece.owner, groups).any())

    return {i: piece for i, piece in held.items() if takes_part(i, piece)}


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, torch.nn.Parameter)

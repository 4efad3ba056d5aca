"""What a search may remove step by step: weights, weight groups, or units over several tensors.

``weight_candidates``, ``group_candidates`` and ``unit_candidates`` list them by name. Candidates
rank themselves, remove the lowest in place and come back bit for bit. How many go is decided in
sensitivity.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from audioprune.compress.masks import Mask, clear_
from audioprune.compress.search.perturbed_loss import restored
from audioprune.compress.select import ranks
from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.weight_groups import any_kept, expand, group_norms
from audioprune.errors import ConfigError, unknown_name


class Removable(Protocol):
    """What a search removes step by step: ``Candidates`` of one tensor, or units over several."""

    def count(self) -> int:
        """Count the candidates."""

    def ranks(self) -> Tensor:
        """Rank the candidates, the first to go lowest."""

    def remove_(self, ranked: Tensor, count: int) -> None:
        """Set the ``count`` lowest candidates to zero."""

    def restored(self) -> AbstractContextManager[Callable[[], Any]]:
        """Allow ``remove_`` in a with-block and restore the weights afterwards.

        Yields a function that restores them at once.
        """

    def keeps(self, name: str, count: int) -> dict[str, Tensor]:
        """Return the kept positions of every tensor without the ``count`` lowest candidates."""


@dataclass(frozen=True)
class Candidates:
    """What may be removed from one tensor: its kept weights, or its groups with a kept weight.

    Attributes:
        tensor: The parameter; a search modifies it in place and restores it.
        kept: Kept positions, bool, shape of the tensor. The mask counts, not the value: a kept
            weight of 0 is a candidate.
        groups: The weight groups of the tensor, or None for single weights.
    """

    tensor: Tensor
    kept: Tensor
    groups: Slice | None = None

    def count(self) -> int:
        """Count the candidates."""
        return int(self.alive().count_nonzero())

    def alive(self) -> Tensor:
        """Tell which weights or groups are candidates: those with a kept weight, bool."""
        return self.kept if self.groups is None else any_kept(self.groups, self.kept)

    def norms(self) -> Tensor:
        """Return the magnitudes by which candidates are ranked: |w|, or the l1 norm of a group."""
        tensor = self.tensor.detach()
        return tensor.abs() if self.groups is None else group_norms(tensor, self.groups, 1)

    def ranks(self) -> Tensor:
        """Rank the candidates by their magnitude, ties by position."""
        return ranks(self.norms(), self.alive())

    def removed(self, ranked: Tensor, count: int) -> Tensor:
        """Mark the positions of the ``count`` lowest candidates, bool, shape of the tensor."""
        low = ranked < count
        return low if self.groups is None else ~expand(self.groups, ~low, self.tensor.shape)

    def remove_(self, ranked: Tensor, count: int) -> None:
        """Set the ``count`` lowest candidates to zero."""
        clear_(self.tensor, ~self.removed(ranked, count))

    @contextmanager
    def restored(self) -> Iterator[Callable[[], Any]]:
        """Allow ``remove_`` in a with-block and restore the tensor afterwards.

        Yields a function that restores it at once.
        """
        with restored(self.tensor) as before:
            yield lambda: self.tensor.copy_(before)

    def keeps(self, name: str, count: int) -> dict[str, Tensor]:
        """Return the kept positions without the ``count`` lowest candidates.

        Args:
            name: Name of the tensor.
            count: Number of candidates that go.
        """
        kept = self.kept.to(self.tensor.device)
        return {name: kept & ~self.removed(self.ranks(), count)}


@dataclass(frozen=True)
class UnitCandidates:
    """What may be removed from one set of units: the units with a kept weight.

    Attributes:
        parts: (parameter name, candidates of that tensor) of every slice; group u of each slice
            belongs to unit u.
    """

    parts: tuple[tuple[str, Candidates], ...]

    def count(self) -> int:
        """Count the candidates."""
        return int(self._alive().count_nonzero())

    def ranks(self) -> Tensor:
        """Rank the units by the l1 norm of all their weights, ties by position.

        A weight that both writes and reads a unit counts twice.
        """
        norms = [part.norms() for _, part in self.parts]
        return ranks(torch.stack(norms).sum(0), self._alive())

    def remove_(self, ranked: Tensor, count: int) -> None:
        """Set the weights of the ``count`` lowest units to zero."""
        for _, part in self.parts:
            part.remove_(ranked, count)

    @contextmanager
    def restored(self) -> Iterator[Callable[[], None]]:
        """Allow ``remove_`` in a with-block and restore the weights afterwards.

        Yields a function that restores them at once.
        """
        one_per_tensor = {id(part.tensor): part for _, part in self.parts}
        with ExitStack() as stack:
            undo = [stack.enter_context(part.restored()) for part in one_per_tensor.values()]

            def restore() -> None:
                for each in undo:
                    each()

            yield restore

    def keeps(self, name: str, count: int) -> dict[str, Tensor]:
        """Return the kept positions of every tensor without the ``count`` lowest units.

        Args:
            name: Name of the unit set.
            count: Number of units that go.
        """
        ranked = self.ranks()
        kept: dict[str, Tensor] = {}
        for tensor, part in self.parts:
            rest = part.kept.to(part.tensor.device) & ~part.removed(ranked, count)
            kept[tensor] = kept[tensor] & rest if tensor in kept else rest
        return kept

    def _alive(self) -> Tensor:
        return torch.stack([part.alive() for _, part in self.parts]).any(0)


def weight_candidates(model: nn.Module, mask: Mask) -> dict[str, Candidates]:
    """List the kept weights of every masked tensor (Algorithm 1).

    Raises:
        ConfigError: The mask names a parameter that the model does not have.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {name: Candidates(_lookup(parameters, name), keep) for name, keep in mask.items()}


def group_candidates(
    model: nn.Module, mask: Mask, groups: Iterable[UnitSet]
) -> dict[str, Candidates]:
    """List the weight groups of every set that has one (Algorithm 2).

    Raises:
        ConfigError: A set spans several slices, or names a tensor that the model or the mask does
            not have.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = {}
    for each in groups:
        if len(each.slices) != 1:
            raise ConfigError(
                f"unit set '{each.name}': expected groups of one tensor, got {len(each.slices)} "
                f"slices; use weight_groups"
            )
        part = each.slices[0]
        found[part.tensor] = Candidates(_lookup(parameters, part.tensor), mask[part.tensor], part)
    return found


def unit_candidates(
    model: nn.Module, mask: Mask, groups: Iterable[UnitSet]
) -> dict[str, Removable]:
    """List the candidates of every set of groups, see ``units.weight_groups.unit_groups``.

    Units have the name of their set, weight groups that of their tensor.

    Raises:
        ConfigError: A set names a tensor that the model or the mask does not have.
    """
    found: dict[str, Removable] = {}
    for each in groups:
        parts: list[tuple[str, Candidates]] = []
        for part in each.slices:
            parts += group_candidates(model, mask, [replace(each, slices=(part,))]).items()
        of_one_tensor = each.name == parts[0][0]
        found[each.name] = parts[0][1] if of_one_tensor else UnitCandidates(tuple(parts))
    return found


def _lookup(parameters: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in parameters:
        raise ConfigError(unknown_name("parameter", name, parameters))
    return parameters[name]

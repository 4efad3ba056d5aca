"""Which weights live or die together so that pruning them lets a unit leave the model: the units of a model as weight groups.

Groups within one tensor are derived in weight_groups.py; how a unit is taken out for real stands
in trim.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search.sensitivity import Candidates, Removable, group_candidates
from audioprune.compress.select import ranks
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.weight_groups import (
    GroupKinds,
    any_kept,
    group_norms,
    weight_groups,
)


def unit_groups(
    model: nn.Module, unit_sets: Sequence[UnitSet], kinds: GroupKinds | None = None
) -> list[UnitSet]:
    """List the units of a model as groups of weights, and weight groups of the tensors that no unit touches.

    A group holds all weights that write or read its unit, whatever their tensor; biases and
    normalisations belong to none. Units that a normalisation crosses are left out, for they cannot
    be removed without a change of the output.

    Args:
        model: The model.
        unit_sets: Its unit sets.
        kinds: Kind of weight group per kind of layer, for the remaining tensors.

    Source: Tan & Wang, ICASSP 2021, structured pruning; the paper does not define its groups, this
    reading makes pruned models smaller.
    """
    weights = set(prunable(model))
    chosen = []
    for each in unit_sets:
        slices = tuple(part for part in each.slices if part.tensor in weights)
        if each.exact and each.removable and slices:
            chosen.append(replace(each, slices=slices, removable=False))
    touched = {part.tensor for each in chosen for part in each.slices}
    return chosen + weight_groups(
        model, kinds, [name for name in prunable(model) if name not in touched]
    )


@dataclass(frozen=True)
class UnitCandidates:
    """What may be removed from one set of units: those of which a weight is kept.

    Attributes:
        parts: (parameter name, candidates of that tensor) of every slice; group u of each slice
            belongs to unit u.
    """

    parts: tuple[tuple[str, Candidates], ...]

    def count(self) -> int:
        """Count the candidates."""
        return int(self._alive().count_nonzero())

    def ranks(self) -> Tensor:
        """Rank the units by the l1 norm of all their weights, ties by position; weights that read and write a unit count twice."""
        norms = [group_norms(part.tensor.detach(), part.groups, 1) for _, part in self.parts]
        return ranks(torch.stack(norms).sum(0), self._alive())

    def remove_(self, ranked: Tensor, count: int) -> None:
        """Set the weights of the ``count`` lowest units to zero."""
        for _, part in self.parts:
            part.remove_(ranked, count)

    @contextmanager
    def restored(self) -> Iterator[Callable[[], None]]:
        """Allow `remove_` in a with-block, restore the weights afterwards, and yield a function that does so at once."""
        with ExitStack() as stack:
            undo = [
                stack.enter_context(part.restored())
                for part in {id(part.tensor): part for _, part in self.parts}.values()
            ]

            def restore() -> None:
                for each in undo:
                    each()

            yield restore

    def keeps(self, name: str, count: int) -> dict[str, Tensor]:
        """Return the kept positions of every tensor without the ``count`` lowest units; the name is that of the set."""
        ranked, kept = self.ranks(), {}
        for tensor, part in self.parts:
            rest = part.kept.to(part.tensor.device) & ~part.removed(ranked, count)
            kept[tensor] = kept[tensor] & rest if tensor in kept else rest
        return kept

    def _alive(self) -> Tensor:
        return torch.stack([any_kept(part.groups, part.kept) for _, part in self.parts]).any(0)


def unit_candidates(
    model: nn.Module, mask: Mask, groups: Iterable[UnitSet]
) -> dict[str, Removable]:
    """List the candidates of every set of groups: units under the set's name, weight groups under their tensor's.

    Raises:
        ConfigError: A set names a tensor that the model or the mask does not have.
    """
    found: dict[str, Removable] = {}
    for each in groups:
        parts = [
            next(iter(group_candidates(model, mask, [replace(each, slices=(part,))]).items()))
            for part in each.slices
        ]
        found[each.name] = (
            parts[0][1] if each.name == parts[0][0] else UnitCandidates(tuple(parts))
        )
    return found

"""What the processes of one run share, for those who compute: ``processes()``.

Every process runs the whole pipeline; a training gives each its part of every batch, and what is
summed here makes that equal to one process with the whole batch. ``Processes`` is one process
alone, which costs nothing; several are in group.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from audioprune.launch import Place

Value = TypeVar("Value")
Weight = Callable[[], Tensor | float]


class Processes:
    """A process alone: all is its own."""

    place = Place()

    @property
    def index(self) -> int:
        """The number of this process, from 0."""
        return self.place.index

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.place.count

    @property
    def is_main(self) -> bool:
        """Whether this process owns the run folder."""
        return self.place.is_main

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def broadcast(self, value: Value) -> Value:
        """Return what the main process gave; plain values."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """Return what every process gave, in their order; plain values."""
        return [value]

    def part(self, names: Iterable[Value]) -> list[Value]:
        """Return those of some names that this process works on, in their order."""
        return list(names)[self.index :: self.count]

    def merged(self, own: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
        """Return what all processes found, in the order of the names; plain values."""
        found: dict[str, Value] = {}
        for each in self.gather(dict(own)):
            found |= each
        return {name: found[name] for name in names}

    def any(self, flag: bool) -> bool:
        """Tell whether any process says so."""
        return flag

    def by_main(self, make: Callable[[], Value]) -> Value:
        """Let the main process make a plain value, and return it in all.

        The others wait, and their generators go on where that of the main process stands then.
        """
        return make()

    def main_first(self) -> AbstractContextManager[None]:
        """Let the others begin a block when the main process has ended it."""
        return nullcontext()

    def step(self, items: int) -> AbstractContextManager[None]:
        """Enter a training step on a batch of that many items of all processes together."""
        return nullcontext()

    def rows(self, count: int) -> int:
        """Say that this process passes that many rows, and return those of the whole batch."""
        return count

    def own_rows(self, count: int) -> slice:
        """Return which of the rows of the whole batch this process passes."""
        return slice(0, count)

    def own(self, places: Tensor, count: int) -> Tensor:
        """Return those of some places in the whole batch that this process holds, from 0."""
        return places

    def whole_rows(self, own: Tensor) -> Tensor:
        """Return the rows of the whole batch, of which those given are the own; no gradient.

        Where processes have rows of different lengths, zeros fill the shorter ones.
        """
        return own

    def ratio(self, own: Tensor | float, weight: Tensor | float) -> Tensor | float:
        """Return by what a mean over ``own`` must be weighed within one over ``weight``; 1 alone.

        It is this process's share of the one among all, over its share of the other.
        """
        return 1.0

    def divided(
        self, loss: Tensor, penalty: Tensor | float, weight: Weight | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what this process descends, and the loss of the whole batch without the penalty.

        Gradients of the first, summed over the processes, are those of the whole batch.

        Args:
            loss: Mean over what this process holds of the batch, a scalar.
            penalty: Regulariser, the same in all processes.
            weight: Returns what the loss is a mean over, such as a number of frames; None for
                the items. It is asked only where there are several processes.
        """
        return loss + penalty, loss.detach()

    def mean(self, logged: dict[str, Any]) -> dict[str, Any]:
        """Return the means of values that each process logged of its items."""
        return logged

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""

    def same_generators(self, device: torch.device) -> None:
        """Set torch's generators to the state that they have in the main process."""

    def require_equal(self, model: nn.Module, when: str) -> None:
        """Refuse to go on where a process holds other weights than the main one.

        Raises:
            ProcessError: It does.
        """

    def require_same(self, facts: dict[str, Any], what: str) -> None:
        """Refuse to begin where processes were started differently.

        Args:
            facts: Plain values by name, which must be those of the main process.
            what: What they belong to.

        Raises:
            ConfigError: They are not.
        """


class Current:
    """Holds the processes of this run."""

    processes = Processes()


def processes() -> Processes:
    """Return the processes of this run; one alone where none were joined."""
    return Current.processes

"""What happens where a device has too little memory for a batch: it is taken in parts.

``Parts.run`` takes a training step in as many parts as fit, whose gradients the caller adds up. It
halves what failed, says so once and goes on with the smaller size. What an optimiser sees changes
by rounding alone, except that a batch normalisation computes its statistics over a part. Scoring
halves its own batches (tasks/batches.py) with ``free`` and ``say``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.protocols import Batch, Number, Weighs


@dataclass(frozen=True)
class Part:
    """A part of a batch.

    Attributes:
        share: Its weight in the loss of the whole batch, above 0 to 1.
        first: Whether gradients begin with it.
        last: Whether the optimiser steps after it.
    """

    share: float = 1.0
    first: bool = True
    last: bool = True

    def weighted(self, loss: Tensor, alone: bool) -> Tensor:
        """Return what a loss of this part adds to that of the whole batch.

        Args:
            loss: Mean over the part, a scalar.
            alone: Whether it is the only loss of the step.

        Raises:
            ConfigError: It is not, so that gradients cannot be added up.
        """
        if self is WHOLE:
            return loss
        if not alone:
            raise ConfigError(
                "expected one update in a step of which the device's memory holds a part, got "
                "several; lower training.batch_size"
            )
        return loss * self.share


WHOLE = Part()


class Parts:
    """In how many parts a device takes the batches of one training.

    Args:
        title: Of the training, for what is said.
        task: Weighs parts against one another; a task that does not cannot be split.
        shared: Whether other processes have parts of the same batches, which then stay whole.
    """

    def __init__(self, title: str, task: object, shared: bool = False) -> None:
        self._title, self._task, self._shared = title, task, shared
        self.count = 1

    def run(
        self,
        batch: Batch,
        take: Callable[[Batch, Part], Mapping[str, Number]],
        unchanged: Callable[[], bool],
    ) -> Mapping[str, Number]:
        """Take one step, in more parts than before where memory does not suffice.

        Args:
            batch: On the CPU.
            take: Adds the gradients of a part, steps after the last one, and returns what is
                logged of the part.
            unchanged: Tells whether no optimiser has stepped since the beginning of ``run``.

        Returns:
            What is logged of the whole batch.

        Raises:
            ConfigError: Memory does not suffice, and the batch cannot be split.
        """
        while True:
            failure = None
            try:
                return self._taken(batch, take)
            except torch.OutOfMemoryError as error:
                failure = str(error).partition("\n")[0]
            # here, where the exception no longer holds the tensors of the pass
            self._halve(batch, failure, unchanged())

    def _taken(
        self, batch: Batch, take: Callable[[Batch, Part], Mapping[str, Number]]
    ) -> Mapping[str, Number]:
        if self.count == 1 or not isinstance(self._task, Weighs):
            return take(batch, WHOLE)
        parts = list(split(batch, self.count))
        weights = [self._task.batch_weight(part) for part in parts]
        logged: dict[str, Number] = {}
        for place, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            share = weight / sum(weights)
            found = take(part, Part(share, place == 0, place == len(parts) - 1))
            logged = {name: logged.get(name, 0.0) + share * value for name, value in found.items()}
        return logged

    def _halve(self, batch: Batch, failure: str, unchanged: bool) -> None:
        items = size_of(batch)
        why = None
        if not unchanged:
            why = "an optimiser has stepped within this batch"
        elif self._shared:
            why = "other processes hold the rest of it"
        elif not isinstance(self._task, Weighs):
            why = f"{type(self._task).__name__} has no batch_weight()"
        elif self.count >= items:
            why = "it is of one item"
        if why:
            raise ConfigError(
                f"{self._title}: expected a batch that the device's memory holds, got {items} "
                f"items, which cannot be split, for {why} ({failure}); lower "
                f"training.batch_size, or give runtime.device=cpu"
            )
        free()
        self.count = min(2 * self.count, items)
        say(self._title, f"batches are taken in {self.count} parts", failure)


def split(batch: Mapping[str, Any], count: int) -> Iterator[Batch]:
    """Yield the parts of a batch in order; none is empty, no two differ by more than an item.

    Args:
        batch: Tensors and lists of one length.
        count: Number of parts, at most the number of items.
    """
    items = size_of(batch)
    edges = [items * place // count for place in range(count + 1)]
    for start, end in zip(edges, edges[1:], strict=False):
        if end > start:
            yield {key: value[start:end] for key, value in batch.items()}


def size_of(batch: Mapping[str, Any]) -> int:
    """Return the number of items of a batch; 1 where its entries are of several lengths."""
    lengths = {
        len(value) if isinstance(value, list | tuple) or _listed(value) else 0
        for value in batch.values()
    }
    return lengths.pop() if len(lengths) == 1 else 1


def _listed(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def free() -> None:
    """Give back memory that torch holds for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_said: set[str] = set()


def say(title: str, what: str, failure: str) -> None:
    """Tell on the error stream that a device has too little memory, each thing once."""
    told = f"{title}: too little memory on the device ({failure}); {what}"
    if f"{title}{what}" not in _said:
        _said.add(f"{title}{what}")
        print(told, file=sys.stderr, flush=True)

"""Which items of a set pass a model at once: the first ones of a search, or all of a test set.

``first_batches`` and ``spread_batches`` join items of a search. ``Batches`` passes all items of a
set in batches of similar length, whose results are those of the items alone. What a model is given
and what its result means is decided by the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.errors import ConfigError
from audioprune.interrupts import check_stop
from audioprune.protocols import Batch, Collate, Items
from audioprune.training.loaders import moved
from audioprune.training.memory import free, say

Item = Mapping[str, Any]
Result = TypeVar("Result")

SECONDS_ON_DEVICE = 128.0
_WINDOW = 8
"""Batches whose items wait for others of their length."""


def first_batches(
    dataset: Items, collate: Collate, items: int | None, size: int, device: torch.device
) -> Iterator[Batch]:
    """Yield batches of the first items of a set, all of them where ``items`` is None."""
    count = min(items or len(dataset), len(dataset))
    yield from _batches(dataset, collate, range(count), size, device)


def spread_batches(
    dataset: Items, collate: Collate, items: int | None, size: int, device: torch.device
) -> Iterator[Batch]:
    """Yield batches of items spread evenly over a set, which may be sorted by class."""
    count = min(items or len(dataset), len(dataset))
    chosen = [place * len(dataset) // count for place in range(count)]
    yield from _batches(dataset, collate, chosen, size, device)


def _batches(
    dataset: Items, collate: Collate, chosen: Sequence[int], size: int, device: torch.device
) -> Iterator[Batch]:
    for start in range(0, len(chosen), size):
        items = [dataset[index] for index in chosen[start : start + size]]
        yield moved(collate(items), device)


def items_of(dataset: Items) -> Iterator[Item]:
    """Yield the items of a set, and stop between two of them where the user wishes to."""
    for index in range(len(dataset)):
        check_stop()
        yield dataset[index]


def rows_by_length(signals: Tensor, lengths: Tensor | None) -> list[tuple[slice, int]]:
    """Return which neighbouring rows of a batch (B, T) are equally long, and their length.

    Args:
        signals: Padded signals.
        lengths: Samples of each before padding, or None when all are T long.
    """
    found: list[tuple[slice, int]] = []
    known = [signals.shape[1]] * len(signals) if lengths is None else lengths.tolist()
    for row, length in enumerate(known):
        if found and found[-1][1] == length:
            found[-1] = (slice(found[-1][0].start, row + 1), length)
        else:
            found.append((slice(row, row + 1), length))
    return found


def weighted_mean(values: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """Return the mean of scalars, each with its weight; they are read from the device at once."""
    known, shares = (torch.stack(list(each)).tolist() for each in (values, weights))
    return sum(value * share for value, share in zip(known, shares, strict=True)) / sum(shares)


def samples_at_once(model: nn.Module, seconds: float | None, sample_rate: int) -> int:
    """Return how many samples of audio a batch holds.

    Args:
        model: Where it computes decides what is not given.
        seconds: Audio of a batch; None for 128 s on a device, and one item on a CPU, where large
            batches gain little and PESQ may tell the rounding of other sums.
        sample_rate: In Hz.
    """
    if seconds is None:
        seconds = 0.0 if device_of(model).type == "cpu" else SECONDS_ON_DEVICE
    return max(1, round(seconds * sample_rate))


@dataclass
class Batches(Generic[Result]):
    """Passes items in batches of similar length, and halves them where memory is short.

    Items wait for others of their length until as many as eight batches hold do so.

    Attributes:
        make: Returns the result of each item of a batch.
        length: Returns the samples of an item.
        most: Samples of a batch, with its padding; a longer item passes alone.
        may_mix: Told a shorter and a longer item, says whether two of different lengths may share
            a batch without a change of their results; asked once. None: they never may.
    """

    make: Callable[[list[Item]], Sequence[Result]]
    length: Callable[[Item], int]
    most: int
    may_mix: Callable[[Item, Item], bool] | None = None
    _mixed: bool | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def results(self, items: Iterable[Item]) -> Iterator[tuple[int, Item, Result]]:
        """Yield place, item and result of every item, not in their order.

        Raises:
            ConfigError: The memory of the device does not hold a single item.
        """
        waiting: dict[int, list[tuple[int, Item]]] = {}
        held = 0
        for place, item in enumerate(items):
            length = max(1, self.length(item))
            waiting.setdefault(length, []).append((place, item))
            held += length
            if length * (len(waiting[length]) + 1) > self.most:
                full = waiting.pop(length)
                held -= length * len(full)
                yield from self._passed(full)
            elif held > _WINDOW * self.most:
                longest = self._longest(waiting)
                held -= sum(max(1, self.length(each)) for _, each in longest)
                yield from self._passed(longest)
        while waiting:
            yield from self._passed(self._longest(waiting))

    def _longest(self, waiting: dict[int, list[tuple[int, Item]]]) -> list[tuple[int, Item]]:
        """Take a batch of the longest items that wait."""
        lengths = sorted(waiting, reverse=True)
        if len(lengths) > 1 and self._mixed is None:
            shorter, longer = waiting[lengths[-1]][0][1], waiting[lengths[0]][0][1]
            self._mixed = self.may_mix is not None and self.may_mix(shorter, longer)
        room = max(1, self.most // lengths[0])
        taken: list[tuple[int, Item]] = []
        for length in lengths if self._mixed else lengths[:1]:
            own = waiting[length]
            count = min(room - len(taken), len(own))
            taken += own[:count]
            waiting[length] = own[count:]
            if not waiting[length]:
                del waiting[length]
            if len(taken) == room:
                break
        return taken

    def _passed(self, chosen: list[tuple[int, Item]]) -> Iterator[tuple[int, Item, Result]]:
        found = self._made([item for _, item in chosen])
        for (place, item), result in zip(chosen, found, strict=True):
            yield place, item, result

    def _made(self, items: list[Item]) -> list[Result]:
        try:
            return list(self.make(items))
        except torch.OutOfMemoryError as error:
            failure = str(error).partition("\n")[0]
            if len(items) == 1:
                raise ConfigError(
                    f"expected memory on the device for one item of {self.length(items[0])} "
                    f"samples, got {failure}; use shorter items, or runtime.device=cpu"
                ) from error
        # Behind the handler, so that the tensors of the failed pass are freed.
        free()
        half = len(items) // 2
        self.most = min(self.most, half * max(map(self.length, items)))
        if not self._told:
            say("scoring", "going on with half as much at once, see runtime.score_batch", failure)
            self._told = True
        return [*self._made(items[:half]), *self._made(items[half:])]

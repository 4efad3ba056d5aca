"""Which items of a set a search evaluates, and how they are joined to batches on its device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from audioprune.protocols import Batch, Collate, Items
from audioprune.training.loaders import moved


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

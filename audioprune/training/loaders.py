"""In which order, and in which batches, a training sees its items: ``train_batches``.

The order is a function of seed and epoch alone, so that a resumed training goes on within it.
Several processes share every batch: each takes its part of it, in the order of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audioprune.protocols import Batch, Corpus, Items


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the training items in an epoch: a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Return the steps of an epoch, whatever the number of processes."""
    return max(1, math.ceil(items / batch_size))


def part_of(count: int, index: int, processes: int) -> range:
    """Return the places of a batch that one of several processes takes.

    Parts follow one another, and no two differ by more than one place; the last parts of a batch
    with fewer items than processes are empty.

    Args:
        count: Items of the whole batch.
        index: Of the process, from 0.
        processes: Number of processes.
    """
    least, more = divmod(count, processes)
    start = index * least + min(index, more)
    return range(start, start + least + (index < more))


def train_batches(
    corpus: Corpus,
    items: Items,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    done: int = 0,
    process: tuple[int, int] = (0, 1),
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of an epoch that are left, on the CPU.

    Of several processes each is given its part of every batch; where that is empty, the first
    item of the batch stands in for it, which the training gives no weight.

    Args:
        corpus: Joins items to batches.
        items: Training items.
        batch_size: Items per batch of all processes together.
        seed: Of the training.
        epoch: Counted from 0.
        done: Batches that are trained already.
        process: Index of this process, and number of all.
        workers: Loader processes.
    """
    order = epoch_order(len(items), seed, epoch)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts = [part_of(len(batch), *process) for batch in batches]
    mine = [
        batch[part.start : part.stop] or batch[:1]
        for batch, part in zip(batches, parts, strict=True)
    ]
    yield from DataLoader(
        cast("Dataset[Any]", items),
        batch_sampler=mine[done:],
        collate_fn=corpus.collate,
        num_workers=workers,
        generator=torch.Generator().manual_seed(seed + epoch),
    )


def valid_batches(corpus: Corpus, items: Items, batch_size: int) -> Iterator[Batch]:
    """Iterate over the validation batches in the order of the items, on the CPU.

    The iterator is made at once, since that draws from torch's global generator.
    """
    dataset = cast("Dataset[Any]", items)
    return iter(DataLoader(dataset, batch_size=batch_size, collate_fn=corpus.collate))


ON_HOST = ("lengths",)
"""Entries of a batch that are read as numbers, which on another device would wait for it."""


def moved(batch: Mapping[str, Any], device: torch.device) -> Batch:
    """Return a batch whose tensors are on a device; ``lengths`` stay on the CPU."""
    return {
        key: value.to(device, non_blocking=True)
        if isinstance(value, Tensor) and key not in ON_HOST
        else value
        for key, value in batch.items()
    }

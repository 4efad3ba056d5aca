"""In which order, and in which batches, a training sees its items: ``train_batches``.

The order is a function of seed and epoch alone, so that a resumed training goes on within it.
Several processes share every epoch: process r of w takes the batches r, r + w, r + 2w and so on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audioprune.protocols import Batch, Corpus, Items


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the training items in an epoch: a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def steps_per_epoch(items: int, batch_size: int, processes: int) -> int:
    """Return the steps of an epoch, the same in every process."""
    return max(1, math.ceil(items / (batch_size * processes)))


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

    Args:
        corpus: Joins items to batches.
        items: Training items.
        batch_size: Items per batch.
        seed: Of the training.
        epoch: Counted from 0.
        done: Batches that are trained already.
        process: Index of this process, and number of all.
        workers: Loader processes.
    """
    rank, world = process
    order = epoch_order(len(items), seed, epoch)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    steps = steps_per_epoch(len(items), batch_size, world)
    mine = batches[rank::world][:steps] or batches[:1]
    mine += [mine[-1]] * (steps - len(mine))  # all processes take the same number of steps
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


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch whose tensors are on a device."""
    return {
        key: value.to(device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }

"""Batches of an epoch: their order, and the parts that several processes take of them."""

from __future__ import annotations

import pytest
import torch
from toys import ToyData

from audioprune.training.loaders import part_of, steps_per_epoch, train_batches


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_parts_follow_one_another_and_are_equal_but_for_one(count: int, processes: int) -> None:
    parts = [part_of(count, index, processes) for index in range(processes)]
    assert [place for part in parts for place in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_processes_share_every_batch() -> None:
    data = ToyData()
    items, size = data.train(), 3
    whole = list(train_batches(data, items, size, seed=1, epoch=2))
    parts = [
        list(train_batches(data, items, size, seed=1, epoch=2, process=(index, 2)))
        for index in range(2)
    ]
    assert len(whole) == len(parts[0]) == len(parts[1]) == steps_per_epoch(len(items), size)
    for batch, *shares in zip(whole, *parts, strict=True):
        count = len(batch["x"])
        joined = torch.cat([share["x"] for share in shares])
        assert torch.equal(joined[:count], batch["x"])
    lonely = train_batches(data, items, 1, seed=1, epoch=0, process=(1, 2))
    assert all(len(batch["x"]) == 1 for batch in lonely)  # the stand-in of an empty part
